"""`compare`, on runs that were trained, and at the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers import Outcome, small_config, trained_run
from penstroke.config.settings import MLPConfig, RunConfig
from penstroke.errors import RunError
from penstroke.evaluation.predictions import Predictions
from penstroke.evaluation.run_groups import claims_against_first
from penstroke.runs.grouping import compare_runs
from penstroke.runs.pipeline import start_or_resume
from penstroke.runs.run import Run, find_run

Cli = Callable[..., Outcome]


def trained(config: RunConfig, name: str) -> Run:
    return trained_run(config, stem=name, name=name)


def seeds(stem: str, config: RunConfig, count: int) -> list[Run]:
    return [trained(one, f"{stem}-{one.train.seed}") for one in config.seeds(count)]


@pytest.fixture
def networks(runs: Path) -> list[Run]:
    """A network that learned something, and one that had no time to: two seeds each."""
    learned, hurried = small_config(epochs=6), small_config(epochs=1, learning_rate=1e-4)
    return [*seeds("hurried", hurried, 2), *seeds("learned", learned, 2)]


def test_a_real_gain_is_facts_in_a_sentence(networks: list[Run], penstroke: Cli) -> None:
    names = [run.name for run in networks]
    facts = json.loads(penstroke("compare", *names, "--json").out)
    assert [(group["name"], len(group["runs"])) for group in facts["groups"]] == [
        ("hurried", 2), ("learned", 2),
    ]  # fmt: skip
    (claim,) = facts["claims"]
    assert claim["difference"]["accuracy"] > 0.3
    assert claim["difference"]["p_images"] < 0.001
    assert claim["is_significant"] == (claim["p"] < 0.05)
    assert facts["images"] == 360
    page = Path(facts["report"]).read_text()
    assert "<script" not in page
    assert claim["text"] in page.replace("&lt;", "<")
    shown = penstroke("compare", *names, "--no-report").out
    assert claim["text"] in shown
    assert "95 % interval" in shown


def test_a_group_against_itself_shows_nothing(networks: list[Run]) -> None:
    first, second = networks[2:]
    twin = second.record.config.replace({"train.patience": 50})  # another group, the same numbers
    found = compare_runs([first, trained(twin, "twin-1")])
    (claim,) = found.claims
    assert not claim.is_significant
    assert claim.text.startswith(
        "No evidence of a difference between twin and learned, with one run"
    )
    assert "Only `train --seeds` shows" in claim.text


def test_claims_follow_the_predictions(networks: list[Run]) -> None:
    """Exactly so many images read by one alone, in the files that the runs left."""
    one, other = networks[0], networks[2]
    labels = np.arange(360) % 10
    right = np.eye(10, dtype=np.float32)[labels]
    wrong = np.eye(10, dtype=np.float32)[(labels + 1) % 10]
    for run, misread in ((one, range(20)), (other, range(15, 18))):
        logits = right.copy()
        logits[list(misread)] = wrong[list(misread)]
        predictions = Predictions(labels, logits, tuple("0123456789"))
        predictions.save(run.path / "predictions" / "test.safetensors")
    (claim,) = compare_runs([one, other]).claims
    assert (claim.difference.only_this, claim.difference.only_baseline) == (17, 0)
    assert claim.difference.p_images == pytest.approx(2 * 0.5**17)
    assert claim.difference.accuracy == pytest.approx(17 / 360)
    assert claim.is_significant


def test_names_tell_groups_apart(runs: Path) -> None:
    small = small_config(epochs=1)
    mlp = small.model_copy(update={"model": MLPConfig()})
    found = compare_runs([trained(small, "a-1"), trained(small.replace({"train.epochs": 2}), "a-2"),
                          trained(mlp, "b-1")])  # fmt: skip
    assert [group.name for group in found.groups] == [
        "a (train.epochs=1)",
        "a (train.epochs=2)",
        "b",
    ]
    assert len(found.claims) == 2
    assert all(claim.p >= claim.difference.p for claim in found.claims)


def test_seeds_that_both_have_are_compared_with_each_other() -> None:
    """Each seed has its own luck, which cancels out only beside the same seed's."""
    luck = {seed: np.arange(100) < 10 * seed for seed in range(1, 6)}
    (claim,) = claims_against_first([("a", luck), ("b", {seed: luck[seed] for seed in (4, 5, 3)})])
    assert claim.seeds == 3
    assert claim.difference.only_this == claim.difference.only_baseline == 0
    (alone,) = claims_against_first([("a", {1: luck[1]}), ("b", {2: luck[2]})])
    assert (alone.seeds, alone.difference.only_this) == (1, 10)


def test_a_run_and_its_twin_are_no_two_seeds(networks: list[Run], penstroke: Cli) -> None:
    first, _, third, _ = networks
    twin = trained(third.record.config, "twin")
    refused = penstroke("compare", first.name, third.name, twin.name)
    assert refused.exit_code == 1
    assert "have the same settings and the same seed" in refused.err


def test_what_is_not_trained_to_its_end_is_not_compared(
    networks: list[Run], penstroke: Cli
) -> None:
    begun = start_or_resume(small_config(epochs=7), stem="begun").run
    refused = penstroke("compare", networks[0].name, begun.name)
    assert (refused.exit_code, "train` command finishes it" in refused.err) == (1, True)
    networks[2].model_path.unlink()
    refused = penstroke("compare", networks[0].name, networks[2].name)
    assert (refused.exit_code, "has no model yet" in refused.err) == (1, True)


def test_what_cannot_be_compared(networks: list[Run], penstroke: Cli) -> None:
    first, second, third, _ = networks
    with pytest.raises(RunError, match="nothing to compare"):
        compare_runs([first, second])
    assert penstroke("compare", first.name, first.name).exit_code == 2
    done = penstroke("compare", first.name, "learnt-0")
    assert (done.exit_code, 'did you mean "learned-0"' in done.err) == (1, True)
    (third.path / "predictions" / "test.safetensors").unlink()
    done = penstroke("compare", first.name, third.name)
    assert (done.exit_code, "`penstroke evaluate` writes it" in done.err) == (1, True)
    text = (third.path / "run.toml").read_text()
    fingerprint = third.record.data.fingerprint
    (third.path / "run.toml").write_text(text.replace(fingerprint, "0" * 64))
    done = penstroke("compare", first.name, third.name)
    assert (done.exit_code, "on the same test images only" in done.err) == (1, True)


def test_nothing_is_unsealed_by_comparing(networks: list[Run]) -> None:
    before = [(run.path / "test_openings.jsonl").read_text() for run in networks]
    compare_runs(networks)
    assert before == [(run.path / "test_openings.jsonl").read_text() for run in networks]


def test_the_exported_model_has_the_temperature(networks: list[Run]) -> None:
    from penstroke import Recognizer

    run = find_run("learned-0")
    temperature = run.summary().temperature
    assert temperature != 1.0
    assert Recognizer.load(run.model_path).temperature == temperature
    validation = Predictions.load(run.path / "predictions" / "validation.safetensors")
    assert validation.at(temperature).losses.mean() < validation.losses.mean()
