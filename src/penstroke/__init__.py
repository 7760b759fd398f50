"""Penstroke trains, tunes, judges and serves small neural networks that read handwriting.

>>> import penstroke
>>> penstroke.load_dataset("digits").classes
('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstroke.config import DataConfig, RunConfig, TrainConfig
    from penstroke.datasets import Dataset, DataSplits, load_dataset
    from penstroke.errors import PenstrokeError
    from penstroke.evaluation import evaluate
    from penstroke.recipes import load_recipe
    from penstroke.recognizer import Recognition, Recognizer
    from penstroke.training import fit

__version__ = "0.1.0"

__all__ = [
    "DataConfig",
    "DataSplits",
    "Dataset",
    "PenstrokeError",
    "Recognition",
    "Recognizer",
    "RunConfig",
    "TrainConfig",
    "evaluate",
    "fit",
    "load_dataset",
    "load_recipe",
]

# Where each name lives: imported when first asked for, so that recognising never loads torch.
_HOMES = {
    "DataConfig": "config",
    "RunConfig": "config",
    "TrainConfig": "config",
    "DataSplits": "datasets",
    "Dataset": "datasets",
    "load_dataset": "datasets",
    "PenstrokeError": "errors",
    "evaluate": "evaluation",
    "load_recipe": "recipes",
    "Recognition": "recognizer",
    "Recognizer": "recognizer",
    "fit": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'penstroke' has no attribute {name!r}")
    return getattr(import_module(f"penstroke.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
