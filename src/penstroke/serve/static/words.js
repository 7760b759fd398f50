// Figures and names as people read them.

/** @param {number | null | undefined} share 0..1 */
export function percent(share, digits = 1) {
  if (share == null) return "–";
  const least = 0.5 / 10 ** (digits + 2);
  if (share > 0 && share < least) return `< ${(100 * 2 * least).toFixed(digits)} %`;
  if (share < 1 && share > 1 - least) return `> ${(100 * (1 - 2 * least)).toFixed(digits)} %`;
  return `${(100 * share).toFixed(digits)} %`;
}

export function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** The likeliest first. @param {Record<string, number>} probabilities */
export function ranked(probabilities) {
  return Object.entries(probabilities).sort(([, a], [, b]) => b - a);
}

/** Text as nodes: what stands between backticks is code. @returns {(Node | string)[]} */
export const withCode = (text) =>
  text
    .split(/`([^`]+)`/)
    .map((part, i) => (i % 2 ? element("code", { textContent: part }) : part));

/**
 * An element with properties and children: text stays text, whatever it says.
 * @param {string} tag
 * @param {Record<string, unknown>} properties
 * @param {(Node | string)[]} children
 */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
