// The keys of the drawing page: what each does, and the list that `?` shows, from one table.

import { canKeep } from "./api.js";
import { element } from "./words.js";

/** @type {{keys: string, does: string, chords?: Record<string, string>}[]} actions by chord */
const SHORTCUTS = [
  ...(canKeep ? [{ keys: "9, a, …", does: "keep the image as this character" }] : []),
  { keys: "Ctrl Z", does: "undo", chords: { "ctrl+z": "undo" } },
  {
    keys: "Ctrl Y, Ctrl Shift Z",
    does: "redo",
    chords: { "ctrl+y": "redo", "ctrl+shift+z": "redo" },
  },
  {
    keys: "Delete, Backspace",
    does: "clear the sheet",
    chords: { delete: "clear", backspace: "clear" },
  },
  {
    keys: "[ and ]",
    does: "a thinner, a thicker pen",
    chords: { "[": "thinner", "]": "thicker" },
  },
  { keys: "Ctrl V", does: "read an image from the clipboard" },
  { keys: "arrows, Space", does: "on the sheet: move the pen, put it down and lift it" },
  { keys: "?", does: "this list", chords: { "?": "help" } },
];
const ACTIONS = Object.assign({}, ...SHORTCUTS.map(({ chords }) => chords));
/** Where a key means text or a choice. */
const TYPING = "input[type=search], select, dialog";
const SINGLE_KEYS = "penstroke-single-keys";

/**
 * @param {Record<string, () => void>} actions by name
 * @param {(key: string) => boolean} onCharacter says whether the key was a character to keep
 */
export function listenToKeys(actions, onCharacter) {
  const help = prepareHelp();
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.isComposing) return;
    if (event.target.closest?.(TYPING)) return;
    const action = { help, ...actions }[ACTIONS[chordOf(event)]];
    if (isCharacter(event) && onCharacter(event.key)) event.preventDefault();
    else if (action) {
      event.preventDefault();
      action();
    }
  });
}

/** A key alone may be pressed by mistake, or by a voice: who wants can switch that off. */
function isCharacter({ key, ctrlKey, metaKey, repeat }) {
  const isOne = key.length === 1 && key !== " " && !ctrlKey && !metaKey && !repeat;
  return canKeep && isOne && document.getElementById("single-keys").checked;
}

function chordOf({ key, ctrlKey, metaKey, shiftKey }) {
  const isHeld = ctrlKey || metaKey;
  return `${isHeld ? "ctrl+" : ""}${isHeld && shiftKey ? "shift+" : ""}${key.toLowerCase()}`;
}

/** @returns {() => void} what opens the list */
function prepareHelp() {
  const dialog = document.getElementById("help");
  const single = document.getElementById("single-keys");
  const open = () => dialog.showModal();
  single.checked = localStorage.getItem(SINGLE_KEYS) !== "off";
  single.addEventListener("change", () => {
    localStorage.setItem(SINGLE_KEYS, single.checked ? "on" : "off");
  });
  dialog.querySelector("tbody").replaceChildren(...SHORTCUTS.map(row));
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  document.getElementById("open-help").addEventListener("click", open);
  return open;
}

function row({ keys, does }) {
  const heading = element("th", { scope: "row", textContent: keys });
  return element("tr", {}, heading, element("td", { textContent: does }));
}
