// Curves by epoch as SVG, drawn anew at each change: axes, a line a series, a rule at one epoch.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { top: 10, right: 12, bottom: 26, left: 46 };
const HEIGHT = 210;
/** Maximum number of grid lines, and minimum distance of two axis labels in CSS pixels. */
const [MOST_ROWS, COLUMN_PIXELS] = [5, 44];

/**
 * @typedef {object} Series
 * @property {[number, number][]} points epoch and value
 * @property {number} colour of style.css's --run-0 …
 * @property {"train" | "val"} split
 */

export class Chart {
  /** @type {Series[]} */
  #series = [];
  #lastEpoch = 2;
  #isLog = false;
  #epoch = null;

  /**
   * @param {HTMLElement} place
   * @param {{format: (value: number) => string, least?: number, most?: number, isShare?: boolean}}
   *     axis how values are written, and what none of them can be beyond; of shares, what is left to
   *     1 is what a logarithmic scale tells apart
   * @param {(epoch: number | null) => void} onPoint called with the epoch that is pointed at
   */
  constructor(place, axis, onPoint) {
    Object.assign(this, { place, axis });
    this.svg = place.appendChild(shape("svg", { role: "img", height: HEIGHT }));
    this.svg.addEventListener("pointermove", (event) => onPoint(this.#epochAt(event)));
    this.svg.addEventListener("pointerleave", () => onPoint(null));
    new ResizeObserver(() => this.#draw()).observe(place);
  }

  /**
   * @param {Series[]} series @param {number} lastEpoch of the axis
   * @param {boolean} isLog whether values are on a logarithmic scale, which has no place for 0
   * @param {string} label for those who cannot see it
   */
  show(series, lastEpoch, isLog, label) {
    const isKept = isLog && !this.axis.isShare ? (value) => value > 0 : () => true;
    const kept = ({ points }) => points.filter(([, value]) => isKept(value));
    this.#series = series
      .map((one) => ({ ...one, points: kept(one) }))
      .filter(({ points }) => points.length);
    this.#isLog = isLog;
    this.#lastEpoch = Math.max(2, lastEpoch);
    this.svg.setAttribute("aria-label", label);
    this.#draw();
  }

  /** Puts the rule at an epoch; null takes it away. */
  point(epoch) {
    this.#epoch = epoch;
    this.#draw();
  }

  #draw() {
    const width = this.place.clientWidth;
    if (!width) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.svg.setAttribute("width", width);
    const ticks = this.#ticks();
    const scale = this.#scale(width, ticks);
    this.svg.replaceChildren(
      ...this.#rows(scale, ticks, width),
      ...this.#columns(scale, width),
      ...(this.#epoch ? [this.#rule(scale)] : []),
      ...this.#series.map((series) => line(series, scale)),
      ...this.#series.flatMap((series) => this.#dots(series, scale)),
    );
  }

  /** Values of the grid's lines: round numbers around what there is. */
  #ticks() {
    const values = this.#series.flatMap(({ points }) => points.map(([, value]) => value));
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const { least = -Infinity, most = Infinity } = this.axis;
    const ticks = this.#isErrorLog
      ? sharesByError(values)
      : this.#isLog
        ? roundPowers(low, high, MOST_ROWS)
        : roundNumbers(low, high, MOST_ROWS);
    return ticks.filter((value) => value >= least && value <= most);
  }

  get #isErrorLog() {
    return this.#isLog && this.axis.isShare;
  }

  #scale(width, ticks) {
    const least = ticks.at(-1) < 1 ? 1 - ticks.at(-1) : (1 - ticks.at(-2)) / 2;
    const ofError = (value) => -Math.log(Math.max(1 - value, least));
    const place = this.#isErrorLog ? ofError : this.#isLog ? Math.log : Number;
    const [low, high] = [place(ticks[0]), place(ticks.at(-1))];
    const across = (width - MARGIN.left - MARGIN.right) / (this.#lastEpoch - 1);
    const down = (HEIGHT - MARGIN.top - MARGIN.bottom) / (high - low || 1);
    return {
      x: (epoch) => MARGIN.left + (epoch - 1) * across,
      y: (value) => MARGIN.top + (high - place(value)) * down,
      epoch: (x) => Math.round((x - MARGIN.left) / across) + 1,
    };
  }

  #rows({ y }, ticks, width) {
    return ticks.flatMap((value) => [
      shape("line", {
        class: "grid",
        x1: MARGIN.left,
        x2: width - MARGIN.right,
        y1: y(value),
        y2: y(value),
      }),
      shape(
        "text",
        { class: "down", x: MARGIN.left - 7, y: y(value) + 4 },
        this.axis.format(value),
      ),
    ]);
  }

