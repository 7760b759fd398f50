"""`penstroke doctor`: the installation and a numerical self-test."""

import typer

from penstroke.cli.console import exit_json, print_table
from penstroke.cli.options import JSON


def command(as_json: bool = JSON) -> None:
    """Show the installation and run a numerical self-test."""
    from penstroke.doctor import diagnose

    checks = diagnose()
    healthy = all(check.passed for check in checks)
    exit_json({"healthy": healthy, "checks": checks}, exit_code=not healthy)
    rows = [("pass" if check.passed else "fail", check.name, check.text) for check in checks]
    print_table(("", "check", "result"), rows)
    raise typer.Exit(not healthy)
