// preprocessing/transparency.py in JavaScript: what lies behind transparent pixels.

import { dilated, reduced, resized } from "./resample.js";

const SURVEY_SIDE = 20;
const [SOLID, SOLID_PLAIN] = [0.35, 0.45];
const FULL = 0.8;
const STEP = 0.25;

/** @param grids red, green, blue weighted by alpha, and alpha, 0 to 1 @returns {Float32Array} grey levels */
export function flatten([red, green, blue, alpha]) {
  const grey = red.data.map((r, i) => 0.299 * r + 0.587 * green.data[i] + 0.114 * blue.data[i]);
  const most = greatest(alpha.data);
  if (!most) return grey.fill(1);
  if (alpha.data.every((value) => value === 1)) return grey;
  const levels = grey.map((value, i) => value / Math.max(alpha.data[i], 1e-6));
  const isOpaque = Uint8Array.from(alpha.data, (value) => value > most / 2);
  const { paper, spread } = survey({ ...alpha, data: grey }, alpha, { ...alpha, data: isOpaque }, most);
  if (paper === null) {
    const background = Number(sum(grey) <= 0.5 * sum(alpha.data));
    return grey.map((value, i) => value + background * (1 - alpha.data[i]));
  }
  const away = levels.map((value) => Math.abs(value - paper));
  const isEdge = besideClear({ ...alpha, data: isOpaque });
  const isKnown = isOpaque.map((opaque, i) => opaque && (!isEdge[i] || away[i] <= STEP / 2));
  const isPaper = isKnown.map((known, i) => known && away[i] <= Math.max(spread, STEP) / 2);
  const filled = continued({ ...alpha, data: levels }, Float32Array.from(isPaper));
  return levels.map((value, i) => (isKnown[i] ? value : filled.data[i]));
}

/** The level of the paper, null if there are strokes alone, and how far levels depart from it. */
function survey(grey, alpha, isOpaque, most) {
  const box = boxOf(isOpaque);
  const factor = Math.max(1, Math.floor(Math.max(box.right - box.left, box.bottom - box.top) / SURVEY_SIDE));
  const [smallGrey, small] = [grey, alpha].map((grid) => reduced(cropped(grid, box), factor));
  const mask = { ...small, data: Array.from(small.data, (value) => value > most / 2) };
  if (!mask.data.includes(true)) return { paper: null, spread: 0 }; // specks, far apart
  const levels = smallGrey.data.map((value, i) => value / Math.max(small.data[i], 1e-6));
  const rim = levels.filter((_, i) => mask.data[i] && !isInside(mask, i));
  const paper = median(rim);
  const away = levels.filter((_, i) => mask.data[i]).map((value) => Math.abs(value - paper));
  const spread = greatest(away);
  const isPlain = spread < STEP / 2;
  if (widestSquare(mask) >= Math.ceil((isPlain ? SOLID_PLAIN : SOLID) * Math.max(mask.width, mask.height))) {
    const isDot = 2 * Math.max(box.right - box.left, box.bottom - box.top) < Math.max(grey.width, grey.height);
    return { paper: isPlain && (isDot || isFramed(isOpaque)) ? null : paper, spread };
  }
  const isStrip = away.length > FULL * mask.data.length && spread > STEP;
  const other = away.filter((value) => value > STEP);
  const isOutlined =
    other.length > 0.1 * away.length &&
    median(other) > 2 * STEP &&
    rim.filter((value) => Math.abs(value - paper) > STEP).length < 0.1 * rim.length;
  return { paper: isStrip || isOutlined ? paper : null, spread };
}

function boxOf({ width, height, data }) {
  const box = { left: width, top: height, right: 0, bottom: 0 };
  data.forEach((value, i) => {
    if (!value) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    [box.left, box.top] = [Math.min(box.left, x), Math.min(box.top, y)];
    [box.right, box.bottom] = [Math.max(box.right, x + 1), Math.max(box.bottom, y + 1)];
  });
  return box;
}

function cropped({ width, data }, { left, top, right, bottom }) {
  const size = { width: right - left, height: bottom - top };
  const at = (i) => (top + Math.floor(i / size.width)) * width + left + (i % size.width);
  return { ...size, data: Float32Array.from({ length: size.width * size.height }, (_, i) => data[at(i)]) };
}

function isInside({ width, height, data }, index) {
  const [x, y] = [index % width, Math.floor(index / width)];
  if (x === 0 || y === 0 || x === width - 1 || y === height - 1) return false;
  return [-1, 0, 1].every((row) => [-1, 0, 1].every((column) => data[index + row * width + column]));
}

function widestSquare({ width, data }) {
  const sides = new Int32Array(data.length); // of the largest square whose last pixel this is
  data.forEach((isSet, i) => {
    const hasBefore = i % width > 0 && i >= width;
    if (isSet) sides[i] = hasBefore ? 1 + Math.min(sides[i - 1], sides[i - width], sides[i - width - 1]) : 1;
  });
  return greatest(sides);
}

function isFramed({ width, height, data }) {
  const isAtEnd = (i) => i % width === 0 || i % width === width - 1 || i < width || i >= width * (height - 1);
  return data.every((isSet, i) => isSet || !isAtEnd(i)) && data.includes(0);
}

/** Along the edge of all but the smallest holes. */
function besideClear({ width, height, data }) {
  const eroded = dilated({ width, height, data: Float32Array.from(data) }, 3);
  return dilated({ width, height, data: eroded.data.map((value) => Number(!value)) }, 7).data;
}

function continued(grid, weight) {
  const { width, height, data } = grid;
  if (data.length === 1 || weight.every((value) => value)) return grid;
  const shares = reduced({ width, height, data: weight }, 2);
  const means = reduced({ width, height, data: data.map((value, i) => value * weight[i]) }, 2);
  means.data = means.data.map((value, i) => value / Math.max(shares.data[i], 1e-6));
  const small = continued(means, shares.data.map((value) => Number(value > 0)));
  const filled = resized(small, width, height, "bilinear");
  return { width, height, data: data.map((value, i) => (weight[i] > 0 ? value : filled.data[i])) };
}

function median(values) {
  const sorted = values.slice().sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);
const greatest = (values) => values.reduce((most, value) => Math.max(most, value), 0);
