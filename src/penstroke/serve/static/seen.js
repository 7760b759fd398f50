// The 28×28 that the network reads, pixel by pixel, and over it where it looked.

const SIDE = 28;
/** The colour of full attention, as red, green and blue; --warm of style.css in the dark. */
const WARM = [245, 158, 66];

export class Seen {
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
   * @param {string} seen data URI, bright ink on dark
   * @param {string | null} attention data URI, bright where the answer hung on it
   */
  async show(seen, attention) {
    const turn = ++this.#newest;
    const [ink, looked] = await Promise.all([seen, attention].map(greyOf));
    if (turn === this.#newest) this.#context.putImageData(blended(ink, looked), 0, 0);
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

/** Attention counts in shares of its highest: a sure answer loses little by any one patch. */
function blended(ink, looked) {
  const highest = Math.max(1, ...(looked ?? []));
  const pixels = new ImageData(SIDE, SIDE);
  for (let i = 0; i < ink.length; i++) {
    const share = looked ? 0.9 * (looked[i] / highest) ** 0.7 : 0;
    WARM.forEach((warm, c) => (pixels.data[4 * i + c] = ink[i] * (1 - share) + warm * share));
    pixels.data[4 * i + 3] = 255;
  }
  return pixels;
}
