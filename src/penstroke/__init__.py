"""Penstroke trains, tunes, judges and serves small neural networks that read handwriting.

>>> import penstroke
>>> penstroke.load_dataset("digits").classes
('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')

Everything begins with settings, which are small, frozen, and refused where they make no sense:

>>> from penstroke import DataConfig, RunConfig, TrainConfig
>>> config = RunConfig(
...     data=DataConfig(dataset="digits", validation_fraction=0.2),
...     train=TrainConfig(epochs=3, optimizer="sgd", momentum=0.9),
... )
>>> [one.train.seed for one in config.seeds(3)]
[0, 1, 2]
>>> RunConfig.parse({"train": {"epochs": 3, "momentum": 0.9}})
Traceback (most recent call last):
penstroke.errors.ConfigError: train.momentum: has no effect without optimizer = "sgd"; remove it \
or set that
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstroke.classifier import CharacterClassifier
    from penstroke.config import DataConfig, RunConfig, TrainConfig
    from penstroke.datasets import Dataset, DataSplits, load_dataset
    from penstroke.errors import PenstrokeError
    from penstroke.evaluation import Evaluation, evaluate
    from penstroke.recipes import load_recipe
    from penstroke.recognizer import Recognition, Recognizer
    from penstroke.runs import Run
    from penstroke.training import Epoch, fit
    from penstroke.workflow import train

__version__ = "0.1.0"

__all__ = [
    "CharacterClassifier",
    "DataConfig",
    "DataSplits",
    "Dataset",
    "Epoch",
    "Evaluation",
    "PenstrokeError",
    "Recognition",
    "Recognizer",
    "Run",
    "RunConfig",
    "TrainConfig",
    "evaluate",
    "fit",
    "load_dataset",
    "load_recipe",
    "train",
]

# Where each name lives: imported when first asked for, so that recognising never loads torch.
_HOMES = {
    "CharacterClassifier": "classifier",
    "DataConfig": "config",
    "RunConfig": "config",
    "TrainConfig": "config",
    "DataSplits": "datasets",
    "Dataset": "datasets",
    "load_dataset": "datasets",
    "PenstrokeError": "errors",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "load_recipe": "recipes",
    "Recognition": "recognizer",
    "Recognizer": "recognizer",
    "Run": "runs",
    "Epoch": "training",
    "fit": "training",
    "train": "workflow",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'penstroke' has no attribute {name!r}")
    return getattr(import_module(f"penstroke.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
