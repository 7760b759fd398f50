"""The report of a comparison, and its table, which the command line shows too."""

from collections.abc import Sequence
from pathlib import Path

from penstroke.evaluation.line_comparison import LineComparison, LineRunGroup
from penstroke.evaluation.run_groups import Comparison, RunGroup
from penstroke.files import runs_root
from penstroke.reports import plots
from penstroke.reports.html import percent, percent_range, relative_link, write_page


def write_comparison_report(comparison: Comparison | LineComparison) -> Path:
    """Write the page beside the runs and return its path."""
    names = "-vs-".join(Path(group.runs[0].path).name for group in comparison.groups[:3])
    path = runs_root() / "comparisons" / names / "index.html"
    runs = [Path(run.path) for group in comparison.groups for run in group.runs]
    reports = [run / "report/index.html" for run in runs]
    return write_page(
        path,
        "comparison.html.j2" if isinstance(comparison, Comparison) else "line_comparison.html.j2",
        name=" · ".join(group.name for group in comparison.groups),
        comparison=comparison,
        table=comparison_table(comparison),
        runs=[
            (run, relative_link(path, report) if report.exists() else None)
            for run, report in zip(runs, reports, strict=True)
        ],
        plot=_plot_accuracies(comparison.groups),
    )


def comparison_table(comparison: Comparison | LineComparison) -> list[tuple[str, ...]]:
    """Return rows of text: the name of a figure, and its value for each group."""
    columns = [
        _line_column(group) if isinstance(group, LineRunGroup) else _column(group)
        for group in comparison.groups
    ]
    return [(name, *(column[name] for column in columns)) for name in columns[0]]


def _column(group: RunGroup) -> dict[str, str]:
    return {
        "runs": str(len(group.runs)),
        "test accuracy": percent(group.mean("accuracy")),
        "95 % interval": percent_range(group.accuracy_interval),
        "loss": f"{group.mean('loss'):.4f}",
        "AUROC": f"{group.mean('auroc'):.5f}",
        "F1": f"{group.mean('f1'):.4f}",
        "calibration error": percent(group.ece),
        "parameters": f"{group.parameters:,}",
        "multiply-adds per image": f"{group.multiply_adds:,}",
        "training time": f"{group.elapsed_seconds:.1f} s",
        "latency per image": f"{group.latency_ms:.2f} ms",
    }


def _line_column(group: LineRunGroup) -> dict[str, str]:
    column = {"runs": str(len(group.runs))}
    for name, words in (
        ("exact", "exact match"), ("digits", "exact match without signs"),
        ("cer", "character error rate"),
    ):  # fmt: skip
        rate = group.rate(name)
        column |= {words: percent(rate.value),
                   f"{words}, 95 % interval": percent_range((rate.low, rate.high))}  # fmt: skip
    return column | {
        "parameters": f"{group.parameters:,}",
        "training time": f"{group.elapsed_seconds:.1f} s",
    }


def _plot_accuracies(groups: Sequence[RunGroup | LineRunGroup]) -> str:
    """Return an SVG: the accuracy of each run, and the interval of each group."""
    figure, (axis,) = plots.new_figure(5.4, 0.9 + 0.5 * len(groups))
    for row, group in enumerate(groups):
        ends = [100 * end for end in group.accuracy_interval]
        axis.plot(ends, [row, row], "-", color=plots.BLUE, linewidth=5, alpha=0.35)
        accuracies = [100 * accuracy for accuracy in group.accuracies]
        axis.plot(accuracies, [row] * len(accuracies), "o", color=plots.BLUE, markersize=5)
    axis.set_yticks(range(len(groups)), [group.name for group in groups])
    axis.set(xlabel="test accuracy, %", ylim=(len(groups) - 0.4, -0.6))
    return plots.to_svg(figure, grid="x")
