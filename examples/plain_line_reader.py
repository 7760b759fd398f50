"""Reads lines with a model.onnx of Penstroke, without Penstroke: numpy, onnxruntime, Pillow.

    python plain_line_reader.py model.onnx IMAGE…

Each image shows one line. docs/howto/model-elsewhere.md says the steps in words.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HEIGHT, PAPER = 32, 64


class PlainLineReader:
    """A model file: its session and its alphabet."""

    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(path)
        stored = self.session.get_modelmeta().custom_metadata_map  # each value is JSON
        self.alphabet = json.loads(stored["alphabet"])

    def read(self, image):
        """Return the text of the likeliest class of each column, and how likely that path is."""
        strip = strip_of(image)
        columns = -(-strip.shape[1] // 4)
        strips = np.pad(strip, ((0, 0), (0, -strip.shape[1] % 32)), constant_values=PAPER)[None]
        (log_probs,) = self.session.run(["log_probs"], {"strips": strips})
        best = log_probs[0, :columns].argmax(axis=1)
        is_new = np.diff(best, prepend=0) != 0  # a class that is repeated is one character
        text = "".join(self.alphabet[k - 1] for k in best[is_new] if k)  # 0 is the blank
        return text, float(np.exp(log_probs[0, :columns].max(axis=1).sum()))


def strip_of(image):
    """Return the line in a Pillow image as (32, W) uint8: paper at 64, ink above."""
    image = ImageOps.exif_transpose(image)
    if "A" in image.getbands() or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    grey = Image.fromarray(np.asarray(image.convert("L"), np.float32) / 255)
    width = max(16, round(grey.width * HEIGHT / grey.height))
    how = Image.Resampling.BOX if grey.height > HEIGHT else Image.Resampling.BICUBIC
    scaled = np.asarray(grey.resize((width, HEIGHT), how))
    depth = np.median(scaled) - scaled
    depth = depth / max(np.sqrt((depth**2).mean()), 4 / 255)
    if (depth**3).mean() < 0:  # light ink on dark paper
        depth = -depth
    return np.rint(PAPER + 38 * depth).clip(0, 255).astype(np.uint8)


if __name__ == "__main__":
    reader = PlainLineReader(sys.argv[1])
    for path in sys.argv[2:]:
        with Image.open(path) as opened:
            print(path, *reader.read(opened))
