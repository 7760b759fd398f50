// Levels of 0 to 1 counted in 256 steps, and Otsu's threshold: ink.py.

/** @param {Float32Array} values @returns {Float64Array} how many fall into each of 256 steps */
export function histogram(values) {
  const counts = new Float64Array(256);
  for (const value of values) counts[Math.trunc(Math.fround(value * 255))]++;
  return counts;
}

/** @returns {Float64Array} how many lie in each step or below it */
export function cumulated(counts) {
  let total = 0;
  return counts.map((count) => (total += count));
}

/** The step that separates the counts into two classes of least variance (Otsu 1979). */
export function otsu(counts) {
  const below = cumulated(counts);
  const total = below[255];
  const all = counts.reduce((sum, count, step) => sum + count * step, 0);
  let [mass, best, at] = [0, -1, 0];
  for (let step = 0; step < 255; step++) {
    mass += counts[step] * step;
    const above = total - below[step];
    const gap = mass / Math.max(below[step], 1) - (all - mass) / Math.max(above, 1);
    const between = below[step] * above * gap ** 2;
    if (between > best) [best, at] = [between, step];
  }
  return at + 1;
}
