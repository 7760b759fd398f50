// The surface to draw on: pointers and keys in, strokes on the sheet, pixels on the canvas.
//
// Points are kept in units of the sheet (400 high), whatever the canvas' size or the screen's
// density: a window that changes its size changes nothing that was drawn.

import { paint } from "./paint.js";
import { Sheet, extent } from "./strokes.js";

/** Units; on a canvas 400 CSS pixels high they are its pixels. */
const HEIGHT = 400;
/** Ratio of width to height of a line; its characters are smaller, and so is the pen. */
const MODES = { character: { aspect: 1, pen: 28 }, line: { aspect: 2.5, pen: 18 } };
/** A page that was photographed has the form it has, but for strips and ribbons. */
const [NARROWEST, WIDEST] = [0.6, 4];
/** Wider than this, the sheet has no room beside it. */
const WIDE = 1.5;
/** While a pen is in use, and this long after, fingers and palms draw nothing. */
const PALM_MILLISECONDS = 1500;
/** Units that an arrow key moves the pen. */
const KEY_STEP = 10;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Surface {
  sheet = new Sheet();
  penWidth = MODES.character.pen;
  height = HEIGHT;
  width = HEIGHT;
  /** Whether the drawing is put away already: it is shown pale, and a stroke starts the next. */
  isFiled = false;

  #canvas;
  #onChange;
  #mode = "character";
  /** @type {{id: number, type: string} | null} the pointer that draws; others are ignored */
  #pointer = null;
  #penSeen = -Infinity;
  /** @type {{x: number, y: number} | null} where the keyboard's pen is */
  #keyPen = null;
  #isDue = false;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} onChange called after every change of what is on the sheet
   */
  constructor(canvas, onChange) {
    this.#canvas = canvas;
    this.#onChange = onChange;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#drop(event));
    canvas.addEventListener("lostpointercapture", (event) => this.#up(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => this.liftKeyPen());
    new ResizeObserver(() => this.repaint()).observe(canvas);
    addEventListener("resize", () => this.repaint()); // another screen may be denser
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint());
  }

  /** Makes room for one character or for a line; what is drawn stays, smaller if it must. */
  setMode(mode) {
    this.#mode = mode;
    this.#fit();
    this.penWidth = MODES[mode].pen;
    const [left, , right] = extent(this.sheet.content.strokes);
    if (right > this.width) {
      const scale = Math.min(1, this.width / (right - left + 2 * this.penWidth));
      const start = Math.max(0, left - this.penWidth);
      this.sheet.moveAll((x, y) => [(x - start) * scale, HEIGHT / 2 + (y - HEIGHT / 2) * scale]);
    }
    this.repaint();
  }

  setPen(width) {
    this.penWidth = width;
    if (this.sheet.content.strokes.length) this.#changed();
  }

  /** Puts the drawing away, or takes it out again. */
  file(isFiled) {
    this.isFiled = isFiled;
    this.repaint();
  }

  /** Does something to the sheet, and says so. */
  change(action) {
    this.liftKeyPen();
    if (this.sheet.isOpen) return;
    action(this.sheet);
    this.isFiled = false;
    this.#fit();
    this.#changed();
  }

  /** What a service needs of a drawing. @param {import("./strokes.js").Content} content */
  strokesOf(content) {
    const round = (number) => Math.round(number * 100) / 100;
    return {
      strokes: content.strokes.map((stroke) => stroke.map((point) => point.map(round))),
      pen_width: this.penWidth,
      width: this.width,
      height: this.height,
    };
  }

  /** Ends what the keyboard draws. */
  liftKeyPen() {
    if (!this.#keyPen) return;
    this.#keyPen = null;
    this.sheet.end();
    this.#changed();
  }

  /** Paints the sheet on another context, in units of the sheet. */
  paintOn(context, ink) {
    const { penWidth, width, height } = this;
    paint(context, this.sheet.content, { penWidth, width, height, ink });
  }

  /** Paints at the next frame, however often it is asked to. */
  repaint() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#paint();
    });
  }

  #fit() {
    const { image } = this.sheet.content;
    let { aspect } = MODES[this.#mode];
    if (image && this.#mode === "line")
      aspect = Math.min(WIDEST, Math.max(NARROWEST, image.width / image.height));
    this.width = HEIGHT * aspect;
    const frame = this.#canvas.parentElement;
    frame.style.setProperty("--aspect", aspect);
    frame.classList.toggle("wide", aspect > WIDE);
  }

  #changed() {
    this.repaint();
    this.#onChange();
  }

  #down(event) {
    if (event.pointerType === "pen") this.#penSeen = event.timeStamp;
    if (event.button !== 0 || this.#isPalm(event) || this.#isImaged) return;
    if (this.#pointer) {
      if (event.pointerType !== "pen") return;
      this.sheet.cancel(); // the finger that came before the pen was the hand that holds it
    }
    this.#canvas.setPointerCapture(event.pointerId);
    this.liftKeyPen();
    this.#pointer = { id: event.pointerId, type: event.pointerType };
    this.#begin(this.#point(event));
  }

  /** Whether an image lies there: it is cleared on purpose, never by a touch. */
  get #isImaged() {
    return this.sheet.content.image !== null && !this.isFiled;
  }

  #isPalm(event) {
    return event.pointerType === "touch" && event.timeStamp - this.#penSeen < PALM_MILLISECONDS;
  }

  #move(event) {
    if (event.pointerType === "pen") this.#penSeen = event.timeStamp;
    if (event.pointerId !== this.#pointer?.id) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) this.sheet.extend(this.#point(one));
    this.#changed();
  }

  #up(event) {
    if (event.pointerId !== this.#pointer?.id) return;
    this.#pointer = null;
    this.sheet.end();
    this.#changed();
  }

  #drop(event) {
    if (event.pointerId !== this.#pointer?.id) return;
    this.#pointer = null;
    this.sheet.cancel();
    this.#changed();
  }

  #begin(point) {
    this.sheet.begin(point, { afresh: this.isFiled });
    this.isFiled = false;
    this.#changed();
  }

  /** @returns {import("./strokes.js").Point} */
  #point(event) {
    const box = this.#canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.width;
    const y = ((event.clientY - box.top) / box.height) * this.height;
    return event.pointerType === "pen" && event.pressure > 0 ? [x, y, event.pressure] : [x, y];
  }

  /** Arrows move a pen over the sheet; Space puts it down and lifts it. */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if ((!arrow && event.key !== " ") || this.#isImaged) return;
    event.preventDefault();
    this.#keyPen ??= { x: this.width / 2, y: this.height / 4 };
    if (arrow) this.#moveKeyPen(arrow);
    else if (event.repeat) return;
    else if (this.sheet.isOpen) this.sheet.end();
    else this.#begin([this.#keyPen.x, this.#keyPen.y]);
    this.#changed();
  }

  #moveKeyPen([right, down]) {
    const pen = this.#keyPen;
    pen.x = Math.min(this.width, Math.max(0, pen.x + right * KEY_STEP));
    pen.y = Math.min(this.height, Math.max(0, pen.y + down * KEY_STEP));
    this.sheet.extend([pen.x, pen.y]);
  }

  #paint() {
    const canvas = this.#canvas;
    canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
    canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    const context = canvas.getContext("2d");
    context.scale(canvas.width / this.width, canvas.height / this.height);
    canvas.classList.toggle("filed", this.isFiled);
    const { color, accentColor } = getComputedStyle(canvas);
    this.paintOn(context, color);
    if (this.#keyPen) this.#paintKeyPen(context, accentColor);
  }

  #paintKeyPen(context, colour) {
    const { x, y } = this.#keyPen;
    context.strokeStyle = colour;
    context.lineWidth = 3;
    context.beginPath();
    context.arc(x, y, this.penWidth / 2 + 4, 0, 2 * Math.PI);
    context.stroke();
  }
}
