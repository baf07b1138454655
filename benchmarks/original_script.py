"""The original training script with its own generator and its faults: how long does it take here?

    python benchmarks/original_script.py        # about four minutes on two cores

Trains until two epochs have used every image, prints one line of JSON per epoch and appends the
time of 100 such epochs, each with its validation pass, to `benchmarks/original_script.json`
(`documented_seconds`). Much of an epoch is Python-bound augmentation, so the ratio to our recipes
differs between machines: run it on an idle machine, within the hour of the training that it is
compared with. `tools/references.py` takes the measurement nearest to a run.

The script is the original one but for one line, and keeps its known faults:

- The test set is its validation data.
- `steps_per_epoch=len(x_train) / 32` is 1562.5, which Keras 3 refuses (`TypeError`); it is rounded
  down here, the one change. The generator has 1563 batches, and the one that is left makes the next
  epoch run dry at once: every second epoch is nearly empty and is not used.
- The learning rate follows the code (`epoch > 30, 60, 90`), not the prose.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

import keras  # as in the script, not through cifar_utils.backend, which changes a setting

from cifar_utils.data import load_dataset
from cifar_utils.paths import write_json
from cifar_utils.runs.machine import detect_processor

FILE = Path(__file__).with_suffix(".json")
EPOCHS = 3  # of which two are full


def build_original_network():
    """Build and compile the network with Keras's own layers."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((32, 32, 3))])
    for filters in (32, 64, 128):
        model.add(layers.Conv2D(filters, (3, 3), activation="relu"))
        model.add(layers.BatchNormalization())
        model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Flatten())
    for units in (256, 128):
        model.add(layers.Dense(units, activation="relu"))
        model.add(layers.BatchNormalization())
        model.add(layers.Dropout(0.2))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def compute_original_rate(epoch):
    """Return the learning rate of an epoch, counted from 0, as in the code."""
    return 0.001 * 0.1 ** sum(epoch > last for last in (30, 60, 90))


class EpochTimer(keras.callbacks.Callback):
    """Measures each epoch with and without its validation pass, and counts its images."""

    def __init__(self, n_train, batch_size):
        super().__init__()
        self.n_train, self.batch_size = n_train, batch_size
        self.begun, self.rows = None, []

    def on_epoch_begin(self, epoch, logs=None):
        """Close the epoch before, and start this one."""
        self.on_train_end()
        # Not a hook per batch: that would switch off Keras's asynchronous callbacks.
        self.steps_before = int(self.model.optimizer.iterations)
        self.begun = time.perf_counter()

    def on_test_begin(self, logs=None):
        """Note how long the training part took."""
        seconds = round(time.perf_counter() - self.begun, 2)
        steps = int(self.model.optimizer.iterations) - self.steps_before
        images = min(steps * self.batch_size, self.n_train)
        self.rows.append({"images": images, "train_seconds": seconds})

    def on_train_end(self, logs=None):
        """Note how long the epoch took with its validation pass, and print it."""
        if self.begun is not None:
            self.rows[-1]["epoch_seconds"] = round(time.perf_counter() - self.begun, 2)
            print(json.dumps(self.rows[-1]), flush=True)
            self.begun = None


def train(epochs=EPOCHS, batch_size=32):
    """Train as the original script does, for a few epochs; returns one dict per epoch."""
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    data = load_dataset("cifar10")
    x_train, x_test = (
        part.astype("float32") / 255 for part in (data.train_images, data.test_images)
    )
    y_train = keras.utils.to_categorical(data.train_labels, data.num_classes)
    y_test = keras.utils.to_categorical(data.test_labels, data.num_classes)
    generator = ImageDataGenerator(
        rotation_range=15, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True
    )
    generator.fit(x_train)
    timer = EpochTimer(len(x_train), batch_size)
    build_original_network().fit(
        generator.flow(x_train, y_train, batch_size=batch_size),
        steps_per_epoch=len(x_train) // batch_size,
        epochs=epochs,
        validation_data=(x_test, y_test),
        callbacks=[keras.callbacks.LearningRateScheduler(compute_original_rate), timer],
        verbose=0,
    )
    return timer.rows


def summarise(epochs):
    """Return the medians over the epochs that used every image, and their number `n`."""
    most = max(epoch["images"] for epoch in epochs)
    full = [epoch for epoch in epochs if epoch["images"] == most]
    seconds = statistics.median(epoch["train_seconds"] for epoch in full)
    whole = statistics.median(epoch["epoch_seconds"] for epoch in full)
    return {
        "images": most,
        "images_per_second": round(most / seconds),
        "epoch_seconds": round(whole, 2),
        "documented_seconds": round(100 * whole),
        "n": len(full),
    }


def describe_machine():
    """Return the processor's name, its cores and its features, as text."""
    processor = detect_processor()
    return f"{processor.name}, {processor.cores} cores, {', '.join(processor.features)}"


def main():
    """Measure and append; with the argument "print", print alone."""
    load, row = round(os.getloadavg()[0], 2), summarise(train())
    if sys.argv[1:] == ["print"]:
        return
    kept = {name: row[name] for name in ("epoch_seconds", "n", "documented_seconds")}
    measured = {"time": round(time.time()), "machine": describe_machine(), "load_before": load}
    before = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    write_json(FILE, [*before, measured | kept])
    print(f"{row['epoch_seconds']} s an epoch (n = {row['n']}), load {load} before")


if __name__ == "__main__":
    main()
