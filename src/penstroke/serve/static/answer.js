// The answer in large: the character or the line, and how sure; and in words for who listens.

import { counted, element, percent, ranked } from "./words.js";

/** Somebody who listens hears the answer when the drawing has come to rest, not at every stroke. */
const REST_MILLISECONDS = 700;
/** Why there is no answer, and what may be done. */
const REASONS = {
  several_characters: ["several characters", "one at a time, or as a line"],
  too_faint: ["too faint", "the ink hardly differs from the paper"],
  not_a_known_character: ["not a known character", ""],
};
const LONG = 3;
const VERY_LONG = 12;

export class AnswerView {
  #timer = 0;

  /**
   * @param {Record<"answer" | "certainty" | "spoken" | "characters", HTMLElement>} places
   * @param {(index: number) => void} onSelect called with the character of a line that was chosen
   */
  constructor(places, onSelect) {
    Object.assign(this, { ...places, onSelect });
  }

  showNothing(certainty, spoken) {
    this.#show({ state: "nothing", text: "", certainty, spoken });
  }

  /** @param {import("./api.js").Answer} answer */
  showCharacter({ status, label, probability, probabilities, rejection_reason: reason }) {
    if (status === "empty") return this.showNothing("no ink found", "No ink found.");
    if (status === "rejected" || label === null) return this.#showRejected(reason, probabilities);
    const [, second] = ranked(probabilities);
    const rest = second?.[1] >= 0.001 ? `next is ${second[0]}, ${percent(second[1])}` : "";
    const certainty = `${percent(probability)} sure`;
    this.#show({ state: "ok", text: label, certainty, rest, spoken: `${label}, ${certainty}` });
  }

  /** @param {{text: string, lines: {characters: object[]}[]}} reading */
  showLine({ text, lines }) {
    const characters = lines.flatMap((line) => line.characters);
    if (!characters.length) return this.showNothing("no characters found", "No characters found.");
    const rejected = characters.filter(({ status }) => status !== "ok").length;
    const isUnsure = lines.some(({ status }) => status === "rejected");
    const certainty = [
      counted(characters.length, "character"),
      ...(lines.length > 1 ? [counted(lines.length, "line")] : []),
      rejected ? `not sure of ${rejected}` : isUnsure ? "not sure of the whole" : "sure of all",
    ].join(", ");
    this.#show({ state: "line", text, certainty, spoken: `${text}: ${certainty}` });
    const chips = characters.map((character, i) => this.#chip(character, i));
    const rows = lines.map((line) =>
      element("div", { className: "row" }, ...chips.splice(0, line.characters.length)),
    );
    this.characters.replaceChildren(...rows);
  }

  /** @param {number | null} index of the character that is chosen */
  select(index) {
    this.characters
      .querySelectorAll(".chip")
      .forEach((chip, i) => (chip.ariaPressed = String(i === index)));
  }

  #showRejected(reason, probabilities) {
    const [[first, p] = ["?", 0], [second, q] = ["?", 0]] = ranked(probabilities);
    const candidates = `perhaps ${first} (${percent(p, 0)}) or ${second} (${percent(q, 0)})`;
    const [certainty, rest] = REASONS[reason] ?? ["not sure", candidates];
    const spoken = rest ? `${certainty}, ${rest}` : certainty;
    this.#show({ state: "rejected", text: "?", certainty, rest, spoken });
  }

  #show({ state, text, certainty, rest = "", spoken }) {
    this.answer.textContent = text;
    this.answer.dataset.state = state;
    this.answer.dataset.length =
      text.length < LONG ? "" : text.length < VERY_LONG ? "long" : "very-long";
    const second = element("span", { textContent: rest });
    this.certainty.replaceChildren(element("span", { textContent: certainty }), second);
    this.characters.replaceChildren();
    this.#say(spoken);
  }

  #say(words) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (this.spoken.textContent = words), REST_MILLISECONDS);
  }

  #chip({ label, probability, status, space_before: hasSpace }, i) {
    const share = element("span", { className: "share", textContent: percent(probability, 0) });
    const chip = element("button", { type: "button", className: `chip ${status}` }, label, share);
    chip.classList.toggle("after-space", hasSpace);
    chip.ariaPressed = "false";
    chip.ariaLabel = `${label}, ${percent(probability, 0)}${status === "ok" ? "" : ", not sure"}`;
    chip.addEventListener("click", () => this.onSelect(i));
    return chip;
  }
}
