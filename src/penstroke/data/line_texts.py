"""What synthetic lines say: numbers as people write them on forms, and words."""

from collections.abc import Callable, Sequence

import numpy as np

SIGNS = ",.-/:%$€£"
"""Characters that no data set of digits and letters has; they are drawn."""
_LENGTHS = np.array([8, 20, 20, 18, 14, 8, 4, 2, 1, 1, 1, 1], float)
"""Of whole numbers: how often they have 1, 2, … digits."""

Generator = np.random.Generator


def number(rng: Generator) -> str:
    """Return a number, amount, date, time or the like, in digits and `SIGNS`."""
    kinds: Sequence[tuple[float, Callable[[Generator], str]]] = (
        (0.42, _whole), (0.12, _grouped), (0.22, _decimal), (0.09, _amount), (0.08, _date),
        (0.07, _unit),
    )  # fmt: skip
    shares = np.cumsum([share for share, _ in kinds])
    text = kinds[int(np.searchsorted(shares, rng.random() * shares[-1]))][1](rng)
    return "-" + text if rng.random() < 0.04 else text


def words(rng: Generator, letters: Sequence[str], *, has_digits: bool) -> str:
    """Return one to four words of `letters`, and numbers, with spaces between."""
    parts = []
    for _ in range(int(rng.choice(4, p=(0.4, 0.3, 0.2, 0.1))) + 1):
        if has_digits and rng.random() < 0.2:
            parts.append(_digits(rng, int(rng.integers(1, 6))))
        else:
            parts.append("".join(rng.choice(letters, int(rng.integers(1, 9)))))
    return " ".join(parts)


def _digits(rng: Generator, count: int) -> str:
    if rng.random() < 0.15:  # round numbers
        kept = int(rng.integers(1, count + 1))
        return _digits(rng, kept) + "0" * (count - kept) if kept < count else "0" * count
    return "".join(map(str, rng.integers(0, 10, count)))


def _whole(rng: Generator) -> str:
    return _digits(rng, 1 + int(rng.choice(len(_LENGTHS), p=_LENGTHS / _LENGTHS.sum())))


def _grouped(rng: Generator) -> str:
    groups = [_digits(rng, 3) for _ in range(1 if rng.random() < 0.85 else 2)]
    return str(rng.choice([".", ","])).join([_digits(rng, int(rng.integers(1, 4))), *groups])


def _decimal(rng: Generator) -> str:
    sign = str(rng.choice([".", ","]))
    return _digits(rng, int(rng.integers(1, 5))) + sign + _digits(rng, int(rng.integers(1, 4)))


def _amount(rng: Generator) -> str:
    whole = _grouped(rng) if rng.random() < 0.5 else _digits(rng, int(rng.integers(2, 6)))
    return whole + str(rng.choice([".-", ",-", "-", "--", ",", ".", ",00", ".00"]))


def _date(rng: Generator) -> str:
    if rng.random() < 0.25:
        return f"{rng.integers(0, 24)}:{rng.integers(0, 60):02d}"
    day, month, year = rng.integers(1, 32), rng.integers(1, 13), rng.integers(1900, 2100)
    padded = "02d" if rng.random() < 0.5 else "d"
    short = f"{year % 100:02d}" if rng.random() < 0.5 else str(year)
    sign = str(rng.choice(["/", ".", "-"]))
    return sign.join([f"{day:{padded}}", f"{month:{padded}}", short])


def _unit(rng: Generator) -> str:
    amount = _decimal(rng) if rng.random() < 0.5 else _digits(rng, int(rng.integers(1, 4)))
    kind = rng.random()
    if kind < 0.4:
        return amount + "%"
    if kind < 0.6:
        return f"{rng.integers(1, 10)}/{rng.integers(1, 10)}"
    currency = str(rng.choice(list("$€£")))
    return currency + amount if rng.random() < 0.7 else amount + currency
