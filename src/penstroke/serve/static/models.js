// Which model answers: a choice where there are several, a name where there is one.

import { counted, element } from "./words.js";

export class Models {
  /** @type {import("./api.js").Model | null} the one that answers */
  current = null;
  #all = [];

  /**
   * @param {HTMLSelectElement} select
   * @param {HTMLElement} about what is known of the one that answers
   * @param {(model: object) => void} onChange
   */
  constructor(select, about, onChange) {
    Object.assign(this, { select, about, onChange });
    select.addEventListener("change", () => this.#choose(select.value));
  }

  /** @param {object[]} all @param {string | null} preferred name, from the page's address */
  show(all, preferred) {
    this.#all = all;
    const first =
      all.find(({ name }) => name === preferred) ?? all.find((model) => model.is_default) ?? all[0];
    this.select.replaceChildren(
      ...all.map(({ name }) => element("option", { textContent: name, value: name })),
    );
    this.select.value = first.name;
    this.select.disabled = all.length === 1;
    this.#use(first);
  }

  /**
   * The model that answers: of single characters, the one that is chosen or the first. A line is
   * read by one that reads whole lines, if it knows all characters of the one that is chosen.
   */
  answering(isLine) {
    const { current } = this;
    if (current.kind === "lines")
      return isLine ? current : (this.#all.find(({ kind }) => kind !== "lines") ?? current);
    return (isLine && this.#all.find((model) => knowsLinesOf(model, current))) || current;
  }

  /** The class that a key stands for; a small letter for a capital one where there is no other. */
  labelOf(key, isLine) {
    const classes = this.current ? this.answering(isLine).classes : [];
    return (
      classes.find((name) => name === key) ??
      classes.find((name) => name.toLowerCase() === key.toLowerCase())
    );
  }

  #choose(name) {
    const address = new URL(location.href);
    address.searchParams.set("model", name);
    history.replaceState(null, "", address);
    this.#use(this.#all.find((model) => model.name === name));
  }

  #use(model) {
    this.current = model;
    const dataset = model.dataset ? `, trained on ${model.dataset}` : "";
    const reader = this.answering(true);
    const lines = reader === model ? "" : `, lines by ${reader.name}`;
    const names = model.kind === "lines" ? ["character", "characters"] : ["class", "classes"];
    this.about.textContent = counted(model.classes.length, ...names) + dataset + lines;
    this.onChange(model);
  }
}

/** Of a letter in both cases, `Aa`, a line has the capital. */
const textOf = (name) => (/^\p{Lu}\p{Ll}$/u.test(name) ? name[0] : name);

const knowsLinesOf = (reader, { classes }) =>
  reader.kind === "lines" && classes.every((name) => reader.classes.includes(textOf(name)));
