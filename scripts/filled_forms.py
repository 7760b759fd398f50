"""Fills forms by program with the handwriting of a data set, and scans or photographs them.

What is written is known, so that it can be compared with what is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from penstroke.config.class_names import as_text
from penstroke.data.dataset import Dataset
from penstroke.forms.description import Area, Form, FormField
from penstroke.forms.page_images import Grey

SCALE = 8
"""Pixels a millimetre of the pages that are filled."""
Glyphs = Mapping[str, npt.NDArray[np.uint8]]
"""Images (N, 28, 28) by what they show, ink bright."""
Generator = np.random.Generator


def glyphs_of(*datasets: Dataset) -> dict[str, npt.NDArray[np.uint8]]:
    """Return the images of data sets by what they show, letters as capitals."""
    return {
        as_text(name): dataset.images[dataset.labels == label]
        for dataset in datasets
        for label, name in enumerate(dataset.classes)
    }


class Hand:
    """One person with one pen."""

    def __init__(self, glyphs: Glyphs, rng: Generator) -> None:
        self._glyphs, self._rng = glyphs, rng
        self.height_mm = rng.uniform(4.5, 7.0)
        self.darkness = rng.uniform(0.55, 0.95)
        self._width = rng.uniform(0.9, 1.15)
        self._lean = rng.normal(0, 0.08)
        self._weight = rng.uniform(-0.08, 0.12)
        self._drift = rng.normal(0, 0.4, 2)

    def ink(self, character: str, height_mm: float | None = None) -> npt.NDArray[np.float32]:
        """Return the coverage (H, W) in 0..1 of a character, cut to its ink."""
        images = self._glyphs[character]
        image = images[self._rng.integers(len(images))]
        rows, columns = (np.flatnonzero(image.max(axis) > 40) for axis in (1, 0))
        image = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        high = SCALE * (height_mm or self.height_mm) * self._rng.uniform(0.9, 1.1)
        scale = high / max(image.shape[0], 0.7 * image.shape[1])
        size = (
            max(2, round(image.shape[1] * scale * self._width)),
            max(2, round(image.shape[0] * scale)),
        )
        grown = cv2.resize(image.astype(np.float32) / 255, size, interpolation=cv2.INTER_CUBIC)
        lean = self._lean * size[1]
        matrix = np.array([[1, -self._lean, max(lean, 0)], [0, 1, 0]])
        grown = cv2.warpAffine(grown, matrix, (size[0] + math.ceil(abs(lean)), size[1]))
        return np.asarray(np.clip((grown - 0.35 + self._weight) * 4, 0, 1), np.float32)

    def write_in(self, page: Grey, box: Area, character: str) -> None:
        """Write one character in a box, not always in its middle."""
        ink = self.ink(character, min(self.height_mm, 0.8 * box.height))
        shift = self._drift + self._rng.normal(0, 0.45, 2)
        x = SCALE * (box.left + box.width / 2 + shift[0]) - ink.shape[1] / 2
        y = SCALE * (box.top + box.height / 2 + shift[1]) - ink.shape[0] / 2
        self._paste(page, ink, x, y)

    def write_line(self, page: Grey, box: Area, text: str) -> None:
        """Write `text` along the middle of a box."""
        height = min(self.height_mm, 0.65 * box.height)
        x, base = SCALE * (box.left + 2.0), SCALE * (box.top + box.height / 2 + height / 2)
        for character in text:
            if character == " ":
                x += SCALE * 3
                continue
            if character in ".,":
                radius, end = 0.28 * SCALE, (0.3 if character == "." else 1.4) * SCALE
                patch = np.zeros((math.ceil(end + 2 * radius) + 2, round(1.6 * SCALE)), np.float32)
                top = (round(0.8 * SCALE), round(radius) + 1)
                cv2.line(
                    patch, top, (round(0.5 * SCALE), round(end)), 1.0, max(2, round(2 * radius))
                )
                self._paste(page, patch, x, base - 0.4 * SCALE)
                x += SCALE * 1.6
                continue
            ink = self.ink(character, height)
            self._paste(page, ink, x, base - ink.shape[0] + self._rng.normal(0, 0.25) * SCALE)
            x += ink.shape[1] + SCALE * self._rng.uniform(0.2, 0.9)

    def mark(self, page: Grey, box: Area) -> None:
        """Make a cross, a tick or a scribble in a box."""
        patch = np.zeros((SCALE * 12, SCALE * 12), np.float32)
        reach, kind = 0.5 * box.width * self._rng.uniform(0.7, 1.25), self._rng.integers(3)
        zigzag = [((-0.9, 0.9)[k % 2], -0.8 + 0.25 * k) for k in range(8)]
        shapes: list[list[list[tuple[float, float]]]] = [
            [[(-1, -1), (1, 1)], [(-1, 1), (1, -1)]], [[(-0.8, 0), (-0.2, 0.8), (1.2, -1.2)]],
            [zigzag],
        ]  # fmt: skip
        for line in shapes[kind]:
            points = np.array(line) * reach + self._rng.normal(0, 0.15, (len(line), 2)) + 6
            cv2.polylines(patch, [np.rint(points * SCALE).astype(np.int32)], False, 1.0,
                          max(2, round(0.5 * SCALE)), cv2.LINE_AA)  # fmt: skip
        middle = (box.left + box.width / 2 - 6, box.top + box.height / 2 - 6)
        self._paste(page, patch, SCALE * middle[0], SCALE * middle[1])

    def sign(self, page: Grey, box: Area) -> None:
        """Scribble a signature into a box."""
        t = np.linspace(0, 1, 60)
        x = (
            box.left
            + 5
            + t * min(box.width - 10, 45)
            + 2 * np.sin(25 * t + self._rng.uniform(0, 6))
        )
        y = box.top + box.height / 2 + 0.3 * box.height * np.sin(31 * t + self._rng.uniform(0, 6))
        layer = np.zeros(page.shape, np.float32)
        cv2.polylines(
            layer, [np.rint(SCALE * np.column_stack([x, y])).astype(np.int32)], False, 1.0, 3
        )
        self._paste(page, layer, 0, 0)

    def _paste(self, page: Grey, ink: npt.NDArray[np.float32], x: float, y: float) -> None:
        left, top = round(x), round(y)
        rows = slice(max(top, 0), min(top + ink.shape[0], page.shape[0]))
        columns = slice(max(left, 0), min(left + ink.shape[1], page.shape[1]))
        part = ink[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        tone = 255 * (1 - self.darkness * part)
        page[rows, columns] = np.minimum(page[rows, columns], tone).astype(np.uint8)


def fill(
    page: Grey, form: Form, number: int, hand: Hand, rng: Generator
) -> tuple[Grey, dict[str, str]]:
    """Return a printed page, `SCALE` pixels a millimetre, filled; and the values by field."""
    filled, truth = page.copy(), {}
    for field in form.on_page(number):
        truth[field.name] = value = _value(field, rng)
        if field.type in ("choice", "choices"):
            for option, box in zip(field.options, field.boxes, strict=True):
                if option in value.split(";"):
                    hand.mark(filled, box)
        elif field.type == "signature":
            if value:
                hand.sign(filled, field.boxes[0])
        elif field.type in ("number", "text"):
            hand.write_line(filled, field.boxes[0], value)
        else:
            written = value[8:] + value[5:7] + value[:4] if field.type == "date" else value
            for character, box in zip(written, field.boxes, strict=False):
                hand.write_in(filled, box, character)
    return filled, truth


def _value(field: FormField, rng: Generator) -> str:
    """Return something that may be written in `field`."""
    if not field.required and rng.random() < 0.25:
        return ""
    if field.values:
        return str(rng.choice(field.values))
    if field.type == "choice":
        return str(rng.choice(field.options))
    if field.type == "choices":
        return ";".join(option for option in field.options if rng.random() < 0.4)
    if field.type == "signature":
        return "signed" if rng.random() < 0.9 else ""
    if field.type == "date":
        return f"{rng.integers(1940, 2030)}-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}"
    if field.type == "number":
        least, greatest = field.least or 0, field.greatest or 1000
        whole = rng.integers(math.ceil(least), math.floor(greatest) + 1)
        return str(whole) if rng.random() < 0.7 else f"{whole}.{rng.integers(1, 10)}"
    count = field.count or 12
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    if field.type == "digits":
        return "".join(map(str, rng.integers(0, 10, count)))
    alphabet = letters if field.type in ("letters", "text") else letters + "0123456789"
    return "".join(rng.choice(list(alphabet), rng.integers(2, count + 1)))


def scanned(page: Grey, rng: Generator, dpi: int = 200) -> Grey:
    """Return `page` as a scanner sees it: a little turned and moved, noisy, compressed."""
    scale = dpi / 25.4 / SCALE * rng.uniform(0.985, 1.015)
    height, width = (round(side * dpi / 25.4 / SCALE) for side in page.shape)
    matrix = cv2.getRotationMatrix2D(
        (page.shape[1] / 2, page.shape[0] / 2), rng.uniform(-3, 3), scale
    )
    moved = np.subtract((width, height), page.shape[::-1]) / 2 + rng.normal(0, dpi / 50, 2)
    matrix[:, 2] = matrix[:, 2] + moved
    seen = cv2.warpAffine(page, matrix, (width, height), flags=cv2.INTER_AREA, borderValue=255)
    paper, contrast = rng.uniform(225, 255), rng.uniform(0.6, 1.0)
    seen = paper - (255 - seen.astype(np.float32)) * contrast
    seen += rng.normal(0, rng.uniform(1, 6), seen.shape)
    if rng.random() < 0.2:
        seen = seen[::-1, ::-1]
    return _compressed(seen, rng)


def photographed(page: Grey, rng: Generator, side: int = 2400) -> Grey:
    """Return `page` as a phone sees it: at an angle of up to 30 degrees, in uneven light."""
    height, width = page.shape
    angles = np.radians(rng.uniform(-1, 1, 3) * (30, 30, 20))
    distance, focal = 2.2 * height, 2.2 * height * rng.uniform(0.62, 0.72)
    turn = (
        cv2.Rodrigues(np.array([angles[0], 0.0, 0.0]))[0]
        @ cv2.Rodrigues(np.array([0.0, angles[1], 0.0]))[0]
        @ cv2.Rodrigues(np.array([0.0, 0.0, angles[2]]))[0]
    )
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    space = np.column_stack([corners - (width / 2, height / 2), np.zeros(4)]) @ turn.T
    seen = focal * space[:, :2] / (distance + space[:, 2:])
    shape = (side, round(0.75 * side))
    room = np.ptp(seen, axis=0)
    scale = min(shape[1] / room[0], shape[0] / room[1]) * rng.uniform(0.85, 0.97)
    place = (seen - seen.min(0) - room / 2) * scale + (shape[1] / 2, shape[0] / 2)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), place.astype(np.float32))
    table = float(rng.uniform(30, 120))
    photo = cv2.warpPerspective(page, matrix, shape[::-1], flags=cv2.INTER_AREA, borderValue=table)
    down, across = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / side
    light = 0.75 + rng.uniform(-0.25, 0.25) * (down - 0.5) + rng.uniform(-0.3, 0.3) * (across - 0.4)
    edge = math.cos(a := rng.uniform(0, 6.3)) * (across - 0.4) + math.sin(a) * (down - 0.5)
    light *= 1 - rng.uniform(0, 0.4) / (1 + np.exp(-edge * rng.uniform(8, 60)))
    seen_light = photo.astype(np.float32) * light
    seen_light = cv2.GaussianBlur(seen_light, (0, 0), rng.uniform(0.4, 1.2))
    seen_light += rng.normal(0, rng.uniform(1, 5), shape)
    return np.rot90(_compressed(seen_light, rng), int(rng.integers(4))).copy()


def _compressed(seen: npt.NDArray[Any], rng: Generator) -> Grey:
    whole = np.ascontiguousarray(np.clip(np.rint(seen), 0, 255).astype(np.uint8))
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 95))]
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", whole, quality)[1], 0), np.uint8)


def filled_pages(
    blank: Sequence[Grey], form: Form, glyphs: Glyphs, count: int, seed: int
) -> list[tuple[Grey, int, dict[str, str]]]:
    """Return `count` filled pages of `form`, drawn by `seed`: (page, its number, values)."""
    pages = []
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        number = index % form.page_count + 1
        page, truth = fill(blank[number - 1], form, number, Hand(glyphs, rng), rng)
        pages.append((page, number, truth))
    return pages
