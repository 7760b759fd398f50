"""Decoding against every text that the columns can write."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctc import Columns, columns_of, every_text, lines, log_softmax
from penstroke.inference.line_decoding import (
    NEGLIGIBLE,
    align,
    decode,
    greedy,
    text_log_probabilities,
    text_log_probability,
    text_probability,
)
from transcripts import ROOT, fences


@given(lines(), st.sampled_from([1, 2, 5, 1000]))
def test_the_likeliest_of_all_texts(line: tuple[Columns, str], count: int) -> None:
    columns, alphabet = line
    every = every_text(columns, alphabet)
    found = decode(columns, alphabet, count=count)
    likeliest = sorted(every.values(), reverse=True)[:count]
    assert [one.probability for one in found] == pytest.approx(likeliest, abs=1e-12)
    assert [every[one.text] for one in found] == pytest.approx(likeliest, abs=1e-12)
    assert len({one.text for one in found}) == len(found)


@given(lines())
def test_the_probability_of_each_text(line: tuple[Columns, str]) -> None:
    columns, alphabet = line
    every = every_text(columns, alphabet)
    assert sum(every.values()) == pytest.approx(1)
    shorter = columns[1:]  # beside others, and in fewer columns
    texts = list(every)
    found = text_log_probabilities([*([columns] * len(texts)), shorter], [*texts, ""], alphabet)
    assert np.exp(found[:-1]) == pytest.approx(list(every.values()), abs=1e-12)
    assert np.exp(found[-1]) == pytest.approx(every_text(shorter, alphabet)[""], abs=1e-12)
    assert text_probability(columns, texts[0], alphabet) == pytest.approx(every[texts[0]])


def test_a_text_that_needs_more_columns_is_impossible() -> None:
    columns = columns_of([1, 1], 2)
    assert text_log_probability(columns, "aa", "a") == -np.inf
    assert text_log_probability(columns[:0], "a", "a") == -np.inf
    assert text_probability(columns[:0], "", "a") == 1


def test_greedy_merges_repeats_and_drops_blanks() -> None:
    assert greedy(columns_of([0, 1, 1, 0, 1, 2, 2, 0], 3), "ab") == "aab"
    assert greedy(columns_of([0, 0], 3), "ab") == ""


def test_greedy_is_not_the_likeliest_text() -> None:
    # "" is the likeliest path, but more paths write "a".
    columns = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert greedy(columns, "a") == ""
    (found,) = decode(columns, "a")
    assert found.text == "a"
    assert found.probability == pytest.approx(0.64)


def test_spans_are_the_columns_of_each_character() -> None:
    columns = columns_of([0, 1, 1, 0, 1, 2, 2, 2, 0], 3)
    columns[6] = np.log([0.005, 0.005, 0.99])
    spans = align(columns, "aab", "ab")
    assert [(span.first, span.last) for span in spans] == [(1, 2), (4, 4), (5, 7)]
    assert spans[2].peak == 6
    assert spans[2].probability == pytest.approx(0.99)
    assert decode(columns, "ab")[0].spans == spans
    assert align(columns, "", "ab") == ()


def test_probabilities_of_single_precision_and_long_lines() -> None:
    classes = [0, 1, 0, 2] * 250
    columns = columns_of(classes, 14, 0.9999).astype(np.float32)
    (found,) = decode(columns, "0123456789,.-")
    assert found.text == "01" * 250
    assert found.probability == pytest.approx(0.905, abs=0.01)
    noise = log_softmax(np.random.default_rng(0).normal(size=(120, 14)))
    first, second = decode(noise, "0123456789,.-", count=2)
    assert 0 < second.probability <= first.probability < 1e-50


def test_the_example_of_the_documentation(capsys: pytest.CaptureFixture[str]) -> None:
    page = fences((ROOT / "docs/inference.md").read_text())
    for language, content in page:
        if language == "python" and "line_decoding" in content:
            exec(content, {})
            assert next(page)[1] == capsys.readouterr().out
            return
    pytest.fail("there is none")


def test_where_no_text_is_likely_the_likeliest_path_is_read() -> None:
    columns = log_softmax(np.random.default_rng(0).normal(0, 1, (50, 11)))
    (found,) = decode(columns, "0123456789")
    assert found.text == greedy(columns, "0123456789")
    assert found.probability < NEGLIGIBLE
    assert found.probability == pytest.approx(found.unconstrained)
