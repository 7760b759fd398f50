// The answer to one field: a value to accept, to replace by typing, or marks to set.

import { element, percent } from "./words.js";

const NUMERIC = new Set(["digits", "number", "date"]);
const SEPARATOR = ";";
/** Without a keyboard, a field that takes the focus covers half of the screen with one. */
const hasKeyboard = !matchMedia("(pointer: coarse)").matches;

export class Reply {
  #field = null;
  #described = null;
  #warned = null;
  #hasCaret = false;

  /**
   * @param {(id: string) => HTMLElement} find
   * @param {(value: string, isConfirmed: boolean) => void} onAccept
   */
  constructor(find, onAccept) {
    this.find = find;
    this.input = find("value");
    find("form-of-answer").addEventListener("submit", (event) => {
      event.preventDefault();
      const value = this.input.value.trim();
      onAccept(value, this.#warned === value);
    });
    this.input.addEventListener("input", () => this.#changed());
    this.input.addEventListener("pointerdown", () => (this.#hasCaret = true));
  }

  /** Whether the value is not as it was. */
  get isTyped() {
    return this.#field !== null && this.input.value !== this.#field.value;
  }

  /** Whether arrows move the caret. */
  get isEditing() {
    return document.activeElement === this.input && (this.isTyped || this.#hasCaret);
  }

  /** @param {import("./review_api.js").Field} field */
  show(field, described) {
    this.#field = field;
    this.#described = described;
    const hasMarks = described.options.length > 0;
    this.input.hidden = hasMarks;
    this.find("options").hidden = !hasMarks;
    this.input.inputMode = NUMERIC.has(described.type) ? "numeric" : "text";
    this.#showAlternatives(hasMarks ? [] : field.alternatives);
    this.reset();
    if (hasMarks) this.find("accept").focus();
    else if (hasKeyboard) this.input.focus();
  }

  reset() {
    this.#set(this.#field.value);
    this.#hasCaret = false;
    this.input.select();
  }

  /** The form does not admit `value`: the same again keeps it. */
  warn(value, message) {
    this.#warned = value;
    this.find("accept").textContent = "Keep all the same";
    const how = hasKeyboard ? "Enter again keeps it" : "It can be kept";
    this.#say(`${capitalized(message)}. ${how} all the same.`, true);
    if (!this.input.hidden && hasKeyboard) this.input.focus();
  }

  /** @param {KeyboardEvent} event a key alone */
  onKey(event) {
    const { key, target } = event;
    if (key === "Enter" && !target.closest("button, input, summary, a"))
      this.find("form-of-answer").requestSubmit();
    else if (key === "Escape") this.reset();
    else if (key === "Home" || key === "End") this.#hasCaret = true;
    else if (key.length !== 1 || (key === " " && target.closest("button, summary, input"))) return;
    else if (!this.input.hidden) this.#takeFocus();
    else if (/\d/.test(key)) this.#mark(Number(key));
    else return;
    if (key === "Escape" || this.input.hidden) event.preventDefault();
  }

  /** What is typed elsewhere on the page is typed here. */
  #takeFocus() {
    if (document.activeElement === this.input) return;
    this.input.focus();
    this.input.select();
  }

  #set(value) {
    this.input.value = value;
    this.#changed();
  }

  #changed() {
    this.#warned = null;
    this.input.classList.toggle("edited", this.isTyped);
    this.find("accept").textContent = this.isTyped ? "Keep" : "Accept";
    this.#showMarks();
    const { refusal } = this.#field;
    if (refusal && !this.isTyped && !this.#field.changed) this.#say(capitalized(refusal), true);
    else this.#say(describe(this.#field), false);
  }

  #say(text, isWarning) {
    this.find("state").textContent = text;
    this.find("state").classList.toggle("warned", isWarning);
  }

  #showAlternatives(alternatives) {
    this.find("alternatives").replaceChildren(
      ...alternatives.map(([value, probability]) => {
        const textContent = `${value || "empty"} · ${percent(probability)}`;
        const button = element("button", { type: "button", textContent });
        button.addEventListener("click", () => {
          this.#set(value);
          this.find("accept").focus();
        });
        return button;
      }),
    );
  }

  #showMarks() {
    const marked = this.#marked();
    this.find("options").replaceChildren(
      ...this.#described.options.map((option, index) => {
        const ariaPressed = String(marked.includes(option));
        const button = element("button", { type: "button", ariaPressed });
        if (index < 9 && hasKeyboard) button.append(element("kbd", { textContent: index + 1 }));
        button.append(option);
        button.addEventListener("click", () => this.#mark(index + 1));
        return button;
      }),
    );
  }

  #marked = () => this.input.value.split(SEPARATOR).filter(Boolean);

  /** @param {number} number of an option, from 1; 0 for none */
  #mark(number) {
    const { options, type } = this.#described;
    const option = options[number - 1];
    if (number > 0 && option === undefined) return;
    const marked = this.#marked();
    const isMarked = marked.includes(option);
    const others = type === "choices" ? marked.filter((one) => one !== option) : [];
    const now = number === 0 ? [] : isMarked ? others : [...others, option];
    this.#set(options.filter((one) => now.includes(one)).join(SEPARATOR));
    this.find("accept").focus();
  }
}

/** @param {import("./review_api.js").Field} field */
function describe({ changed, read, status, probability }) {
  if (changed) {
    const time = new Date(changed.time).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
    const did = changed.new === read ? "accepted it" : `changed “${read}” to “${changed.new}”`;
    return `${changed.who} ${did}, ${time}`;
  }
  if (status === "rejected") return "Nothing that the form admits was read";
  if (status === "empty") return `Empty: ${percent(probability)}`;
  return `${status === "accepted" ? "Sure" : "Doubtful"}: ${percent(probability)}`;
}

const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);
