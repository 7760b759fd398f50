// The list of all runs: filtered, sorted, each to be put into the comparison.

import { element, percent, withCode } from "./words.js";

/** Names read from a to z; of all else the highest, or the newest, comes first. */
const ASCENDING = new Set(["name", "dataset"]);

/** @typedef {import("./runs.js").Run} Run */

export class RunList {
  #runs = [];
  #compared = new Map();
  #isFull = false;
  #served = new Set();
  #sort = { by: "created", isDescending: true };
  /** @type {Map<string, Row>} */
  #rows = new Map();

  /**
   * @param {(id: string) => HTMLElement} find the places on the page
   * @param {{compare: (name: string, isWanted: boolean) => void, isLive: (run: Run) => boolean}} outside
   */
  constructor(find, outside) {
    this.outside = outside;
    this.places = Object.fromEntries(
      ["rows", "shown", "filter", "no-runs"].map((id) => [id, find(id)]),
    );
    this.headings = [...document.querySelectorAll("[data-sort]")];
    this.places.filter.addEventListener("input", () => this.#draw());
    for (const heading of this.headings)
      heading.addEventListener("click", () => this.#sortBy(heading.dataset.sort));
  }

  /** @param {string[]} names of models that the drawing page can ask */
  setServed(names) {
    this.#served = new Set(names);
  }

  /** @param {object[]} runs @param {Map<string, number>} compared colours by name */
  show(runs, compared, isFull) {
    this.#runs = runs;
    this.#compared = compared;
    this.#isFull = isFull;
    this.#draw();
  }

  #sortBy(by) {
    const isSame = by === this.#sort.by;
    this.#sort = { by, isDescending: isSame ? !this.#sort.isDescending : !ASCENDING.has(by) };
    this.#draw();
  }

  #draw() {
    const words = this.places.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = this.#runs.filter((run) => words.every((word) => this.#text(run).includes(word)));
    this.#order(shown);
    this.#showRows(shown);
    this.#showHeadings();
    this.places.shown.textContent = words.length
      ? `${shown.length} of ${this.#runs.length}`
      : String(this.#runs.length);
    this.places["no-runs"].hidden = shown.length > 0;
    const said = words.length ? "No run answers to that." : "No runs yet: `penstroke train` makes one.";
    this.places["no-runs"].replaceChildren(...withCode(said));
  }

  #text(run) {
    return `${run.name} ${run.dataset} ${this.#status(run)}`.toLowerCase();
  }

  #status(run) {
    return this.outside.isLive(run) ? "live" : run.status;
  }

  #order(runs) {
    const { by, isDescending } = this.#sort;
    const way = isDescending ? -1 : 1;
    const compare = (a, b) =>
      a === b ? 0 : a == null ? 1 : b == null ? -1 : way * (a < b ? -1 : 1);
    runs.sort((a, b) => compare(a[by], b[by]) || (a.created < b.created ? 1 : -1));
  }

  #showRows(runs) {
    for (const { name } of runs)
      if (!this.#rows.has(name)) this.#rows.set(name, new Row(name, this.outside.compare));
    const rows = runs.map(({ name }) => this.#rows.get(name));
    rows.forEach((row, i) => {
      const { name } = runs[i];
      row.show(
        runs[i],
        this.#status(runs[i]),
        this.#compared.get(name),
        this.#isFull,
        this.#served.has(name),
      );
    });
    const elements = rows.map((row) => row.element);
    const isSame =
      elements.length === this.places.rows.children.length &&
      elements.every((e, i) => e === this.places.rows.children[i]);
    if (isSame) return;
    const focused = document.activeElement;
    this.places.rows.replaceChildren(...elements);
    if (elements.some((one) => one.contains(focused))) focused.focus({ preventScroll: true });
  }

  #showHeadings() {
    const { by, isDescending } = this.#sort;
    for (const heading of this.headings) {
      const isSorted = heading.dataset.sort === by;
      heading.dataset.order = isSorted ? (isDescending ? "descending" : "ascending") : "";
      const now = isSorted ? `, now ${heading.dataset.order}` : "";
      heading.ariaLabel = `sort by ${heading.textContent}${now}`;
    }
  }
}

class Row {
  #box = element("input", { type: "checkbox", autocomplete: "off" });
  #name = element("span", { className: "run-name" });
  #status = element("span", { className: "status" });
  #started = element("time");
  /** What has no column of its own where there is little room. */
  #narrow = element("span", { className: "narrow" });
  #draw = element("a", { textContent: "draw" });
  #report = element("a", { textContent: "report" });
  #reason = element("span", { className: "reason" });
  #cells = Array.from({ length: 4 }, () => element("td"));

  constructor(name, compare) {
    this.#name.textContent = name;
    this.#draw.href = `./?${new URLSearchParams({ model: name })}`;
    this.#box.addEventListener("change", () => compare(name, this.#box.checked));
    const label = element("label", {}, this.#box, this.#name);
    const below = element(
      "small",
      { className: "soft below" },
      this.#status,
      this.#started,
      this.#narrow,
      this.#report,
      this.#draw,
      this.#reason,
    );
    this.element = element("tr", {}, element("th", { scope: "row" }, label, below), ...this.#cells);
  }

  show(run, status, colour, isFull, isServed) {
    const isCompared = colour !== undefined;
    this.#box.checked = isCompared;
    this.#box.disabled = isFull && !isCompared;
    this.#box.className = isCompared ? `run-${colour}` : "";
    this.#status.textContent = status;
    this.#status.dataset.status = status;
    this.#reason.replaceChildren(...withCode(run.reason ?? ""));
    this.#report.href = run.report ?? "";
    this.#report.hidden = !run.report;
    this.#started.textContent = startedAt(run.created);
    this.#started.dateTime = run.created ?? "";
    this.#draw.hidden = !isServed;
    const isKnown = status !== "damaged";
    const isWhole = status === "finished" || !(run.total_epochs >= run.epochs);
    const epochs = isWhole || !isKnown ? run.epochs || "–" : `${run.epochs} of ${run.total_epochs}`;
    this.#narrow.textContent = isKnown ? `${run.dataset}, epochs: ${epochs}` : "";
    const texts = [
      run.dataset,
      epochs,
      percent(run.val_accuracy, 2),
      percent(run.test_accuracy, 2),
    ];
    this.#cells.forEach((cell, i) => (cell.textContent = texts[i]));
  }
}

function startedAt(created) {
  const date = new Date(created);
  if (Number.isNaN(date.valueOf())) return "";
  return date.toLocaleString("en", {
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
}
