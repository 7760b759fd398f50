// Several runs in one plot: curves, a legend that is a table, and one epoch to read them at.

import { Chart } from "./chart.js";
import { element, percent } from "./words.js";

/** @typedef {import("./runs.js").Run} Run */

export class Comparison {
  /** `end`: the epoch that it goes on to. @type {(Run & {colour: number, end: number})[]} */
  #runs = [];
  /** @type {number | null} the epoch to read at; null: each run's own, the one that was kept */
  #epoch = null;

  /** @param {(id: string) => HTMLElement} find the places on the page */
  constructor(find) {
    this.places = Object.fromEntries(
      ["epoch", "at", "kept", "figures"].map((id) => [id, find(id)]),
    );
    const point = (epoch) => this.#point(epoch);
    this.loss = new Chart(find("loss"), { format: short, least: 0 }, point);
    this.accuracy = new Chart(
      find("accuracy"),
      { format: (v) => `${short(100 * v)} %`, most: 1, least: 0, isShare: true },
      point,
    );
    this.logarithmic = find("logarithmic");
    this.title = find("accuracy-title");
    this.logarithmic.addEventListener("change", () => this.show(this.#runs));
    this.places.epoch.addEventListener("input", () => point(this.places.epoch.valueAsNumber));
    this.places.kept.addEventListener("click", () => point(null));
  }

  show(runs) {
    this.#runs = runs;
    const last = Math.max(1, ...runs.map(({ history }) => history.at(-1)?.epoch ?? 1));
    const end = Math.max(last, ...runs.map((run) => run.end || 1));
    const names = runs.map(({ name }) => name).join(", ") || "no run";
    const isLog = this.logarithmic.checked;
    this.title.textContent = isLog ? "accuracy, by the logarithm of the errors" : "accuracy";
    const said = (figure) => `${figure} by epoch: ${names}. The table below has the figures.`;
    this.loss.show(seriesOf(runs, "loss"), end, isLog, said("loss"));
    this.accuracy.show(seriesOf(runs, "accuracy"), end, isLog, said("accuracy"));
    this.places.epoch.max = last;
    this.places.epoch.disabled = last === 1;
    this.#point(this.#epoch);
  }

  #point(epoch) {
    this.#epoch = epoch;
    this.loss.point(epoch);
    this.accuracy.point(epoch);
    this.places.at.textContent = epoch ?? "";
    this.places.kept.disabled = epoch === null;
    this.places.epoch.value = epoch ?? this.places.epoch.max;
    this.places.figures.replaceChildren(...this.#runs.map((run) => row(run, epoch)));
  }
}

function seriesOf(runs, figure) {
  const points = (history, key) =>
    history.filter((line) => Number.isFinite(line[key])).map((line) => [line.epoch, line[key]]);
  return runs.flatMap(({ history, colour }) =>
    ["train", "val"].map((split) => ({
      colour,
      split,
      points: points(history, `${split}_${figure}`),
    })),
  );
}

function row({ name, colour, history, diagnosis, test_accuracy: test }, epoch) {
  const best = history.at(-1)?.best_epoch ?? history.at(-1)?.epoch;
  const line = history.find((one) => one.epoch === (epoch ?? best)) ?? {};
  const swatch = element("span", { className: `swatch run-${colour}` });
  const said = element("small", { className: "soft", textContent: diagnosis ?? "" });
  const figures = [
    line.epoch ? `${line.epoch}${line.epoch === best ? " ✓" : ""}` : "–",
    fixed(line.train_loss),
    fixed(line.val_loss),
    percent(line.train_accuracy, 2),
    percent(line.val_accuracy, 2),
    percent(test, 2),
    rate(line.learning_rate),
    line.elapsed_seconds == null ? "–" : `${line.elapsed_seconds.toFixed(1)} s`,
  ];
  const heading = element("th", { scope: "row" }, swatch, name, said);
  return element("tr", {}, heading, ...figures.map((text) => element("td", { textContent: text })));
}

const fixed = (value) => (value == null ? "–" : value.toFixed(4));
const rate = (value) =>
  value == null ? "–" : value < 1e-3 ? value.toExponential(1) : value.toPrecision(2);
const short = (value) => String(Number(value.toPrecision(6)));
