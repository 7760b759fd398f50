"""Penstroke trains, tunes, evaluates and serves small neural networks that read handwriting.

>>> import penstroke
>>> penstroke.load_dataset("digits").classes
('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')

Settings are small, frozen and validated:

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
    from penstroke.config.recipes import load_recipe as load_recipe
    from penstroke.config.settings import DataConfig as DataConfig
    from penstroke.config.settings import RunConfig as RunConfig
    from penstroke.config.settings import TrainConfig as TrainConfig
    from penstroke.data.dataset import Dataset as Dataset
    from penstroke.data.dataset import DataSplits as DataSplits
    from penstroke.data.loading import load_dataset as load_dataset
    from penstroke.errors import PenstrokeError as PenstrokeError
    from penstroke.evaluation.evaluator import Evaluation as Evaluation
    from penstroke.inference.line_reader import LineReader as LineReader
    from penstroke.inference.recognizer import Recognition as Recognition
    from penstroke.inference.recognizer import Recognizer as Recognizer
    from penstroke.runs.pipeline import train as train
    from penstroke.runs.run import Run as Run
    from penstroke.runs.trained import evaluate as evaluate
    from penstroke.runs.trained import evaluate_lines as evaluate_lines
    from penstroke.sklearn import CharacterClassifier as CharacterClassifier
    from penstroke.training.loop import Epoch as Epoch
    from penstroke.training.loop import fit as fit

__version__ = "0.2.0"

# The module of each name, imported on first use, so that recognition never loads torch.
_HOMES = {
    "CharacterClassifier": "sklearn",
    "DataConfig": "config.settings",
    "RunConfig": "config.settings",
    "TrainConfig": "config.settings",
    "DataSplits": "data.dataset",
    "Dataset": "data.dataset",
    "load_dataset": "data.loading",
    "PenstrokeError": "errors",
    "Evaluation": "evaluation.evaluator",
    "evaluate": "runs.trained",
    "evaluate_lines": "runs.trained",
    "load_recipe": "config.recipes",
    "LineReader": "inference.line_reader",
    "Recognition": "inference.recognizer",
    "Recognizer": "inference.recognizer",
    "Run": "runs.run",
    "Epoch": "training.loop",
    "fit": "training.loop",
    "train": "runs.pipeline",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'penstroke' has no attribute {name!r}")
    return getattr(import_module(f"penstroke.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
