// Connected components, corners included: components.py.

/**
 * @param {{width: number, height: number, data: Float32Array}} grid ink where it is above 0
 * @returns {{labels: Int32Array, boxes: {left, top, right, bottom}[]}} labels from 1; 0 is paper
 */
export function findComponents({ width, height, data }) {
  const labels = new Int32Array(data.length);
  const boxes = [];
  data.forEach((amount, start) => {
    if (!amount || labels[start]) return;
    const box = { left: width, top: height, right: 0, bottom: 0 };
    boxes.push(box);
    labels[start] = boxes.length;
    for (const stack = [start]; stack.length; ) {
      const at = stack.pop();
      const [x, y] = [at % width, Math.floor(at / width)];
      box.left = Math.min(box.left, x);
      box.top = Math.min(box.top, y);
      box.right = Math.max(box.right, x + 1);
      box.bottom = Math.max(box.bottom, y + 1);
      for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row++) {
        for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, width - 1); column++) {
          const next = row * width + column;
          if (!data[next] || labels[next]) continue;
          labels[next] = boxes.length;
          stack.push(next);
        }
      }
    }
  });
  return { labels, boxes };
}

const SPECK = 0.03;
const ABOVE = 0.25;
const [TALL, HEAVY] = [0.5, 0.2];
const BESIDE = 0.5;
const [APART, WIDE] = [0.15, 1];

/** How many characters seem to stand side by side in `ink`. */
export function countCharacters(ink) {
  const { labels, boxes } = findComponents(ink);
  if (boxes.length < 2) return boxes.length;
  boxes.forEach((box) => (box.mass = 0));
  ink.data.forEach((amount, i) => amount && (boxes[labels[i] - 1].mass += amount));
  const most = (values) => values.reduce((a, b) => Math.max(a, b));
  const speck = SPECK * most(boxes.map(({ mass }) => mass));
  const kept = boxes.filter(({ mass }) => mass > speck).sort((one, other) => one.left - other.left);
  const parts = [];
  for (const box of kept) {
    const last = parts.at(-1);
    const width = last && Math.min(box.right - box.left, last.right - last.left);
    if (!last || last.right - box.left <= ABOVE * width) {
      parts.push({ ...box });
      continue;
    }
    last.top = Math.min(last.top, box.top);
    last.right = Math.max(last.right, box.right);
    last.bottom = Math.max(last.bottom, box.bottom);
    last.mass += box.mass;
  }
  const heightOf = ({ top, bottom }) => bottom - top;
  const height = most(parts.map(heightOf));
  const heaviest = most(parts.map(({ mass }) => mass));
  const isLarge = (part) => heightOf(part) >= TALL * height && part.mass >= HEAVY * heaviest;
  const areApart = (one, other) => {
    const shared = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
    const isBeside = shared >= BESIDE * Math.min(heightOf(one), heightOf(other));
    return isBeside && (other.left - one.right >= APART * height || other.right - one.left >= WIDE * height);
  };
  const pairs = parts.slice(1).map((part, i) => [parts[i], part]);
  return 1 + pairs.filter(([one, other]) => isLarge(one) && isLarge(other) && areApart(one, other)).length;
}
