// The service, a function an endpoint. Nothing else in these pages knows addresses or the token.

/** A refusal of the service, or its silence: `status` 0. */
export class ServiceError extends Error {
  /** @param {number} status @param {string} message @param {number | null} retryAfter seconds */
  constructor(status, message, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same words may be answered later. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** Whether images can be kept, and corrected: a page without a service has no place for them. */
export const canKeep = true;

const PATIENCE_MILLISECONDS = 15_000;
const TOKEN_KEY = "penstroke-token";
const token = takeToken();
// Somebody puts the token behind the address of a page that is open: that alone loads nothing.
addEventListener("hashchange", () => location.hash.includes("token=") && location.reload());

/**
 * @typedef {object} Answer to one character
 * @property {string} model
 * @property {"ok" | "rejected" | "empty"} status
 * @property {string | null} label
 * @property {string | null} rejection_reason
 * @property {number} probability
 * @property {Record<string, number>} probabilities by class
 * @property {string} input_image data URI, 28×28
 * @property {string | null} occlusion_map data URI, 28×28, where it was asked for
 */

/** @typedef {{name: string, kind: "characters" | "lines", classes: string[], dataset?: string, is_default: boolean,
 *   is_bundled?: boolean}} Model */

/** @returns {Promise<Model[]>} */
export const models = async () => (await ask("v1/models")).models;

/**
 * What one character, or a line of them, says.
 * @param {{isLine: boolean, model: string, occlusion: boolean, body: Blob | object}} question
 */
export function recognize({ isLine, model, occlusion, body }) {
  const query = new URLSearchParams({ model });
  if (occlusion && !isLine) query.set("occlusion", "1");
  return ask(`v1/${isLine ? "read" : "recognize"}?${query}`, { method: "POST", body });
}

/** How many there are, and `limit` of them, newest first, older than the one with the id `before`. */
export function corrections(limit, before) {
  const query = new URLSearchParams({ limit });
  if (before) query.set("before", before);
  return ask(`v1/corrections?${query}`);
}

export const addCorrection = (example) => ask("v1/corrections", { method: "POST", body: example });
export const removeCorrection = (id) =>
  ask(`v1/corrections/${encodeURIComponent(id)}`, { method: "DELETE" });

export const runs = async () => (await ask("v1/runs")).runs;
export const run = (name) => ask(`v1/runs/${encodeURIComponent(name)}`);

/** Yields null when it listens, then each event about runs, until the service ends it. */
export async function* runEvents() {
  const response = await fetchChecked("v1/runs/events", {});
  yield null;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (text + value.replaceAll("\r\n", "\n")).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length) yield JSON.parse(data.map((line) => line.slice(5)).join("\n"));
    }
  }
}

/** Asks with the token, and returns the JSON of the answer; ServiceError where it is refused. */
export async function ask(path, { method = "GET", body } = {}) {
  const headers = {};
  if (body instanceof Blob) headers["Content-Type"] = body.type;
  else if (body) [headers["Content-Type"], body] = ["application/json", JSON.stringify(body)];
  const response = await fetchChecked(path, { method, body, headers, signal: patience() });
  return response.status === 204 ? null : response.json();
}

/** The content of an answer that is no JSON. */
export const fetchBlob = async (path) =>
  (await fetchChecked(path, { signal: patience() })).blob();

const patience = () => AbortSignal.timeout(PATIENCE_MILLISECONDS);

async function fetchChecked(path, options) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
  } catch {
    throw new ServiceError(0, "The server does not answer.");
  }
  if (response.status === 401) askForToken();
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const said = await response.json().catch(() => null);
  const message = said?.error?.message ?? `The server answers ${response.status}.`;
  const wait = Number(response.headers.get("Retry-After"));
  return new ServiceError(response.status, message, wait > 0 ? wait : null);
}

/** Asks for the token in a field, once; the page then loads again with it. */
function askForToken() {
  if (document.getElementById("token")) return;
  const dialog = document.createElement("dialog");
  dialog.innerHTML = `<form><p><label for="token">Token</label>
    <input id="token" type="text" autocomplete="off" spellcheck="false" required></p>
    <p>The service printed it when it started.</p><button>Use it</button></form>`;
  dialog.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const token = dialog.querySelector("input").value.trim();
    location.hash = new URLSearchParams({ token });
  });
  document.body.append(dialog);
  dialog.showModal();
}

/** The token comes once, behind the # of the address; there it would end up in bookmarks. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(TOKEN_KEY, given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(TOKEN_KEY);
}
