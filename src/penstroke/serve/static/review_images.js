// Images of pages: the crop of a field, and the whole page with the field marked.

import { image } from "./review_api.js";

/** Pixels of a page around the field that its crop shows, its title too; most of it on screen. */
const [MARGIN, TITLE, WORDS] = [26, 50, 180];
const [MOST_SCALE, MOST_HEIGHT] = [2, 320];
const KEPT_PAGES = 6;
const FRAME = "#1f4e9c";

/** @type {Map<string, Promise<ImageBitmap>>} the latest last */
const bitmaps = new Map();

/** @param {string} page id @returns {Promise<ImageBitmap>} */
export function bitmapOf(page) {
  const known = bitmaps.get(page) ?? image(page).then((blob) => createImageBitmap(blob));
  bitmaps.delete(page);
  bitmaps.set(page, known);
  known.catch(() => bitmaps.delete(page));
  if (bitmaps.size > KEPT_PAGES) bitmaps.delete(bitmaps.keys().next().value);
  return known;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {ImageBitmap} bitmap
 * @param {number[]} box
 * @param {boolean} hasWords beside its last box, as marks have
 */
export function showCrop(canvas, bitmap, [left, top, right, bottom], hasWords) {
  const x = Math.max(left - MARGIN, 0);
  const y = Math.max(top - TITLE, 0);
  canvas.width = Math.max(Math.min(right + (hasWords ? WORDS : MARGIN), bitmap.width) - x, 1);
  canvas.height = Math.max(Math.min(bottom + MARGIN, bitmap.height) - y, 1);
  const scale = Math.min(MOST_SCALE, MOST_HEIGHT / canvas.height);
  canvas.style.width = `${Math.round(canvas.width * scale)}px`;
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, -x, -y);
  mark(context, [left - x, top - y, right - x, bottom - y], 2);
}

/** @param {HTMLCanvasElement} canvas @param {ImageBitmap} bitmap @param {number[]} box */
export function showPage(canvas, bitmap, box) {
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  mark(context, box, 6);
}

function mark(context, [left, top, right, bottom], width) {
  const gap = 6 + width;
  context.strokeStyle = FRAME;
  context.lineWidth = width;
  context.strokeRect(left - gap, top - gap, right - left + 2 * gap, bottom - top + 2 * gap);
}
