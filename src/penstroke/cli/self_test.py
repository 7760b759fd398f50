"""`penstroke doctor`: whether all is there, and computes what it should."""

from __future__ import annotations

import typer

from penstroke.cli.console import Json, print_json, print_table


def command(as_json: Json = False) -> None:
    """Show machine, versions, data and precision, and run a numerical self-test."""
    from penstroke.doctor import diagnose

    checks = diagnose()
    if as_json:
        print_json({"healthy": all(c.is_fine for c in checks), "checks": [vars(c) for c in checks]})
    else:
        rows = [("ok" if check.is_fine else "FAILED", check.name, check.found) for check in checks]
        print_table(("", "what", "found"), rows)
    if not all(check.is_fine for check in checks):
        raise typer.Exit(1)
