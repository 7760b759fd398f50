from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from helpers import drawn_digit, likeness
from penstroke.data.loading import load_dataset
from penstroke.data.sources.listing import read_labelled_images
from penstroke.errors import ImageError, ImageTooComplexError
from penstroke.preprocessing.ink import InkSettings, estimate_geometry, preprocess

Array = npt.NDArray[np.uint8]


def encoded(array: npt.NDArray[np.generic] | Image.Image, kind: str = "PNG") -> bytes:
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def box(pixels: Array) -> tuple[int, int]:
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


def center_of_mass(pixels: Array) -> tuple[float, float]:
    weights = pixels.astype(float)
    places = np.arange(28) + 0.5
    return (
        float(weights.sum(1) @ places / weights.sum()),
        float(weights.sum(0) @ places / weights.sum()),
    )


def difference(first: Array, second: Array) -> float:
    return float(np.abs(first.astype(int) - second).mean())


def test_longer_side_is_twenty_pixels_and_mass_is_centred() -> None:
    result = preprocess(drawn_digit())
    assert not result.is_blank
    assert result.pixels.shape == (28, 28)
    assert result.pixels.dtype == np.uint8
    assert result.pixels.max() == 255
    assert max(box(result.pixels)) == 20
    assert all(abs(c - 14.5) <= 0.51 for c in center_of_mass(result.pixels))


@pytest.mark.parametrize("size", [(300, 40), (40, 300)])
def test_proportion_is_kept(size: tuple[int, int]) -> None:
    image = np.full((400, 400), 255, np.uint8)
    image[10 : 10 + size[0], 10 : 10 + size[1]] = 0
    height, width = box(preprocess(image).pixels)
    assert (height, width) == tuple(round(20 * s / 300) for s in size)


@pytest.mark.parametrize("size", [24, 28, 60, 200, 900, 2500])
def test_size_of_the_image_does_not_matter(size: int) -> None:
    reference = preprocess(drawn_digit(400)).pixels
    # Width and place are rounded to whole pixels: 6 is such a step, two different digits are 40.
    assert difference(preprocess(drawn_digit(size)).pixels, reference) < 9


def test_dark_on_light_and_light_on_dark_are_the_same() -> None:
    image = drawn_digit()
    assert difference(preprocess(image).pixels, preprocess(255 - image).pixels) < 0.5


def test_faint_pencil_reads_as_full_ink() -> None:
    faint = preprocess(drawn_digit(ink=150, paper=210)).pixels
    assert difference(faint, preprocess(drawn_digit()).pixels) < 0.5


def modes() -> dict[str, bytes]:
    grey = drawn_digit()
    rgb = np.stack([grey] * 3, axis=2)
    clear = np.dstack([np.zeros_like(rgb), 255 - grey])
    chalk = np.dstack([np.full_like(rgb, 255), 255 - grey])
    return {
        "grey": encoded(grey),
        "rgb": encoded(rgb),
        "rgba": encoded(np.dstack([rgb, np.full_like(grey, 255)])),
        "black on clear": encoded(clear),
        "white on clear": encoded(chalk),
        "1-bit": encoded(Image.fromarray(grey > 128)),
        "16-bit": encoded(grey.astype(np.uint16) * 257),
        "palette": encoded(Image.fromarray(rgb).convert("P")),
        "cmyk": encoded(Image.fromarray(rgb).convert("CMYK"), "TIFF"),
        "jpeg": encoded(rgb, "JPEG"),
        "float tiff": encoded(Image.fromarray(grey.astype(np.float32) / 255), "TIFF"),
    }


@pytest.mark.parametrize("mode", modes())
def test_every_mode_gives_the_same_pixels(mode: str) -> None:
    assert difference(preprocess(modes()[mode]).pixels, preprocess(drawn_digit()).pixels) < 3.5


