from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from penstroke.errors import ConfigError, ImageError
from penstroke.preprocessing.ink import DEFAULT_INK, preprocess
from penstroke.serve.inference_worker import occlusion_map
from penstroke.serve.responses import data_url, png
from penstroke.serve.strokes import Drawing, image_of, preprocess_drawing
from penstroke.serve.uploads import JSON, Upload, upload_to_image

_POINTS = st.tuples(*[st.floats(-10_000, 10_000)] * 2).map(list)
SEVEN: list[list[list[float]]] = [[[60, 50], [140, 50], [90, 160]]]


def drawing(strokes: list[list[list[float]]], **more: float) -> Drawing:
    return Drawing.parse({"strokes": strokes, "width": 200, "height": 200, **more})


def likeness(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_strokes_are_seen_as_their_image_is() -> None:
    seven = drawing(SEVEN)
    result = preprocess_drawing(seven, DEFAULT_INK)
    assert not result.is_blank
    assert result.pixels.max() == 255
    assert likeness(result.pixels, preprocess(image_of(seven)).pixels) > 0.97


def test_place_and_size_on_the_canvas_do_not_matter() -> None:
    moved = [[[x / 2 + 90, y / 2 + 3] for x, y in stroke] for stroke in SEVEN]
    here, there = drawing(SEVEN, pen_width=14), drawing(moved, pen_width=7)
    a, b = (preprocess_drawing(d, DEFAULT_INK).pixels for d in (here, there))
    assert np.abs(a.astype(int) - b).max() < 60
    assert likeness(a, b) > 0.99


def test_a_pen_wider_than_what_is_looked_at_is_drawn_in_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Enlarged, each point of it would be an ellipse of half a million rows."""
    widths: list[float] = []

    def note(_: Any, points: list[tuple[float, float, float]]) -> None:
        widths.extend(width for *_, width in points)

    monkeypatch.setattr("penstroke.serve.strokes._draw_stroke", note)
    speck = Drawing.parse(
        {"width": 1, "height": 1, "pen_width": 1000, "strokes": [[[0, 0, 1.0], [1, 1, 1.0]]]}
    )
    preprocess_drawing(speck, DEFAULT_INK)
    assert len(widths) == 2
    assert max(widths) <= 10_000


def test_a_canvas_larger_than_images_may_be_is_refused() -> None:
    upload = Upload(JSON, json.dumps({"strokes": SEVEN, "width": 4096, "height": 4096}).encode())
    with pytest.raises(ImageError, match="16.8 megapixels, 4 are allowed"):
        upload_to_image(upload, 4_000_000)
    with pytest.raises(ImageError, match="4 are allowed"):  # a photo would be scaled down
        upload_to_image(upload, 20_000_000)


def test_pressure_makes_it_wider() -> None:
    def ink(*pressure: float) -> float:
        pressed = [[[x, y, *pressure] for x, y in stroke] for stroke in SEVEN]
        return float((255.0 - np.asarray(image_of(drawing(pressed)))).sum())

    assert ink(0.5) == ink()
    assert 1.6 < ink(1.0) / ink(0.0) < 3.4


def test_a_dot_is_round_and_nothing_is_blank() -> None:
    dot = preprocess_drawing(drawing([[[100, 100]]]), DEFAULT_INK).pixels
    assert np.abs(dot.astype(int) - dot.T).max() < 30
    assert preprocess_drawing(drawing([]), DEFAULT_INK).is_blank
    assert preprocess_drawing(drawing([[[900, 900]]]), DEFAULT_INK).is_blank, "beyond the canvas"


def test_a_image_has_the_size_of_the_canvas() -> None:
    wide = Drawing.parse({"strokes": [[[0, 0], [4096, 30]]], "width": 4096, "height": 60.4})
    assert image_of(wide).size == (4096, 60)


@given(
    st.lists(st.lists(_POINTS, min_size=1), max_size=4),
    st.floats(0.1, 1000), st.floats(1, 4096), st.floats(1, 300),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_drawing_can_be_read(
    strokes: list[list[list[float]]], pen: float, width: float, height: float
) -> None:
    found = Drawing.parse({"strokes": strokes, "pen_width": pen, "width": width, "height": height})
    assert preprocess_drawing(found, DEFAULT_INK).pixels.shape == (28, 28)


@pytest.mark.parametrize(
    "change",
    [{"width": 0}, {"height": 4097}, {"pen_width": 0}, {"strokes": [[]]}, {"strokes": [[[1]]]},
     {"strokes": [[[1, 2, 3, 4]]]}, {"strokes": [[[1, float("nan")]]]}, {"strokes": [[["1", 2]]]},
     {"strokes": [[[1, 2]] * 5001] * 2}, {"strokes": None}, {"colour": "red"}],
)  # fmt: skip
def test_what_is_no_drawing(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        Drawing.parse({"strokes": SEVEN, "width": 200, "height": 200, **change})


@pytest.mark.parametrize(
    "strokes",
    [
        [[[60, 140, 90], [50, 50, 160]]],
        [[[60, 100, 140, 90], [50, 50, 50, 160]]],
        [[[60, 100, 140, 90], [50, 50, 50, 160], [0, 10, 20, 30]]],
        [[[60, 50], [140, 50]], [[140, 90, 80], [50, 160, 170]]],
        [[[60, 50, 10_000]]],
        [[[60, 50, -0.1]]],
    ],
)
def test_columns_are_not_points_with_pressure(strokes: list[list[list[float]]]) -> None:
    with pytest.raises(ConfigError, match=r"a list of points \[x, y\] or \[x, y, pressure\], not"):
        drawing(strokes)


@pytest.mark.parametrize("pen_width", [1, 100, 1000])
def test_any_drawing_is_drawn_within_bounds(
    pen_width: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 4096, (10_000, 2)).tolist()
    wide = Drawing.parse(
        {"strokes": [points], "width": 4096, "height": 976, "pen_width": pen_width}
    )
    drawn: list[float] = []

    def note(_: Any, points: list[tuple[float, float, float]]) -> None:
        xs, ys, widths = np.array(points).T
        steps = np.hypot(np.diff(xs), np.diff(ys))
        drawn.append(float((widths[1:] * steps).sum() + (widths**2).sum()))

    monkeypatch.setattr("penstroke.serve.strokes._draw_stroke", note)
    assert image_of(wide).size == (4096, 976)
    preprocess_drawing(wide, DEFAULT_INK)
    assert len(drawn) == 2
    assert max(drawn) < 4e8


def test_png_is_read_back() -> None:
    pixels = np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)
    assert base64.b64decode(data_url(pixels).partition(",")[2]) == png(pixels)


class _Corner:
    """Is sure where ink is in the upper left, and knows no better elsewhere."""

    def probabilities(self, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
        ink = images[:, 2:7, 2:7].astype(float).mean(axis=(1, 2)) / 255
        return np.stack([ink, 1 - ink], axis=1).astype(np.float32)


def test_an_occlusion_map_is_bright_where_covering_costs_most() -> None:
    pixels = np.full((28, 28), 255, np.uint8)
    seen = occlusion_map(_Corner(), pixels)  # type: ignore[arg-type]
    assert seen.shape == (28, 28)
    row, column = divmod(int(seen.argmax()), 28)
    assert 3 <= row <= 5
    assert 3 <= column <= 5
    assert seen[15:, 15:].max() == 0
    assert occlusion_map(_Corner(), pixels * 0).max() == 0  # type: ignore[arg-type]


def test_characters_beside_each_other_are_counted() -> None:
    bar = [[50.0, 40.0], [50.0, 160.0]]
    assert preprocess_drawing(drawing([bar]), DEFAULT_INK).characters == 1
    both = drawing([bar, [[x + 80, y] for x, y in bar]])
    assert preprocess_drawing(both, DEFAULT_INK).characters == 2
