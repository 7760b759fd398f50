"""A table of results: one figure of many runs, by their settings."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from penstroke.evaluation.intervals import SeedVariation, seed_variation


@dataclass(frozen=True)
class RunScore:
    """The figure of one run."""

    run: str
    seed: int
    fold: int | None
    value: float


@dataclass(frozen=True)
class TableRow:
    """The runs of one combination of settings; None for a setting that they do not have."""

    settings: tuple[Any, ...]
    scores: tuple[RunScore, ...]

    @cached_property
    def variation(self) -> SeedVariation:
        """Mean, standard deviation and 95 % interval over the runs."""
        return seed_variation([score.value for score in self.scores])


@dataclass(frozen=True)
class ResultTable:
    """Rows by the settings `by`, in the order of their values.

    `mixed` are other settings, neither seed nor fold, that differ within a row.
    """

    metric: str
    by: tuple[str, ...]
    rows: tuple[TableRow, ...]
    mixed: tuple[str, ...]

    @property
    def is_share(self) -> bool:
        """Whether the figure is a share, which people read in per cent."""
        return "accuracy" in self.metric or self.metric.endswith("_ece")

    @property
    def notes(self) -> list[str]:
        """What the columns mean, and what the interval leaves out."""
        scores = [score for row in self.rows for score in row.scores]
        has_folds = any(score.fold is not None for score in scores)
        over = "folds" if has_folds else "seeds"
        notes = [
            f"n: number of {over}; sd: standard deviation over them; 95 % interval: of the mean "
            f"over {over}, by Student's t with n - 1 degrees of freedom"
        ]
        if has_folds:
            notes.append("folds share training images: over new data, the interval would be wider")
        if self.mixed:
            notes.append(f"the runs of a row differ in {', '.join(self.mixed)} too")
        return notes

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, each run's figure among them."""
        rows = [
            {"settings": dict(zip(self.by, row.settings, strict=True)), **asdict(row.variation),
             "scores": list(map(asdict, row.scores))}
            for row in self.rows
        ]  # fmt: skip
        return {"metric": self.metric, "by": self.by, "rows": rows, "mixed": self.mixed,
                "notes": self.notes}  # fmt: skip
