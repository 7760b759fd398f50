"""Constraints: which texts they admit, and decoding under them against every text."""

from __future__ import annotations

import math
import re
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctc import Columns, columns_of, every_text, lines, log_softmax
from penstroke.errors import ConfigError
from penstroke.inference.check_digits import CheckDigitName
from penstroke.inference.constraints import (
    AllOf,
    CheckDigit,
    Choices,
    Constraint,
    Dictionary,
    Format,
    compiled,
)
from penstroke.inference.line_decoding import DOUBT, decode, text_log_probabilities

NUMBERS = "0123456789,.-"
AMOUNT = r"\d{1,3}([.,]\d{3})*(,\d{2})?"
WORDS = Dictionary((("ab", 5), ("abc", 1), ("b", 2), ("ab", 3)), outside=0.01)


def log_weight(constraint: Constraint, text: str) -> float | None:
    """What a text weighs; None if it is not admitted."""
    state, weight = constraint.start, 0.0
    for character in text:
        if (step := constraint.step(state, character)) is None:
            return None
        state, weight = step[0], weight + step[1]
    end = constraint.end(state)
    return None if end is None else weight + end


def admits(constraint: Constraint, text: str) -> bool:
    return log_weight(constraint, text) is not None


def written(text: str, alphabet: str, probability: float = 0.97) -> Columns:
    """Columns that write `text`, each character with this probability."""
    classes = [k for character in text for k in (1 + alphabet.index(character), 0)]
    return columns_of([0, *classes], len(alphabet) + 1, probability)


@pytest.mark.parametrize(
    "constraint",
    [
        Format("a*b"),
        Format("(ab|c)+|bb?"),
        Format("a{1,2}"),
        Choices(("a", "ab", "abc", "bb", "cabca")),
        WORDS,
        AllOf((Choices(("a", "bb", "ab")), WORDS)),
        AllOf((Format("[ab]*"), WORDS)),
        AllOf((Format("a.*"), Format(".*b"))),
    ],
    ids=lambda constraint: constraint.describe(),
)
@given(line=lines(), count=st.sampled_from([1, 3]))
@settings(max_examples=25)
def test_the_likeliest_of_all_admitted_texts(
    constraint: Constraint, line: tuple[Columns, str], count: int
) -> None:
    columns = np.pad(line[0], ((0, 0), (0, 3 - len(line[1]))), constant_values=-50)
    every = every_text(columns, "abc")
    weights = {text: log_weight(constraint, text) for text in every}
    admitted = {t: p * math.exp(w) for t, p in every.items() if (w := weights[t]) is not None}
    found = decode(columns, "abc", constraint, count)
    if not admitted:
        assert found == []
        return
    holds = sum(every[text] for text in admitted)
    scale = holds / ((1 - DOUBT) * holds + DOUBT) / sum(admitted.values())
    likeliest = sorted((p * scale for p in admitted.values()), reverse=True)[: len(found)]
    assert [admitted[one.text] * scale for one in found] == pytest.approx(likeliest, abs=1e-9)
    assert [one.unconstrained for one in found] == pytest.approx([every[h.text] for h in found])
    if not compiled(constraint, "abc").admits_everything:
        assert [one.probability for one in found] == pytest.approx(likeliest, abs=1e-9)


@given(line=lines())
def test_a_dictionary_is_at_least_as_unsure_as_it_should_be(line: tuple[Columns, str]) -> None:
    columns, alphabet = line
    every = {
        text: probability * math.exp(log_weight(WORDS, text) or 0.0)
        for text, probability in every_text(columns, alphabet).items()
    }
    (found,) = decode(columns, alphabet, WORDS)
    assert 0 < found.probability <= every[found.text] / sum(every.values()) + 1e-9
    (found, *_) = decode(columns, alphabet, WORDS, count=1000)
    assert found.probability == pytest.approx(every[found.text] / sum(every.values()))


