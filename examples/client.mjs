// Recognises images with a running `penstroke serve`; needs Node 18 or newer, and nothing else.
//
//     PENSTROKE_TOKEN=… node client.mjs http://127.0.0.1:8000 IMAGE…
//
// One image is one request, several are one batch. The class works in browsers too, with files in
// place of paths, on a page whose origin the service was given with --allow-origin.

import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";

const KINDS = {
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".webp": "image/webp",
};

/** What the service answered instead: `code` for programs, a message for people. */
class ServiceError extends Error {
  constructor(status, { code, message }) {
    super(`${status} ${code}: ${message}`);
    this.code = code;
  }
}

class Client {
  constructor(url, token) {
    this.url = url.replace(/\/$/, "");
    this.headers = token ? { Authorization: `Bearer ${token}` } : {};
  }

  /** The answer to one image, a Blob: label, probability, status and more. */
  recognize(image) {
    return this.#post("/v1/recognize", image, { "Content-Type": image.type });
  }

  /** The answers to up to 64 images, in order; one may be { error } instead. */
  async recognizeBatch(images) {
    const form = new FormData();
    images.forEach((image, number) => form.append("image", image, image.name ?? `${number}`));
    return (await this.#post("/v1/recognize/batch", form)).results;
  }

  /** Sends a request, again where the service is busy (429, 503), as it says. */
  async #post(route, body, headers = {}, tries = 5) {
    const response = await fetch(this.url + route, {
      method: "POST",
      body,
      headers: { ...this.headers, ...headers },
      signal: AbortSignal.timeout(90_000),
    });
    if ([429, 503].includes(response.status) && tries > 1) {
      const seconds = Number(response.headers.get("Retry-After") ?? 1);
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
      return this.#post(route, body, headers, tries - 1);
    }
    const answer = await response.json();
    if (!response.ok) throw new ServiceError(response.status, answer.error);
    return answer;
  }
}

async function open(path) {
  const type = KINDS[extname(path).toLowerCase()];
  return new File([await readFile(path)], basename(path), { type });
}

const [url, ...paths] = process.argv.slice(2);
const client = new Client(url, process.env.PENSTROKE_TOKEN);
const images = await Promise.all(paths.map(open));
try {
  const answers =
    images.length === 1
      ? [await client.recognize(images[0])]
      : await client.recognizeBatch(images);
  answers.forEach(({ error, label, status, probability }, number) =>
    console.log(
      `${paths[number]}: ` +
        (error ? error.message : `${label ?? status} ${probability.toFixed(4)}`),
    ),
  );
  process.exitCode = answers.some(({ error }) => error) ? 1 : 0;
} catch (error) {
  if (!(error instanceof ServiceError)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
