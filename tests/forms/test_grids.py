"""Grids in photos: found, cut into whole cells, and read, alone and under the rules of sudoku."""

import csv
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from penstroke import Recognizer
from penstroke.cli.main import app
from penstroke.errors import ConfigError, ImageError
from penstroke.forms.grid_reading import read_grid, solve_sudoku
from penstroke.forms.grids import Grid, find_grid
from penstroke.forms.page_images import page_image

SIDE = 60
PUZZLE = [
    "530070000", "600195000", "098000060", "800060003", "400803001",
    "700020006", "060000280", "000419005", "000080079",
]  # fmt: skip


def drawn(texts: list[str], thick_every: int = 3) -> np.ndarray:
    """Return a table of digits, "0" for none, on white paper with a margin of two cells."""
    rows, columns = len(texts), len(texts[0])
    page = np.full(((rows + 4) * SIDE, (columns + 4) * SIDE), 235, np.uint8)
    for across, count, other in ((True, rows, columns), (False, columns, rows)):
        for line in range(count + 1):
            at, low, high = (line + 2) * SIDE, 2 * SIDE, (other + 2) * SIDE
            ends = ((low, at), (high, at)) if across else ((at, low), (at, high))
            cv2.line(page, *ends, 60, 2 if line % thick_every else 5)
    for row, column in itertools.product(range(rows), range(columns)):
        if texts[row][column] != "0":
            corner = (round((column + 2.3) * SIDE), round((row + 2.8) * SIDE))
            cv2.putText(page, texts[row][column], corner, cv2.FONT_HERSHEY_DUPLEX, 1.2, 40, 3,
                        cv2.LINE_AA)  # fmt: skip
    return page


