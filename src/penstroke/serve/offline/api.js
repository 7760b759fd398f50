// The functions of static/api.js without a service: this browser answers. Nothing leaves the page.

import { occlusionMap, open } from "./recognizer.js";
import { inkOf } from "./drawing.js";
import { normalize, preprocess } from "./ink.js";
import { greyImage } from "./grey-image.js";

export class ServiceError extends Error {
  status = 501;
  retryAfter = null;
  isPassing = false;
}

export const canKeep = false;

let opened = null;

/** The one model that lies beside the page. */
export async function models() {
  const { metadata, name } = await (opened ??= open());
  return [{ ...metadata, name, is_default: true }];
}

export async function recognize({ occlusion, body }) {
  const model = await (opened ??= open());
  const { pixels, isBlank, characters } = await preprocessed(body, model.metadata.ink);
  const input_image = greyImage(pixels);
  if (isBlank) {
    const nothing = { status: "empty", label: null, rejection_reason: null, probability: 0, probabilities: {} };
    return { ...nothing, input_image, occlusion_map: null };
  }
  const answer = await model.answer(pixels, characters);
  const occlusion_map = occlusion ? greyImage(await occlusionMap(model, pixels)) : null;
  return { ...answer, model: model.name, input_image, occlusion_map };
}

async function preprocessed(body, settings) {
  if (!(body instanceof Blob)) return normalize(inkOf(body), settings);
  const bitmap = await createImageBitmap(body);
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return preprocess(context.getImageData(0, 0, bitmap.width, bitmap.height), settings);
}

export const corrections = async () => ({ images: 0, by_label: {}, corrections: [] });
export const addCorrection = async () => refuse();
export const removeCorrection = async () => refuse();
export const runs = async () => [];

function refuse() {
  throw new ServiceError("This page works without a server, so it cannot keep anything.");
}