@pytest.mark.parametrize(
    "array",
    [
        drawn_digit() / 255.0,
        drawn_digit() > 128,
        drawn_digit()[..., None],
        np.stack([drawn_digit()] * 3, axis=2),
        drawn_digit().astype(np.uint16) * 257,
        drawn_digit().astype(np.int32) * 1000,
        drawn_digit().astype(np.float64),
    ],
    ids=["0..1", "bool", "(H, W, 1)", "(H, W, 3)", "uint16", "beyond 16 bits", "0..255"],
)
def test_arrays(array: npt.NDArray[np.generic]) -> None:
    assert difference(preprocess(array).pixels, preprocess(drawn_digit()).pixels) < 3.5


def test_path_bytes_image_and_array_give_the_same_bits(tmp_path: Path) -> None:
    content = encoded(drawn_digit())
    (tmp_path / "seven.png").write_bytes(content)
    from_path = preprocess(tmp_path / "seven.png").pixels
    for same in (
        str(tmp_path / "seven.png"),
        content,
        Image.open(io.BytesIO(content)),
        drawn_digit(),
    ):
        assert np.array_equal(preprocess(same).pixels, from_path)


def test_of_an_animation_the_first_image_counts() -> None:
    stream = io.BytesIO()
    frames = [Image.fromarray(drawn_digit()), Image.fromarray(np.rot90(drawn_digit()).copy())]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:], duration=100)
    assert difference(preprocess(stream.getvalue()).pixels, preprocess(drawn_digit()).pixels) < 3.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's transposes that make such a photo
    image = Image.fromarray(drawn_digit())
    if orientation in undo:
        image = image.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    image.save(stream, "JPEG", exif=exif, quality=95)
    upright = preprocess(drawn_digit()).pixels
    assert difference(preprocess(stream.getvalue()).pixels, upright) < 3.5


