"""Tables of results, of studies and of runs; what a study keeps of each seed."""

from __future__ import annotations

import csv
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from scipy.stats import t

from helpers import Outcome, small_config, trained_run
from penstroke.evaluation.result_table import ResultTable, RunScore, TableRow
from penstroke.reports.search_report import write_search_report
from penstroke.reports.table_formats import render
from penstroke.runs.run import Run
from penstroke.search.engine import LocalEngine
from penstroke.search.study import Study
from penstroke.search.workflow import confirm, result_so_far
from searching import finished_search

Cli = Callable[..., Outcome]

RATE, WIDTHS = "train.learning_rate", "model.convolutions.*.filters"
SPACE = {RATE: {"choices": [1e-4, 4e-3]}, WIDTHS: {"choices": [[4], [8]]}}


@pytest.fixture
def study(runs: Path) -> Study:
    """Four trials of two seeds each; the best with two new ones."""
    study = finished_search(method="grid", max_epochs=1, seeds=2, space=SPACE)
    engine = LocalEngine(1, [study.record.config])
    try:
        confirm(study, engine, 2)
    finally:
        engine.close()
    return study


@pytest.fixture
def trained(runs: Path) -> list[Run]:
    """A network that learned something, and one that had no time to: two seeds each."""
    pairs = (
        ("hurried", small_config(epochs=1, learning_rate=1e-4)),
        ("learned", small_config(epochs=6)),
    )
    return [
        trained_run(one, stem=f"{stem}-{one.train.seed}", name=f"{stem}-{one.train.seed}")
        for stem, config in pairs
        for one in config.seeds(2)
    ]


def test_a_study_is_a_table_over_its_seeds(study: Study, penstroke: Cli) -> None:
    table = json.loads(penstroke("runs", "table", "s", "--json").out)
    assert (table["by"], table["metric"], table["mixed"]) == ([RATE, WIDTHS], "val_accuracy", [])
    assert [list(row["settings"].values()) for row in table["rows"]] == [
        [1e-4, [4]], [1e-4, [8]], [4e-3, [4]], [4e-3, [8]],
    ]  # fmt: skip
    for row in table["rows"]:
        assert [score["seed"] for score in row["scores"]] == [0, 1]
        values = [Run.open(Path(s["run"])).history()[0]["val_accuracy"] for s in row["scores"]]
        assert [score["value"] for score in row["scores"]] == values
        mean, sd = statistics.fmean(values), statistics.stdev(values)
        assert (row["count"], row["mean"], row["sd"]) == pytest.approx((2, mean, sd))
        low, high = t.interval(0.95, 1, mean, sd / 2**0.5) if sd else (mean, mean)
        assert (row["low"], row["high"]) == pytest.approx((low, high))
    rates = json.loads(penstroke("runs", "table", "s", "--by", RATE, "--json").out)
    assert [row["count"] for row in rates["rows"]] == [4, 4]
    assert rates["mixed"] == [WIDTHS]
    shown = penstroke("runs", "table", "s", "--by", RATE).out
    assert f"the runs of a row differ in {WIDTHS} too" in shown
    assert "Student's t with n - 1 degrees of freedom" in shown


def test_runs_are_a_table_by_the_settings_that_differ(
    trained: list[Run], penstroke: Cli, tmp_path: Path
) -> None:
    names = [run.name for run in trained]
    table = json.loads(penstroke("runs", "table", *names, "--json").out)
    assert (table["by"], table["metric"]) == (["train.epochs", RATE], "test_accuracy")
    assert [row["count"] for row in table["rows"]] == [2, 2]
    assert table["rows"][1]["mean"] > table["rows"][0]["mean"] + 0.3
    losses = penstroke("runs", "table", *names, "--metric", "test_loss", "--to", "csv").out
    rows = list(csv.DictReader(losses.splitlines()))
    expected = statistics.fmean(run.figures()["test_loss"] for run in trained[2:])
    assert float(rows[1]["mean"]) == pytest.approx(expected)
    assert (rows[1]["metric"], rows[1]["train.epochs"], rows[1]["n"]) == ("test_loss", "6", "2")
    one = json.loads(penstroke("runs", "table", names[0], "--json").out)
    assert (one["by"], one["rows"][0]["sd"], one["rows"][0]["low"]) == ([], None, None)
    for suffix, beginning in (
        (".tex", "% in"),
        (".md", "| `train"),
        (".svg", "<?xml"),
        (".csv", "t"),
    ):
        path = tmp_path / f"table{suffix}"
        assert penstroke("runs", "table", *names, "-o", path).out == f"{path}\n"
        assert path.read_text().startswith(beginning)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["learned-0", "--by", "train.epoch"], 2, 'did you mean "train.epochs"'),
        (["learned-0", "--metric", "test_acuracy"], 1, 'did you mean "test_accuracy"'),
        (["learned-0", "-o", "table.xls"], 2, "give --to, or a name that ends in .csv .md"),
        (["learned-0", "twin"], 1, "have the same settings and the same seed"),
        (["other"], 1, "there is no run"),
    ],
)
def test_what_a_table_cannot_hold_is_said(
    trained: list[Run], penstroke: Cli, runs: Path, arguments: list[str], code: int, message: str
) -> None:
    (runs / "twin").symlink_to(trained[2].path)
    done = penstroke("runs", "table", *arguments)
    assert (done.exit_code, message in " ".join(done.err.split())) == (code, True), done.err


