"""How a model file reads other people's handwriting: labelled images that it never trained on.

What is judged is the whole way that a user's image takes, `ink` and threshold included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from penstroke.config.class_names import class_of
from penstroke.data.sources.listing import LabelledImage
from penstroke.errors import DataError, ImageError
from penstroke.evaluation.intervals import Interval, wilson
from penstroke.evaluation.metrics import auroc
from penstroke.inference.recognizer import Recognition, Recognizer
from penstroke.preprocessing.ink import Preprocessed, preprocess

_BATCH = 200
_THRESHOLDS = (0.5, 0.7, 0.9, 0.99)

Progress = Callable[[int], None]
"""Told how many images were read since it was told last."""


@dataclass(frozen=True)
class ClassReading:
    """The images of one class.

    Attributes:
        label: what they show.
        images: how many there are.
        right: answered with that label.
        rejected: not answered, for want of certainty or of ink.
        wrong: taken for another class; `taken_for` says which, most frequent first.
    """

    label: str
    images: int
    right: int
    rejected: int
    wrong: int
    taken_for: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class OperatingPoint:
    """What happens where a probability below `threshold` is no answer.

    Attributes:
        threshold: least probability of an answer.
        answered: share of the images of known classes that are answered.
        accuracy: of those answers.
        strangers_answered: share of images of unknown classes that are answered all the same;
            None where there are none.
    """

    threshold: float
    answered: float
    accuracy: float
    strangers_answered: float | None


@dataclass(frozen=True)
class Hands:
    """What was found of one source.

    Attributes:
        source: name of the file or folder.
        images: images of the model's classes.
        accuracy: answered rightly; rejected is not right.
        interval: of that, 95 % (Wilson).
        guess_accuracy: the likeliest class is right, whether it was certain or not.
        classes: by class, in the model's order.
        strangers: images of other classes.
        auroc: chance that a character is given more probability than a stranger; None of none.
        ood_score_auroc: the same of ood_score; None where the model does not tell it.
        left_out: classes not counted as strangers, since they look like one of the model's.
        points: other thresholds.
    """

    source: str
    images: int
    accuracy: float
    interval: Interval
    guess_accuracy: float
    classes: tuple[ClassReading, ...]
    strangers: int
    auroc: float | None
    ood_score_auroc: float | None
    left_out: tuple[str, ...]
    points: tuple[OperatingPoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def judge_hands(
    recognizer: Recognizer,
    samples: Iterable[LabelledImage],
    source: str,
    *,
    look_alikes: Iterable[str] = (),
    progress: Progress = lambda _: None,
) -> Hands:
    """Return how `recognizer` reads `samples`.

    Args:
        recognizer: the model.
        samples: images of its classes, and of others, which it should not be sure about.
        source: name for reports.
        look_alikes: other classes that cannot be told from its own (O from 0); not counted.
        progress: see `Progress`.

    Raises:
        ImageError: a file is no image; names it.
        DataError: no image shows one of the model's classes.
    """
    left_out = tuple(look_alikes)
    answers: list[tuple[str, Recognition]] = []
    batch: list[LabelledImage] = []
    for sample in samples:
        known_as = class_of(sample.label, recognizer.classes)
        if known_as or sample.label not in left_out:
            batch.append(sample._replace(label=known_as or sample.label))
        if len(batch) == _BATCH:
            answers += _read(recognizer, batch, progress)
            batch = []
    answers += _read(recognizer, batch, progress)
    known = [(label, answer) for label, answer in answers if label in recognizer.classes]
    others = [answer for label, answer in answers if label not in recognizer.classes]
    if not known:
        raise DataError(
            f"{source} shows none of the model's classes: {', '.join(recognizer.classes)}"
        )
    return _summed_up(source, recognizer.classes, known, others, left_out)


def _read(
    recognizer: Recognizer, batch: list[LabelledImage], progress: Progress
) -> list[tuple[str, Recognition]]:
    preprocessed = [_seen(recognizer, sample) for sample in batch]
    progress(len(batch))
    labels = (sample.label for sample in batch)
    return list(zip(labels, recognizer.recognize_preprocessed(preprocessed), strict=True))


def _seen(recognizer: Recognizer, sample: LabelledImage) -> Preprocessed:
    try:
        return preprocess(sample.content, recognizer.ink)
    except ImageError as error:
        raise ImageError(f"{sample.name}: {error}") from None


def _summed_up(
    source: str, classes: Iterable[str], known: list[tuple[str, Recognition]],
    others: list[Recognition], left_out: tuple[str, ...],
) -> Hands:  # fmt: skip
    right = sum(answer.label == label for label, answer in known)
    guessed = np.array([_guess(answer) == label for label, answer in known])
    sure = np.array([answer.probability for _, answer in known])
    rejected = np.array([answer.probability for answer in others])
    answers = [answer for _, answer in known] + others
    is_known = np.arange(len(answers)) < len(known)
    familiar = [0.0 if a.ood_score is None else a.ood_score for a in answers]
    return Hands(
        source=source,
        images=len(known),
        accuracy=right / len(known),
        interval=wilson(right, len(known)),
        guess_accuracy=float(guessed.mean()),
        classes=tuple(_of_class(name, known) for name in classes),
        strangers=len(others),
        auroc=auroc(np.concatenate([sure, rejected]), is_known) if others else None,
        ood_score_auroc=auroc(np.array(familiar), is_known) if others and any(familiar) else None,
        left_out=left_out,
        points=tuple(
            OperatingPoint(
                threshold,
                float((sure >= threshold).mean()),
                float(guessed[sure >= threshold].mean()) if (sure >= threshold).any() else 0.0,
                float((rejected >= threshold).mean()) if others else None,
            )
            for threshold in _THRESHOLDS
        ),
    )


def _of_class(name: str, known: list[tuple[str, Recognition]]) -> ClassReading:
    answers = [answer for label, answer in known if label == name]
    right = sum(answer.label == name for answer in answers)
    rejected = sum(answer.label is None for answer in answers)
    taken = Counter(a.label for a in answers if a.label not in (name, None))
    return ClassReading(
        name, len(answers), right, rejected, len(answers) - right - rejected,
        tuple((str(label), count) for label, count in taken.most_common()),
    )  # fmt: skip


def _guess(answer: Recognition) -> str | None:
    return answer.top(1)[0][0] if answer.probabilities else None