@pytest.mark.parametrize(
    "blank",
    [
        np.full((50, 50), 255, np.uint8),
        np.zeros((50, 50), np.uint8),
        np.full((28, 28), 128, np.uint8),
        np.random.default_rng(0).normal(220, 3, (90, 90)).astype(np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.full((1, 1), 7, np.uint8),
    ],
    ids=["white", "black", "grey", "paper noise", "clear", "one pixel"],
)
def test_blank_is_an_answer_not_a_digit(blank: Array) -> None:
    result = preprocess(blank)
    assert result.is_blank
    assert not result.pixels.any()


@pytest.mark.parametrize("shape", [(1, 20000), (20000, 1), (3, 3), (2, 500)])
def test_odd_shapes_do_not_break_it(shape: tuple[int, int]) -> None:
    image = np.full(shape, 255, np.uint8)
    image.flat[image.size // 2] = 0
    assert preprocess(image).pixels.shape == (28, 28)


@pytest.mark.mnist
def test_mnist_images_come_out_as_they_are() -> None:
    images = load_dataset("mnist").train.images[:500]
    pixels = np.stack([preprocess(image).pixels for image in images])
    assert difference(pixels, images) < 2.5
    assert np.mean([max(box(p)) for p in pixels]) == pytest.approx(20, abs=0.1)


def test_settings_change_the_box() -> None:
    assert max(box(preprocess(drawn_digit(), InkSettings(box_pixels=24)).pixels)) == 24


def png_of_claimed_size(width: int, height: int) -> bytes:
    """A PNG whose header promises more than it holds: the way a bomb is made."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "zero bytes"),
        (b"not an image at all", "not an image"),
        (encoded(drawn_digit())[:200], "damaged"),
        (encoded(drawn_digit(), "JPEG")[:-300], "damaged"),
        (png_of_claimed_size(10_000, 10_000), "100 megapixels"),
        (png_of_claimed_size(60_000, 60_000), "too large"),
    ],
    ids=["empty", "text", "cut PNG", "cut JPEG", "100 megapixels", "bomb"],
)
def test_no_image_is_a_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as refused:
        preprocess(path)
    assert str(path) in str(refused.value)


def test_only_formats_of_the_list_are_opened(tmp_path: Path) -> None:
    """Pillow hands EPS to Ghostscript, whatever the name of the file."""
    image = Image.fromarray(drawn_digit(60)).convert("RGB")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for kind in ("EPS", "SGI", "SPIDER", "PSD", "ICNS"):
            content = b"8BPS" if kind == "PSD" else encoded(image.convert("F"), kind) if (
                kind == "SPIDER") else encoded(image, kind)  # fmt: skip
            archive.writestr(f"7/{kind}.png", content)
            with pytest.raises(ImageError, match="not an image that can be read"):
                preprocess(content)
    for image_in_zip in read_labelled_images(tmp_path / "images.zip"):
        with pytest.raises(ImageError, match="not an image that can be read"):
            preprocess(image_in_zip.content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "TGA", "PCX",
                                  "DIB", "JPEG2000", "AVIF", "MPO"])  # fmt: skip
def test_every_format_of_the_list_is_read(kind: str) -> None:
    image = Image.fromarray(drawn_digit())
    image = image.convert("RGB") if kind in ("AVIF", "WEBP", "JPEG2000") else image
    assert difference(preprocess(encoded(image, kind)).pixels, preprocess(drawn_digit()).pixels) < 4


@pytest.mark.parametrize(
    "header", [b"P3 1001 1000 255\n", b"P2 1001 1000 255\n", b"P1 1001 1000\n",
               b"P5 1001 1000 200\n", b"P6 1001 1000 254\n"])  # fmt: skip
def test_what_is_decoded_in_python_must_be_small(header: bytes) -> None:
    with pytest.raises(ImageError, match="1 megapixels, 1 are allowed"):
        preprocess(header + b"0 " * 100)


def test_a_jpeg_of_many_scans_is_refused() -> None:
    stream = io.BytesIO()
    Image.fromarray(drawn_digit()).save(stream, "JPEG", progressive=True)
    scan = stream.getvalue()
    start = scan.index(b"\xff\xda")
    with pytest.raises(ImageTooComplexError, match="more than 100 scans"):
        preprocess(scan[:start] + 100 * scan[start:-2] + scan[-2:])
    assert not preprocess(scan).is_blank


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 5), np.uint8), "shape"),
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((5, 5, 2), np.uint8), "has 2"),
        (np.array([["a"]]), "is <U1"),
        (np.full((5, 5), np.nan), "not finite"),
        (np.full((5, 5), -1.0), "negative"),
        (np.zeros((9000, 9000), np.bool_), "megapixels"),
    ],
)
def test_arrays_that_are_no_image(array: npt.NDArray[np.generic], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        preprocess(array)


def test_a_file_of_impossible_levels_is_named(tmp_path: Path) -> None:
    Image.fromarray(np.full((5, 5), np.nan, np.float32)).save(tmp_path / "odd.tiff")
    with pytest.raises(ImageError, match=r"odd\.tiff holds values that are not finite"):
        preprocess(tmp_path / "odd.tiff")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot read .*nothing.png: No such file"):
        preprocess(tmp_path / "nothing.png")


def on_paper(size: int = 300) -> npt.NDArray[np.float64]:
    """The digit of `drawn_digit` as ink in 0..1, in the middle of a larger sheet."""
    digit = 1 - drawn_digit(size).astype(np.float64)[size // 8 : -size // 8] / 255
    return np.pad(digit, size // 6)


def photographed(
    ink: npt.NDArray[np.float64], light: npt.NDArray[np.float64] | float, noise: float = 0.01
) -> Array:
    grain = np.random.default_rng(0).normal(0, noise, ink.shape)
    return np.asarray(((0.9 * light * (1 - 0.7 * ink) + grain).clip(0, 1) * 255), np.uint8)


def lights(shape: tuple[int, int]) -> dict[str, npt.NDArray[np.float64]]:
    down, across = np.mgrid[0 : 1 : shape[0] * 1j, 0 : 1 : shape[1] * 1j]
    away = np.hypot(down - 0.3, across - 0.4)
    return {
        "from one side": 1 - 0.6 * across,
        "from a corner": 1 - 0.35 * (down + across),
        "a lamp": 1 - 0.6 * away**2,
        "a soft shadow": 1 - 0.4 / (1 + np.exp(-(across - 0.5) / 0.1)),
        "a dark corner": np.where(down + across > 1.6, 0.5, 1.0),
    }


@pytest.mark.parametrize("light", lights((2, 2)))
def test_uneven_light_is_taken_away(light: str) -> None:
    ink = on_paper()
    even = preprocess(photographed(ink, 1.0)).pixels
    uneven = photographed(ink, lights(ink.shape)[light])
    for seen in (uneven, 255 - uneven):
        assert likeness(preprocess(seen).pixels, even) > 0.85


def test_a_ruled_edge_and_specks_are_no_ink() -> None:
    clean = on_paper()
    dirty = clean.copy()
    dirty[-6:-3] = 0.7
    dirty[:, :3] = 0.5
    dirty[10:13, 200:203] = 1
    dirty[150:152, 20:22] = 0.8
    seen = preprocess(photographed(dirty, 1.0)).pixels
    assert likeness(seen, preprocess(photographed(clean, 1.0)).pixels) > 0.85


def test_a_dot_belongs_to_its_letter() -> None:
    letter = np.zeros((200, 120))
    letter[80:180, 50:64] = 1
    letter[30:46, 50:66] = 1
    assert box(preprocess(photographed(letter, 1.0)).pixels)[0] == 20
    seen = preprocess(photographed(letter, 1.0)).pixels
    assert not seen[8:10].any(axis=1).all()  # there is paper between dot and stem


def test_a_stroke_that_fades_is_followed_to_its_end() -> None:
    stroke = np.zeros((300, 100))
    stroke[50:250, 45:55] = np.linspace(1, 0.4, 200)[:, None]
    height, width = box(preprocess(photographed(stroke, 1.0)).pixels)
    assert (height, width) == (20, 1)


@pytest.mark.parametrize("size", [24, 60, 200])
def test_a_character_cropped_to_its_ink_is_no_uneven_light(size: int) -> None:
    image = drawn_digit(size)
    rows, columns = np.flatnonzero((image < 128).any(1)), np.flatnonzero((image < 128).any(0))
    cropped = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert difference(preprocess(cropped).pixels, preprocess(image).pixels) < 2


def test_the_placement_of_images_is_recognised() -> None:
    drawn = [drawn_digit(size, ink=level) for size in (60, 100, 160) for level in (0, 60)]
    rotated = [np.rot90(one, turns) for one in drawn for turns in range(4)]
    for settings in (
        InkSettings(),
        InkSettings(box_pixels=24, center="box"),
        InkSettings(box_pixels=16, center="box"),
    ):
        placed = np.stack([preprocess(np.ascontiguousarray(p), settings).pixels for p in rotated])
        estimated = estimate_geometry(placed)
        assert estimated.center == settings.center
        assert abs(estimated.box_pixels - settings.box_pixels) <= 1


def test_the_placement_of_nothing_is_the_default() -> None:
    assert estimate_geometry(np.zeros((5, 28, 28), np.uint8)) == InkSettings()


@pytest.mark.mnist
def test_mnist_was_placed_as_said() -> None:
    assert estimate_geometry(load_dataset("mnist").train.images) == InkSettings()


def test_what_differs_little_from_paper_is_faint_and_blank_only_where_it_is_nothing() -> None:
    ink = 1 - drawn_digit().astype(float) / 255

    def paper(contrast: int) -> Array:
        noise = np.random.default_rng(0).normal(0, 0.5, ink.shape)
        return np.rint(210 - contrast * ink + noise).astype(np.uint8)

    faint = [(preprocess(paper(step)).is_blank, preprocess(paper(step)).is_faint)
             for step in (0, 5, 12, 25, 60)]  # fmt: skip
    assert faint == [(True, False), (True, True), (True, True), (False, True), (False, False)]
