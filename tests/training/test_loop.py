from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from helpers import small_config
from penstroke.data.dataset import DataSplits
from penstroke.data.loading import load_dataset
from penstroke.errors import TrainingError
from penstroke.models.build import PretrainedWeights, build_network, load_weights
from penstroke.training.batches import Batches
from penstroke.training.checkpoint import Array, Checkpoint
from penstroke.training.loop import Epoch, fit
from penstroke.training.step import score


@pytest.fixture(scope="module")
def data() -> DataSplits:
    return load_dataset(small_config().data)


EVERYTHING_RANDOM = {
    "schedule": "one_cycle",
    "label_smoothing": 0.1,
    "augment": {
        "rotation_degrees": 10.0,
        "scale": 0.1,
        "translate_pixels": 2.0,
    },
}
OPTIMIZERS = [
    {"optimizer": "adam"},
    {"optimizer": "adamw", "weight_decay": 0.01},
    {"optimizer": "sgd", "momentum": 0.9},
    {"optimizer": "sgd"},
    {"optimizer": "adam", "precision": "bfloat16"},
    {"optimizer": "adam", "ema_decay": 0.95},
    {"optimizer": "adam", "balance": 0.5},
]


def bits(epoch: Epoch) -> bytes:
    """All that is trained, without the clock."""
    facts = {k: v for k, v in epoch.state.facts.items() if k != "elapsed_seconds"}
    return Checkpoint(epoch.state.arrays, facts).to_bytes()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: "-".join(map(str, o.values())))
def test_resumed_from_any_epoch_to_the_same_bits(
    data: DataSplits, optimizer: dict[str, object]
) -> None:
    config = small_config(**EVERYTHING_RANDOM, **optimizer)
    through = list(fit(config, data))
    for start in (0, 1):
        state = Checkpoint.from_bytes(through[start].state.to_bytes())
        resumed = list(fit(config, data, state))
        assert [bits(e) for e in resumed] == [bits(e) for e in through[start + 1 :]]


@pytest.mark.parametrize("threads", [1, 2])
def test_same_seed_same_threads_same_bits(data: DataSplits, threads: int) -> None:
    config = small_config(threads=threads, epochs=2)
    first, second = (list(fit(config, data))[-1] for _ in range(2))
    assert bits(first) == bits(second)
    assert bits(list(fit(small_config(threads=threads, epochs=2, seed=1), data))[-1]) != bits(first)


def test_the_consumers_own_randomness_does_not_matter(data: DataSplits) -> None:
    def disturbed() -> Iterator[Epoch]:
        for epoch in fit(small_config(**EVERYTHING_RANDOM), data):
            torch.rand(7)
            yield epoch

    plain = list(fit(small_config(**EVERYTHING_RANDOM), data))
    assert [bits(e) for e in disturbed()] == [bits(e) for e in plain]


def test_fit_leaves_the_global_random_state_alone(data: DataSplits) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    next(fit(small_config(**EVERYTHING_RANDOM), data))
    assert torch.equal(torch.get_rng_state(), before)


def test_it_learns_and_the_figures_are_what_they_say(data: DataSplits) -> None:
    epochs = list(fit(small_config(epochs=10), data))
    losses = [epoch.metrics["train_loss"] for epoch in epochs]
    assert losses[-1] < 0.5 * losses[0]
    last = epochs[-1]
    assert last.metrics["val_accuracy"] > 0.85
    best = min(epochs, key=lambda e: e.metrics["val_loss"])
    assert last.metrics["best_epoch"] == best.metrics["epoch"]
    assert last.metrics["elapsed_seconds"] >= epochs[0].metrics["elapsed_seconds"] > 0
    # The weights handed out are the ones that were scored.
    mean, std = data.train.mean_and_std
    network = build_network(small_config().model, num_classes=10, mean=mean, std=std)
    load_weights(network, last.state.weights)
    loss, accuracy = score(network, Batches(data.validation, "cpu"))
    assert loss == pytest.approx(last.metrics["val_loss"], rel=1e-5)
    assert accuracy == last.metrics["val_accuracy"]


def test_states_do_not_change_while_training_goes_on(data: DataSplits) -> None:
    stream = fit(small_config(), data)
    first = next(stream)
    before = bits(first)
    next(stream)
    assert bits(first) == before


