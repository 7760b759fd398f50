"""What a run is: small frozen settings, read from TOML, overridden by dotted names.

A bad value is refused here, at the door, with the name of its field. This module knows nothing of
torch: the same settings describe a run to the command line, the run directory and the model file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from penstroke.errors import ConfigError, near_match
from penstroke.files import sha256

IMAGE_SIZE = 28
"""Side of the square image, in pixels, that every network reads (MNIST's own)."""

Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused, no coercion, no nan."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, source: str = "") -> Self:
        """Validate plain `values` as read from TOML or JSON.

        Raises:
            ConfigError: names every offending field, with a near match for unknown words.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_explain(error, cls, source)) from None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `parse` takes back; settings left at None are absent."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_toml(self) -> str:
        """Return TOML that `parse` reads back to an equal object."""
        return tomli_w.dumps(self.to_dict())


class DataConfig(Settings):
    """Which images, and how training and validation are told apart."""

    dataset: str = Field("digits", min_length=1, description="name in `penstroke data list`")
    validation_fraction: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the training split held out, class by class; where "
        "that is none of the rarest class, more, up to a tenth",
    )
    split_seed: int = Field(
        0, ge=0, description="seed of that split; kept apart from train.seed, so that seeds compare"
    )
    max_train_images: int | None = Field(
        None, ge=1, description="train on this many images only, drawn class by class"
    )
    folds: int | None = Field(
        None, ge=2, description="cut the training split into so many parts, class by class …"
    )
    fold: int | None = Field(
        None, ge=0, description="… and validate on this one, instead of on validation_fraction"
    )
    exclude: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)] | None = Field(
        None,
        description="training images left out before anything is split: their positions in the "
        "training split as it comes, from 0",
    )

    @field_validator("exclude")
    @classmethod
    def _sort(cls, exclude: tuple[int, ...] | None) -> tuple[int, ...] | None:
        # The same images left out are the same run; none left out is a run on everything.
        return tuple(sorted(exclude)) if exclude else None

    @model_validator(mode="after")
    def _name_each_once(self) -> Self:
        for one, following in pairwise(self.exclude or ()):
            if one == following:
                raise ValueError(f"exclude: {one} is in the list twice")
        return self

    @model_validator(mode="after")
    def _name_a_fold(self) -> Self:
        if (self.folds is None) != (self.fold is None):
            raise ValueError("folds: folds and fold belong together")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold: there are {self.folds} folds, the first is 0")
        return self

    @property
    def validates(self) -> bool:
        """Whether any training images are held out."""
        return self.validation_fraction > 0 or self.folds is not None


class Convolution(Settings):
    """One block: convolution → batch norm → activation → pooling → dropout."""

    filters: int = Field(ge=1, description="output channels")
    kernel: int = Field(3, ge=1, description="side of the square kernel, pixels")
    stride: int = Field(1, ge=1, description="step of the kernel, pixels")
    padding: int = Field(0, ge=0, description="zeros added on each side, pixels")
    pool: int = Field(1, ge=1, description="window and step of the pooling; 1 is none")
    pooling: Literal["max", "average"] = Field("max", description="what the window keeps")
    batch_norm: bool = Field(False, description="normalise each channel over the batch")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability of dropping an output")

    def output_size(self, size: int) -> int:
        """Return the side of the output, in pixels, for an input of side `size`."""
        convolved = (size + 2 * self.padding - self.kernel) // self.stride + 1
        return convolved // self.pool if convolved > 0 else 0


class Dense(Settings):
    """One block: linear → batch norm → activation → dropout."""

    units: int = Field(ge=1, description="output features")
    batch_norm: bool = Field(False, description="normalise each feature over the batch")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability of dropping an output")


class MLPConfig(Settings):
    """A fully connected network over the 784 pixels."""

    architecture: Literal["mlp"] = Field("mlp", description="file in models/")
    dense: Annotated[tuple[Dense, ...], Field(strict=False)] = Field(
        (Dense(units=128), Dense(units=64)), description="hidden layers, first to last"
    )
    activation: Activation = Field("relu", description="after every hidden layer")


class CNNConfig(Settings):
    """Convolution blocks, then dense blocks, then the output layer."""

    architecture: Literal["cnn"] = Field("cnn", description="file in models/")
    convolutions: Annotated[tuple[Convolution, ...], Field(strict=False)] = Field(
        (Convolution(filters=32, padding=1, pool=2), Convolution(filters=64, padding=1, pool=2)),
        min_length=1,
        description="convolution blocks, first to last",
    )
    dense: Annotated[tuple[Dense, ...], Field(strict=False)] = Field(
        (Dense(units=128),), description="hidden dense layers, first to last"
    )
    activation: Activation = Field("relu", description="in every block")

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
    pool: int = Field(2, ge=1, description="max pooling before the residual blocks; 1 is none")
    residual_blocks: int = Field(1, ge=0, description="how many follow")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability of dropping a whole channel")


class ResNetConfig(Settings):
    """A deeper network: stages of residual blocks (He et al. 2016), then the output layer."""

    architecture: Literal["resnet"] = Field("resnet", description="file in models/")
    stages: Annotated[tuple[Stage, ...], Field(strict=False)] = Field(
        (Stage(filters=32, residual_blocks=0), Stage(filters=64), Stage(filters=128, pool=1)),
        min_length=1,
        description="first to last",
    )
    head: Literal["flatten", "average", "max"] = Field(
        "flatten", description="what the output layer sees of the last images"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="before the output layer")
    activation: Activation = Field("relu", description="in every block")

    @property
    def output_size(self) -> int:
        """Side of the last images, in pixels."""
        size = IMAGE_SIZE
        for stage in self.stages:
            size //= stage.pool
        return size

    @model_validator(mode="after")
    def _leave_pixels(self) -> Self:
        if self.output_size < 1:
            raise ValueError("stages: their pooling leaves no pixels; lower pool")
        return self


AnyModelConfig = MLPConfig | CNNConfig | ResNetConfig
ModelConfig = Annotated[AnyModelConfig, Field(discriminator="architecture")]
ARCHITECTURES: dict[str, type[AnyModelConfig]] = {
    "mlp": MLPConfig,
    "cnn": CNNConfig,
    "resnet": ResNetConfig,
}


class AugmentConfig(Settings):
    """Random changes to each training image, drawn anew each epoch; all zero is none."""

    rotation_degrees: float = Field(0.0, ge=0, le=180, description="up to this, either way")
    scale: float = Field(0.0, ge=0, lt=1, description="0.1: between 0.9 and 1.1 times")
    shear_degrees: float = Field(0.0, ge=0, lt=90, description="up to this slant, either way")
    translate_pixels: float = Field(0.0, ge=0, le=14, description="up to this, either way")
    aspect_ratio: float = Field(
        0.0, ge=0, lt=1, description="0.2: width against height up to 1.2 times, either way"
    )
    elastic_pixels: float = Field(
        0.0, ge=0, le=5, description="deviation of a smooth displacement, as of a shaky hand"
    )
    stroke_width: float = Field(
        0.0, ge=0, le=1, description="strokes thinned or thickened, up to a pixel on each side"
    )
    blur: float = Field(0.0, ge=0, le=1, description="up to this share of the mean over 3×3 pixels")
    regional_forms: float = Field(
        0.0, ge=0, le=1, description="share of 1s given a flag or a foot, and of 7s given a bar"
    )

    @property
    def is_active(self) -> bool:
        """Whether anything is warped at all."""
        return any(self.model_dump(exclude={"regional_forms"}).values())


class TrainConfig(Settings):
    """How the network is trained, and which epoch is kept."""

    epochs: int = Field(5, ge=1, description="passes over the training images, at most")
    min_steps: int = Field(
        0, ge=0, description="where epochs bring fewer steps, as many more epochs: for small data"
    )
    batch_size: int = Field(64, ge=2, description="images a step")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("adam", description="update rule")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the schedule")
    momentum: float = Field(0.0, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(0.0, ge=0, description="L2 for sgd and adam, decoupled for adamw")
    schedule: Literal["constant", "step", "cosine", "one_cycle"] = Field(
        "constant", description="of the learning rate, step by step"
    )
    step_size: int | None = Field(None, ge=1, description="of step: epochs between two cuts")
    gamma: float | None = Field(None, gt=0, lt=1, description="of step: size of a cut")
    warmup_fraction: float | None = Field(
        None, gt=0, lt=1, description="of one_cycle: share of the steps spent rising (0.25)"
    )
    balance: float | None = Field(
        None,
        ge=0,
        le=1,
        description="how far rare classes are shown more often: 1: all equally often, 0.5: by the "
        "square root of their number of images, 0 or absent: as they come",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the label spread evenly")
    outlier_exposure: float = Field(
        0.0, ge=0, le=1, description="images of no character shown beside a batch, as its share"
    )
    outlier_exposure_weight: float = Field(
        0.06, ge=0, description="of the loss for being sure of any class about them"
    )
    ema_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="judge and keep a running average of the weights; 0: none",
    )
    augment: AugmentConfig = Field(default_factory=AugmentConfig, description="random warps")
    checkpoint_metric: Literal["val_loss", "val_accuracy", "last"] = Field(
        "val_loss", description="which epoch is kept: lowest loss, highest accuracy, or the last"
    )
    patience: int | None = Field(
        None, ge=1, description="stop after this many epochs without a better one"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order, dropout and warps")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto: the fastest")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the multiplications; auto measures both once on this machine"
    )
    threads: int = Field(0, ge=0, description="processor threads; 0 is all that are allowed")

    def steps_per_epoch(self, images: int) -> int:
        """Return the number of batches in an epoch of `images`; a single last one joins another."""
        full, rest = divmod(images, self.batch_size)
        return max(1, full + (rest > 1 or (rest == 1 and full == 0)))

    def epochs_for(self, images: int) -> int:
        """Return the number of epochs of a run on `images` images: more of few, for `min_steps`."""
        return max(self.epochs, math.ceil(self.min_steps / self.steps_per_epoch(images)))

    def is_over(self, epoch: int, best_epoch: int) -> bool:
        """Return whether training ends after `epoch`: it is the last, or patience has run out."""
        out_of_patience = self.patience is not None and epoch - best_epoch >= self.patience
        return epoch >= self.epochs or out_of_patience

    @field_validator("balance")
    @classmethod
    def _as_they_come(cls, balance: float | None) -> float | None:
        return balance or None  # absent, so that such a run is the run it was before there was it

    @model_validator(mode="after")
    def _agree(self) -> Self:
        step = self.schedule == "step"
        _require(self.momentum == 0 or self.optimizer == "sgd", "momentum", 'optimizer = "sgd"')
        _require(self.step_size is None or step, "step_size", 'schedule = "step"')
        _require(self.gamma is None or step, "gamma", 'schedule = "step"')
        one_cycle = self.schedule == "one_cycle"
        _require(self.warmup_fraction is None or one_cycle, "warmup_fraction", "one_cycle")
        _require(
            self.patience is None or self.checkpoint_metric != "last",
            "patience",
            "checkpoint_metric = val_…",
        )
        if step and (self.step_size is None or self.gamma is None):
            raise ValueError("schedule: step needs step_size and gamma")
        return self


class RunConfig(Settings):
    """Everything that decides the outcome of one training run."""

    data: DataConfig = Field(default_factory=DataConfig, description="images")
    model: ModelConfig = Field(default_factory=CNNConfig, description="network")
    train: TrainConfig = Field(default_factory=TrainConfig, description="training")

    @model_validator(mode="after")
    def _have_what_selects(self) -> Self:
        if not self.data.validates and self.train.checkpoint_metric != "last":
            raise ValueError(
                f"train.checkpoint_metric: {self.train.checkpoint_metric} needs validation "
                "images, but data.validation_fraction is 0: raise it, or set "
                "train.checkpoint_metric=last"
            )
        return self

    def replace(self, **parts: Mapping[str, Any]) -> Self:
        """Return a copy with some fields of its parts changed: `replace(train={"seed": 3})`."""
        return self.model_copy(update={
            part: getattr(self, part).model_copy(update=dict(changes))
            for part, changes in parts.items()
        })  # fmt: skip

    def seeds(self, count: int) -> list[Self]:
        """Return copies that differ in their training seed alone, from its own upwards."""
        first = self.train.seed
        return [self.replace(train={"seed": first + k}) for k in range(count)]

    def fingerprint(self) -> str:
        """Return the SHA-256 of the settings: equal settings, equal fingerprint."""
        return sha256(json.dumps(self.to_dict(), sort_keys=True).encode())


class Resolved(Settings):
    """What `auto` came to on the machine that started the run; a resumed run keeps to it."""

    device: str = Field(description="where the network was trained")
    precision: str = Field(description="of the multiplications")
    threads: int = Field(description="processor threads; the last bits depend on it")


def _require(holds: bool, field: str, needed: str) -> None:
    if not holds:
        raise ValueError(f"{field}: has no effect without {needed}; remove it or set that")


def _explain(error: ValidationError, settings: type[BaseModel], source: str) -> str:
    where = f"{source}: " if source else ""
    return "\n".join(
        where + _explain_one(dict(detail), settings)
        for detail in error.errors(include_url=False, include_context=True)
    )


def _explain_one(detail: dict[str, Any], settings: type[BaseModel]) -> str:
    # pydantic puts the union's tag into the path (model.cnn.dense); a person wrote model.dense.
    path = [str(p) for i, p in enumerate(detail["loc"]) if not (i == 1 and p in ARCHITECTURES)]
    name = ".".join(path)
    prefix = f"{name}: " if name else ""
    message = str(detail["msg"]).removeprefix("Value error, ")
    match detail["type"]:
        case "missing":
            return f"{prefix}is missing"
        case "extra_forbidden":
            known = _fields_at(settings, list(detail["loc"][:-1]))
            return f"{prefix}unknown setting{near_match(path[-1], known) or _one_of(known)}"
        case "literal_error" | "union_tag_invalid":
            context = detail["ctx"]
            words = str(context.get("expected") or context.get("expected_tags"))
            given = context.get("tag", detail["input"])
            field = f"{name}.architecture" if "tag" in context else name
            known = [word.strip("' ") for word in words.replace(" or ", ",").split(",")]
            return f'{field}: "{given}" is not known{near_match(str(given), known)}{_one_of(known)}'
        case "value_error":
            # Our own validators begin their message with the field, seen from where they stand.
            return f"{name}.{message}" if name else message
        case _:
            return f"{prefix}{message[0].lower()}{message[1:]}, got {detail['input']!r}"


def _one_of(words: Iterable[str]) -> str:
    return f"; one of {', '.join(words)}"


def _fields_at(settings: type[BaseModel], path: list[int | str]) -> list[str]:
    """Return the names of the fields of the settings that `path` leads to."""
    place: Any = settings
    for part in path:
        place = ARCHITECTURES.get(str(part)) or _inside(place, part)
    return list(place.model_fields) if hasattr(place, "model_fields") else []


def _inside(place: Any, part: int | str) -> Any:
    """Return the type of what stands at `part` in a value of the type `place`."""
    if hasattr(place, "model_fields"):
        found = place.model_fields[part].annotation
    else:
        found = get_args(place)[-1 if get_origin(place) is dict else 0]
    kinds = [kind for kind in get_args(found) if kind is not type(None)]
    return kinds[0] if type(None) in get_args(found) else found