PATTERNS = st.recursive(
    st.sampled_from(["a", "b", "[ab]", "[^a]", ".", r"\d", r"\W", "-", r"\.", "[a-c1-3]", "()"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("({0[0]}|{0[1]})".format),
        st.tuples(
            inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{,2}", "{0,3}", "*?"])
        ).map("(?:{0[0]}){0[1]}".format),
    ),
    max_leaves=6,
)


@given(PATTERNS, st.lists(st.text("abc12.-", max_size=6), max_size=20))
def test_formats_admit_what_re_matches(pattern: str, texts: list[str]) -> None:
    constraint = Format(pattern)
    for text in texts:
        assert constraint.admits(text) == (re.fullmatch(pattern, text) is not None)


def test_an_amount() -> None:
    amount = Format(AMOUNT)
    for text in ("5", "125", "1.250,00", "1,250,000", "17,50"):
        assert amount.admits(text)
    for text in ("", "1250", "1.25", "12500,0", ",50", "1.250,0"):
        assert not amount.admits(text)
    assert Format(f"^{AMOUNT}$").admits("17,50")
    assert len(compiled(amount, NUMBERS).ends) < 15


def test_a_format_finds_what_greedy_is_far_from() -> None:
    # Every character is of a kind that the format refuses, with a probability of 0.9999.
    columns = written("-" * 12, NUMBERS, 0.9999)
    (found,) = decode(columns, NUMBERS, Format(r"\d{12}"))
    assert len(found.text) == 12
    assert found.text.isdigit()
    assert found.probability < 1e-30
    # As many as there is room for, and more.
    assert len(decode(columns, NUMBERS, Format("(01)*0{12}1"))[0].text) == 13
    assert decode(columns, NUMBERS, Format("0{14}")) == []
    assert decode(columns, NUMBERS, Choices(("0" * 14,))) == []


def test_formats_correct_a_misread_character() -> None:
    columns = written("1-250,00", NUMBERS, 0.999)
    columns[3] = np.log(np.full(14, 1e-4))
    columns[3, [1 + NUMBERS.index("-"), 1 + NUMBERS.index(".")]] = np.log([0.7, 0.2988])
    assert decode(columns, NUMBERS)[0].text == "1-250,00"
    (found,) = decode(columns, NUMBERS, Format(AMOUNT))
    assert found.text == "1.250,00"
    assert found.unconstrained == pytest.approx(0.29, abs=0.02)
    assert found.probability > 0.97
    assert found.spans[1].first == 3


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a(?=b)", "look-around"),
        ("(?<!a)b", "look-around"),
        (r"(a)\1", "back-reference"),
        ("(a)?(?(1)b|c)", "condition"),
        ("a++", "possessive"),
        ("(?>a)", "atomic"),
        (r"a\b", "anchor"),
        ("a^b", "anchor"),
        ("(?i)a", "flags"),
        ("(?i:a)", "flags"),
        ("", "empty"),
        ("a(", "unterminated"),
        ("[9-0]", "bad character range"),
        ("*", "nothing to repeat"),
        ("a{30000}", "too large"),
        ("(a{200}){200}", "too large"),
        ("(" * 5000 + ")" * 5000, "recursion"),
    ],
)
def test_formats_that_cannot_be_compiled(pattern: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Format(pattern)


def test_a_list_that_is_not_text_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))} is not text in UTF-8"):
        Choices.read(path)


def test_a_format_that_the_model_cannot_write() -> None:
    with pytest.raises(ConfigError, match=r"'\[A-Z\]\{3\}' admits no text that this model can"):
        decode(written("1", NUMBERS), NUMBERS, Format("[A-Z]{3}"))
    with pytest.raises(ConfigError, match="too large"):
        compiled(Format("(0|1)*1(0|1){16}"), "012")
    with pytest.raises(ConfigError, match="too large"):
        compiled(Format("(.{0,90}1){90}"), "012")
    with pytest.raises(ConfigError, match="luhn' with the format"):
        compiled(AllOf((CheckDigit("luhn"), Format("1"))), NUMBERS)


def test_choices(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("\ufeff4711\n\n 4712 \r\n4711\n0815\n", encoding="utf-8")
    choices = Choices.read(path)
    assert choices.texts == ("4711", "4712", "4711", "0815")
    assert choices.duplicates == ("4711",)
    columns = written("4713", NUMBERS)
    columns[7, 1 + NUMBERS.index("2")] = np.log(0.02)
    first, second, third = decode(columns, NUMBERS, choices, count=5)
    assert [first.text, second.text, third.text] == ["4712", "4711", "0815"]
    assert first.probability > 0.8 > 0.2 > second.probability
    assert [span.first for span in first.spans] == [1, 3, 5, 7]


def test_no_choice_fits() -> None:
    (found,) = decode(written("4713", NUMBERS, 0.9999), NUMBERS, Choices(("0815",)))
    assert found.text == "0815"
    assert found.probability < 1e-6


def test_choices_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="list of choices is empty"):
        Choices(())
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(ConfigError, match=r"empty\.txt: the list of choices is empty"):
        Choices.read(tmp_path / "empty.txt")
    with pytest.raises(ConfigError, match=r"cannot read .*missing\.txt"):
        Choices.read(tmp_path / "missing.txt")
    (tmp_path / "latin.txt").write_bytes(b"M\xfcller")
    with pytest.raises(ConfigError, match=r"latin\.txt is not text in UTF-8"):
        Choices.read(tmp_path / "latin.txt")
    wrong = Choices(("12", *(f"{k}X" for k in range(7)), "3Y"))
    with pytest.raises(ConfigError, match=r"'0X', .*'4X' and 3 more of .* hold 'XY'"):
        decode(written("1", NUMBERS), NUMBERS, wrong)


