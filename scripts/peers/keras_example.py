"""Keras' own example "Simple MNIST convnet": its architecture and settings, in Keras 3."""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from common import mnist, tell
from keras import layers


class UntilGoal(keras.callbacks.Callback):
    """Stops once the test accuracy is reached."""

    def __init__(self, test: tuple[np.ndarray, np.ndarray], goal: float) -> None:
        super().__init__()
        self.test, self.goal, self.found, self.epochs = test, goal, 0.0, 0
        self.testing_seconds = 0.0

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        start = time.perf_counter()
        self.found = float(self.model.evaluate(*self.test, batch_size=1000, verbose=0)[1])
        self.epochs = epoch + 1
        self.testing_seconds += time.perf_counter() - start
        self.model.stop_training = self.found >= self.goal


def main(epochs: int, limit: int, goal: float) -> None:
    keras.utils.set_random_seed(0)
    (images, labels), (test_images, test_labels) = mnist()
    x = np.expand_dims(images[:limit].astype("float32") / 255, -1)
    y = keras.utils.to_categorical(labels[:limit], 10)
    test = (
        np.expand_dims(test_images.astype("float32") / 255, -1),
        keras.utils.to_categorical(test_labels, 10),
    )
    model = keras.Sequential([
        keras.Input(shape=(28, 28, 1)),
        layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    until = UntilGoal(test, goal)
    start = time.perf_counter()
    model.fit(
        x, y, batch_size=128, epochs=epochs, validation_split=0.1, verbose=0, callbacks=[until]
    )
    seconds = time.perf_counter() - start - until.testing_seconds
    trained = round(0.9 * len(x)) * until.epochs
    tell(test_accuracy=until.found, epochs=until.epochs, images_a_second=trained / seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
