"""`penstroke doctor`: the installation and a numerical self-test."""

from __future__ import annotations

import typer

from penstroke.cli.console import Json, print_json, print_table


def command(as_json: Json = False) -> None:
    """Show the installation and run a numerical self-test."""
    from penstroke.doctor import diagnose

    checks = diagnose()
    if as_json:
        print_json({"healthy": all(check.passed for check in checks), "checks": checks})
    else:
        rows = [("pass" if check.passed else "fail", check.name, check.text) for check in checks]
        print_table(("", "check", "result"), rows)
    if not all(check.passed for check in checks):
        raise typer.Exit(1)
