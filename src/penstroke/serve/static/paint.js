// How a sheet is painted: strokes as round pens leave them, images as large as they fit.

/** @typedef {import("./strokes.js").Content} Content */
/** @typedef {{x: number, y: number, width: number, height: number}} Rectangle */

/** Thickness at a pressure, of the pen's: 0.5, what a mouse is taken to press, gives 1. */
const thickness = (pressure = 0.5) => 0.5 + pressure;

/**
 * Paints `content` on a context whose unit is the sheet's.
 * @param {CanvasRenderingContext2D} context
 * @param {Content} content
 * @param {{penWidth: number, ink: string, width: number, height: number}} look
 */
export function paint(context, content, look) {
  if (content.image) {
    const { x, y, width, height } = fitted(content.image, look);
    context.imageSmoothingQuality = "high";
    context.drawImage(content.image.bitmap, x, y, width, height);
  }
  context.strokeStyle = context.fillStyle = look.ink;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of content.strokes) paintStroke(context, stroke, look.penWidth);
}

/**
 * Where an image lies on a sheet: whole, in the middle.
 * @returns {Rectangle}
 */
export function fitted(image, sheet) {
  const scale = Math.min(sheet.width / image.width, sheet.height / image.height);
  const [width, height] = [image.width * scale, image.height * scale];
  return { x: (sheet.width - width) / 2, y: (sheet.height - height) / 2, width, height };
}

function paintStroke(context, stroke, penWidth) {
  if (stroke.length === 1) paintDot(context, stroke[0], penWidth);
  else if (stroke[0].length === 3) paintPressed(context, stroke, penWidth);
  else paintEven(context, stroke, penWidth);
}

function paintDot(context, [x, y, pressure], penWidth) {
  context.beginPath();
  context.arc(x, y, (penWidth * thickness(pressure)) / 2, 0, 2 * Math.PI);
  context.fill();
}

function paintEven(context, stroke, penWidth) {
  context.lineWidth = penWidth;
  context.beginPath();
  stroke.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

/** A pen's pressure changes along the stroke: each piece has its own thickness. */
function paintPressed(context, stroke, penWidth) {
  for (let i = 1; i < stroke.length; i++) {
    const [[fromX, fromY, before], [toX, toY, now]] = [stroke[i - 1], stroke[i]];
    context.lineWidth = (penWidth * (thickness(before) + thickness(now))) / 2;
    context.beginPath();
    context.moveTo(fromX, fromY);
    context.lineTo(toX, toY);
    context.stroke();
  }
}
