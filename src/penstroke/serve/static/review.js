// The review of forms: one field at a time, its crop beside its answer, the doubtful ones first.

import { Notice } from "./notice.js";
import * as api from "./review_api.js";
import { bitmapOf, showCrop, showPage } from "./review_images.js";
import { Reply } from "./review_reply.js";
import { counted, element } from "./words.js";

const NAME = "penstroke-reviewer";
const SESSION = "penstroke-review-session";
const DOWNLOAD_MILLISECONDS = 60_000;

const find = (id) => document.getElementById(id);
const notice = new Notice(find("notice"));
const reply = new Reply(find, accept);
/** Two people may have one name: the tab tells them apart, also when it is loaded again. */
const session =
  sessionStorage.getItem(SESSION) ?? crypto.getRandomValues(new Uint32Array(3)).join("-");
sessionStorage.setItem(SESSION, session);

let form = null;
/** @type {import("./review_api.js").Field | null} */
let shown = null;
/** The fields that were looked at, and which of them is shown. */
const visited = [];
let position = -1;
let isBusy = false;
/** What is shown was chosen anew while something else was on its way. */
let isStale = false;

wire();
start();

async function start() {
  if (!localStorage.getItem(NAME)) return find("ask-name").showModal();
  find("who").textContent = localStorage.getItem(NAME);
  await attempt(start, async () => {
    form = await api.overview();
    find("form").textContent = `${form.title} · ${counted(form.pages, "page")}`;
    showUnread(form.unread);
    showProgress(form.progress);
    await ask();
  });
}

function reviewer() {
  return { who: localStorage.getItem(NAME), session };
}

function isEverything() {
  return find("all").checked;
}

/** The next field that nobody else looks at. */
async function ask() {
  const { field, progress } = await api.next({
    ...reviewer(),
    field: find("field").value || null,
    open_only: !isEverything(),
    after: shown ? [shown.page, shown.field] : null,
  });
  showProgress(progress);
  if (!field) return showDone(progress);
  visited.length = position + 1;
  position = visited.push(field) - 1;
  show(field);
}

async function lookAt(index) {
  const { page, field } = visited[index];
  const answer = await api.look({ ...reviewer(), page, field });
  position = index;
  showProgress(answer.progress);
  show(answer.field);
}

/** The field after this one, of those that were looked at, or the next. */
function following() {
  return position < visited.length - 1 ? lookAt(position + 1) : ask();
}

function forward() {
  attempt(forward, following);
}

function back() {
  const index = shown ? position - 1 : position;
  if (index >= 0) attempt(back, () => lookAt(index));
}

/** @param {string} value @param {boolean} confirmed although the form does not admit it */
function accept(value, confirmed) {
  const field = shown;
  if (!field) return;
  attempt(
    () => accept(value, confirmed),
    async () => {
      const { page, field: name, revision } = field;
      const change = { ...reviewer(), page, field: name, value, revision, confirmed };
      await api.change(change);
      await following();
    },
    async (error) => {
      if (error.status === 422) return reply.warn(value, error.message);
      if (error.status !== 409) throw error;
      await lookAt(position);
      notice.show(accept, `${error.message}. Your answer was not kept: look again.`);
    },
  );
}

/** The first field of what is chosen now. */
function afresh() {
  isStale = isBusy;
  if (isBusy) return;
  shown = null;
  attempt(afresh, ask);
}

function undo() {
  attempt(undo, async () => {
    const { field, progress } = await api.undo(reviewer());
    visited.length = position + 1;
    position = visited.push(field) - 1;
    showProgress(progress);
    show(field);
  });
}

/** Does one thing at a time; what goes wrong is said, and may be tried again. */
async function attempt(retry, act, onError = null) {
  if (isBusy) return;
  isBusy = true;
  notice.clear(attempt);
  notice.clear(accept);
  try {
    await act().catch((error) => {
      if (!onError) throw error;
      return onError(error);
    });
  } catch (error) {
    const remedy = error.isPassing ? { action: "Try again", onAction: retry } : {};
    notice.show(attempt, error.message, remedy);
  } finally {
    isBusy = false;
    if (isStale) afresh();
  }
}

// What is seen ---------------------------------------------------------------------------------

function show(field) {
  shown = field;
  const described = describedBy(field);
  find("done").hidden = true;
  find("question").hidden = false;
  find("title").textContent = described.title;
  const person = field.person ? `${field.person} · ` : "";
  find("source").textContent = `${person}${field.source}, page ${field.source_page}`;
  find("back").disabled = position < 1;
  reply.show(field, described);
  if (field.held_by)
    notice.show(attempt, `${field.held_by} is looking at this field, too.`);
  showImage(field);
}

function describedBy(field) {
  return form.fields.find(({ name }) => name === field.field);
}

async function showImage(field) {
  const isMissing = await drawImage(field).then(() => false, () => true);
  if (field !== shown) return;
  find("crop").hidden = find("whole").hidden = isMissing;
  find("no-image").hidden = !isMissing;
}

