// The drawing page: what is on the sheet goes to the service, what it answers goes to the page.

import * as api from "./api.js";
import { listenToArrivals } from "./arrivals.js";
import { Corrections } from "./corrections.js";
import { Surface } from "./draw.js";
import { Models } from "./models.js";
import { Notice } from "./notice.js";
import { openImage } from "./images.js";
import { Reading } from "./reading.js";
import { Asker } from "./recognize.js";
import { listenToKeys } from "./shortcuts.js";

const PEN_STEP = 2;

const find = (id) => document.getElementById(id);
const surface = new Surface(find("canvas"), drawn);
const reading = new Reading(find, surface, correct);
const notice = new Notice(find("notice"));
const models = new Models(find("model"), find("about-model"), modelChosen);
const corrections = new Corrections(
  {
    saved: find("saved"),
    count: find("count"),
    tally: find("tally"),
    command: find("command"),
    kept: find("kept"),
  },
  kept,
  (error, doing) => notice.show(corrections, `Could not ${doing}. ${error.message}`),
);
const opening = new Asker(api.models, opened, (error, wait) => failed(opening, error, wait));
const asker = new Asker(recognize, answered, (error, wait) => failed(asker, error, wait));

wireControls();
drawn();
opening.submit();

function opened(all) {
  notice.clear(opening);
  models.show(all, new URLSearchParams(location.search).get("model"));
  corrections.refresh();
}

/** The sheet has changed. */
function drawn() {
  showState();
  if (models.current && !surface.sheet.isBlank) return asker.submit();
  asker.forget();
  reading.clear();
}

/** What was answered so far was an answer to something else. */
function startAfresh() {
  asker.forget();
  reading.clear("…", "");
  drawn();
}

async function recognize() {
  const { content, isOpen } = surface.sheet;
  const answer = await api.recognize({
    model: models.answering(isLine()).name,
    isLine: isLine(),
    // During a stroke, the map would be of a drawing that is no more.
    occlusion: find("occlusion").checked && !isOpen,
    body: content.image?.blob ?? surface.strokesOf(content),
  });
  return { content, answer };
}

function answered({ content, answer }) {
  notice.clear(asker);
  reading.show(content, answer);
}

function failed(asker, error, waitSeconds) {
  if (waitSeconds === null) {
    reading.clear("no answer", "No answer.");
    notice.show(asker, error.message);
  } else
    notice.show(asker, error.message, {
      waitSeconds,
      action: "Try now",
      onAction: () => asker.retry(),
    });
}

/** @returns {boolean} whether there was anything to keep */
function correct(label) {
  surface.liftKeyPen();
  const example = reading.example(isLine());
  if (example) corrections.save(label, example);
  return example !== null;
}

function correctByKey(key) {
  const label = models.labelOf(key, isLine());
  return label !== undefined && correct(label);
}

function kept({ of, isKept }) {
  notice.clear(corrections);
  if (of === surface.sheet.content) surface.file(isKept);
}

async function take(file) {
  try {
    const image = await openImage(file);
    notice.clear(take);
    surface.change((sheet) => sheet.show(image));
  } catch (error) {
    notice.show(take, error.message);
  }
}

function modelChosen(model) {
  const character = models.answering(false);
  corrections.setModel(character);
  find("modes").querySelector("[value=character]").disabled = character.kind === "lines";
  if (model.kind === "lines") {
    find("modes").querySelector("[value=line]").checked = true;
    setMode("line");
  } else showClasses();
  startAfresh();
}

function showClasses() {
  if (models.current) reading.setClasses(models.answering(isLine()).classes);
}

function isLine() {
  return document.body.dataset.mode === "line";
}

function setMode(mode) {
  document.body.dataset.mode = mode;
  surface.setMode(mode);
  find("pen").value = surface.penWidth;
  showClasses();
  startAfresh();
}

function setPen(width) {
  const pen = find("pen");
  pen.value = width;
  surface.setPen(pen.valueAsNumber);
}

function showState() {
  const { sheet } = surface;
  const { image } = sheet.content;
  find("undo").disabled = !sheet.canUndo;
  find("redo").disabled = !sheet.canRedo;
  find("clear").disabled = sheet.isBlank;
  find("hint").hidden = !sheet.isBlank;
  find("sheet").classList.toggle("imaged", image !== null);
  find("source").textContent = image
    ? `${image.name}, ${image.width} × ${image.height}`
    : "";
}

function wireControls() {
  const undo = () => surface.change((sheet) => sheet.undo());
  const redo = () => surface.change((sheet) => sheet.redo());
  const clear = () => surface.change((sheet) => sheet.clear());
  for (const [id, action] of Object.entries({ undo, redo, clear }))
    find(id).addEventListener("click", action);
  find("pen").addEventListener("input", () => setPen(find("pen").valueAsNumber));
  find("occlusion").addEventListener("change", drawn);
  find("copy").addEventListener("click", copyCommand);
  find("modes").addEventListener("change", (event) => setMode(event.target.value));
  listenToArrivals(
    { button: find("choose"), chooser: find("chooser"), target: find("sheet") },
    take,
  );
  const thinner = () => setPen(surface.penWidth - PEN_STEP);
  const thicker = () => setPen(surface.penWidth + PEN_STEP);
  listenToKeys({ undo, redo, clear, thinner, thicker }, correctByKey);
}

async function copyCommand() {
  getSelection().selectAllChildren(find("command"));
  if (!navigator.clipboard) return; // without TLS, beyond this machine: it is marked, at least
  await navigator.clipboard.writeText(find("command").textContent);
  find("copy").textContent = "Copied";
  setTimeout(() => (find("copy").textContent = "Copy"), 1500);
}
