"""`penstroke compare`: whether one run is really better than another."""

import typer

from penstroke.cli.console import exit_json, percent, print_table, say
from penstroke.cli.options import JSON, REPORT, argument


def command(
    runs: list[str] = argument(
        "Names or paths of runs (see `penstroke runs list`).", metavar="RUN RUN…"),
    report: bool = REPORT,
    as_json: bool = JSON,
) -> None:  # fmt: skip
    """Compare runs on the same test images, or lines.

    The first is the baseline. Runs that differ only in their seed are grouped. A difference is
    reported only if it exceeds what the choice of test images and of seeds explains.
    """
    from penstroke.runs.run import FoldRuns

    names = list(dict.fromkeys(runs))
    if len(names) < 2:
        raise typer.BadParameter("name at least two runs")
    folds = [name for name in names if FoldRuns.find(name)]
    if not folds:
        _compare_runs(names, report)
    elif len(folds) == len(names):
        _compare_folds(names)
    else:
        raise typer.BadParameter(
            "a cross-validation can be compared only with other cross-validations"
        )


def _compare_runs(names: list[str], report: bool) -> None:
    from penstroke.reports.comparison_report import comparison_table, write_comparison_report
    from penstroke.runs.grouping import compare_runs
    from penstroke.runs.run import find_run

    comparison = compare_runs([find_run(name) for name in names])
    page = {"report": str(write_comparison_report(comparison))} if report else {}
    exit_json(vars(comparison) | page)
    say(f"{comparison.evaluated_on}\n")
    headings = ("", *(group.name for group in comparison.groups))
    print_table(headings, comparison_table(comparison), "123456789")
    say("\n" + "\n".join(comparison.claim_texts))
    if page:
        say(f"\nreport  {page['report']}")


def _compare_folds(names: list[str]) -> None:
    from penstroke.evaluation.run_groups import texts_of
    from penstroke.runs.cross_validation import compare_folds
    from penstroke.runs.run import FoldRuns

    several = [folds for name in names if (folds := FoldRuns.find(name))]
    claims = compare_folds(several)
    summaries = [(one, summary) for one in several if (summary := one.summary())]
    figures = [{"run": str(one.path), **summary.to_dict()} for one, summary in summaries]
    exit_json({"folds": figures, "claims": claims})
    rows = [
        (one.name, f"{f.images:,}", percent(f.accuracy), percent(f.balanced_accuracy))
        for one, f in summaries
    ]
    print_table(("cross-validation", "images", "accuracy", "balanced"), rows, "123")
    say("\n" + "\n".join(texts_of(claims)))