async function drawImage(field) {
  if (!field.has_image) throw new Error("this page has no image");
  const bitmap = await bitmapOf(field.page);
  if (field !== shown) return;
  showCrop(find("crop"), bitmap, field.box, describedBy(field).type.startsWith("choice"));
  if (find("whole").open) showPage(find("page"), bitmap, field.box);
}

/** @param {import("./review_api.js").Progress} progress */
function showProgress({ to_review, open, open_by_field, people }) {
  const done = to_review - open;
  const others = people.filter((who) => who !== reviewer().who);
  find("progress").max = Math.max(to_review, 1);
  find("progress").value = to_review ? done : 1;
  find("count").textContent =
    `${done.toLocaleString("en")} of ${counted(to_review, "field")} done` +
    (others.length ? ` · with ${others.join(", ")}` : "");
  document.title = `${open.toLocaleString("en")} open · Review · Penstroke`;
  const select = find("field");
  const chosen = select.value;
  const option = (value, title, count) =>
    element("option", { value, textContent: `${title} (${count.toLocaleString("en")})` });
  select.replaceChildren(
    option("", "all", open),
    ...form.fields.map(({ name, title }) => option(name, title, open_by_field[name] ?? 0)),
  );
  select.value = chosen;
}

async function showDone({ open, held }) {
  shown = null;
  find("question").hidden = true;
  find("done").hidden = false;
  const isOver = open === 0;
  find("done-title").textContent = isOver ? "Every field is done" : "Nothing more here";
  find("again").hidden = isOver && isEverything();
  find("again").textContent = isOver ? "Look at the sure ones, too" : "Look again";
  find("done-text").textContent = held
    ? `${counted(held, "field")} ${held === 1 ? "is" : "are"} with other people.`
    : "";
  find("again").focus();
  if (isOver) await writeTable();
}

async function writeTable() {
  const { csv, rows } = await api.writeTable(reviewer());
  const text = `${counted(rows, "row")} written to ${csv}`;
  if (shown) notice.show(attempt, text);
  else find("done-text").textContent = text;
}

function showUnread(pages) {
  find("unread").hidden = pages.length === 0;
  find("unread").textContent = `${counted(pages.length, "page")} not read`;
  find("not-read").querySelector("tbody").replaceChildren(
    ...pages.map(({ source, source_page, problem, detail }) => {
      const name = element("th", { scope: "row", textContent: `${source}, ${source_page}` });
      const words = detail || problem.replaceAll("_", " ");
      return element("tr", {}, name, element("td", { textContent: words }));
    }),
  );
}

// Controls -------------------------------------------------------------------------------------

function wire() {
  find("ask-name").querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    localStorage.setItem(NAME, find("name").value.trim());
    find("ask-name").close();
    start();
  });
  find("ask-name").addEventListener("cancel", (event) => {
    if (!localStorage.getItem(NAME)) event.preventDefault();
  });
  find("who").addEventListener("click", () => {
    find("name").value = localStorage.getItem(NAME) ?? "";
    find("ask-name").showModal();
  });
  find("skip").addEventListener("click", forward);
  find("back").addEventListener("click", back);
  for (const id of ["undo", "undo-last"]) find(id).addEventListener("click", undo);
  for (const id of ["field", "all"]) find(id).addEventListener("change", afresh);
  find("again").addEventListener("click", () => {
    if (find("again").textContent !== "Look again") find("all").checked = true;
    afresh();
  });
  find("whole").addEventListener("toggle", () => shown && showImage(shown));
  find("export").addEventListener("click", () => attempt(writeTable, writeTable));
  for (const kind of ["csv", "json"])
    find(kind).addEventListener("click", () => attempt(null, () => download(kind)));
  for (const [button, id] of [["unread", "not-read"], ["open-help", "help"]]) {
    find(button).addEventListener("click", () => find(id).showModal());
    const close = find(id).querySelector("button");
    close.addEventListener("click", () => find(id).close());
  }
  document.addEventListener("keydown", onKey);
}

function onKey(event) {
  if (event.defaultPrevented || event.isComposing || event.target.closest?.("dialog, select"))
    return;
  if (event.altKey) {
    if (event.code !== "KeyW") return;
    event.preventDefault();
    find("whole").open = !find("whole").open;
  } else if (event.ctrlKey || event.metaKey) {
    if (event.key.toLowerCase() !== "z" || event.shiftKey || reply.isTyped) return;
    event.preventDefault();
    undo();
  } else {
    const go = { ArrowDown: forward, ArrowUp: back, ArrowRight: forward, ArrowLeft: back }[event.key];
    if (go && !(reply.isEditing && /Left|Right/.test(event.key))) {
      event.preventDefault();
      go();
    } else if (shown && !isBusy) reply.onKey(event);
    else if (isBusy && event.key.length === 1) event.preventDefault(); // meant for what comes next
  }
}

async function download(kind) {
  const url = URL.createObjectURL(await api.table(kind));
  element("a", { href: url, download: `${form.form}.${kind}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), DOWNLOAD_MILLISECONDS);
}
