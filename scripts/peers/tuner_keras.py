"""Keras Tuner's Hyperband over R2's space, as its documentation shows it."""

from __future__ import annotations

import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import keras_tuner
from common import mnist, tell
from keras import layers


def build(hp: keras_tuner.HyperParameters) -> keras.Model:
    model = keras.Sequential([
        keras.Input(shape=(28, 28, 1)),
        layers.Conv2D(hp.Int("conv1", 64, 256, 32), 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(hp.Int("conv2", 64, 256, 32), 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(hp.Int("dense", 128, 256, 32), activation="relu"),
        layers.Dropout(hp.Float("dropout", 0.2, 0.8, 0.1)),
        layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
    model.compile(
        optimizer=keras.optimizers.Adam(rate), metrics=["accuracy"],
        loss="sparse_categorical_crossentropy",
    )  # fmt: skip
    return model


def main(max_epochs: int, eta: int, train_count: int, validation: int) -> None:
    (images, labels), _ = mnist()
    images = images[..., None].astype("float32") / 255
    end = train_count + validation
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.Hyperband(
            build, objective="val_accuracy", max_epochs=max_epochs, factor=eta, seed=0,
            directory=folder, project_name="r2",
        )  # fmt: skip
        tuner.search(
            images[:train_count], labels[:train_count], batch_size=208, verbose=0,
            validation_data=(images[train_count:end], labels[train_count:end]),
        )  # fmt: skip
        trials = list(tuner.oracle.trials.values())
        best = max(trial.score for trial in trials if trial.score is not None)
    tell(trials=len(trials), val_accuracy=best)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
