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
BATCH_SIZE = 32


def summarise(epochs):
    """Return the medians over the epochs that used every image, and their number `n`."""
    most = max(epoch["images"] for epoch in epochs)
    full = [epoch for epoch in epochs if epoch["images"] == most]
    seconds = statistics.median(epoch["train_seconds"] for epoch in full)
    whole = statistics.median(epoch["epoch_seconds"] for epoch in full)
    return {
        "images_per_second": round(most / seconds),
        "epoch_seconds": round(whole, 2),
        "epoch_images": most,
        "documented_seconds": round(100 * whole),
        "n": len(full),
    }


def describe_machine():
    """Return the processor's name, its cores and its features, as text."""
    processor = detect_processor()
    return f"{processor.name}, {processor.cores} cores, {', '.join(processor.features)}"


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


class EpochTimer(keras.callbacks.Callback):
    """Measures each epoch with and without its validation pass, counts its images, prints."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def on_epoch_begin(self, epoch, logs=None):
        """Start an epoch."""
        # Not a hook per batch: that would switch off Keras's asynchronous callbacks.
        self.steps_before = int(self.model.optimizer.iterations)
        self.begun = time.perf_counter()

    def on_test_begin(self, logs=None):
        """Note how long the training part took."""
        seconds = round(time.perf_counter() - self.begun, 2)
        steps = int(self.model.optimizer.iterations) - self.steps_before
        self.rows.append({"images": steps * BATCH_SIZE, "train_seconds": seconds})

    def on_epoch_end(self, epoch, logs=None):
        """Note how long the epoch took with its validation pass."""
        self.rows[-1]["epoch_seconds"] = round(time.perf_counter() - self.begun, 2)
        print(json.dumps(self.rows[-1]), flush=True)


def train():
    """Train as the original script does, for a few epochs; returns one dict per epoch."""
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    data = load_dataset("cifar10")
    x_train, x_test = (x.astype("float32") / 255 for x in (data.train_images, data.test_images))
    y_train, y_test = map(keras.utils.to_categorical, (data.train_labels, data.test_labels))
    generator = ImageDataGenerator(
        rotation_range=15, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True
    )
    generator.fit(x_train)

    def lr_schedule(epoch):
        return 0.001 * 0.1 ** sum(epoch > last for last in (30, 60, 90))

    timer = EpochTimer()
    build_original_network().fit(
        generator.flow(x_train, y_train, batch_size=BATCH_SIZE),
        steps_per_epoch=len(x_train) // BATCH_SIZE,
        epochs=EPOCHS,
        validation_data=(x_test, y_test),
        callbacks=[keras.callbacks.LearningRateScheduler(lr_schedule), timer],
        verbose=0,
    )
    return timer.rows


def main():
    """Measure and append; with the argument "print", print alone."""
    load, epochs = round(os.getloadavg()[0], 2), train()
    if sys.argv[1:] == ["print"]:
        return
    row = summarise(epochs)
    kept = {name: row[name] for name in ("epoch_seconds", "n", "documented_seconds")}
    measured = {"time": round(time.time()), "machine": describe_machine(), "load_before": load}
    before = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    write_json(FILE, [*before, measured | kept])
    print(f"{row['epoch_seconds']} s an epoch (n = {row['n']}), load {load} before")


if __name__ == "__main__":
    main()
