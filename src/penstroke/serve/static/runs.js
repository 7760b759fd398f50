// The runs page: all runs, their curves side by side, live while a run goes on.

import * as api from "./api.js";
import { Comparison } from "./compare.js";
import { Notice } from "./notice.js";
import { Asker } from "./recognize.js";
import { RunList } from "./runs_list.js";

/** Number of colours that can be distinguished. */
const MOST_COMPARED = 8;
/** A run counts as going on while its last epoch is no older than this. */
const LIVE_MILLISECONDS = 30_000;
const SWEEP_MILLISECONDS = 5_000;

/**
 * @typedef {object} Run
 * @property {string} name
 * @property {string} dataset
 * @property {string} status
 * @property {number} epochs
 * @property {number} total_epochs
 * @property {number | null} val_accuracy
 * @property {number | null} test_accuracy
 * @property {string} created
 * @property {string | null} [reason] why a damaged run cannot be read
 * @property {string | null} [report] address of its report
 * @property {object[]} [history] where it has been asked for
 * @property {number} [heard] when it was last heard of
 */

const find = (id) => document.getElementById(id);
/** @type {Map<string, Run>} */
const runs = new Map();
/** Colours by the name of a compared run, in the order of choosing. @type {Map<string, number>} */
const compared = new Map();
/** Until somebody chooses, the newest run is shown. */
let isChosen = false;

const notice = new Notice(find("notice"));
const comparison = new Comparison(find);
const list = new RunList(find, { compare, isLive });
const listing = new Asker(load, listed, (error, wait) => silent(listing, error, wait));
const following = new Asker(
  follow,
  () => {},
  (error, wait) => silent(following, error, wait),
);

find("none").addEventListener("click", () => {
  for (const name of [...compared.keys()]) compare(name, false);
});
for (const name of new URLSearchParams(location.search).getAll("run").slice(0, MOST_COMPARED))
  choose(name);
isChosen = compared.size > 0;
listing.submit();
following.submit();
setInterval(show, SWEEP_MILLISECONDS); // what was live may have stopped without a word

/** All runs, and of those compared the curves. */
async function load() {
  const [all, models] = await Promise.all([api.runs(), api.models().catch(() => [])]);
  const histories = await Promise.all(namesToShow(all).map((name) => api.run(name)));
  return { all, histories, models };
}

function listed({ all, histories, models }) {
  notice.clear(listing);
  notice.clear(following);
  const heard = new Map([...runs].map(([name, run]) => [name, run.heard]));
  runs.clear();
  for (const run of all) runs.set(run.name, { ...run, heard: heard.get(run.name) });
  for (const name of compared.keys()) if (!runs.has(name)) compared.delete(name);
  for (const { name, history, diagnosis } of histories) {
    if (!isChosen && !compared.has(name)) choose(name);
    Object.assign(runs.get(name) ?? {}, { history, diagnosis });
  }
  list.setServed(models.map(({ name }) => name));
  show();
}

/** Those that are compared; before anybody chose, the newest. */
function namesToShow(all) {
  const names = all.map(({ name }) => name);
  if (isChosen) return names.filter((name) => compared.has(name));
  const newest = all.toSorted((a, b) => (a.created < b.created ? 1 : -1))[0];
  compared.clear();
  return newest ? [newest.name] : [];
}

/** Listens for as long as the server tells. */
async function follow() {
  for await (const event of api.runEvents()) {
    if (event) heard(event);
    else listing.submit(); // what happened before is in the listing
  }
  throw Object.assign(new Error("The server does not answer."), { isPassing: true });
}

/** @param {{name: string, status?: string, history: object[]}} event */
function heard({ name, status, history }) {
  const run = runs.get(name);
  const first = history[0]?.epoch;
  if (history.length) Object.assign(run ?? {}, { heard: Date.now() });
  if (!run || status === "gone" || (run.history && first > run.history.length + 1))
    return listing.submit();
  if (history.length) extend(run, history);
  if (status !== undefined && status !== run.status) {
    run.status = status;
    listing.submit(); // with the end come the figures of the test
  }
  show();
}

function extend(run, history) {
  const first = history[0].epoch;
  run.history &&= [...run.history.filter(({ epoch }) => epoch < first), ...history];
  run.epochs = history.at(-1).epoch;
  run.val_accuracy = history.at(-1).val_accuracy ?? null;
}

function isLive(run) {
  return run.status === "unfinished" && Date.now() - (run.heard ?? -Infinity) < LIVE_MILLISECONDS;
}

/** Somebody puts a run into the comparison, or takes it out. */
function compare(name, isWanted) {
  isChosen = true;
  if (isWanted) choose(name);
  else compared.delete(name);
  const address = new URL(location.href);
  address.searchParams.delete("run");
  for (const one of compared.keys()) address.searchParams.append("run", one);
  history.replaceState(null, "", address);
  if (isWanted && !runs.get(name)?.history) listing.submit();
  show();
}

function choose(name) {
  const taken = new Set(compared.values());
  const free = Array.from({ length: MOST_COMPARED }, (_, i) => i).find(
    (colour) => !taken.has(colour),
  );
  if (free !== undefined) compared.set(name, free);
}

function show() {
  const shown = [...compared]
    .map(([name, colour]) => ({ ...runs.get(name), colour }))
    .filter(({ history }) => history)
    .map((run) => ({ ...run, end: isLive(run) ? run.total_epochs : 0 }));
  comparison.show(shown);
  list.show([...runs.values()], compared, compared.size >= MOST_COMPARED);
  find("none").hidden = compared.size === 0;
}

function silent(asker, error, waitSeconds) {
  if (waitSeconds === null) notice.show(asker, error.message);
  else
    notice.show(asker, error.message, {
      waitSeconds,
      action: "Try now",
      onAction: () => asker.retry(),
    });
}
