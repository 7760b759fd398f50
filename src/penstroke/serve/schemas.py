"""What requests may ask and what answers hold: the OpenAPI document is made from these types."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from penstroke.inference.check_digits import CheckDigitName
from penstroke.inference.readings import LineStatus
from penstroke.inference.recognizer import RejectionReason, Status

Box = tuple[int, int, int, int]


class PageQuery(BaseModel):
    """How to read lines."""

    model: str | None = Field(None, description="a name in /v1/models; the first if left out")


class LinesQuery(PageQuery):
    """How to read lines with a model that reads them whole."""

    model: str | None = Field(
        None, description="a name in /v1/models; the first that reads whole lines if left out"
    )
    top: int = Field(1, ge=1, le=20, description="number of texts that are weighed for a line")
    one_line: int = Field(0, ge=0, le=1, description="1: the image is one line")
    format: str | None = Field(
        None, max_length=200, description="regular expression of what a line may say"
    )
    check_digit: CheckDigitName | None = Field(
        None, description="check digit that the numbers have"
    )


class BatchQuery(PageQuery):
    """How to read characters, and what to answer about each."""

    top: int | None = Field(
        None, ge=1, le=1000, description="number of classes, most likely first; all if left out"
    )


class CharacterQuery(BatchQuery):
    """How to read a character, and what to answer about it."""

    occlusion: int = Field(0, ge=0, le=1, description="1: compute an occlusion map")


class ModelUsed(BaseModel):
    """The model that answered, and the time it took."""

    model: str
    model_sha256: str = Field(description="of its file")
    elapsed_milliseconds: float


class Character(BaseModel):
    """One character."""

    status: Status
    label: str | None = Field(description="null unless the status is ok")
    rejection_reason: RejectionReason | None = Field(description="null unless it is rejected")
    probability: float
    probabilities: dict[str, float] = Field(description="by class")
    ood_score: float | None = Field(
        description="max-logit score: low for images unlike the training data; null if not judged"
    )
    input_image: str = Field(description="the 28×28 input of the network: a data: URL of a PNG")
    occlusion_map: str | None = Field(
        description="28×28, bright where covering the image costs the answer most: a data: URL"
    )


class CharacterAnswer(Character, ModelUsed):
    """One character, and the model that recognised it."""


class LineCharacter(BaseModel):
    """One character of a line."""

    label: str
    probability: float
    probabilities: dict[str, float] = Field(description="by class")
    box: Box = Field(description="left, top, right, bottom")
    status: Literal["ok", "rejected"]
    split: bool = Field(description="whether ink was cut to separate it from a neighbour")
    space_before: bool


class Alternative(BaseModel):
    """What a line may say instead."""

    text: str
    probability: float


class Line(BaseModel):
    """One line of characters."""

    text: str
    box: Box = Field(description="left, top, right, bottom")
    probability: float = Field(description="of the whole text")
    status: LineStatus = Field(
        description="rejected: the model is not sure, or nothing that is allowed fits"
    )
    alternatives: list[Alternative] = Field(description="likeliest first, as many as were weighed")
    characters: list[LineCharacter]


class PageAnswer(ModelUsed):
    """Lines of characters, from top to bottom."""

    text: str
    width: int = Field(
        description="of the upright image, in pixels, as all boxes; smaller than what was sent "
        "where that was scaled down, over 4 megapixels"
    )
    height: int
    lines: list[Line]


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str = Field(description="a word for programs")
    message: str = Field(description="what is wrong, where, and what to do")


class ErrorAnswer(BaseModel):
    """The body of every answer that reports an error."""

    error: ErrorDetail


class BatchAnswer(ModelUsed):
    """Characters, in the order of the images."""

    results: list[Character | ErrorAnswer] = Field(
        description="of each image, its character, or what is wrong with it"
    )


class ModelFacts(BaseModel):
    """A model that is served."""

    name: str
    kind: Literal["characters", "lines"] = Field(description="what it reads at once")
    classes: list[str] = Field(description="of characters, those of lines too")
    dataset: str | None
    is_default: bool
    is_bundled: bool = Field(description="it came with Penstroke, without its training images")
    sha256: str = Field(description="of its file")
    metadata: dict[str, Any] = Field(description="what else its file says about it")


class ModelsAnswer(BaseModel):
    """The models that are served; the first is the default."""

    models: list[ModelFacts]


class CorrectionAnswer(BaseModel):
    """A correction that was kept."""

    id: str
    label: str
    images: int = Field(description="number of corrections, this one included")


class CorrectionsQuery(BaseModel):
    """Which corrections to list."""

    limit: int = Field(100, ge=0, le=1000, description="of corrections, newest first, at most")
    before: str | None = Field(None, max_length=64, description="id: list those that are older")


class CorrectionFacts(BaseModel):
    """A correction, as it was kept."""

    id: str
    label: str
    created: str
    split: Literal["train", "validation", "test"]
    input_image: str = Field(description="28×28, as a network reads it: a data: URL of a PNG")
    answer: dict[str, Any] | None = Field(description="what a model read")


class CorrectionsAnswer(BaseModel):
    """The corrections that have been kept: how many, and those that were asked for."""

    images: int
    by_label: dict[str, int]
    path: str
    corrections: list[CorrectionFacts]


class RunFacts(BaseModel):
    """A run."""

    name: str
    dataset: str
    status: Literal["finished", "unfinished", "damaged"]
    epochs: int
    total_epochs: int
    val_accuracy: float | None
    test_accuracy: float | None
    created: str
    reason: str | None = Field(None, description="why a damaged run cannot be read")
    report: str | None = Field(
        None, description="its report, relative to the address of the service; it needs no token"
    )


class RunsAnswer(BaseModel):
    """All runs, newest first."""

    runs: list[RunFacts]


class RunAnswer(RunFacts):
    """A run with its history."""

    history: list[dict[str, Any]] = Field(description="one entry per epoch")
    diagnosis: str | None = Field(description="diagnosis of its learning curves")


class RunEvent(BaseModel):
    """What is new in a run: its status, and the epochs since the event before."""

    name: str
    status: Literal["finished", "unfinished", "damaged", "gone"]
    history: list[dict[str, Any]]


class StateAnswer(BaseModel):
    """The state of the service."""

    status: str
