"""The documented system's training script, with its own generator and its faults, timed.

    python benchmarks/documented_script.py [EPOCHS]        # 3 epochs unless told otherwise

Kept as a yardstick: what `baseline` is compared with (`benchmarks/against_documented.py`), and the
reason for some of its choices. Nothing else imports it. Its known faults, left in on purpose:

- The test set is its validation data.
- `steps_per_epoch=len(x_train) / 32` is 1562.5: Keras 3 refuses it (`TypeError`), so it is
  rounded down here, the one change. The generator has 1563 batches; the one that is left over
  makes the next epoch run dry at once. `images` below counts what each epoch really trained on.
- The learning rate follows the code (`epoch > 30, 60, 90`), not the prose.

Prints one line of JSON per epoch: `images`, `train_seconds` (without the validation pass) and
`epoch_seconds` (with it, up to the start of the next epoch).
"""

import json
import sys
import time

import keras  # as the script does, not through cifar_utils.backend, which changes a setting

from cifar_utils.data import load_dataset


def build_documented_model():
    """Build the network with Keras's own layers, as documented."""
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


def compute_documented_rate(epoch):
    """Return the learning rate of an epoch, counted from 0, as the code has it."""
    rate = 0.001
    for last in (30, 60, 90):
        if epoch > last:
            rate *= 0.1
    return rate


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


def main(epochs=3, batch_size=32):
    """Train as the documented script does, for a few epochs."""
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
    build_documented_model().fit(
        generator.flow(x_train, y_train, batch_size=batch_size),
        steps_per_epoch=len(x_train) // batch_size,
        epochs=epochs,
        validation_data=(x_test, y_test),
        callbacks=[
            keras.callbacks.LearningRateScheduler(compute_documented_rate),
            EpochTimer(len(x_train), batch_size),
        ],
        verbose=0,
    )


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
