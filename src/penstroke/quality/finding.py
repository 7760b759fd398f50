"""What a check comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["ok", "look", "wrong"]


@dataclass(frozen=True)
class Finding:
    """The name of a check, the figures in words, and what to do where they are not ok."""

    name: str
    outcome: Outcome
    text: str
    advice: str = ""