def test_a_long_list_of_choices() -> None:
    rng = np.random.default_rng(0)
    texts = [f"{number:08}" for number in rng.choice(10**8, 3000, replace=False)]
    columns = log_softmax(rng.normal(size=(30, 14)) * 3)
    found = decode(columns, NUMBERS, Choices(tuple(texts)), count=3)
    each = np.exp(text_log_probabilities([columns] * len(texts), texts, NUMBERS)).tolist()
    every = sorted(zip(each, texts, strict=True), reverse=True)
    assert [one.text for one in found] == [text for _, text in every[:3]]
    assert found[0].probability == pytest.approx(
        every[0][0] / ((1 - DOUBT) * sum(p for p, _ in every) + DOUBT)
    )


EXAMPLES: dict[CheckDigitName, tuple[str, ...]] = {
    # ISO/IEC 7812's example, test numbers of card networks
    "luhn": ("79927398713", "4111 1111 1111 1111", "378282246310005", "5555-5555-5555-4444"),
    # ISO 2108, the ISBN user's manual
    "isbn-10": ("0-306-40615-2", "0-8044-2957-X", "3-598-21508-8", "99921-58-10-7"),
    "isbn-13": ("978-0-306-40615-7", "978-3-16-148410-0", "9791090636071"),
    # ISO 13616, the IBAN registry
    "iban": (
        "GB29 NWBK 6016 1331 9268 19",
        "DE89370400440532013000",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NO9386011117947",
        "MT84MALT011000012345MTLCAST001S",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_published_check_digits(name: CheckDigitName) -> None:
    constraint = CheckDigit(name)
    for text in EXAMPLES[name]:
        assert admits(constraint, text)
        assert not admits(constraint, text + " ")
        assert not admits(constraint, "-" + text)
        for position, character in enumerate(text):
            for other in string.digits if character.isdigit() else "":
                changed = text[:position] + other + text[position + 1 :]
                assert admits(constraint, changed) == (other == character), changed
    assert not admits(constraint, "")
    assert not admits(constraint, "0")
    assert not admits(constraint, "²٣")


def test_a_check_digit_corrects_a_misread_digit() -> None:
    alphabet = string.digits + "- "
    columns = written("4111 1111 1111 1711", alphabet, 0.9999)
    at = 1 + 2 * 16
    columns[at] = np.log(np.full(13, 1e-5))
    columns[at, [1 + 7, 1 + 1]] = np.log([0.8, 0.1999])
    assert decode(columns, alphabet)[0].text == "4111 1111 1111 1711"
    (found,) = decode(columns, alphabet, CheckDigit("luhn"))
    assert found.text == "4111 1111 1111 1111"
    assert found.probability > 0.8


def test_an_iban_is_read_in_letters_and_digits() -> None:
    alphabet = string.digits + "NO "
    text = "NO9386011117947"
    columns = written(text.replace("86", "66"), alphabet, 0.9999)
    columns[9, 1 + 8] = np.log(0.02)
    (found,) = decode(columns, alphabet, CheckDigit("iban"))
    assert found.text == text


def test_several_constraints_at_once() -> None:
    columns = written("4111111111111112", NUMBERS, 0.99)
    card = AllOf((CheckDigit("luhn"), Format(r"4\d{15}")))
    (found,) = decode(columns, NUMBERS, card)
    assert admits(CheckDigit("luhn"), found.text)
    assert len(found.text) == 16
    with pytest.raises(ConfigError, match="unknown check digit 'lun' \\(did you mean \"luhn\""):
        CheckDigit("lun")  # type: ignore[arg-type]


def test_a_dictionary_prefers_frequent_words(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("the\t100\nthy\t1\n\nthat\t50\n")
    words = Dictionary.read(path)
    alphabet = "aehty "
    columns = written("thy the", alphabet, 0.99)
    columns[5] = np.log([0.001, 0.001, 0.4, 0.001, 0.001, 0.595, 0.001])
    assert decode(columns, alphabet)[0].text == "thy the"
    (found,) = decode(columns, alphabet, words)
    assert found.text == "the the"
    # What is written plainly is read, in the dictionary or not.
    assert decode(written("hat", alphabet, 0.9999), alphabet, words)[0].text == "hat"
    for name, content in (("empty", ""), ("words", "the\tx"), ("zero", "the\t0")):
        (tmp_path / name).write_text(content)
        with pytest.raises(ConfigError, match=name):
            Dictionary.read(tmp_path / name)
    with pytest.raises(ConfigError, match="outside the dictionary is 0"):
        Dictionary.read(path, outside=0)
