// Corrections: one key or one click keeps what is on the sheet, with its right name, to train on.

import * as api from "./api.js";
import { counted, element, ranked } from "./words.js";

/**
 * @typedef {object} Example what may be kept
 * @property {object} of what it is an example of: of two names for one, the second counts
 * @property {{label: string | null, probability: number, model: string} | null} answer
 * @property {Promise<{image: string | null, strokes: object | null}>} body
 */

const LISTED = 24;

export class Corrections {
  /** @type {{id: string, label: string, of: object} | null} the last that was kept */
  #last = null;
  /** One after the other, in the order of the keys. */
  #queue = Promise.resolve();

  /**
   * @param {Record<"saved" | "count" | "tally" | "command" | "kept", HTMLElement>} places
   * @param {(change: {of: object, isKept: boolean}) => void} onChange
   * @param {(error: Error, doing: string) => void} onError
   */
  constructor(places, onChange, onError) {
    Object.assign(this, { ...places, onChange, onError });
    this.dataset = "mnist";
    this.saved.querySelector("button").addEventListener("click", () => this.undo());
    this.kept.addEventListener("toggle", () => this.refresh());
    this.kept.querySelector("button").addEventListener("click", () => this.#listOlder());
  }

  /** Shows how many there are. */
  refresh() {
    return this.#inTurn("read the corrections", async () => {
      const answer = await api.corrections(this.kept.open ? LISTED : 0);
      this.#showCount(answer);
      this.kept.querySelector("ol").replaceChildren();
      this.#list(answer.corrections);
    });
  }

  #listOlder() {
    const last = this.kept.querySelector("li:last-child")?.dataset.id;
    return this.#inTurn("read the corrections", async () =>
      this.#list((await api.corrections(LISTED, last)).corrections),
    );
  }

  /** @param {{id: string, label: string, created: string, input_image: string}[]} corrections */
  #list(corrections) {
    this.kept.querySelector("button").hidden = corrections.length < LISTED;
    this.kept.querySelector("ol").append(
      ...corrections.map(({ id, label, created, input_image: src }) => {
        const remove = element("button", { type: "button", className: "quiet", textContent: "remove" });
        remove.setAttribute("aria-label", `remove ${label} of ${created}`);
        remove.addEventListener("click", () => this.#remove(item));
        const image = element("img", { src, alt: "", width: 28, height: 28 });
        const item = element("li", { title: created }, image, element("b", { textContent: label }), remove);
        item.dataset.id = id;
        return item;
      }),
    );
  }

  #remove(item) {
    return this.#inTurn("remove it", async () => {
      const { id } = item.dataset;
      await api.removeCorrection(id);
      item.remove();
      if (this.#last?.id === id) {
        this.onChange({ of: this.#last.of, isKept: false });
        this.#last = null;
        this.saved.hidden = true;
      }
      this.#showCount(await api.corrections(0));
    });
  }

  /** @param {string} label @param {Example} example */
  save(label, example) {
    return this.#inTurn("keep this", () => this.#save(label, example));
  }

  undo() {
    return this.#inTurn("undo", async () => {
      if (!this.#last) return;
      const { id, label, of } = this.#last;
      await api.removeCorrection(id);
      this.#last = null;
      this.#say(`not kept as ${label} any more`, false);
      this.onChange({ of, isKept: false });
      this.refresh();
    });
  }

  /** The command trains on the model's own images too, where those are here. */
  setModel({ name, dataset, is_bundled: isBundled }) {
    // A name that a shell would take apart is no data set's name.
    this.dataset = /^[\w.+-]+$/.test(dataset ?? "") ? dataset : "mnist";
    const parts = new Set([...this.dataset.split("+"), "collected"]);
    this.command.textContent = isBundled
      ? `penstroke train --init-from ${name} --dataset collected`
      : `penstroke train --dataset ${[...parts].join("+")}`;
  }

  async #save(label, { of, answer, body }) {
    const before = this.#last?.of === of ? this.#last : null;
    if (before?.label === label) return;
    const { id } = await api.addCorrection({ label, answer, ...(await body) });
    if (before) await api.removeCorrection(before.id);
    this.#last = { id, label, of };
    this.#say(`saved as ${label}`, true);
    this.onChange({ of, isKept: true });
    this.refresh(); // a step of its own: what is kept is kept, whether they can be counted or not
  }

  #inTurn(doing, action) {
    this.#queue = this.#queue.then(action).catch((error) => this.onError(error, doing));
    return this.#queue;
  }

  #say(words, canUndo) {
    this.saved.hidden = false;
    this.saved.querySelector("span").textContent = words;
    this.saved.querySelector("button").hidden = !canUndo;
  }

  #showCount({ images, by_label: byLabel, path }) {
    const shares = ranked(byLabel).map(([label, count]) =>
      element("span", {}, element("b", { textContent: label }), ` ${count}`),
    );
    this.count.textContent = counted(images, "image");
    this.tally.replaceChildren(...shares);
    this.count.title = path ?? "";
    this.command.closest(".command").hidden = this.kept.hidden = images === 0;
  }
}
