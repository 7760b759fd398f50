// The newest answer on the page: shown by all views, and what of it may be corrected.

import { AnswerView } from "./answer.js";
import { Bars } from "./bars.js";
import { Boxes } from "./boxes.js";
import { fitted } from "./paint.js";
import { cutOut, keptImage } from "./images.js";
import { InputImage } from "./input-image.js";

const INVITATION = "The answer comes as you draw. An image can be pasted, dropped or chosen.";

export class Reading {
  #surface;
  #view;
  #boxes;
  #bars;
  #inputImage;
  /** The answer, and the content of the sheet that it is of. */
  #answer = null;
  #content = null;
  /** Of a line, the character that is chosen. */
  #selected = null;

  /**
   * @param {(id: string) => HTMLElement} find the places on the page
   * @param {import("./draw.js").Surface} surface
   * @param {(label: string) => void} onCorrect
   */
  constructor(find, surface, onCorrect) {
    const select = (index) => this.#select(index);
    this.#surface = surface;
    this.#view = new AnswerView(
      {
        answer: find("answer"),
        certainty: find("certainty"),
        spoken: find("spoken"),
        characters: find("characters"),
      },
      select,
    );
    this.#boxes = new Boxes(find("boxes"), select);
    this.#bars = new Bars(find("bars"), find("other"), onCorrect);
    this.#inputImage = new InputImage(find("input-image"));
  }

  setClasses(classes) {
    this.#bars.setClasses(classes);
  }

  /** What is shown, and what is said to who listens. */
  clear(words = INVITATION, spoken = "The sheet is empty.") {
    this.#answer = this.#content = this.#selected = null;
    this.#view.showNothing(words, spoken);
    this.#inputImage.clear();
    this.#bars.show(null);
    this.#boxes.clear();
  }

  /**
   * @param {import("./strokes.js").Content} content
   * @param {object} answer of the service, to it
   */
  show(content, answer) {
    const [before, index] = [this.#labels, this.#selected?.index];
    this.#answer = answer;
    this.#content = content;
    this.#selected = null;
    if (!answer.lines) return this.#showCharacter();
    this.#showLine();
    // An answer may come once more, to the same drawing: who has chosen a character keeps it.
    if (index !== undefined && before === this.#labels) this.#select(index);
  }

  /**
   * What a key or a bar keeps now: the whole sheet, or of a line the character that is chosen.
   * @returns {import("./corrections.js").Example | null}
   */
  example(isLine) {
    const { sheet } = this.#surface;
    const { content } = sheet;
    if (isLine) return this.#selected && this.#exampleOfPart(this.#selected.character);
    const answer = this.#content === content ? this.#answer : null;
    if (sheet.isBlank || sheet.isOpen || answer?.status === "empty") return null;
    return { of: content, answer: answer && facts(answer), body: this.#whole(content) };
  }

  #showCharacter() {
    const { probabilities, input_image: inputImage, occlusion_map: occlusionMap } = this.#answer;
    this.#view.showCharacter(this.#answer);
    this.#inputImage.show(inputImage, occlusionMap);
    this.#bars.show(probabilities);
    this.#boxes.clear();
  }

  #showLine() {
    const { width, height } = this.#surface;
    const [characters, sheet, place] = [this.#characters, { width, height }, this.#place];
    this.#view.showLine(this.#answer);
    this.#bars.show(null);
    this.#boxes.show({ characters, image: this.#answer, sheet, place });
  }

  #select(index) {
    this.#selected = { index, character: this.#characters[index] };
    this.#view.select(index);
    this.#boxes.select(index);
    this.#bars.show(this.#selected.character.probabilities);
  }

  /** From the first line to the last. */
  get #characters() {
    return this.#answer?.lines?.flatMap((line) => line.characters) ?? [];
  }

  get #labels() {
    return this.#characters.map(({ label }) => label).join(" ");
  }

  /** Where what was read lies on the sheet. */
  get #place() {
    const { width, height } = this.#surface;
    const { image } = this.#content;
    return image ? fitted(image, this.#surface) : { x: 0, y: 0, width, height };
  }

  async #whole(content) {
    if (content.image) return { image: await keptImage(content.image), strokes: null };
    return { image: null, strokes: this.#surface.strokesOf(content) };
  }

  #exampleOfPart(character) {
    const { model } = this.#answer;
    return {
      of: character,
      answer: facts({ ...character, model }),
      body: this.#part(character.box),
    };
  }

  async #part([left, top, right, bottom]) {
    const { x, y, width } = this.#place;
    const scale = width / this.#answer.width;
    const part = {
      x: x + left * scale,
      y: y + top * scale,
      width: (right - left) * scale,
      height: (bottom - top) * scale,
    };
    const image = await cutOut(part, (context) => this.#surface.paintOn(context, "#000"));
    return { image, strokes: null };
  }
}

const facts = ({ label, probability, model }) => ({ label, probability, model });
