"""Occlusion maps: how much probability the answer loses where a patch of the image is covered."""

import numpy as np
from PIL import Image

from penstroke.config.settings import IMAGE_SIZE
from penstroke.inference.recognizer import Recognizer
from penstroke.preprocessing.ink import Pixels

_PATCH, _STRIDE = 5, 2


def occlusion_map(recognizer: Recognizer, pixels: Pixels) -> Pixels:
    """Return (28, 28) uint8: bright where covering `pixels` (28, 28) costs the answer most.

    Zeiler, Fergus 2014, section 4.2: a patch of 5×5 around every second pixel is blanked, and all
    196 images are recognised in one batch. The greatest loss of probability becomes 255; all is 0
    where no patch changes the answer.
    """
    (whole,) = recognizer.probabilities(pixels[None])
    answer = int(whole.argmax())
    covered = recognizer.probabilities(_occluded(pixels))[:, answer]
    side = IMAGE_SIZE // _STRIDE
    loss = np.maximum(whole[answer] - covered, 0).reshape(side, side)
    if loss.max() < 1e-3:
        return np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    levels = Image.fromarray((255 * loss / loss.max()).astype(np.uint8))
    enlarged = levels.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(enlarged, np.uint8)


def _occluded(pixels: Pixels) -> Pixels:
    """Return (196, 28, 28): a copy for each place of the patch, row by row."""
    starts = range(-(_PATCH // 2), IMAGE_SIZE - _PATCH // 2, _STRIDE)
    copies = np.repeat(pixels[None], len(starts) ** 2, axis=0)
    places = ((top, left) for top in starts for left in starts)
    for copy, (top, left) in zip(copies, places, strict=True):
        copy[max(top, 0) : top + _PATCH, max(left, 0) : left + _PATCH] = 0
    return copies
