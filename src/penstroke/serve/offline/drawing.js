// Strokes, as points of a pen, to ink: strokes.py. Drawn larger and averaged.

import { reduced } from "./resample.js";

const CHARACTER_SIDE = 100;
const SUPERSAMPLING = 4;

/** @param {{strokes: number[][][], pen_width: number, width: number, height: number}} drawing */
export function inkOf({ strokes, pen_width: pen, width, height }) {
  const points = strokes.flat();
  if (!points.length) return { width: 1, height: 1, data: new Float32Array(1) };
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const left = Math.max(Math.min(...xs) - pen, 0);
  const top = Math.max(Math.min(...ys) - pen, 0);
  const [across, down] = [Math.min(Math.max(...xs) + pen, width) - left, Math.min(Math.max(...ys) + pen, height) - top];
  if (across <= 0 || down <= 0) return { width: 1, height: 1, data: new Float32Array(1) };
  const zoom = (SUPERSAMPLING * CHARACTER_SIDE) / Math.max(across, down, 1);
  const sides = [across, down].map((side) => SUPERSAMPLING * Math.max(1, Math.round((side * zoom) / SUPERSAMPLING)));
  const context = new OffscreenCanvas(...sides).getContext("2d");
  context.scale(zoom, zoom);
  context.translate(-left, -top);
  context.lineCap = context.lineJoin = "round";
  strokes.forEach((stroke) => draw(context, stroke, pen));
  const { data } = context.getImageData(0, 0, ...sides);
  const alpha = Float32Array.from({ length: data.length / 4 }, (_, i) => data[4 * i + 3] / 255);
  return reduced({ width: sides[0], height: sides[1], data: alpha }, SUPERSAMPLING);
}

/** A half of full pressure is the pen's own width. */
function draw(context, stroke, pen) {
  const widthAt = ([, , pressure]) => pen * (pressure === undefined ? 1 : 0.5 + Math.min(Math.max(pressure, 0), 1));
  stroke.forEach((point, i) => {
    const before = stroke[Math.max(i - 1, 0)];
    context.lineWidth = (widthAt(before) + widthAt(point)) / 2;
    context.beginPath();
    context.moveTo(before[0], before[1]);
    context.lineTo(point[0], point[1]);
    context.stroke();
  });
}
