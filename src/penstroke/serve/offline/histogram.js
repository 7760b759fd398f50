// Levels of 0 to 1 counted in 256 steps, and what follows from the counts: _Histogram of ink.py.

export class Histogram {
  /** @param {Float32Array} values */
  constructor(values) {
    this.counts = new Float64Array(256);
    for (const value of values) this.counts[Math.trunc(Math.fround(value * 255))]++;
    let total = 0;
    this.below = this.counts.map((count) => (total += count));
  }

  /** The value that parts two classes of least variance within (Otsu 1979). */
  otsu() {
    const total = this.below[255];
    let [mass, best, at] = [0, -1, 0];
    const all = this.counts.reduce((sum, count, step) => sum + count * step, 0);
    for (let step = 0; step < 255; step++) {
      mass += this.counts[step] * step;
      const [below, above] = [this.below[step], total - this.below[step]];
      const gap = mass / Math.max(below, 1) - (all - mass) / Math.max(above, 1);
      const between = below * above * gap ** 2;
      if (between > best) [best, at] = [between, step];
    }
    return (at + 1) / 255;
  }

  /** The value that `share` of the values above `threshold` do not exceed. */
  quantileAbove(threshold, share) {
    const under = this.below[Math.round(threshold * 255) - 1];
    return this.#first(under + share * (this.below[255] - under)) / 255;
  }

  /** The deviation of the values below `threshold` from their least, robustly. */
  deviationBelow(threshold) {
    return this.#first(0.84 * this.below[Math.round(threshold * 255) - 1]) / 255;
  }

  #first(wanted) {
    return this.below.findIndex((count) => count >= wanted);
  }
}
