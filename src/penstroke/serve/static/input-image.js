// The 28×28 input of the network, pixel by pixel, and over it the occlusion map.

const SIDE = 28;
/** The colour of the largest loss, as red, green and blue; --warm of style.css in the dark. */
const WARM = [245, 158, 66];

export class InputImage {
  #context;
  #newest = 0;

  /** @param {HTMLCanvasElement} canvas 28×28, enlarged by the style sheet */
  constructor(canvas) {
    this.#context = canvas.getContext("2d", { willReadFrequently: true });
    this.clear();
  }

  clear() {
    this.#newest++;
    this.#context.clearRect(0, 0, SIDE, SIDE);
  }

  /**
   * @param {string} inputImage data URI, bright ink on dark
   * @param {string | null} occlusionMap data URI, bright where the answer depends on the image
   */
  async show(inputImage, occlusionMap) {
    const turn = ++this.#newest;
    const [ink, map] = await Promise.all([inputImage, occlusionMap].map(greyOf));
    if (turn === this.#newest) this.#context.putImageData(blended(ink, map), 0, 0);
  }
}

/** @returns {Promise<Uint8ClampedArray | null>} the grey of each pixel */
async function greyOf(uri) {
  if (!uri) return null;
  const image = new Image();
  image.src = uri;
  await image.decode();
  const context = new OffscreenCanvas(SIDE, SIDE).getContext("2d");
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, SIDE, SIDE).data.filter((_, i) => i % 4 === 0);
}

/** Losses count in shares of the highest: a sure answer loses little by any one patch. */
function blended(ink, map) {
  const highest = Math.max(1, ...(map ?? []));
  const pixels = new ImageData(SIDE, SIDE);
  for (let i = 0; i < ink.length; i++) {
    const share = map ? 0.9 * (map[i] / highest) ** 0.7 : 0;
    WARM.forEach((warm, c) => (pixels.data[4 * i + c] = ink[i] * (1 - share) + warm * share));
    pixels.data[4 * i + 3] = 255;
  }
  return pixels;
}
