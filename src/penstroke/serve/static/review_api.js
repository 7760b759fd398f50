// The service of a review, a function an endpoint.

import { ask, fetchBlob } from "./api.js";

/**
 * @typedef {object} Field of a page
 * @property {string} page id
 * @property {string} source
 * @property {number} source_page
 * @property {string | null} person
 * @property {boolean} has_image
 * @property {string} field name
 * @property {string} value that holds
 * @property {string} read
 * @property {number} probability
 * @property {"accepted" | "doubtful" | "empty" | "rejected"} status
 * @property {[string, number][]} alternatives
 * @property {[number, number, number, number]} box left, top, right, bottom on the page's image
 * @property {boolean} is_open
 * @property {number} revision
 * @property {{who: string, time: string, old: string, new: string} | null} changed
 * @property {string | null} held_by
 * @property {string | null} refusal
 */

/** @typedef {{to_review: number, open: number, open_by_field: Record<string, number>,
 *   people: string[], held: number}} Progress */

const post = (path, body) => ask(`v1/review/${path}`, { method: "POST", body });

export const overview = () => ask("v1/review");
/** @returns {Promise<{field: Field | null, progress: Progress}>} */
export const next = (question) => post("next", question);
/** @returns {Promise<{field: Field, progress: Progress}>} */
export const look = (question) => post("look", question);
/** @returns {Promise<Progress>} */
export const change = (question) => post("changes", question);
/** @returns {Promise<{field: Field, progress: Progress}>} */
export const undo = (reviewer) => post("undo", reviewer);
/** @returns {Promise<{csv: string, json_file: string, rows: number}>} */
export const writeTable = (reviewer) => post("table", reviewer);
/** @param {"csv" | "json"} kind */
export const table = (kind) => fetchBlob(`v1/review/table.${kind}`);
/** @param {string} page id */
export const image = (page) => fetchBlob(`v1/review/pages/${encodeURIComponent(page)}`);
