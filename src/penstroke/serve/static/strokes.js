// What is on the sheet: strokes or an image, and the steps back to how it was before.
//
// A sheet is never changed, only followed by another one; undo and redo walk along them.

/**
 * x and y in units of the sheet; pressure in 0..1 where the device tells it.
 * @typedef {[number, number] | [number, number, number]} Point
 */
/** @typedef {Point[]} Stroke */
/** @typedef {import("./images.js").OpenedImage} OpenedImage */
/** @typedef {{strokes: Stroke[], image: OpenedImage | null}} Content */

/** Units of the sheet between two points. */
const LEAST_STEP = 1;

/** @type {Content} */
const BLANK = { strokes: [], image: null };

export class Sheet {
  #past = [BLANK];
  #future = [];
  /** @type {Stroke | null} the stroke that is being drawn */
  #open = null;
  /** What it is added to. */
  #base = BLANK;

  /** @returns {Content} what is to be seen, with the stroke that is being drawn */
  get content() {
    if (!this.#open) return this.#past.at(-1);
    return { strokes: [...this.#base.strokes, this.#open], image: null };
  }

  get isBlank() {
    const { strokes, image } = this.content;
    return strokes.length === 0 && image === null;
  }

  get isOpen() {
    return this.#open !== null;
  }

  get canUndo() {
    return this.#past.length > 1;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  /** Starts a stroke; `afresh`, and it is the first of a new drawing. */
  begin(point, { afresh = false } = {}) {
    this.#base = afresh ? BLANK : this.#past.at(-1);
    this.#open = [point];
  }

  /** Draws on to a point, unless it is next to the last: pens tell more than eyes can see. */
  extend([x, y, ...pressure]) {
    const [lastX, lastY] = this.#open?.at(-1) ?? [x, y];
    if (Math.hypot(x - lastX, y - lastY) >= LEAST_STEP) this.#open.push([x, y, ...pressure]);
  }

  /** Keeps the stroke that is being drawn. */
  end() {
    if (!this.#open) return;
    const content = this.content;
    this.#open = null;
    this.#follow(content);
  }

  /** Drops the stroke that is being drawn: it was a palm, or a second finger came. */
  cancel() {
    this.#open = null;
  }

  show(image) {
    this.#follow({ strokes: [], image });
  }

  clear() {
    if (!this.isBlank) this.#follow(BLANK);
  }

  undo() {
    if (this.canUndo) this.#future.push(this.#past.pop());
  }

  redo() {
    if (this.canRedo) this.#past.push(this.#future.pop());
  }

  /** Moves every stroke there was, so that what is undone lies on the same sheet. */
  moveAll(move) {
    const moved = new Map();
    const place = (stroke) => {
      if (!moved.has(stroke))
        moved.set(
          stroke,
          stroke.map(([x, y, ...rest]) => [...move(x, y), ...rest]),
        );
      return moved.get(stroke);
    };
    const carry = (content) => ({ ...content, strokes: content.strokes.map(place) });
    this.#past = this.#past.map(carry);
    this.#future = this.#future.map(carry);
  }

  #follow(content) {
    this.#past.push(content);
    this.#future = [];
  }
}

/**
 * The box around all points; where there are none, infinities.
 * @returns {[number, number, number, number]} left, top, right, bottom
 */
export function extent(strokes) {
  const edges = [Infinity, Infinity, -Infinity, -Infinity];
  for (const stroke of strokes) {
    for (const [x, y] of stroke) {
      edges[0] = Math.min(edges[0], x);
      edges[1] = Math.min(edges[1], y);
      edges[2] = Math.max(edges[2], x);
      edges[3] = Math.max(edges[3], y);
    }
  }
  return edges;
}
