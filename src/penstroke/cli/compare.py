"""`penstroke compare`: whether one run is really better than another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from penstroke.cli.console import Json, Report, percent, print_json, print_table, say

if TYPE_CHECKING:
    from penstroke.evaluation.run_groups import Comparison


def command(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN…", help="Names or paths of runs (see `penstroke runs list`)."
        ),
    ],
    report: Report = True,
    as_json: Json = False,
) -> None:
    """Compare runs on the same test images.

    The first is the baseline. Runs that differ only in their seed are grouped. A difference is
    reported only if it exceeds what the choice of test images and of seeds explains.
    """
    from penstroke.runs.grouping import compare_runs
    from penstroke.runs.run import find_run

    if len(set(runs)) < 2:
        raise typer.BadParameter("name at least two runs")
    if _compare_folds(list(dict.fromkeys(runs)), as_json):
        return
    comparison = compare_runs([find_run(name) for name in dict.fromkeys(runs)])
    page = _written(comparison) if report else None
    if as_json:
        print_json(vars(comparison) | ({"report": page} if page else {}))
        return
    _show(comparison)
    if page:
        say(f"\nreport  {page}")


def _compare_folds(names: list[str], as_json: bool) -> bool:
    """Compare cross-validations, and return whether that is what was named."""
    from penstroke.runs.run import find_folds

    found = [folds for name in names if (folds := find_folds(name))]
    if not found:
        return False
    if len(found) < len(names):
        raise typer.BadParameter(
            "a cross-validation can be compared only with other cross-validations"
        )
    from penstroke.runs.cross_validation import compare_folds

    claims = compare_folds(found)
    summaries = [(one, summary) for one in found if (summary := one.summary())]
    if as_json:
        facts = [claim.to_dict() for claim in claims]
        figures = [{"run": str(one.path), **summary.to_dict()} for one, summary in summaries]
        print_json({"folds": figures, "claims": facts})
        return True
    rows = [
        (one.name, f"{f.images:,}", percent(f.accuracy), percent(f.balanced_accuracy))
        for one, f in summaries
    ]
    print_table(("cross-validation", "images", "accuracy", "balanced"), rows, "123")
    say("")
    for claim in claims:
        say(claim.text)
    return True


def _written(comparison: Comparison) -> str:
    from penstroke.reports.comparison_report import write_comparison_report

    return str(write_comparison_report(comparison))


def _show(comparison: Comparison) -> None:
    from penstroke.reports.comparison_report import comparison_table

    say(f"{comparison.dataset}, {comparison.images:,} test images\n")
    names = [group.name for group in comparison.groups]
    print_table(("", *names), comparison_table(comparison), "123456789")
    say("")
    for claim in comparison.claims:
        say(claim.text)
