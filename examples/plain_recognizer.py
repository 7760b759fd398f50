"""Reads characters with a model.onnx of Penstroke, without Penstroke: numpy, onnxruntime, Pillow.

    python plain_recognizer.py model.onnx IMAGE…

Each step is a few lines, to be repeated in any language: docs/howto/model-elsewhere.md says them
in words.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

SIZE = 28


class PlainRecognizer:
    """A model file: its session, and the metadata that answers need."""

    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(path)
        stored = self.session.get_modelmeta().custom_metadata_map  # each value is JSON
        self.classes = json.loads(stored["classes"])
        self.temperature = json.loads(stored["temperature"])
        self.confidence_threshold = json.loads(stored["confidence_threshold"])
        self.ood_threshold = json.loads(stored["ood_threshold"])  # may be null
        self.ink = json.loads(stored["ink"])  # box_pixels: 20, center: "mass" or "box", …

    def probabilities(self, images):
        """Return logits and probabilities (B, K) of images (B, 28, 28) uint8, ink bright."""
        (logits,) = self.session.run(["logits"], {"images": np.asarray(images, np.uint8)})
        powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / self.temperature)
        return logits, powers / powers.sum(axis=1, keepdims=True)

    def recognize(self, images):
        """Return (label, probability) of each image; the label is None where it is rejected."""
        logits, probabilities = self.probabilities(images)
        answers = []
        for row, shares in zip(logits, probabilities, strict=True):
            best = int(shares.argmax())
            is_sure = shares[best] >= self.confidence_threshold
            is_known = row.max() - row.mean() >= (self.ood_threshold or 0)
            label = self.classes[best] if is_sure and is_known else None
            answers.append((label, float(shares[best])))
        return answers

    def preprocess(self, image):
        """Return the character in a Pillow image as (28, 28) uint8; None if there is no ink.

        For images on even paper, with one character and nothing else.
        """
        # 1. Upright, on white where it is transparent, grey, no side longer than 400 pixels.
        image = ImageOps.exif_transpose(image).convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("L")
        image.thumbnail((400, 400), Image.Resampling.BOX)
        grey = np.asarray(image, np.float32)
        # 2. Paper is the median of the border. Most of the rest is paper, too: if the mean is
        #    darker, ink is dark. The depth says how far a pixel is from paper towards ink.
        paper = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
        depth = np.maximum(paper - grey if grey.mean() < paper else grey - paper, 0)
        # 3. Otsu's threshold separates paper from ink; the 0.9 quantile above it is full ink.
        inked = depth[depth >= otsu(depth)]
        full = np.quantile(inked, 0.9) if len(inked) else 0
        if full < self.ink["min_contrast"] * 255:
            return None
        ink = np.minimum(depth / full, 1)
        ink[ink < self.ink["noise_floor"]] = 0
        # 4. Crop; scale the longer side to box_pixels; the darkest pixel becomes full ink.
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        scale = self.ink["box_pixels"] / max(ink.shape)
        height, width = (max(1, round(side * scale)) for side in ink.shape)
        scaled = Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC)
        ink = np.asarray(scaled).clip(0, 1)
        ink = ink / ink.max()
        # 5. Put the centre of mass to (14.5, 14.5), or the middle of the box to (14, 14).
        corner = []
        for axis in (0, 1):
            length = ink.shape[axis]
            profile = ink.sum(axis=1 - axis)
            mass = (profile * (np.arange(length) + 0.5)).sum() / profile.sum()
            offset = 14.5 - mass if self.ink["center"] == "mass" else (SIZE - length) / 2
            corner.append(min(max(round(offset), 0), SIZE - length))
        field = np.zeros((SIZE, SIZE), np.float32)
        top, left = corner
        field[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
        return np.rint(field * 255).astype(np.uint8)


def otsu(levels):
    """Return the level (of 0 to 255) that separates `levels` into two classes of least variance."""
    counts = np.bincount(levels.astype(int).ravel(), minlength=256)
    below = counts.cumsum()[:-1]
    above = counts.sum() - below
    sums = (counts * np.arange(256)).cumsum()
    gap = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return int((below * above * gap**2).argmax()) + 1


def main(model, paths):
    """Print the label and probability of each image."""
    recognizer = PlainRecognizer(model)
    for path in paths:
        with Image.open(path) as image:
            character = recognizer.preprocess(image)
        if character is None:
            print(f"{path}: no ink")
            continue
        ((label, probability),) = recognizer.recognize([character])
        print(f"{path}: {label or 'rejected'} {100 * probability:.2f} %")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
