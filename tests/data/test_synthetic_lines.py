"""Synthetic lines: what they say is on them, and a seed gives them again."""

from __future__ import annotations

import numpy as np
import pytest

from penstroke import Dataset
from penstroke.config.settings import SynthesisConfig
from penstroke.data.line_texts import SIGNS
from penstroke.data.synthetic_lines import LineSynthesizer
from penstroke.errors import ConfigError
from penstroke.preprocessing.strips import PAPER, STRIP_HEIGHT

PLAIN = dict.fromkeys(
    ("neighbours", "texture", "patterned_paper", "ruled_lines", "frames", "stamps",
     "low_resolution", "blur", "noise", "compression", "blank"), 0.0,
)  # fmt: skip
"""Nothing on the paper but the writing."""


def bars(names: str) -> Dataset:
    """Return a data set of one image a character: an upright bar, MNIST's size."""
    images = np.zeros((len(names), 28, 28), np.uint8)
    images[:, 4:24, 12:16] = 255
    return Dataset(images, np.arange(len(names)), tuple(names))


@pytest.fixture(scope="module")
def synthesizer() -> LineSynthesizer:
    return LineSynthesizer(bars("0123456789"), SynthesisConfig())


def test_a_seed_gives_the_same_lines_and_another_others(synthesizer: LineSynthesizer) -> None:
    first, again, other = (synthesizer.batch(20, seed) for seed in (3, 3, 4))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert synthesizer.alphabet == "0123456789" + SIGNS == first.alphabet


def test_all_that_is_written_on_forms_comes_up(synthesizer: LineSynthesizer) -> None:
    texts = synthesizer.batch(600, 0).texts
    assert set("".join(texts)) == set("0123456789" + SIGNS)
    assert 4 <= texts.count("") <= 30
    assert max(map(len, texts)) >= 11
    assert any(text.startswith("-") for text in texts)


def test_a_plain_line_shows_each_of_its_digits() -> None:
    clear = {"least_height": 0.9, "slant_degrees": 0.0, "gap": 0.3, "least_contrast": 1.0}
    settings = SynthesisConfig().replace({**PLAIN, **clear, "joined_zeros": 0.0})
    lines = LineSynthesizer(bars("0123456789"), settings).batch(250, 0)
    counted = 0
    for row, text in enumerate(lines.texts):
        strip = lines.strip(row)
        assert strip.shape[0] == STRIP_HEIGHT
        if text.isdigit() and len(text) > 2:
            middle = strip[14:18].max(0) > PAPER + 60
            pieces = int((np.diff(middle.astype(int), prepend=0) == 1).sum())
            counted += pieces == len(text)
    whole = sum(text.isdigit() and len(text) > 2 for text in lines.texts)
    # Some digits are written into one another, or lie beyond the border.
    assert counted >= 0.6 * whole > 20


def test_words_hold_letters_as_capitals_and_spaces() -> None:
    settings = SynthesisConfig(content="words")
    letters = LineSynthesizer(bars("ab"), settings).batch(60, 0)
    assert set("".join(letters.texts)) == set("ab ")
    mixed = LineSynthesizer(bars("ab0123456789"), settings).batch(60, 0)
    assert set("".join(mixed.texts)) == set("ab 0123456789")
    merged = Dataset(bars("a").images, np.zeros(1, np.int64), ("Aa",))
    assert LineSynthesizer(merged, settings).alphabet == "A "


@pytest.mark.parametrize(
    ("names", "content", "message"),
    [
        ("0123456", "numbers", "synthesis.characters: mine lacks 789"),
        ("ab", "numbers", "synthesis.characters: mine lacks 0123456789"),
        ("0123456789", "words", "synthesis.content: words need letters, and mine has none"),
    ],
)
def test_characters_that_cannot_write_the_lines_are_named(
    names: str, content: str, message: str
) -> None:
    settings = SynthesisConfig().replace({"characters": "mine", "content": content})
    with pytest.raises(ConfigError, match=message):
        LineSynthesizer(bars(names), settings)


def test_words_are_written_without_numbers_where_a_digit_lacks() -> None:
    lines = LineSynthesizer(bars("ab01"), SynthesisConfig(content="words")).batch(60, 0)
    assert set("".join(lines.texts)) == set("ab ")


def test_texts_of_a_list_are_written_as_often_as_they_are_there() -> None:
    characters = Dataset(
        bars("xyz").images, np.arange(3), ("Bb", "e", "8")
    )  # small letters of EMNIST's merged classes are read as capitals
    settings = SynthesisConfig(texts=("be 8%", "be 8%", "be 8%", "8,8"), blank=0.0)
    lines = LineSynthesizer(characters, settings).batch(200, 0)
    assert lines.alphabet == " %,8Be"
    assert set(lines.texts) == {"Be 8%", "8,8"}
    assert 120 < lines.texts.count("Be 8%") < 180


def test_a_long_text_is_whole_on_its_line() -> None:
    settings = SynthesisConfig().replace({**PLAIN, "texts": ["1" * 100], "least_height": 0.9})
    lines = LineSynthesizer(bars("1"), settings).batch(10, 0)
    assert lines.widths.min() > 100 * 0.9 * 32 * 4 / 20, "of bars 4 wide and 20 high"
    assert lines.widths.max() > 2048


def test_texts_that_cannot_be_composed_are_named() -> None:
    settings = SynthesisConfig(characters="mine", texts=("10", "12 Höfe"))
    message = "synthesis.texts: '12 Höfe' cannot be composed: mine has no images of H e f ö;"
    with pytest.raises(ConfigError, match=message):
        LineSynthesizer(bars("0123456789"), settings)
