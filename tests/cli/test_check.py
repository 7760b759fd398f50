"""`penstroke check` at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from helpers import Outcome

Cli = Callable[..., Outcome]

SMALL = ("--set", "train.batch_size=32", "--set", "train.threads=1")


def test_a_recipe_is_checked(penstroke: Cli, runs: Path) -> None:
    done = penstroke("check", "baseline-mlp", "--dataset", "digits", *SMALL)
    assert done.exit_code == 0, done.err
    assert done.out.count(" pass  ") == 11
    assert "next: penstroke train baseline-mlp" in done.out
    page = (runs / "checks" / "baseline-mlp" / "index.html").read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_what_is_wrong_fails_the_command(penstroke: Cli) -> None:
    done = penstroke("check", "baseline-mlp", "--dataset", "digits", *SMALL,
                     "--set", "train.learning_rate=3", "--json")  # fmt: skip
    assert done.exit_code == 1
    found = {one["name"]: one for one in json.loads(done.out)["findings"]}
    assert found["learning rate"]["outcome"] == "fail"
    assert "it is too high" in found["learning rate"]["advice"]


def test_a_learning_rate_is_suggested(penstroke: Cli, runs: Path) -> None:
    options = ("check", "baseline-mlp", "--dataset", "digits", *SMALL, "--lr")
    both = json.loads(penstroke(*options, "--json").out)
    told = both["range_test"]
    assert [(one["name"], one["outcome"]) for one in both["findings"]] == [
        ("learning rate", "pass")  # as `check` says of the same rate
    ]
    assert "safe" not in told["reason"]
    assert 1e-4 < told["suggestion"] < 0.1
    assert len(told["rates"]) == len(told["losses"])
    said = penstroke(*options).out
    assert f"suggested train.learning_rate: {told['suggestion']:g}" in said
    assert (runs / "checks" / "baseline-mlp-lr" / "index.html").exists()


def test_an_unknown_recipe(penstroke: Cli) -> None:
    done = penstroke("check", "balancd")
    assert (done.exit_code, 'did you mean "balanced"' in done.err) == (2, True)
