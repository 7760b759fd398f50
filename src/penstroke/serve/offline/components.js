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
