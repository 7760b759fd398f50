"""`penstroke compare`: whether one way is really better than another."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstroke.cli.console import Json, percent, print_json, print_table, say

if TYPE_CHECKING:
    from penstroke.evaluation.ways import Comparison, Way


def command(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN…", help="Names or paths: `penstroke runs list`."),
    ],
    report: Annotated[bool, typer.Option(help="Write the page.")] = True,
    as_json: Json = False,
) -> None:
    """Compare runs on the same test pictures; the first is the baseline.

    Runs that differ in their seed alone are one way. "Better" is said only where neither luck with
    the pictures nor luck with the seeds explains the difference.
    """
    from penstroke.evaluation.ways import compare_runs
    from penstroke.runs import find_run

    if len(set(runs)) < 2:
        raise typer.BadParameter("name two runs or more")
    comparison = compare_runs([find_run(name) for name in dict.fromkeys(runs)])
    page = _written(comparison) if report else None
    if as_json:
        print_json(_facts(comparison) | ({"report": page} if page else {}))
        return
    _show(comparison)
    if page:
        say(f"\nreport  {page}")


def _written(comparison: Comparison) -> str:
    from penstroke.evaluation.compare_report import write_comparison

    return str(write_comparison(comparison))


def _facts(comparison: Comparison) -> dict[str, Any]:
    return {
        "dataset": comparison.dataset,
        "images": comparison.images,
        "ways": [way.to_dict() for way in comparison.ways],
        "claims": [asdict(claim) | {"is_shown": claim.is_shown} for claim in comparison.claims],
    }


def _show(comparison: Comparison) -> None:
    say(f"{comparison.dataset}, {comparison.images:,} test pictures\n")
    columns = [_column(way) for way in comparison.ways]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    names = [way.name for way in comparison.ways]
    print_table(("", *names), rows, "123456789")
    say("")
    for claim in comparison.claims:
        say(claim.text)


def _column(way: Way) -> dict[str, str]:
    found = way.to_dict()
    return {
        "runs": str(len(way.runs)),
        "test accuracy": percent(found["accuracy"]),
        "95 % interval": f"{100 * found['accuracy_low']:.2f}–{100 * found['accuracy_high']:.2f} %",
        "loss": f"{found['loss']:.4f}",
        "AUROC": f"{found['auroc']:.5f}",
        "F1": f"{found['f1']:.4f}",
        "calibration error": percent(found["ece"]),
        "parameters": f"{found['parameters']:,}",
        "multiply-adds": f"{found['multiply_adds']:,}",
        "trained in": f"{found['elapsed_seconds']:.1f} s",
        "a picture takes": f"{found['latency_ms']:.2f} ms",
    }
