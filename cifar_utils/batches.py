"""The batch source: what `model.fit` trains on. One interface, two implementations.

Both give, for epoch e and step s, the same augmented batch; only who computes it differs:
`make_tf_source` runs inside tf.data, `ArraySource` needs only NumPy and `keras.ops`.
"""

import numpy as np

from cifar_utils.backend import keras
from cifar_utils.preprocessing import EpochPlan, one_hot


class ArraySource(keras.utils.PyDataset):
    """Augmented batches of one training set, for any Keras backend.

    Args:
        images: uint8 (n, 32, 32, 3); kept as they are, so 50,000 images take 154 MB.
        labels: Integers (n,).
        batch_size: Images per step; the last one takes what is left.
        preprocessing: A `preprocessing.Preprocessing`.

    Attributes:
        epoch: Which epoch `source[step]` gives, from 0. `FollowEpoch` keeps it at `fit`'s.
    """

    def __init__(self, images, labels, batch_size, preprocessing):
        super().__init__()
        self.images = images
        self.targets = one_hot(labels)
        self.batch_size = batch_size
        self.preprocessing = preprocessing
        self._epoch = self._plan = None
        self.epoch = 0

    @property
    def epoch(self):
        """Return the current epoch, from 0."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch):
        if epoch != self._epoch:
            self._plan = EpochPlan(len(self.images), self.batch_size, self.preprocessing, epoch)
            self._epoch = epoch

    def __len__(self):
        """Return the number of steps in an epoch."""
        return len(self._plan)

    def __getitem__(self, step):
        """Return `(images, targets)`: float32 (b, 32, 32, 3) in [0, 1] and one-hot (b, 10)."""
        indices, transforms = self._plan.step(step)
        return augment_images(self.images[indices], transforms), self.targets[indices]

    def steps(self):
        """Yield `(indices, transforms)` of the current epoch, step by step."""
        plan = self._plan
        for step in range(len(plan)):
            yield plan.step(step)


def augment_images(images, transforms):
    """Scale images to [0, 1] and apply one projective transform to each.

    Args:
        images: uint8 (n, 32, 32, 3).
        transforms: float32 (n, 8); see `preprocessing.Augmentation.draw`.

    Returns:
        float32 NumPy array (n, 32, 32, 3). Pixels from outside repeat the edge, as the documented
        generator's default does; interpolation is bilinear.
    """
    scaled = keras.ops.cast(images, "float32") / 255.0
    moved = keras.ops.image.affine_transform(
        scaled, transforms, fill_mode="nearest", data_format="channels_last"
    )
    return keras.ops.convert_to_numpy(moved)


def make_tf_source(source):
    """Turn an `ArraySource` into a tf.data.Dataset that computes the same batches in C++.

    Args:
        source: An `ArraySource`; its `epoch` decides what the next pass over the dataset gives.

    Returns:
        A finite `tf.data.Dataset` of `(images, targets)`. Finite and without `steps_per_epoch`:
        under Keras 3 a generator with `steps_per_epoch` runs dry after its first epoch.
    """
    import tensorflow as tf

    with tf.device("CPU:0"):
        images, targets = tf.constant(source.images), tf.constant(source.targets)

    def load(indices, transforms):
        scaled = tf.cast(tf.gather(images, indices), tf.float32) / 255.0
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=scaled,
            transforms=transforms,
            output_shape=tf.constant(source.images.shape[1:3]),
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="NEAREST",
        )
        moved = tf.ensure_shape(moved, (None, *source.images.shape[1:]))
        return moved, tf.gather(targets, indices)

    plan = tf.data.Dataset.from_generator(
        source.steps,
        output_signature=(
            tf.TensorSpec((None,), tf.int64),
            tf.TensorSpec((None, 8), tf.float32),
        ),
    ).apply(tf.data.experimental.assert_cardinality(len(source)))
    # One thread: it is ten times faster than the training anyway, and TensorFlow's determinism
    # would turn a parallel map into this one, with a page of warnings.
    return without_autotune(plan.map(load).prefetch(8))


def without_autotune(dataset):
    """Return a tf.data.Dataset that ends when its data ends.

    TensorFlow 2.21's autotuner sleeps 10 ms, then 20, 40, … and does not wake up when an epoch is
    over: every pass lasts until its next look, 10.24 s where the work is done after 5.2. Nothing
    here asks for tuning, so it is switched off.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def make_source(images, labels, batch_size, preprocessing):
    """Return `(source, batches)`: the `ArraySource`, and what `fit` should train on."""
    source = ArraySource(images, labels, batch_size, preprocessing)
    tensorflow = keras.backend.backend() == "tensorflow"
    return source, make_tf_source(source) if tensorflow else source


class FollowEpoch(keras.callbacks.Callback):
    """Keeps a source at the epoch that `fit` is in, also after a resume."""

    def __init__(self, source):
        super().__init__()
        self.source = source

    def on_epoch_begin(self, epoch, logs=None):
        """Draw the epoch's plan before its first batch is asked for."""
        self.source.epoch = epoch


def measure_throughput(batches, seconds=2.0):
    """Measure how fast a source gives images, nothing else running.

    Args:
        batches: What `make_source` returned for `fit`.
        seconds: For how long, at least.

    Returns:
        Images per second, after a first pass over three batches that is not counted.
    """
    import itertools
    import time

    for _ in itertools.islice(iter(batches), 3):
        pass
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for images, _ in batches:
            count += int(np.shape(images)[0])
            if time.perf_counter() - start >= seconds:
                break
    return count / (time.perf_counter() - start)