def photographed(page: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a curved page seen from the side in uneven light, and where each of its pixels is."""
    height, width = page.shape
    flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    sides = [[60, 30], [width - 20, 80], [width + 20, height], [10, height - 60]]
    seen = np.array(sides, np.float32)
    view = cv2.getPerspectiveTransform(seen, flat)
    x, y = np.meshgrid(np.arange(width + 40), np.arange(height + 40))
    places = cv2.perspectiveTransform(np.stack([x, y], 2).astype(np.float32), view)
    places[:, :, 1] += 12 * np.sin(places[:, :, 0] / width * np.pi)
    maps = np.ascontiguousarray(places[:, :, 0]), np.ascontiguousarray(places[:, :, 1])
    photo = cv2.remap(page, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    light = np.linspace(0.6, 1, photo.shape[1])
    noise = np.random.default_rng(0).normal(0, 3, photo.shape)
    return np.clip(cv2.GaussianBlur(photo, (0, 0), 1.2) * light + noise, 0, 255).astype(
        "u1"
    ), places


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return photographed(drawn(PUZZLE))[0]


@pytest.fixture(scope="module")
def grid(photo: np.ndarray) -> Grid:
    return find_grid(photo)


def test_a_curved_grid_is_found_counted_and_followed(grid: Grid) -> None:
    places = photographed(drawn(PUZZLE))[1]
    assert (grid.rows, grid.columns) == (9, 9)
    x, y = np.rint(np.moveaxis(grid.crossings, 2, 0)).astype(int)
    expected = np.stack(np.meshgrid(np.arange(2, 12), np.arange(2, 12)), 2) * SIDE
    assert np.abs(places[y, x] - expected).max() < 4
    assert "".join("0" if c.is_empty else "x" for c in grid.cells) == "".join(
        "0" if digit == "0" else "x" for row in PUZZLE for digit in row
    )
    left, top, right, bottom = grid.cells[40].box
    assert abs(places[(top + bottom) // 2, (left + right) // 2] - 6.5 * SIDE).max() < 4


def test_cells_are_white_at_their_border(grid: Grid) -> None:
    for cell in grid.cells:
        around = [cell.image[0], cell.image[-1], cell.image[:, 0], cell.image[:, -1]]
        assert np.concatenate(around).min() == 255, cell.row * 9 + cell.column


def test_a_stroke_across_a_line_is_kept_whole_in_one_cell() -> None:
    page = drawn(["00000"] * 5)
    cv2.line(page, (4 * SIDE + 30, 4 * SIDE + 8), (4 * SIDE + 36, 5 * SIDE + 20), 30, 4)
    cells = find_grid(page, 5, 5).cells
    assert [k for k, cell in enumerate(cells) if not cell.is_empty] == [12]
    rows = np.flatnonzero((cells[12].image < 128).any(axis=1))
    assert abs(np.ptp(rows) / SIDE * SIDE - 75) < 6
    assert (np.diff(rows) == 1).all()


def test_the_largest_grid_is_taken_unless_another_size_is_asked_for() -> None:
    page = np.full((900, 1500), 240, np.uint8)
    large, small = drawn(["12345"] * 6)[60:-60, 60:-60], drawn(["000"] * 4)[60:-60, 60:-60]
    page[100 : 100 + len(large), 50 : 50 + large.shape[1]] = large
    page[200 : 200 + len(small), 800 : 800 + small.shape[1]] = small
    assert (find_grid(page).rows, find_grid(page).columns) == (6, 5)
    assert find_grid(page, 4, 3).crossings[0, 0, 0] > 800


def test_what_is_no_such_grid_is_named(photo: np.ndarray) -> None:
    with pytest.raises(ImageError, match="found has 9 rows and 9 columns"):
        find_grid(photo, 7, 8)
    noise = np.random.default_rng(0).integers(0, 255, (400, 300)).astype(np.uint8)
    for picture in (np.full((300, 400), 255, np.uint8), noise, np.zeros((1, 1), np.uint8)):
        with pytest.raises(ImageError, match="no grid found"):
            find_grid(picture)
    with pytest.raises(ImageError, match="9 rows and 9 columns"):  # cut off
        find_grid(photo[:, :400], 9, 9)


def test_a_fold_is_no_line_of_the_grid() -> None:
    page = drawn(["00000"] * 5)
    cv2.line(page, (0, 4 * SIDE + 25), (page.shape[1], 4 * SIDE + 28), 120, 3)
    grid = find_grid(page, 5, 5)
    assert np.abs(grid.crossings[:, 0, 1] - np.arange(2, 8) * SIDE).max() < 2


def test_the_solver_finds_the_likeliest_that_the_rules_admit() -> None:
    scores = np.log(np.random.default_rng(0).dirichlet(np.ones(9), 4))
    places = [0, 1, 10, 80]  # the first three see each other

    def total(values: tuple[int, ...]) -> float:
        return float(scores[np.arange(4), list(values)].sum())

    admitted = [v for v in itertools.product(range(9), repeat=4) if len(set(v[:3])) == 3]
    best = sorted(map(total, admitted), reverse=True)[:20]
    found = solve_sudoku(scores, places)
    assert [score for score, _ in found] == pytest.approx(best)
    assert len({tuple(values) for _, values in found}) == 20
    assert solve_sudoku(np.empty((0, 9)), [])[0][0] == 0
    only_ones = np.full((2, 9), -np.inf)
    only_ones[:, 0] = 0
    assert not solve_sudoku(only_ones, [0, 1])


def test_rules_correct_what_is_misread(grid: Grid) -> None:
    digits = Recognizer.load("digits")
    reading = read_grid(grid, digits, "sudoku")
    assert reading.table() == [["" if d == "0" else d for d in row] for row in PUZZLE]
    assert reading.obeys_rules
    assert reading.probability > 0.5
    with pytest.raises(ConfigError, match="not 3x4"):
        read_grid(Grid(3, 4, grid.crossings, grid.page, grid.cells[:12]), digits, "sudoku")


def test_photos_become_a_table(tmp_path: Path, photo: np.ndarray) -> None:
    names = [str(tmp_path / name) for name in ("puzzle.png", "blank.png")]
    Image.fromarray(photo).save(names[0])
    Image.new("L", (300, 300), 255).save(names[1])
    table = tmp_path / "answers.csv"
    run = CliRunner().invoke
    words = ["form", "read", "--grid", "9x9", "--rules", "sudoku", "-o", str(table)]
    answer = run(app, [*words, *names])
    assert answer.exit_code == 1  # the second could not be read
    assert "blank.png" in answer.output
    assert "no grid found" in answer.output
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0] == ["image", "row", *map(str, range(1, 10))]
    assert [row[2:] for row in rows[1:]] == [["" if d == "0" else d for d in r] for r in PUZZLE]
    assert run(app, ["form", "read", "--grid", "9", names[0]]).exit_code == 2


@pytest.mark.parametrize(
    ("name", "size"), [("sudoku/image1.jpg", (9, 9)), ("sheets/sheet-01.png", (40, 32))]
)
def test_real_grids(shared: Path, name: str, size: tuple[int, int]) -> None:
    grid = find_grid(page_image(shared / name, 1))
    assert (grid.rows, grid.columns) == size
    assert not any(cell.is_empty for cell in grid.cells)
