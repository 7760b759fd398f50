"""Architectures, one a file, built from their config."""

from __future__ import annotations

from penstroke.models.build import build_network, network_for
from penstroke.models.summary import LayerSummary, NetworkSummary, summarize
from penstroke.models.trained import Ensemble, load_network, load_weights
from penstroke.models.transfer import Start

__all__ = [
    "Ensemble",
    "LayerSummary",
    "NetworkSummary",
    "Start",
    "build_network",
    "load_network",
    "load_weights",
    "network_for",
    "summarize",
]
