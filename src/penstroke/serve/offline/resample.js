// Images made smaller and larger as Pillow does: averaging by whole steps, and its two filters.

/** Averages of `factor`×`factor` pixels; what is left over at the end counts for itself. */
export function reduced({ width, height, data }, factor, round = (value) => value) {
  const [across, down] = [Math.min(factor, width), Math.min(factor, height)];
  const size = { width: Math.ceil(width / across), height: Math.ceil(height / down) };
  const small = new Float32Array(size.width * size.height);
  for (let row = 0; row < size.height; row++) {
    for (let column = 0; column < size.width; column++) {
      const [bottom, right] = [Math.min((row + 1) * down, height), Math.min((column + 1) * across, width)];
      let total = 0;
      for (let y = row * down; y < bottom; y++) for (let x = column * across; x < right; x++) total += data[y * width + x];
      const count = (bottom - row * down) * (right - column * across);
      small[row * size.width + column] = round(total / count);
    }
  }
  return { ...size, data: small };
}

/** The maximum of a square of `side` around each pixel. */
export function dilated(grid, side) {
  const [before, after] = [side >> 1, (side - 1) >> 1];
  let { data } = grid;
  for (const [step, stride, length] of [
    [grid.width, 1, grid.height],
    [1, grid.width, grid.width],
  ]) {
    const lines = grid.data.length / length;
    const maxima = new Float32Array(data.length);
    for (let line = 0; line < lines; line++) {
      for (let at = 0; at < length; at++) {
        let most = -Infinity;
        const last = Math.min(at + after, length - 1);
        for (let k = Math.max(at - before, 0); k <= last; k++) most = Math.max(most, data[line * stride + k * step]);
        maxima[line * stride + at * step] = most;
      }
    }
    data = maxima;
  }
  return { ...grid, data };
}

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(1 - Math.abs(x), 0) },
  bicubic: { support: 2, weight: cubic },
};

/** Keys 1981 with a = -0.5. */
function cubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  if (t < 2) return ((-0.5 * t + 2.5) * t - 4) * t + 2;
  return 0;
}

/** A filter as wide as a pixel of the smaller image, first along rows, then along columns. */
export function resized({ width, height, data }, toWidth, toHeight, filter) {
  const rows = along(data, weights(width, toWidth, FILTERS[filter]), height, width, 1, toWidth, 1);
  const both = along(rows, weights(height, toHeight, FILTERS[filter]), toWidth, 1, toWidth, 1, toWidth);
  return { width: toWidth, height: toHeight, data: both };
}

function along(data, taps, lines, lineStride, step, toLineStride, toStep) {
  const result = new Float32Array(lines * taps.length);
  for (let line = 0; line < lines; line++) {
    taps.forEach(({ first, weights }, at) => {
      let total = 0;
      for (let k = 0; k < weights.length; k++) total += weights[k] * data[line * lineStride + (first + k) * step];
      result[line * toLineStride + at * toStep] = total;
    });
  }
  return result;
}

/** For each pixel of the result: where it begins to take from, and how much of each. */
function weights(length, toLength, { support, weight }) {
  const scale = length / toLength;
  const filterScale = Math.max(scale, 1);
  const reach = support * filterScale;
  return Array.from({ length: toLength }, (_, at) => {
    const center = (at + 0.5) * scale;
    const first = Math.max(Math.trunc(center - reach + 0.5), 0);
    const last = Math.min(Math.trunc(center + reach + 0.5), length);
    const raw = Array.from({ length: last - first }, (_, k) => weight((first + k - center + 0.5) / filterScale));
    const total = raw.reduce((sum, value) => sum + value, 0);
    return { first, weights: raw.map((value) => value / total) };
  });
}
