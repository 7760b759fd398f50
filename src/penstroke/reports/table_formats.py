"""A table of results as CSV, Markdown, LaTeX and a plot."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from penstroke.reports import plots

if TYPE_CHECKING:
    from penstroke.evaluation.result_table import ResultTable, TableRow

Format = Literal["csv", "markdown", "latex", "svg"]
SUFFIXES: dict[str, Format] = {
    ".csv": "csv", ".md": "markdown", ".tex": "latex", ".svg": "svg",
}  # fmt: skip

_STYLES = tuple(zip(
    ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"), "os^Dvx", strict=True
))  # fmt: skip
"""Colours that the colour-blind can tell apart (Okabe and Ito 2008), with markers for print."""
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "–": "--", **{sign: f"\\{sign}" for sign in "&%$#_"},
})  # fmt: skip
_MANY_TICKS = 8
_WIDE_RANGE = 30
"""From this ratio of the largest to the smallest value, the axis of a setting is logarithmic."""


def render(table: ResultTable, form: Format) -> str:
    """Return `table` as a file of this format."""
    formats: dict[Format, Callable[[ResultTable], str]] = {
        "csv": _csv, "markdown": _markdown, "latex": _latex, "svg": _svg,
    }  # fmt: skip
    return formats[form](table)


def headings(table: ResultTable) -> list[str]:
    """Return the headings of the columns of `cells`."""
    return [*table.by, "n", _figure_name(table), "sd", "95 % interval"]


def cells(table: ResultTable) -> list[list[str]]:
    """Return the rows as text, shares in per cent."""
    return [[*map(_text, row.settings), *_figures(table, row)] for row in table.rows]


def _figures(table: ResultTable, row: TableRow) -> list[str]:
    one, scale = row.variation, _scale(table)
    is_small = table.is_share or abs(one.mean) < 100
    digits = 2 if table.is_share else 4 if is_small else 1
    mean, sd, low, high = (
        "–" if math.isnan(value) else f"{scale * value:.{digits}f}"
        for value in (one.mean, one.sd, one.low, one.high)
    )
    return [str(one.count), mean, sd, "–" if low == "–" else f"{low} to {high}"]


def _csv(table: ResultTable) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*table.by, "metric", "n", "mean", "sd", "ci95_low", "ci95_high"])
    for row in table.rows:
        one = row.variation
        figures = [one.mean, one.sd, one.low, one.high]
        writer.writerow([
            *("" if value is None else _text(value) for value in row.settings), table.metric,
            one.count, *("" if math.isnan(value) else value for value in figures),
        ])  # fmt: skip
    return stream.getvalue()


def _markdown(table: ResultTable) -> str:
    names = [f"`{name}`" for name in table.by]
    lines = [
        [*names, *headings(table)[len(names) :]],
        [*("---" for _ in names), *("--:" for _ in range(4))],
        *([cell.replace("|", r"\|") for cell in row] for row in cells(table)),
    ]
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return rows + "".join(f"\n{note[0].upper()}{note[1:]}.\n" for note in table.notes)


def _latex(table: ResultTable) -> str:
    lines = [r"% in the preamble: \usepackage{booktabs}", *(f"% {note}" for note in table.notes)]
    columns = "l" * len(table.by) + "r" * 4
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    for place, row in enumerate([headings(table), *cells(table)]):
        lines.append(" & ".join(cell.translate(_LATEX) for cell in row) + r" \\")
        lines += [r"\midrule"] if place == 0 else []
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _svg(table: ResultTable) -> str:
    """Return the means with their intervals and single runs, by the first setting.

    The other settings are the series.
    """
    figure, (axis,) = plots.new_figure(5.0, 3.2)
    firsts: list[Any] = [row.settings[0] if table.by else "all runs" for row in table.rows]
    is_number = all(isinstance(one, int | float) and not isinstance(one, bool) for one in firsts)
    levels = list(dict.fromkeys(map(_text, firsts)))
    series: dict[str, list[tuple[float, TableRow]]] = {}
    for first, row in zip(firsts, table.rows, strict=True):
        at = float(first) if is_number else float(levels.index(_text(first)))
        pairs = zip(table.by[1:], row.settings[1:], strict=True)
        label = ", ".join(f"{name.rpartition('.')[2]} = {_text(value)}" for name, value in pairs)
        series.setdefault(label, []).append((at, row))
    for place, (label, points) in enumerate(series.items()):
        colour, marker = _STYLES[place % len(_STYLES)]
        shift = 0.0 if is_number else 0.12 * (place - (len(series) - 1) / 2)
        _draw_series(table, axis, [(at + shift, row) for at, row in points], {
            "color": colour, "marker": marker, "label": label or None,
            "linestyle": "-" if is_number else "",
        })  # fmt: skip
    if not is_number:
        axis.set_xticks(range(len(levels)), levels)
        axis.set_xlim(-0.5, len(levels) - 0.5)
    else:
        is_wide = min(firsts) > 0 and max(firsts) / min(firsts) > _WIDE_RANGE
        axis.set_xscale("log" if is_wide else "linear")
    if is_number and len(levels) <= _MANY_TICKS:
        axis.set_xticks(sorted(set(firsts)))
    axis.set(xlabel=table.by[0] if table.by else "", ylabel=_figure_name(table))
    return '<?xml version="1.0" encoding="utf-8"?>\n' + plots.to_svg(figure) + "\n"


def _draw_series(
    table: ResultTable, axis: Any, points: list[tuple[float, TableRow]], style: dict[str, Any]
) -> None:
    scale = _scale(table)
    for at, row in points:
        values = [scale * score.value for score in row.scores]
        axis.plot([at] * len(values), values, ".", color=style["color"], alpha=0.35, markersize=4)
    means = [scale * row.variation.mean for _, row in points]
    halves = [scale * (row.variation.high - row.variation.mean) for _, row in points]
    errors = [0.0 if math.isnan(half) else half for half in halves]
    axis.errorbar([at for at, _ in points], means, errors, capsize=3, markersize=5, linewidth=1.2,
                  **style)  # fmt: skip


def _scale(table: ResultTable) -> int:
    return 100 if table.is_share else 1


def _figure_name(table: ResultTable) -> str:
    words = table.metric.replace("val_", "validation ").replace("_", " ")
    return f"{words} (%)" if table.is_share else words


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)