def awkward_table() -> ResultTable:
    """Names and values with every sign that LaTeX or Markdown reads in its own way."""
    scores = [[0.5, 0.75], [0.625]]
    settings = [("a_b & 100 % #1 $x^2 ~ {c}|d\\e", [8, 16]), (None, [16, 32])]
    rows = [
        TableRow(values, tuple(RunScore(f"r{k}", k, None, one) for k, one in enumerate(group)))
        for values, group in zip(settings, scores, strict=True)
    ]
    return ResultTable("test_accuracy", ("data.dataset", WIDTHS), tuple(rows), ())


def test_latex_is_escaped_and_of_booktabs() -> None:
    lines = render(awkward_table(), "latex").splitlines()
    assert r"% in the preamble: \usepackage{booktabs}" in lines
    body = [line for line in lines if not line.startswith("%")]
    assert body == [
        r"\begin{tabular}{llrrrr}", r"\toprule",
        r"data.dataset & model.convolutions.*.filters & n & test accuracy (\%) & sd"
        r" & 95 \% interval \\",
        r"\midrule",
        r"a\_b \& 100 \% \#1 \$x\textasciicircum{}2 \textasciitilde{} \{c\}|d\textbackslash{}e"
        r" & [8, 16] & 2 & 62.50 & 17.68 & -96.33 to 221.33 \\",
        r"-- & [16, 32] & 1 & 62.50 & -- & -- \\",
        r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip


def test_markdown_has_as_many_cells_in_each_row() -> None:
    lines = [line for line in render(awkward_table(), "markdown").splitlines() if line[:1] == "|"]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines] == [7, 7, 7, 7]
    assert lines[3] == "| – | [16, 32] | 1 | 62.50 | – | – |"


def test_the_plot_shows_means_intervals_and_series(study: Study, penstroke: Cli) -> None:
    for by, ticks in (((), ["filters = [4]", "filters = [8]"]), (("--by", WIDTHS), ["[4]", "[8]"])):
        svg = penstroke("runs", "table", "s", *by, "--to", "svg").out
        texts = [
            e.text for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
        ]
        assert {"validation accuracy (%)", *ticks} <= set(texts)
        assert by or {"0.0001", "0.004"} <= set(texts)
    alone = TableRow((), awkward_table().rows[0].scores)
    assert "all runs" in render(ResultTable("test_loss", (), (alone,), ()), "svg")


def test_a_study_keeps_and_shows_the_score_of_every_seed(
    study: Study, penstroke: Cli, tmp_path: Path
) -> None:
    kept = json.loads(penstroke("runs", "show", "s", "--json").out)["trial_runs"]
    phases = [(run["phase"], run["trial"], run["seed"]) for run in kept]
    best = study.best()
    assert best is not None
    searched = [("search", trial, seed) for trial in range(4) for seed in (0, 1)]
    assert phases == [*searched, *(("confirmation", best.number, seed) for seed in (2, 3))]
    shown = penstroke("runs", "show", "s").out
    page = write_search_report(study, result_so_far(study)).read_text()
    for run in kept:
        assert f"{run['val_accuracy']:.4f}" in shown
        assert f"{100 * run['val_accuracy']:.2f} %" in page
    assert "new seed" in page
    assert "by seed" in page
    path = tmp_path / "s.csv"
    assert penstroke("export", "s", "--to", "csv", "-o", path).exit_code == 0
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [(r["phase"], int(r["trial"]), int(r["seed"])) for r in rows] == phases
    assert [float(r["val_accuracy"]) for r in rows] == [run["val_accuracy"] for run in kept]
    assert [(float(r[RATE]), r[WIDTHS]) for r in rows[:3]] == [
        (1e-4, "[4]"), (1e-4, "[4]"), (1e-4, "[8]"),
    ]  # fmt: skip
    refused = penstroke("export", "s", "--to", "onnx")
    assert (refused.exit_code, "its best run is s-best" in refused.err) == (1, True)


def test_compare_says_what_trials_and_folds_lack(study: Study, penstroke: Cli, runs: Path) -> None:
    trials = [runs / "s" / "trials" / name for name in ("0000-0", "0001-0")]
    done = penstroke("compare", *trials)
    assert done.exit_code == 1
    assert "is a trial of the study s: it was not evaluated" in done.err
    assert "`penstroke runs table s` shows trials by validation" in done.err
    assert "is a study, not a run" in penstroke("compare", "s", trials[0]).err
    again = f"penstroke train {trials[0]}"
    assert f"`{again}`" in done.err
    trained = penstroke(*again.split()[1:], "--no-report", "--json")
    assert json.loads(trained.out)["test_accuracy"] is not None
