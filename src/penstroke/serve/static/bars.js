// A bar a class: how likely each is, and a click to say which one it is.

import { canKeep } from "./api.js";
import { element, percent, ranked } from "./words.js";

/** Up to this number of classes, all are shown in their own order; beyond it, the likeliest. */
const MOST_IN_ORDER = 12;
const SHOWN_OF_MANY = 10;

export class Bars {
  #list;
  #other;
  #onChoose;
  #classes = [];
  #rows = [];

  /**
   * @param {HTMLElement} list
   * @param {HTMLSelectElement} other for the classes that have no bar
   * @param {(label: string) => void} onChoose
   */
  constructor(list, other, onChoose) {
    this.#list = list;
    this.#other = other;
    this.#onChoose = onChoose;
    other.addEventListener("change", () => {
      onChoose(this.#classes[other.selectedIndex - 1]);
      other.selectedIndex = 0;
    });
  }

  /** @param {string[]} classes of the model that answers from now on */
  setClasses(classes) {
    this.#classes = classes;
    // As wide a column for all names: bars stay in their place, whatever is beside them.
    this.#list.style.setProperty("--longest", Math.max(...classes.map(({ length }) => length)));
    const count = this.#isOrdered ? classes.length : SHOWN_OF_MANY;
    this.#rows = Array.from({ length: count }, () => new Row(this.#onChoose));
    this.#list.replaceChildren(...this.#rows.map((row) => row.element));
    const options = ["another …", ...classes].map((text) =>
      element("option", { textContent: text }),
    );
    this.#other.replaceChildren(...options);
    this.#other.hidden = this.#isOrdered || !canKeep;
    this.show(null);
  }

  /** @param {Record<string, number> | null} probabilities where there is anything to correct */
  show(probabilities) {
    const isThere = probabilities !== null && Object.keys(probabilities).length > 0;
    this.#other.disabled = !isThere;
    const known = isThere ? probabilities : {};
    const [best] = ranked(known)[0] ?? [];
    const labels =
      isThere && !this.#isOrdered ? ranked(known).map(([label]) => label) : this.#classes;
    this.#rows.forEach((row, i) =>
      row.show(labels[i], known[labels[i]] ?? 0, labels[i] === best, isThere),
    );
  }

  get #isOrdered() {
    return this.#classes.length <= MOST_IN_ORDER;
  }
}

class Row {
  #name = element("span", { className: "name" });
  #fill = element("span", { className: "fill" });
  #share = element("span", { className: "share" });
  #label = "";

  constructor(onChoose) {
    const track = element("span", { className: "track" }, this.#fill);
    this.button = element(
      "button",
      { type: "button", className: "bar" },
      this.#name,
      track,
      this.#share,
    );
    this.button.addEventListener("click", () => onChoose(this.#label));
    this.element = element("li", {}, this.button);
  }

  show(label, probability, isBest, isThere) {
    this.#label = label;
    this.#name.textContent = label;
    this.#fill.style.transform = `scaleX(${probability})`;
    this.#share.textContent = isThere ? percent(probability) : "";
    this.button.classList.toggle("best", isBest);
    const mayChoose = isThere && canKeep;
    this.button.disabled = !mayChoose;
    this.button.title = mayChoose ? `keep this image as ${label}` : "";
    const said = isThere ? `${label}, ${percent(probability)}` : label;
    this.button.ariaLabel = mayChoose ? `${said}: keep as ${label}` : said;
  }
}
