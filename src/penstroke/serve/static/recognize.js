// Asks while somebody draws: one question at a time, of what is there by then, and again after a
// silence.
//
// As no two questions are ever on their way together, answers cannot come out of order; a slow
// service is asked less often, by itself.

/** Between two questions: an answer every few frames is as live as eyes can tell. */
const PAUSE_SECONDS = 0.05;
const LONGEST_WAIT_SECONDS = 8;

/** @template Answer */
export class Asker {
  #isDue = false;
  #isBusy = false;
  #failures = 0;
  /** Counts what was forgotten: an answer to something forgotten is dropped. */
  #age = 0;
  #wake = () => {};

  /**
   * @param {() => Promise<Answer>} ask asks about what is there now
   * @param {(answer: Answer) => void} onAnswer
   * @param {(error: Error, waitSeconds: number | null) => void} onError null: it is not asked again
   */
  constructor(ask, onAnswer, onError) {
    Object.assign(this, { ask, onAnswer, onError });
  }

  /** Something changed: it is asked about, at once or after the question on its way. */
  submit() {
    this.#isDue = true;
    if (!this.#isBusy) this.#askAll();
  }

  /** Nothing is there any more: drops the answer that is on its way. */
  forget() {
    this.#age++;
    this.#isDue = false;
    this.#wake();
  }

  /** Asks again now instead of after the wait. */
  retry() {
    this.#wake();
  }

  async #askAll() {
    this.#isBusy = true;
    while (this.#isDue) await this.#askOnce();
    this.#isBusy = false;
  }

  async #askOnce() {
    this.#isDue = false;
    const age = this.#age;
    const { answer, error } = await this.ask().then(
      (answer) => ({ answer }),
      (error) => ({ error }),
    );
    if (age !== this.#age) return;
    await this.#sleep(error ? this.#failed(error) : this.#answered(answer));
  }

  /** @returns {number} seconds to wait */
  #answered(answer) {
    this.#failures = 0;
    this.onAnswer(answer);
    return PAUSE_SECONDS;
  }

  #failed(error) {
    const wait = error.retryAfter ?? Math.min(2 ** this.#failures, LONGEST_WAIT_SECONDS);
    this.#failures++;
    this.#isDue ||= Boolean(error.isPassing);
    this.onError(error, error.isPassing ? wait : null);
    return error.isPassing ? wait : PAUSE_SECONDS;
  }

  #sleep(seconds) {
    return new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, 1000 * seconds);
    });
  }
}
