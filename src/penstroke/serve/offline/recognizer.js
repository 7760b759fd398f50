// recognizer.py in JavaScript: a model file as a function from 28×28 to probabilities, by ONNX Runtime Web.

import * as ort from "./ort.wasm.bundle.min.mjs";

const SIZE = 28;
const [PATCH, STRIDE] = [5, 2];

/** @returns {Promise<Model>} of model.onnx and model.json, beside the page */
export async function open() {
  ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send
  ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", import.meta.url).href };
  const [about, file] = await Promise.all([fetched("model.json"), fetched("model.onnx")]);
  const session = await ort.InferenceSession.create(new Uint8Array(await file.arrayBuffer()));
  return new Model(session, await about.json());
}

async function fetched(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`cannot load ${name}: the server answers ${response.status}`);
  return response;
}

class Model {
  /** A session takes one run at a time. */
  #queue = Promise.resolve();

  constructor(session, { name, metadata }) {
    Object.assign(this, { session, name, metadata });
  }

  /**
   * @param {Uint8Array} pixels 28×28
   * @param {number} characters that stand side by side in it
   */
  async answer(pixels, characters = 1) {
    const { classes, temperature, confidence_threshold, ood_threshold } = this.metadata;
    const [logits] = await this.logits([pixels]);
    const shares = softmax(logits.map((value) => value / temperature));
    const best = shares.indexOf(Math.max(...shares));
    const ood_score = ood_threshold ? maxLogitScore(logits) : null;
    const rejection_reason =
      (characters > 1 && "several_characters") ||
      (ood_threshold && ood_score < ood_threshold && "not_a_known_character") ||
      (shares[best] < confidence_threshold && "ambiguous") ||
      null;
    return {
      status: rejection_reason ? "rejected" : "ok",
      label: rejection_reason ? null : classes[best],
      rejection_reason,
      probability: shares[best],
      probabilities: Object.fromEntries(classes.map((name, i) => [name, shares[i]])),
      ood_score,
    };
  }

  /** @param {Uint8Array[]} images 28×28 each @returns {Promise<number[][]>} a row of logits each */
  logits(images) {
    const pixels = new Uint8Array(images.length * SIZE * SIZE);
    images.forEach((image, i) => pixels.set(image, i * SIZE * SIZE));
    const tensor = new ort.Tensor("uint8", pixels, [images.length, SIZE, SIZE]);
    const run = this.#queue.then(() => this.session.run({ images: tensor }));
    this.#queue = run.catch(() => {});
    return run.then(({ logits: { data, dims } }) =>
      images.map((_, i) => Array.from(data.slice(i * dims[1], (i + 1) * dims[1]))),
    );
  }
}

/** Where covering a patch costs the answer most, 28×28 of 0 to 255: inference_worker.py. */
export async function occlusionMap(model, pixels) {
  const { temperature } = model.metadata;
  const rows = await model.logits([pixels, ...covered(pixels)]);
  const [whole, ...others] = rows.map((row) => softmax(row.map((value) => value / temperature)));
  const best = whole.indexOf(Math.max(...whole));
  const losses = others.map((shares) => Math.max(whole[best] - shares[best], 0));
  const most = Math.max(...losses);
  const side = SIZE / STRIDE;
  return Uint8Array.from({ length: SIZE * SIZE }, (_, i) => {
    const [x, y] = [i % SIZE, Math.floor(i / SIZE)].map((at) => Math.floor(at / STRIDE));
    return most < 1e-3 ? 0 : (255 * losses[y * side + x]) / most;
  });
}

function covered(pixels) {
  const starts = Array.from({ length: SIZE / STRIDE }, (_, i) => i * STRIDE - (PATCH >> 1));
  const isUnder = (at, start) => at >= start && at < start + PATCH;
  return starts.flatMap((top) =>
    starts.map((left) =>
      pixels.map((value, i) => (isUnder(Math.floor(i / SIZE), top) && isUnder(i % SIZE, left) ? 0 : value)),
    ),
  );
}

function softmax(logits) {
  const most = Math.max(...logits);
  const powers = logits.map((value) => Math.exp(value - most));
  const total = powers.reduce((sum, value) => sum + value, 0);
  return powers.map((value) => value / total);
}

/** max_logit_score of recognizer.py: the higher, the more the image is like the training data. */
const maxLogitScore = (logits) => Math.max(...logits) - logits.reduce((sum, value) => sum + value, 0) / logits.length;