  #columns({ x }, width) {
    const most = Math.max(2, Math.floor((width - MARGIN.left) / COLUMN_PIXELS));
    const step = Math.max(1, roundStep((this.#lastEpoch - 1) / most));
    const epochs = [];
    for (let epoch = step === 1 ? 1 : step; epoch <= this.#lastEpoch; epoch += step)
      epochs.push(epoch);
    return epochs.map((epoch) =>
      shape("text", { class: "across", x: x(epoch), y: HEIGHT - 7 }, epoch),
    );
  }

  #rule({ x }) {
    const at = x(this.#epoch);
    return shape("line", {
      class: "rule",
      x1: at,
      x2: at,
      y1: MARGIN.top,
      y2: HEIGHT - MARGIN.bottom,
    });
  }

  /** A dot where the rule crosses a line, and where a line is a single point. */
  #dots({ points, colour, split }, { x, y }) {
    const marked = points.length === 1 ? points : points.filter(([epoch]) => epoch === this.#epoch);
    return marked.map(([epoch, value]) =>
      shape("circle", { class: `run-${colour} ${split}`, cx: x(epoch), cy: y(value), r: 3.5 }),
    );
  }

  #epochAt(event) {
    const box = this.svg.getBoundingClientRect();
    const { epoch } = this.#scale(box.width, this.#ticks());
    return Math.min(this.#lastEpoch, Math.max(1, epoch(event.clientX - box.left)));
  }
}

/** @returns {number[]} round numbers from at or below `low` to at or above `high` */
export function roundNumbers(low, high, most) {
  if (!Number.isFinite(low)) return [0, 1];
  if (low === high)
    [low, high] = [low - Math.abs(low) * 0.05 - 1e-3, high + Math.abs(high) * 0.05 + 1e-3];
  const step = roundStep((high - low) / most);
  const [first, last] = [Math.floor(low / step + 1e-9), Math.ceil(high / step - 1e-9)];
  return Array.from({ length: last - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
}

/** @returns {number[]} 1, 2, 5 times powers of ten, or powers alone where those are too many */
function roundPowers(low, high, most) {
  if (!Number.isFinite(low)) return [0.1, 1];
  const powers = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    powers.push(power);
  for (const steps of [[1, 2, 5], [1, 3], [1]]) {
    const all = powers.flatMap((power) =>
      steps.map((step) => Number((step * 10 ** power).toPrecision(3))),
    );
    const [first, last] = [
      all.findLastIndex((value) => value <= low),
      all.findIndex((value) => value >= high),
    ];
    const ticks = all.slice(
      Math.max(0, first),
      last < 0 ? undefined : Math.max(last, first + 1) + 1,
    );
    if (ticks.length <= most + 2 || steps.length === 1) return ticks;
  }
}

/** @returns {number[]} round shares, ascending; 1 is one of them where a value is */
function sharesByError(values) {
  const errors = values.map((value) => 1 - value).filter((error) => error > 0);
  const ticks = roundPowers(Math.min(...errors), Math.max(...errors), MOST_ROWS);
  const shares = ticks.map((error) => Number((1 - error).toPrecision(12))).toReversed();
  return values.some((value) => value >= 1) ? [...shares, 1] : shares;
}

/** The least of 1, 2, 5 times a power of ten that is not below `least`. */
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least || 1));
  return [1, 2, 5, 10].find((step) => step * power >= least * (1 - 1e-9)) * power;
}

function line({ points, colour, split }, { x, y }) {
  const path = points.map(
    ([epoch, value], i) => `${i ? "L" : "M"}${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`,
  );
  return shape("path", { class: `run-${colour} ${split}`, d: path.join("") });
}

function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
