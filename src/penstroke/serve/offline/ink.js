// preprocessing/ in JavaScript, for the browser: any image to the 28×28 that a network reads.
//
// Step by step what Python does, with its names; tests compare the two, image by image. A grid is
// {width, height, data}: levels of 0 to 1, row by row.

import { countCharacters, findComponents } from "./components.js";
import { cumulated, histogram, otsu } from "./histogram.js";
import { dilated, reduced, resized } from "./resample.js";
import { flatten } from "./transparency.js";

const SIZE = 28;
const CENTER = 14.5;
const WORKING_SIDE = 400;
const SURFACE_SIDE = 40;
const WIDEST_STROKE = 0.6;
const THICKEST = 0.42;
const EVEN = 0.06;
const SPECK = 0.03;
const THIN = 0.12;

/**
 * @param {ImageData} image upright
 * @param {object} settings as the model's metadata has them: box_pixels, center, …
 * @returns {{pixels: Uint8Array, isBlank: boolean, characters: number}} 28×28
 */
export function preprocess(image, settings) {
  return normalize(findInk(readGrey(image), settings), settings);
}

/** Grey levels, large images averaged down; what lies behind transparent parts filled in. */
export function readGrey({ width, height, data }) {
  const isOpaque = data.every((value, index) => index % 4 !== 3 || value === 255);
  const planes = isOpaque ? [luma(data)] : [...premultiplied(data)];
  const small = planes.map((plane) => reducedToWorkingSide({ width, height, data: plane }));
  const levels = small.map((grid) => ({ ...grid, data: grid.data.map((value) => value / 255) }));
  return isOpaque ? levels[0] : { ...levels[0], data: flatten(levels) };
}

/** As Pillow weights them, in its whole numbers (ITU-R BT.601). */
function luma(data) {
  const grey = new Float32Array(data.length / 4);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = (data[4 * i] * 19595 + data[4 * i + 1] * 38470 + data[4 * i + 2] * 7471 + 0x8000) >> 16;
  }
  return grey;
}

function* premultiplied(data) {
  for (let channel = 0; channel < 4; channel++) {
    const plane = new Float32Array(data.length / 4);
    for (let i = 0; i < plane.length; i++) {
      const product = data[4 * i + channel] * data[4 * i + 3] + 128;
      plane[i] = channel === 3 ? data[4 * i + 3] : (product + (product >> 8)) >> 8;
    }
    yield plane;
  }
}

function reducedToWorkingSide(grid) {
  const factor = Math.floor(Math.max(grid.width, grid.height) / WORKING_SIDE);
  return factor < 2 ? grid : reduced(grid, factor, Math.round);
}

export function findInk(grey, settings) {
  const nothing = { ...grey, data: new Float32Array(grey.data.length) };
  if (spread(grey.data) < settings.min_contrast) return nothing;
  const depth = depthOf(grey);
  const counts = histogram(depth);
  const split = otsu(counts);
  const below = cumulated(counts);
  const [paper, everything] = [below[split - 1], below[255]];
  const level = (wanted) => below.findIndex((count) => count >= wanted) / 255;
  // The nine-tenths quantile of what lies above the threshold is full ink.
  const step = level(paper + 0.9 * (everything - paper));
  if (step < settings.min_contrast) return nothing;
  const threshold = split / 255;
  // Half of a bell stands above the paper's level: its 0.68 quantile is the standard deviation.
  const noise = Math.min(3 * level(0.84 * paper), 0.6 * threshold);
  const faint = Math.max(settings.noise_floor, noise / step);
  const amount = depth.map((value) => {
    const share = Math.min(value / step, 1);
    return share < faint ? 0 : share;
  });
  return withoutDirt({ ...grey, data: amount }, threshold / step);
}

function withoutDirt(ink, strong) {
  const { labels, boxes } = findComponents(ink);
  const count = boxes.length;
  if (count < 2) return ink;
  const mass = new Float64Array(count);
  const isStrong = new Uint8Array(count);
  ink.data.forEach((amount, i) => {
    const component = labels[i] - 1;
    if (component < 0) return;
    mass[component] += amount;
    isStrong[component] |= amount > strong;
  });
  const main = mass.indexOf(maximum(mass));
  const isOutside = outside(boxes, main, ink);
  const keep = mass.map((m, k) => isStrong[k] && m > SPECK * mass[main] && !isOutside[k]);
  if (!keep.includes(1)) return ink;
  return { ...ink, data: ink.data.map((amount, i) => (keep[labels[i] - 1] ? amount : 0)) };
}

