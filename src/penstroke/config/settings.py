"""What a run is: small frozen settings, read from TOML, changed by dotted names.

A bad value is refused here, with the name of its field, before anything starts. No torch: command
line, run directory and model file describe a run by the same settings.
"""

import json
import math
from collections.abc import Iterable, Mapping
from itertools import pairwise, repeat
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from penstroke.config.class_names import is_same_character
from penstroke.errors import ConfigError, RunError, near_match
from penstroke.files import explained, sha256

IMAGE_SIZE = 28
"""Side in pixels of the square images that the networks read, as in MNIST."""

LONGEST_TEXT = 100
"""Characters of a line that is composed of a list of texts."""

T = TypeVar("T")
ListOf = Annotated[tuple[T, ...], Field(strict=False)]
"""A tuple, which TOML and JSON write as a list."""


def _check_threads(threads: int | tuple[int, ...]) -> int | tuple[int, ...]:
    fits = min(threads, default=0) >= 1 if isinstance(threads, tuple) else threads >= 0
    if not fits:
        raise ValueError("a number from 0 (measured), or a list of numbers from 1, of each epoch")
    return threads


Threads = Annotated[int | ListOf[int], AfterValidator(_check_threads)]
"""Threads of all epochs, 0 to measure which are faster, or those of each epoch."""
Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown names, no coercion, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    implied: ClassVar[Mapping[str, tuple[str, Any]]] = {}
    """By a setting that is changed: another, and its value unless that is changed too."""

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, source: str = "") -> Self:
        """Validate plain `values` as read from TOML or JSON.

        Raises:
            ConfigError: names the offending fields, with a near match for unknown words.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            where = f"{source}: " if source else ""
            details = error.errors(include_url=False)
            raise ConfigError("\n".join(where + _explain(dict(d), cls) for d in details)) from None

    def replace(self, changes: Mapping[str, Any], *, source: str = "") -> Self:
        """Return a copy with other values at dotted names: `{"train.seed": 3}`.

        Items of a list go by their index, as in `model.convolutions.0.filters`; a name that stands
        for several settings (see `expand`) takes one value for all or a list of one for each.

        Raises:
            ConfigError: a name does not exist, or its value is refused.
        """
        values = self.to_dict()
        implied = dict(self.implied[name] for name in changes if name in self.implied)
        for name, value in {**implied, **changes}.items():
            names = expand(values, name)
            has_each = names != [name] and isinstance(value, list | tuple)
            if has_each and len(value) != len(names):
                raise ConfigError(
                    f"{name}: {len(value)} values for {len(names)} settings: {', '.join(names)}"
                )
            for one, part in zip(names, value if has_each else repeat(value), strict=False):
                _put(values, one, part)
        return self.parse(values, source=source)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `parse` takes back; settings left at None are absent."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        """Return TOML that `parse` reads back to an equal object."""
        return tomli_w.dumps(self.to_dict())


def read_json(kind: type[T], path: Path) -> T:
    """Return the JSON file at `path` as a `kind`; RunError if it is damaged."""
    with explained(f"read {path}", RunError):
        content = path.read_bytes()
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        name = "".join(f"{part}: " for part in detail["loc"])
        raise RunError(f"{path} is damaged: {name}{detail['msg']}") from error


class DataConfig(Settings):
    """Which images are used, and how the validation images are set apart."""

    dataset: str = Field("digits", min_length=1, description="name in `penstroke data list`")
    validation_fraction: float = Field(
        0.1, ge=0, lt=1,
        description="fraction of the training split held out for validation, stratified by class; "
        "raised, up to 0.1, until the rarest class has an image in it",
    )  # fmt: skip
    split_seed: int = Field(0, ge=0, description="seed of that split; independent of train.seed")
    split_by: Literal["image", "writer"] | None = Field(
        None,
        description="what is held out whole, for validation and in folds: an image or a writer; "
        "none: the writer where an imported data set has writers, else the image",
    )
    max_train_images: int | None = Field(
        None,
        ge=1,
        description="number of training images to use, stratified by class, and all corrections "
        "besides; none: all",
    )  # fmt: skip
    folds: int | None = Field(None, ge=2, description="cross-validation folds, stratified by class")
    fold: int | None = Field(
        None, ge=0, description="fold to validate on (from 0), in place of validation_fraction"
    )
    exclude: ListOf[Annotated[int, Field(ge=0)]] | None = Field(
        None,
        description="training images to leave out before the split, by their positions (from 0) "
        "in the training split",
    )
    classes: ListOf[str] | None = Field(
        None, description="classes to use, in this order; images of others are left out; none: all"
    )
    outlier_classes: ListOf[str] | None = Field(
        None,
        description="of the classes left out, those whose training images are shown as outliers "
        "(train.outlier_exposure), so that such characters are rejected",
    )

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if classes is not None and len(set(classes)) < max(len(classes), 2):
            raise ValueError("name at least two classes, each once")
        return classes

    @field_validator("exclude")
    @classmethod
    def _sort(cls, exclude: tuple[int, ...] | None) -> tuple[int, ...] | None:
        # The same images left out are the same run; none left out is a run on everything.
        return tuple(sorted(exclude)) if exclude else None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for one, following in pairwise(self.exclude or ()):
            if one == following:
                raise ValueError(f"exclude: {one} is in the list twice")
        if self.outlier_classes:
            if self.classes is None:
                raise ValueError("outlier_classes: needs data.classes, the characters to be read")
            for name in self.outlier_classes:
                if any(is_same_character(name, known) for known in self.classes):
                    raise ValueError(f"outlier_classes: {name} is among data.classes")
        if (self.folds is None) != (self.fold is None):
            raise ValueError("folds: folds and fold belong together")
        if self.folds and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold: there are {self.folds} folds, the first is 0")
        return self

    @property
    def validates(self) -> bool:
        """Whether any training images are held out."""
        return self.validation_fraction > 0 or self.folds is not None


class Convolution(Settings):
    """One block: convolution → batch norm → activation → pooling → dropout."""

    filters: int = Field(ge=1, description="output channels")
    kernel: int = Field(3, ge=1, description="side of the square kernel in pixels")
    stride: int = Field(1, ge=1, description="step of the kernel in pixels")
    padding: int = Field(0, ge=0, description="zeros added on each side, in pixels")
    pool: int = Field(1, ge=1, description="side and step of the pooling window in pixels; 1: none")
    pooling: Literal["max", "average"] = Field("max", description="kind of pooling")
    batch_norm: bool = Field(False, description="whether each channel is normalised over the batch")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability that an output is dropped")

    def output_size(self, size: int) -> int:
        """Return the side of the output, in pixels, for an input of side `size`."""
        convolved = (size + 2 * self.padding - self.kernel) // self.stride + 1
        return convolved // self.pool if convolved > 0 else 0


class Dense(Settings):
    """One block: linear → batch norm → activation → dropout."""

    units: int = Field(ge=1, description="output features")
    batch_norm: bool = Field(False, description="whether each feature is normalised over the batch")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability that an output is dropped")


class MLPConfig(Settings):
    """A fully connected network over the 784 pixels."""

    architecture: Literal["mlp"] = Field("mlp", description="kind of network")
    dense: ListOf[Dense] = Field(
        (Dense(units=128), Dense(units=64)), description="hidden layers, first to last"
    )
    activation: Activation = Field("relu", description="activation after each hidden layer")


class CNNConfig(Settings):
    """Convolution blocks, then dense blocks, then the output layer."""

    architecture: Literal["cnn"] = Field("cnn", description="kind of network")
    convolutions: ListOf[Convolution] = Field(
        (Convolution(filters=32, padding=1, pool=2), Convolution(filters=64, padding=1, pool=2)),
        min_length=1,
        description="convolution blocks, first to last",
    )
    dense: ListOf[Dense] = Field((Dense(units=128),), description="hidden dense layers, in order")
    activation: Activation = Field("relu", description="activation in each block")

    @model_validator(mode="after")
    def _leave_pixels(self) -> Self:
        size = IMAGE_SIZE
        for index, convolution in enumerate(self.convolutions):
            before, size = size, convolution.output_size(size)
            if size < 1:
                raise ValueError(
                    f"convolutions.{index}: no pixels are left of its {before}×{before} input; "
                    "lower kernel, stride or pool, or raise padding"
                )
        return self


class Stage(Settings):
    """A convolution block, then residual blocks of two each; all 3×3 with batch norm."""

    filters: int = Field(ge=1, description="output channels")
    pool: int = Field(2, ge=1, description="side of max pooling before residual blocks; 1: none")
    residual_blocks: int = Field(1, ge=0, description="number of residual blocks")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability that a channel is dropped")


class ResNetConfig(Settings):
    """A deeper network: stages of residual blocks (He et al. 2016), then the output layer."""

    architecture: Literal["resnet"] = Field("resnet", description="kind of network")
    stages: ListOf[Stage] = Field(
        (Stage(filters=32, residual_blocks=0), Stage(filters=64), Stage(filters=128, pool=1)),
        min_length=1,
        description="stages, first to last",
    )
    head: Literal["flatten", "average", "max"] = Field(
        "flatten", description="how the last feature maps reach the output layer"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before the output layer")
    activation: Activation = Field("relu", description="activation in each block")

    @property
    def output_size(self) -> int:
        """Side of the last feature maps, in pixels."""
        size = IMAGE_SIZE
        for stage in self.stages:
            size //= stage.pool
        return size

    @model_validator(mode="after")
    def _leave_pixels(self) -> Self:
        if self.output_size < 1:
            raise ValueError("stages: their pooling leaves no pixels; lower pool")
        return self


class CRNNConfig(Settings):
    """A line reader: convolution blocks along a strip, then one output layer a column, for CTC.

    After Shi et al. 2017, with a wide convolution along the line in place of the recurrent layers.
    """

    architecture: Literal["crnn"] = Field("crnn", description="kind of network")
    filters: ListOf[Annotated[int, Field(ge=1)]] = Field(
        (32, 48, 80, 80, 128, 160), min_length=6, max_length=6,
        description="output channels of the six convolutions; the first two halve the strip",
    )  # fmt: skip
    context: int = Field(
        5, ge=1, description="columns of 4 pixels that the last convolution sees; odd"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout before the output layer")
    activation: Activation = Field("relu", description="activation in each block")

    @field_validator("context")
    @classmethod
    def _be_odd(cls, context: int) -> int:
        if context % 2 == 0:
            raise ValueError("must be odd: as many columns before as after")
        return context


AnyModelConfig = MLPConfig | CNNConfig | ResNetConfig | CRNNConfig
ModelConfig = Annotated[AnyModelConfig, Field(discriminator="architecture")]
ARCHITECTURES: dict[str, type[AnyModelConfig]] = {
    "mlp": MLPConfig, "cnn": CNNConfig, "resnet": ResNetConfig, "crnn": CRNNConfig,
}  # fmt: skip


class AugmentConfig(Settings):
    """Random changes to each training image, drawn anew in each epoch; 0 leaves a change out."""

    rotation_degrees: float = Field(0.0, ge=0, le=180, description="greatest rotation, either way")
    scale: float = Field(0.0, ge=0, lt=1, description="greatest change of size: 0.1 is 0.9 to 1.1")
    shear_degrees: float = Field(0.0, ge=0, lt=90, description="greatest slant, either way")
    translate_pixels: float = Field(0.0, ge=0, le=14, description="greatest shift, either way")
    aspect_ratio: float = Field(
        0.0, ge=0, lt=1, description="greatest change of width to height: 0.2 is up to 1.2 times"
    )
    stroke_width: float = Field(
        0.0, ge=0, le=1, description="greatest thinning or thickening of strokes, pixels per side"
    )
    regional_forms: float = Field(
        0.0, ge=0, le=1, description="fraction of 1s given a flag or a foot, and of 7s given a bar"
    )

    @property
    def is_active(self) -> bool:
        """Whether images are warped at all."""
        return any(self.model_dump(exclude={"regional_forms"}).values())


class TrainConfig(Settings):
    """How the network is trained, and which epoch is kept."""

    implied = {"epochs": ("min_steps", 0)}  # exactly as many as asked for
    epochs: int = Field(5, ge=1, description="passes over the training images")
    min_steps: int = Field(
        0, ge=0,
        description="fewest steps; a small data set gets more epochs. Changing train.epochs alone "
        "sets this to 0",
    )  # fmt: skip
    batch_size: int = Field(64, ge=2, description="images per step")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("adam", description="update rule")
    learning_rate: float = Field(1e-3, gt=0, description="learning rate, at its highest")
    momentum: float = Field(0.0, ge=0, lt=1, description="momentum of sgd")
    weight_decay: float = Field(0.0, ge=0, description="L2 for sgd and adam, decoupled for adamw")
    schedule: Literal["constant", "step", "cosine", "one_cycle"] = Field(
        "constant", description="learning-rate schedule, updated at each step"
    )
    step_size: int | None = Field(None, ge=1, description="epochs per cut of the step schedule")
    gamma: float | None = Field(None, gt=0, lt=1, description="factor per cut of the step schedule")
    warmup_fraction: float | None = Field(
        None, gt=0, lt=1, description="fraction of one_cycle's steps spent rising; none: 0.25"
    )
    balance: float | None = Field(
        None, ge=0, le=1,
        description="oversampling of rare classes: 0 or none is off, 0.5 goes by the square root "
        "of the class's size, 1 shows all classes equally often",
    )  # fmt: skip
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="fraction of each label spread over all classes"
    )
    outlier_exposure: float = Field(
        0.0, ge=0, le=1, description="non-characters added to each batch, as a fraction of it"
    )
    outlier_exposure_weight: float = Field(0.06, ge=0, description="weight of the loss on these")
    outlier_class_weight: float | None = Field(
        None, ge=0, description="weight of the loss on as many images of data.outlier_classes; or 1"
    )
    max_gradient_norm: float | None = Field(
        None, gt=0, description="norm that larger gradients are scaled down to; none: no limit"
    )
    ema_decay: float = Field(
        0.0, ge=0, lt=1, description="decay of the averaged weights that are kept; 0: no averaging"
    )
    augment: AugmentConfig = Field(default_factory=AugmentConfig, description="augmentation")
    checkpoint_metric: Literal["val_loss", "val_accuracy", "last"] = Field(
        "val_loss", description="which epoch is kept: lowest loss, highest accuracy, or the last"
    )
    patience: int | None = Field(
        None, ge=1, description="epochs without improvement before training stops; none: never"
    )
    seed: int = Field(
        0, ge=0, lt=2**32,
        description="random seed (initialisation, shuffling, dropout, augmentation)",
    )  # fmt: skip
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="device to train on; auto: the fastest there is"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="precision of the matrix products; auto: the faster one, measured once"
    )
    threads: Threads = Field(
        0,
        description="processor threads; 0: one or all that are allowed, the faster of both, "
        "measured as training goes; a list: of each epoch, the last of those that follow",
    )

    def steps_per_epoch(self, images: int) -> int:
        """Return the batches in an epoch of `images`; a last batch of one image joins another."""
        full, rest = divmod(images, self.batch_size)
        return max(1, full + (rest > 1 or (rest == 1 and full == 0)))

    def epochs_for(self, images: int) -> int:
        """Return the number of epochs on `images` training images; more of few, for `min_steps`.

        Raises:
            ConfigError: a batch is larger than that.
        """
        if self.batch_size > images:
            raise ConfigError(
                f"train.batch_size: {self.batch_size} is more than the {images} training images; "
                f"choose a smaller one: --set train.batch_size={max(1, images // 2)}"
            )
        return max(self.epochs, -(-self.min_steps // self.steps_per_epoch(images)))

    def is_over(self, epoch: int, best_epoch: int) -> bool:
        """Return whether training ends after `epoch`: it is the last, or patience has run out."""
        return epoch >= self.epochs or epoch - best_epoch >= (self.patience or math.inf)

    @field_validator("balance")
    @classmethod
    def _absent_if_zero(cls, balance: float | None) -> float | None:
        return balance or None  # both mean the same run, so both get the same fingerprint

    @model_validator(mode="after")
    def _check(self) -> Self:
        step, best = self.schedule == "step", self.checkpoint_metric != "last"
        for field, has_effect, needed in (
            ("momentum", self.optimizer == "sgd", 'optimizer = "sgd"'),
            ("step_size", step, 'schedule = "step"'),
            ("gamma", step, 'schedule = "step"'),
            ("warmup_fraction", self.schedule == "one_cycle", 'schedule = "one_cycle"'),
            ("patience", best, 'checkpoint_metric = "val_loss" or "val_accuracy"'),
        ):
            if getattr(self, field) and not has_effect:
                raise ValueError(f"{field}: has no effect without {needed}; remove it or set that")
        if step and (self.step_size is None or self.gamma is None):
            raise ValueError("schedule: step needs step_size and gamma")
        return self


class SynthesisConfig(Settings):
    """Lines composed of single characters, every one new: what they say, hand and paper."""

    characters: str = Field(
        "digits", min_length=1, description="data set of the characters; a+b is a union"
    )
    content: Literal["numbers", "words"] = Field(
        "numbers", description="what is written: numbers, amounts and dates, or words and numbers"
    )
    texts: ListOf[Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)]] | None = Field(
        None, min_length=1,
        description="what is written in place of `content`, drawn from this list; a text that is "
        "there twice is drawn twice as often",
    )  # fmt: skip
    lines_per_epoch: int = Field(
        32_000, ge=1, description="lines in an epoch, composed and real ones together"
    )
    share: float = Field(
        0.4, gt=0, le=1, description="share of synthetic lines in a batch where there are real ones"
    )
    least_height: float = Field(
        0.3, gt=0, le=1, description="least height of a character, as a share of the strip's"
    )
    slant_degrees: float = Field(25.0, ge=0, le=45, description="greatest slant of a hand")
    gap: float = Field(
        0.12, ge=-0.5, description="mean gap between characters, as a share of their height"
    )
    joined_zeros: float = Field(
        0.1, ge=0, le=1, description="share of lines whose zeros are written together"
    )
    stroke_width: float = Field(
        0.8, ge=0, le=1, description="greatest thinning or thickening of strokes"
    )
    blank: float = Field(0.02, ge=0, le=1, description="share of lines without writing")
    neighbours: float = Field(
        0.25, ge=0, le=1, description="share with parts of other writing at the border"
    )
    least_contrast: float = Field(
        0.12, gt=0, le=1, description="least difference of ink and paper, of 1"
    )
    texture: float = Field(0.5, ge=0, le=1, description="share on paper with a texture")
    patterned_paper: float = Field(
        0.3, ge=0, le=1, description="share on printed patterns, as on cheques"
    )
    ruled_lines: float = Field(0.3, ge=0, le=1, description="share with ruled lines")
    frames: float = Field(0.35, ge=0, le=1, description="share with the frame of a cell")
    stamps: float = Field(0.04, ge=0, le=1, description="share with a part of a rubber stamp")
    low_resolution: float = Field(0.5, ge=0, le=1, description="share in fewer pixels")
    blur: float = Field(0.5, ge=0, le=1, description="share that is blurred")
    noise: float = Field(
        0.15, ge=0, le=1, description="greatest noise of the camera, as a share of the contrast"
    )
    compression: float = Field(0.15, ge=0, le=1, description="share compressed as JPEG")


SYNTHETIC = "synthetic"
"""The data set of a line reader for which all lines are composed."""
_OF_CHARACTERS_IN_DATA = ("classes", "outlier_classes")
_OF_CHARACTERS_IN_TRAIN = (
    "balance", "label_smoothing", "outlier_exposure", "outlier_class_weight", "augment",
)  # fmt: skip


class RunConfig(Settings):
    """Everything that decides the outcome of one training run."""

    implied = {"train.epochs": ("train.min_steps", 0)}
    data: DataConfig = Field(default_factory=DataConfig, description="data")
    model: ModelConfig = Field(default_factory=CNNConfig, description="network")
    train: TrainConfig = Field(default_factory=TrainConfig, description="training")
    synthesis: SynthesisConfig | None = Field(
        None, description="lines composed for a line reader; none: only those of the data set"
    )

    @model_validator(mode="after")
    def _check_lines(self) -> Self:
        if not self.reads_lines:
            if self.synthesis or self.data.dataset == SYNTHETIC:
                name = "synthesis" if self.synthesis else "data.dataset"
                raise ValueError(f'{name}: lines need model.architecture = "crnn"')
            return self
        if self.data.dataset == SYNTHETIC and self.synthesis is None:
            raise ValueError(
                "data.dataset: synthetic lines need the settings [synthesis]; add them, or name a "
                "data set of lines"
            )
        if self.data.dataset == SYNTHETIC and self.data.folds is not None:
            raise ValueError(
                "data.folds: synthetic lines are new in each epoch, so that there are no folds of "
                "them; name a data set of labelled lines"
            )
        for part, names in (("data", _OF_CHARACTERS_IN_DATA), ("train", _OF_CHARACTERS_IN_TRAIN)):
            settings: Settings = getattr(self, part)
            for name in names:
                if getattr(settings, name) != type(settings).model_fields[name].get_default(
                    call_default_factory=True
                ):
                    raise ValueError(
                        f"{part}.{name}: is for characters, not for lines (crnn); remove it"
                    )
        return self

    @model_validator(mode="after")
    def _check_outliers(self) -> Self:
        if self.data.outlier_classes and not self.train.outlier_exposure:
            raise ValueError(
                "data.outlier_classes: has no effect without train.outlier_exposure; raise that"
            )
        return self

    @model_validator(mode="after")
    def _check_metric(self) -> Self:
        if not self.data.validates and self.train.checkpoint_metric != "last":
            raise ValueError(
                f"train.checkpoint_metric: {self.train.checkpoint_metric} needs validation "
                "images, but data.validation_fraction is 0: raise it, or set "
                "train.checkpoint_metric=last"
            )
        return self

    @property
    def reads_lines(self) -> bool:
        """Whether the network reads lines, rather than single characters."""
        return isinstance(self.model, CRNNConfig)

    @property
    def source(self) -> str:
        """Name of the data set that is trained on, or of the characters of composed lines."""
        if self.synthesis and self.data.dataset == SYNTHETIC:
            return self.synthesis.characters
        return self.data.dataset

    def epoch_size(self, images: int) -> int:
        """Return the images or lines in an epoch, given how many training ones there are."""
        return self.synthesis.lines_per_epoch if self.synthesis else images

    def seeds(self, count: int) -> list[Self]:
        """Return copies that differ in their training seed alone, from its own upwards."""
        return [self.replace({"train.seed": self.train.seed + k}) for k in range(count)]

    def fingerprint(self) -> str:
        """Return the SHA-256 of the settings: equal settings, equal fingerprint."""
        return sha256(json.dumps(self.to_dict(), sort_keys=True).encode())


class Resolved(Settings):
    """What `auto` was resolved to on the machine that started the run; resuming keeps to it."""

    device: str = Field(description="device that the network is trained on")
    precision: str = Field(description="precision of the matrix products")
    threads: Threads = Field(
        description="processor threads; the last bits depend on their number; 0: measured before "
        "an epoch, as history.jsonl says"
    )

    @classmethod
    def of(cls, config: RunConfig) -> Self:
        """Return the resolved values in `config`; see `training.device.resolve_auto`."""
        return cls(**config.train.model_dump(include=set(cls.model_fields)))

    def applied_to(self, config: RunConfig) -> RunConfig:
        """Return `config` with these values instead of `auto`."""
        return config.replace({f"train.{name}": value for name, value in self})


def expand(values: Mapping[str, Any], name: str) -> list[str]:
    """Return the settings in `values` that `name` stands for, mostly itself alone.

    `model.convolutions.*.filters` is that of each item of the list; a comma joins several names.

    Raises:
        ConfigError: a `*` is not in the place of a list's items.
    """
    if "," in name:
        return [one for part in name.split(",") for one in expand(values, part.strip())]
    head, star, tail = name.partition(".*")
    if not star:
        return [name]
    items: Any = values
    for part in head.split("."):
        items = items.get(part) if isinstance(items, dict) else items[_index(items, part, name)]
    if not isinstance(items, list) or not items:
        raise ConfigError(f"{name}: {head} is not a list with items, which * would stand for")
    return [one for k in range(len(items)) for one in expand(values, f"{head}.{k}{tail}")]


def _put(values: dict[str, Any], name: str, value: Any) -> None:
    """Put `value` at the dotted `name`, creating the tables on the way."""
    *path, last = name.split(".")
    place: Any = values
    for part in path:
        is_table = isinstance(place, dict)
        place = place.setdefault(part, {}) if is_table else place[_index(place, part, name)]
    place[last if isinstance(place, dict) else _index(place, last, name)] = value


def _index(place: Any, part: str, name: str) -> int:
    if not isinstance(place, list):
        raise ConfigError(f"{name}: a plain value has no setting {part!r}")
    if not part.isdecimal() or int(part) >= len(place):
        raise ConfigError(f"{name}: {part!r} is not an index of a list of {len(place)}")
    return int(part)


def _explain(detail: dict[str, Any], settings: type[BaseModel]) -> str:
    # pydantic puts the union's tag into the path (model.cnn.dense); a person wrote model.dense.
    path = [str(p) for i, p in enumerate(detail["loc"]) if not (i == 1 and p in ARCHITECTURES)]
    name, message = ".".join(path), str(detail["msg"]).removeprefix("Value error, ")
    match detail["type"]:
        case "extra_forbidden":
            known = _fields_at(settings, detail["loc"][:-1])
            hint = near_match(path[-1], known) or f"; one of {', '.join(known)}"
            return f"{name}: unknown setting{hint}"
        case "missing":
            return f"{name}: is missing"
        case "literal_error" | "union_tag_invalid":
            context = detail["ctx"]
            words = str(context.get("expected") or context.get("expected_tags"))
            given = str(context.get("tag", detail["input"]))
            field = f"{name}.architecture" if "tag" in context else name
            known = [word.strip("' ") for word in words.replace(" or ", ",").split(",")]
            hint = f"{near_match(given, known)}; one of {', '.join(known)}"
            return f'{field}: "{given}" is not known{hint}'
        case "value_error":
            # Our validators of several fields begin with the field, seen from where they stand.
            separator = "." if isinstance(detail["input"], Mapping | BaseModel) else ": "
            return f"{name}{separator}{message}" if name else message
        case _:
            prefix = f"{name}: " if name else ""
            return f"{prefix}{message[0].lower()}{message[1:]}, got {detail['input']!r}"


def _fields_at(settings: type[BaseModel], path: Iterable[int | str]) -> list[str]:
    """Return the names of the fields of the settings that `path` leads to."""
    place: Any = settings
    for part in path:
        if part in ARCHITECTURES:  # pydantic's tag of the union
            place = ARCHITECTURES[str(part)]
        elif hasattr(place, "model_fields"):
            place = place.model_fields[part].annotation
        else:
            place = get_args(place)[-1 if get_origin(place) is dict else 0]
        while (kinds := get_args(place)) and (NoneType in kinds or get_origin(place) is Annotated):
            place = next(kind for kind in kinds if kind is not NoneType)
    return list(place.model_fields) if hasattr(place, "model_fields") else []
