// Boxes around the characters of a line, drawn over the image they were found in.

const SVG = "http://www.w3.org/2000/svg";
/** CSS pixels from the upper edge of a box to the foot of its label, and the room a label needs. */
const [LIFT, LABEL_HEIGHT] = [5, 16];

/**
 * @typedef {object} Find
 * @property {{box: number[], label: string, status: string}[]} characters box: in the image's pixels
 * @property {{width: number, height: number}} image
 * @property {{width: number, height: number}} sheet in units
 * @property {import("./paint.js").Rectangle} place of the image on the sheet
 */

export class Boxes {
  /** @type {Find | null} */
  #find = null;
  #selected = null;

  /**
   * @param {SVGSVGElement} overlay as large as the sheet
   * @param {(index: number) => void} onSelect
   */
  constructor(overlay, onSelect) {
    Object.assign(this, { overlay, onSelect });
    new ResizeObserver(() => this.#draw()).observe(overlay);
  }

  clear() {
    this.show(null);
  }

  /** @param {Find | null} find */
  show(find) {
    this.#find = find;
    this.#selected = null;
    this.#draw();
  }

  select(index) {
    this.#selected = index;
    this.#draw();
  }

  /** The overlay's unit is the screen's pixel, so that labels are as large on a phone. */
  #draw() {
    const { characters = [], image, sheet, place } = this.#find ?? {};
    const scale = this.overlay.clientWidth / (sheet?.width ?? 1);
    const boxes = characters.map(({ box: [left, top, right, bottom], label, status }, i) => {
      const x = scale * (place.x + (left * place.width) / image.width);
      const y = scale * (place.y + (top * place.height) / image.height);
      const width = (scale * (right - left) * place.width) / image.width;
      const height = (scale * (bottom - top) * place.height) / image.height;
      const group = svg("g", { class: `box ${status} ${i === this.#selected ? "selected" : ""}` });
      group.append(
        svg("rect", { x, y, width, height, rx: 3 }),
        svg("text", { x: x + width / 2, y: Math.max(LABEL_HEIGHT, y - LIFT) }, label),
      );
      group.addEventListener("click", () => this.onSelect(i));
      return group;
    });
    this.overlay.replaceChildren(...boxes);
  }
}

function svg(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
}
