// 28×28 grey levels as a data: URI that a page can show: an uncompressed image in the BMP format.

const SIZE = 28;
const HEADER = 54 + 256 * 4;

/** @param {Uint8Array} pixels 28×28 @returns {string} data: URI */
export function greyImage(pixels) {
  const bytes = new Uint8Array(HEADER + SIZE * SIZE);
  const view = new DataView(bytes.buffer);
  bytes.set([0x42, 0x4d]);
  view.setUint32(2, bytes.length, true);
  view.setUint32(10, HEADER, true);
  view.setUint32(14, 40, true);
  view.setInt32(18, SIZE, true);
  view.setInt32(22, -SIZE, true); // from the top down
  view.setUint16(26, 1, true);
  view.setUint16(28, 8, true);
  view.setUint32(46, 256, true);
  for (let level = 0; level < 256; level++) bytes.fill(level, 54 + 4 * level, 57 + 4 * level);
  bytes.set(pixels, HEADER);
  return `data:image/bmp;base64,${btoa(String.fromCharCode(...bytes))}`;
}
