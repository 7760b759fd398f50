"""What the fields that are accepted promise: thresholds that were shown, and errors to expect."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from pydantic import Field as Setting

from penstroke.config.settings import ListOf, Settings
from penstroke.errors import ConfigError
from penstroke.forms.description import COMBS, MARKS, FormField

DEFAULT_PRECISION = 0.99
_INTERVAL = 0.95
_LEAST_TAIL = 1e-9


class ShownPrecision(Settings):
    """A threshold, and what of the fields above it was right on forms that were set apart.

    `precision` is the lower end of a one-sided 95 % interval (Clopper and Pearson 1934).
    """

    precision: float = Setting(gt=0, lt=1, description="least share of right ones")
    threshold: float = Setting(ge=0, le=1, description="least calibrated probability")
    accepted: int = Setting(ge=0, description="fields above the threshold")
    errors: int = Setting(ge=0, description="wrong ones among them")
    answered: float = Setting(ge=0, le=1, description="their share of all fields")


class FieldKind(Settings):
    """How the probabilities of one kind of field become calibrated, and what was shown of them.

    `slope` and `intercept` are of log-odds (Platt 1999).
    """

    slope: float = Setting(description="of the log-odds")
    intercept: float = Setting(description="of the log-odds")
    points: ListOf[ShownPrecision] = Setting((), description="what was shown")


def kind_of(field: FormField) -> str:
    """Return the kind of a field, by which fields were measured together."""
    if field.type in MARKS:
        return "marks"
    if field.type in (*COMBS, "text") and (field.values or field.check_digit):
        return "listed"
    return {"date": "digits", "characters": "letters"}.get(field.type, field.type)


def field_kinds() -> Mapping[str, FieldKind]:
    """Return what was measured, by `kind_of` a field; `scripts/form_precision.py` writes it."""
    text = files("penstroke.forms").joinpath("field_kinds.json").read_text("utf-8")
    return {name: FieldKind.parse(plain) for name, plain in json.loads(text).items()}


class Promise:
    """Which fields are accepted without a person looking at them, by what was measured of `kinds`.

    Attributes:
        precision: least share of them that is right.

    ConfigError: the precision is not between 0 and 1.
    """

    def __init__(
        self, precision: float = DEFAULT_PRECISION, kinds: Mapping[str, FieldKind] | None = None
    ) -> None:
        if not 0 < precision < 1:
            raise ConfigError(f"a precision of {precision:g}: it must be between 0 and 1")
        self.precision = precision
        self._kinds = field_kinds() if kinds is None else kinds

    def calibrated(self, kind: str, probability: float) -> float:
        """Return the share of such fields that are right, of those with this `probability`."""
        measured = self._kinds.get(kind)
        if measured is None or probability <= 0:
            return probability
        odds = math.log(min(probability, 1 - 1e-12) / (1 - min(probability, 1 - 1e-12)))
        return 1 / (1 + math.exp(-(measured.slope * odds + measured.intercept)))

    def shown(self, kind: str) -> ShownPrecision | None:
        """Return the lowest threshold that this precision was shown for; None if for none."""
        points = self._kinds[kind].points if kind in self._kinds else ()
        enough = [point for point in points if point.precision >= self.precision]
        return min(enough, key=lambda point: point.threshold, default=None)

    def accepts(self, kind: str, probability: float) -> bool:
        """Return whether a field of this calibrated `probability` is accepted."""
        point = self.shown(kind)
        return point is not None and probability >= point.threshold


@dataclass(frozen=True)
class ExpectedErrors:
    """How many of the accepted fields are wrong: the mean, and a 95 % prediction interval."""

    mean: float
    low: int
    high: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return dict(vars(self))


def expected_errors(promise: Promise, accepted: Mapping[str, int]) -> ExpectedErrors:
    """Return what to expect, by the number of `accepted` fields of each kind.

    The share of errors is unknown but for what was shown, e errors among n fields: Jeffreys' prior
    makes it Beta(e + 1/2, n - e + 1/2), and the errors among N new fields beta-binomial. Those of
    several kinds add up.
    """
    total = np.ones(1)
    for kind, count in accepted.items():
        point = promise.shown(kind)
        if point is not None and count:
            total = np.convolve(total, _beta_binomial(count, point))
    below = np.cumsum(total)
    low, high = (int(np.searchsorted(below, q * below[-1])) for q in (0.025, 0.975))
    return ExpectedErrors(float(total @ np.arange(len(total)) / total.sum()), low, high)


def _beta_binomial(count: int, point: ShownPrecision) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the probabilities of 0, 1, … errors among `count`, until nothing is left."""
    a, b = point.errors + 0.5, point.accepted - point.errors + 0.5
    constant = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) - math.lgamma(count + a + b)
    shares: list[float] = []
    for k in range(count + 1):
        log_share = (
            math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
            + math.lgamma(k + a) + math.lgamma(count - k + b) + constant
        )  # fmt: skip
        shares.append(math.exp(log_share))
        if 1 - sum(shares) < _LEAST_TAIL:
            break
    return np.array(shares)


def clopper_pearson_low(right: int, count: int, level: float = _INTERVAL) -> float:
    """Return the lower end of the one-sided interval of a share (Clopper and Pearson 1934).

    It is the share with which that number or more are right with a probability of 1 - `level`.
    """
    if not right:
        return 0.0
    low, high = 0.0, right / count
    for _ in range(60):
        middle = (low + high) / 2
        errors = np.arange(count - right + 1)
        log_shares = [
            math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
            + (k * math.log1p(-middle) if k else 0.0) + (count - k) * math.log(max(middle, 1e-300))
            for k in errors.tolist()
        ]  # fmt: skip
        if sum(map(math.exp, log_shares)) > 1 - level:
            high = middle
        else:
            low = middle
    return low
