"""A proof sheet of an import: what came out beside what went in."""

from __future__ import annotations

from penstroke.proof.page import write_page

__all__ = ["write_page"]