def test_early_stopping_waits_as_long_as_asked(data: DataSplits) -> None:
    # At this rate nothing is learned after the first steps: the best epoch comes early.
    config = small_config(epochs=40, patience=2, learning_rate=0.2, optimizer="adam")
    epochs = list(fit(config, data))
    best = epochs[-1].metrics["best_epoch"]
    assert len(epochs) < 40
    assert epochs[-1].metrics["epoch"] == best + 2
    state = epochs[-1].state
    assert list(fit(config, data, state)) == []


def test_select_by_accuracy_and_last(data: DataSplits) -> None:
    by_accuracy = [
        e.metrics for e in fit(small_config(epochs=5, checkpoint_metric="val_accuracy"), data)
    ]
    highest = max(m["val_accuracy"] for m in by_accuracy)
    best = by_accuracy[-1]["best_epoch"]
    assert by_accuracy[best - 1]["val_accuracy"] == highest
    last = [e.metrics["best_epoch"] for e in fit(small_config(checkpoint_metric="last"), data)]
    assert last == [1, 2, 3]


def test_loss_that_is_not_finite_stops_at_its_step(data: DataSplits) -> None:
    stream = fit(small_config(optimizer="sgd", learning_rate=1e30), data)
    with pytest.raises(TrainingError, match=r"the loss became nan at step \d+ of \d+ in epoch 1"):
        next(stream)


def test_without_validation(data: DataSplits) -> None:
    config = small_config(checkpoint_metric="last")
    config = config.model_copy(
        update={"data": config.data.model_copy(update={"validation_fraction": 0.0})}
    )
    metrics = next(fit(config, load_dataset(config.data))).metrics
    assert "val_loss" not in metrics
    assert metrics["best_epoch"] == 1


def test_train_loss_is_a_mean_over_images(data: DataSplits) -> None:
    """400 images in batches of 256 and 144: a mean of batch means would differ."""
    config = small_config(batch_size=256, learning_rate=1e-12, optimizer="sgd", epochs=1)
    model = config.model.model_copy(update={"dense": ()})
    config = config.model_copy(update={"model": model})
    metrics = next(fit(config, data)).metrics
    assert abs(metrics["train_loss"] - math.log(10)) < 1
    assert metrics["train_accuracy"] * 400 == pytest.approx(round(metrics["train_accuracy"] * 400))


def test_fit_never_opens_the_test_split(data: DataSplits, monkeypatch: pytest.MonkeyPatch) -> None:
    from penstroke.data.dataset import SealedTest, sealed

    opened: list[SealedTest] = []
    monkeypatch.setattr(SealedTest, "unseal", lambda split: opened.append(split))
    with sealed():
        next(fit(small_config(), data))
    assert opened == []


def test_training_starts_from_pretrained_weights(data: DataSplits) -> None:
    """At a rate of nothing the first epoch ends where the trained network was."""
    trained = list(fit(small_config(), data))[-1].state.weights
    still = small_config(epochs=1, learning_rate=1e-12, optimizer="sgd")
    pretrained = PretrainedWeights(trained, data.classes)
    begun = next(fit(still, data, pretrained=pretrained)).state.weights
    for name, array in begun.items():
        if "running" not in name and "num_batches" not in name:  # batch norm measures as it goes
            assert far_from(array, trained[name]) < 1e-9, name
    alone = next(fit(still, data)).state.weights
    assert far_from(alone["output.weight"], trained["output.weight"]) > 0.01


def far_from(one: Array, other: Array) -> float:
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).max())


def test_resumed_with_and_without_pretrained_weights_to_the_same_bits(data: DataSplits) -> None:
    pretrained = PretrainedWeights(
        next(fit(small_config(seed=9), data)).state.weights, data.classes
    )
    config = small_config(**EVERYTHING_RANDOM, ema_decay=0.9)
    through = list(fit(config, data, pretrained=pretrained))
    for again in (pretrained, None):
        resumed = list(fit(config, data, through[0].state, pretrained=again))
        assert [bits(e) for e in resumed] == [bits(e) for e in through[1:]]
    assert bits(through[0]) != bits(next(fit(config, data)))


def test_array_copies_are_contiguous(data: DataSplits) -> None:
    state = next(fit(small_config(), data)).state
    assert all(np.asarray(a).flags["C_CONTIGUOUS"] for a in state.arrays.values())