function outside(boxes, main, { width, height }) {
  const atEnd = ({ left, right }) => left === 0 || right === width;
  const atTop = ({ top, bottom }) => top === 0 || bottom === height;
  if (!atEnd(boxes[main]) && !atTop(boxes[main])) return boxes.map((box) => atEnd(box) || atTop(box));
  return boxes.map((box, k) => {
    const isFlat = box.bottom - box.top <= Math.max(2, THIN * height);
    const isUpright = box.right - box.left <= Math.max(2, THIN * width);
    return k !== main && ((isFlat && atTop(box)) || (isUpright && atEnd(box)));
  });
}

/** How far each pixel is from paper towards ink. */
function depthOf(grey) {
  const ring = border(grey).sort();
  const paper = ring[ring.length >> 1];
  const tenth = Math.floor(ring.length / 10);
  if (ring[ring.length - 1 - tenth] - ring[tenth] < EVEN) {
    return depthFrom(paper, grey, mean(grey.data) < paper);
  }
  const small = reducedToSurface(grey);
  const threshold = otsu(histogram(small.data)) / 255;
  const isBright = small.data.map((value) => value > threshold);
  const isDark = mean(border({ ...small, data: isBright })) > 0.5;
  const isInk = isBright.map((bright) => Number(bright) ^ Number(isDark));
  if (isDrawn(small, isInk)) {
    return depthFrom(median(small.data.filter((_, i) => !isInk[i])), grey, isDark);
  }
  return depthBelow(isDarkInk(small) ? grey : { ...grey, data: grey.data.map((value) => 1 - value) });
}

function depthFrom(paper, grey, isDark) {
  return grey.data.map((value) => Math.max(isDark ? paper - value : value - paper, 0));
}

/** The four sides, corners twice. */
function border({ width, height, data }) {
  const column = (x) => Array.from({ length: height }, (_, y) => data[y * width + x]);
  const row = (y) => Array.from(data.subarray(y * width, (y + 1) * width));
  return Float32Array.from([...row(0), ...row(height - 1), ...column(0), ...column(width - 1)]);
}

function reducedToSurface(grey) {
  return reduced(grey, Math.max(1, Math.floor(Math.max(grey.width, grey.height) / SURFACE_SIDE)));
}

/** Whether ink that reaches the border is as thin as strokes, on paper of one level. */
function isDrawn({ width, height, data }, isInk) {
  const area = sum(isInk);
  if (area === 0 || area === isInk.length) return false;
  const paper = data.filter((_, i) => !isInk[i]).sort();
  if (mean(data.filter((_, i) => isInk[i])) < paper[0]) paper.reverse();
  let outline = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const here = isInk[y * width + x];
      if (y > 0) outline += here ^ isInk[(y - 1) * width + x];
      if (x > 0) outline += here ^ isInk[y * width + x - 1];
    }
  }
  const thickness = (2 * area) / Math.max(1, outline);
  const variation = Math.abs(paper[paper.length >> 1] - paper[Math.floor(paper.length / 20)]);
  return variation < EVEN / 2 && thickness < THICKEST * Math.max(width, height);
}

/** Whether what departs most from the light, estimated from the border, is darker. */
function isDarkInk(grid) {
  const { width, height, data } = grid;
  const terms = [];
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const y = height > 1 ? (2 * row) / (height - 1) - 1 : -1;
      const x = width > 1 ? (2 * column) / (width - 1) - 1 : -1;
      terms.push([1, x, y, x * y, x * x, y * y]);
    }
  }
  const indices = border({ ...grid, data: Float32Array.from(data.keys()) });
  const light = leastSquares(Array.from(indices, (i) => terms[i]), Array.from(indices, (i) => data[i]));
  return sum(data.map((value, i) => (value - dot(terms[i], light)) ** 3)) < 0;
}

function depthBelow(grey) {
  const small = reducedToSurface(grey);
  const reach = Math.round(WIDEST_STROKE * Math.max(small.width, small.height));
  const closed = cropped(closing(padded(small, reach), reach), reach, small);
  const smooth = resized(closed, grey.width, grey.height, "bilinear");
  const depth = smooth.data.map((value, i) => value - grey.data[i]);
  const middle = mean(depth);
  const paper = spread(depth) ? median(depth.filter((value) => value < middle)) : 0;
  return depth.map((value) => Math.min(Math.max(value - paper, 0), 1));
}

function padded({ width, height, data }, by) {
  const wide = { width: width + 2 * by, height: height + 2 * by };
  wide.data = new Float32Array(wide.width * wide.height);
  for (let y = 0; y < wide.height; y++) {
    for (let x = 0; x < wide.width; x++) {
      const from = clamp(y - by, 0, height - 1) * width + clamp(x - by, 0, width - 1);
      wide.data[y * wide.width + x] = data[from];
    }
  }
  return wide;
}

