// Images that come from outside: opened, turned upright, made small enough for the service.

/**
 * @typedef {object} OpenedImage
 * @property {ImageBitmap} bitmap what is shown
 * @property {Blob} blob what is sent
 * @property {string} name
 * @property {number} width
 * @property {number} height
 */

/** What the service takes, and the pixels that it scales larger images down to. */
const MOST_BYTES = 8_000_000;
const MOST_PIXELS = 4_000_000;
const SENT_AS_THEY_ARE = new Set(["image/png", "image/jpeg", "image/webp"]);
/** Of an image that is kept as a correction, which is sent as text: JSON of a megabyte at most. */
const KEPT_SIDE = 800;
const KEPT_BYTES = 450_000;
/** Of a character cut out of a line, in pixels; and the paper around it, of its longer side. */
const [CUT_SIDE, CUT_MARGIN] = [200, 0.06];

/**
 * Opens an image that was pasted, dropped or chosen.
 * @param {File} file
 * @returns {Promise<OpenedImage>}
 * @throws {Error} with words for a person, where it is not an image
 */
export async function openImage(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name || "This"} is not an image that this browser can open.`);
  }
  const { width, height } = bitmap;
  const blob = fits(file, bitmap) ? file : await scaledDown(bitmap);
  return { bitmap, blob, name: file.name, width, height };
}

/** An image as base64 PNG for a correction. */
export async function keptImage(image) {
  const isSmall = image.blob.type === "image/png" && image.blob.size < KEPT_BYTES;
  const side = Math.max(image.width, image.height);
  return base64(isSmall ? image.blob : await redrawn(image.bitmap, KEPT_SIDE / side, "image/png"));
}

/**
 * A part of what `draw` paints, on white, as base64 PNG.
 * @param {import("./paint.js").Rectangle} part in the units that `draw` paints in
 * @param {(context: OffscreenCanvasRenderingContext2D) => void} draw
 */
export async function cutOut({ x, y, width, height }, draw) {
  const margin = CUT_MARGIN * Math.max(width, height);
  const [outerWidth, outerHeight] = [width + 2 * margin, height + 2 * margin];
  const scale = CUT_SIDE / Math.max(outerWidth, outerHeight);
  const canvas = new OffscreenCanvas(Math.ceil(outerWidth * scale), Math.ceil(outerHeight * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.scale(scale, scale);
  context.translate(margin - x, margin - y);
  context.beginPath();
  context.rect(x, y, width, height); // beyond the box there is a neighbour's ink
  context.clip();
  draw(context);
  return base64(await canvas.convertToBlob({ type: "image/png" }));
}

function fits(file, { width, height }) {
  return (
    SENT_AS_THEY_ARE.has(file.type) && file.size <= MOST_BYTES && width * height <= MOST_PIXELS
  );
}

/** To as many pixels as the service looks at: ink is thin, and every pixel helps. */
function scaledDown(bitmap) {
  return redrawn(bitmap, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)), "image/jpeg");
}

async function redrawn(bitmap, wanted, type) {
  const scale = Math.min(1, wanted);
  const size = [bitmap.width, bitmap.height].map((length) =>
    Math.max(1, Math.floor(length * scale)),
  );
  const canvas = new OffscreenCanvas(...size);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // JPEG has no transparency: it would come out black
  if (type === "image/jpeg") context.fillRect(0, 0, ...size);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, ...size);
  return canvas.convertToBlob({ type, quality: 0.92 });
}

async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000)
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}
