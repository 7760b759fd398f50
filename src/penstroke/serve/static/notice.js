// What went wrong, said calmly where somebody looks, with what to do about it.

import { element, withCode } from "./words.js";

export class Notice {
  #timer = 0;
  #about = null;

  /** @param {HTMLElement} place role=status */
  constructor(place) {
    this.place = place;
  }

  /** @param {unknown} about what goes well now: a notice about something else stays */
  clear(about) {
    if (about === this.#about) this.#remove();
  }

  /**
   * @param {unknown} about what went wrong, to be cleared by when it goes well
   * @param {string} message
   * @param {{waitSeconds?: number, action?: string, onAction?: () => void}} [remedy]
   *     `waitSeconds` until it is tried again by itself
   */
  show(about, message, { waitSeconds = 0, action, onAction } = {}) {
    this.#remove();
    this.#about = about;
    const words = element("p", {}, ...withCode(message));
    this.place.append(words);
    if (waitSeconds) words.append(this.#countdown(waitSeconds));
    const button = element("button", { type: "button", textContent: action ?? "Close" });
    button.addEventListener("click", () => {
      this.#remove();
      onAction?.();
    });
    this.place.append(button);
  }

  #remove() {
    clearInterval(this.#timer);
    this.place.replaceChildren();
  }

  /** Seconds are counted for the eye only; read aloud, each would interrupt. */
  #countdown(seconds) {
    const end = performance.now() + 1000 * seconds;
    const words = element("span", { className: "soft", ariaHidden: "true" });
    const tick = () => {
      const left = Math.ceil((end - performance.now()) / 1000);
      words.textContent = left > 0 ? ` Trying again in ${left} s.` : " Trying again.";
    };
    tick();
    this.#timer = setInterval(tick, 250);
    return words;
  }
}