function cropped({ width, data }, by, size) {
  const inside = new Float32Array(size.width * size.height);
  for (let y = 0; y < size.height; y++) {
    const start = (y + by) * width + by;
    inside.set(data.subarray(start, start + size.width), y * size.width);
  }
  return { ...size, data: inside };
}

/** Dark parts narrower than `side` filled up (Serra 1982). */
const closing = (grid, side) => negative(dilated(negative(dilated(grid, side)), side));

const negative = (grid) => ({ ...grid, data: grid.data.map((value) => -value) });

export function normalize(ink, settings) {
  const pixels = new Uint8Array(SIZE * SIZE);
  const box = boxOf(ink);
  if (box === null) return { pixels, isBlank: true, characters: 0 };
  const scaled = scaledToBox(crop(ink, box), settings.box_pixels);
  const top = corner(profile(scaled, false), settings);
  const left = corner(profile(scaled, true), settings);
  for (let y = 0; y < scaled.height; y++) {
    for (let x = 0; x < scaled.width; x++) {
      pixels[(top + y) * SIZE + left + x] = roundHalfEven(scaled.data[y * scaled.width + x] * 255);
    }
  }
  return { pixels, isBlank: false, characters: countCharacters(ink) };
}

function boxOf({ width, height, data }) {
  const box = { left: width, top: height, right: 0, bottom: 0 };
  data.forEach((amount, i) => {
    if (!amount) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    Object.assign(box, {
      left: Math.min(box.left, x), top: Math.min(box.top, y),
      right: Math.max(box.right, x + 1), bottom: Math.max(box.bottom, y + 1),
    });
  });
  return box.right ? box : null;
}

function crop({ width, data }, { left, top, right, bottom }) {
  const rows = Array.from({ length: bottom - top }, (_, y) => data.slice((top + y) * width + left, (top + y) * width + right));
  return { width: right - left, height: bottom - top, data: Float32Array.from(rows.flatMap((row) => [...row])) };
}

function scaledToBox(ink, side) {
  const scale = side / Math.max(ink.width, ink.height);
  const [width, height] = [ink.width, ink.height].map((length) => Math.max(1, roundHalfEven(length * scale)));
  const scaled = resized(ink, width, height, "bicubic");
  const data = scaled.data.map((value) => clamp(value, 0, 1));
  const full = Math.max(maximum(data), 1e-6);
  return { ...scaled, data: data.map((value) => value / full) };
}

function profile({ width, height, data }, ofColumns) {
  const sums = new Float64Array(ofColumns ? width : height);
  data.forEach((value, i) => (sums[ofColumns ? i % width : Math.floor(i / width)] += value));
  return sums;
}

function corner(sums, settings) {
  const mass = sum(sums.map((value, i) => value * (i + 0.5))) / sum(sums);
  const offset = settings.center === "mass" ? CENTER - mass : (SIZE - sums.length) / 2;
  return clamp(roundHalfEven(offset), 0, SIZE - sums.length);
}

/** By the normal equations, solved by elimination with pivots; the smallest possible of few terms. */
function leastSquares(rows, values) {
  const count = rows[0].length;
  const system = Array.from({ length: count }, (_, i) => [
    ...Array.from({ length: count }, (_, j) => sum(rows.map((row) => row[i] * row[j])) + (i === j ? 1e-9 : 0)),
    sum(rows.map((row, k) => row[i] * values[k])),
  ]);
  for (let i = 0; i < count; i++) {
    const pivot = system.slice(i).reduce((best, row, k) => (Math.abs(row[i]) > Math.abs(system[best][i]) ? i + k : best), i);
    [system[i], system[pivot]] = [system[pivot], system[i]];
    for (let k = 0; k < count; k++) {
      if (k === i) continue;
      const factor = system[k][i] / system[i][i];
      for (let j = i; j <= count; j++) system[k][j] -= factor * system[i][j];
    }
  }
  return system.map((row, i) => row[count] / row[i]);
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const sum = (values) => values.reduce((total, value) => total + value, 0);
const mean = (values) => sum(values) / values.length;
const dot = (a, b) => sum(a.map((value, i) => value * b[i]));
const minimum = (values) => values.reduce((least, value) => Math.min(least, value), Infinity);
const maximum = (values) => values.reduce((most, value) => Math.max(most, value), -Infinity);
const spread = (values) => maximum(values) - minimum(values);

function median(values) {
  const sorted = values.slice().sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** As Python and NumPy round. */
function roundHalfEven(value) {
  const low = Math.floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 ? low + 1 : low;
}
