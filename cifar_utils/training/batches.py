"""The batches that `fit` trains on: augmented anew in every epoch, a function of seed and epoch.

Randomness is drawn ahead by `data.preprocessing.EpochPlan`, so a training that was stopped goes on
with the very batches that it would have had, and every backend is given the same ones.
"""

import functools

import numpy as np

from cifar_utils.backend import keras
from cifar_utils.data.augmentation import augment_images, choose_fill_mode, gather_pixels
from cifar_utils.data.preprocessing import EpochPlan, one_hot, scale_images

VAL_BATCH = 500  # images per step of validation


class AugmentedBatches(keras.utils.PyDataset):
    """Augmented batches of one training set, for any Keras backend.

    Args:
        images: uint8 (n, 32, 32, 3); kept as they are, so 50,000 images take 154 MB.
        labels: Integers (n,).
        batch_size: Images per step; the last one takes what is left.
        preprocessing: A `data.preprocessing.Preprocessing`.

    Attributes:
        epoch: Which epoch `batches[step]` gives, from 0. `FollowEpoch` keeps it at `fit`'s.
    """

    def __init__(self, images, labels, batch_size, preprocessing):
        super().__init__()
        self.images = images
        self.targets = one_hot(labels)
        self.batch_size = batch_size
        self.preprocessing = preprocessing
        self.epoch, self._planned = 0, (None, None)

    @property
    def plan(self):
        """Return the `EpochPlan` of the current epoch."""
        planned, plan = self._planned
        if planned != self.epoch:
            plan = EpochPlan(len(self.images), self.batch_size, self.preprocessing, self.epoch)
            self._planned = self.epoch, plan
        return plan

    def __len__(self):
        """Return the number of steps in an epoch."""
        return len(self.plan)

    def __getitem__(self, step):
        """Return `(images, targets)`: float32 (b, size, size, 3) in [0, 1], one-hot (b, 10)."""
        images, targets, transforms = self._read(step)
        images = augment_images(images, transforms, self.preprocessing.augmentation)
        return resize_images(images, self.plan.size), targets

    def stream(self):
        """Return what `fit` should train on: the same batches, by the fastest way that there is.

        With TensorFlow that is a `tf.data.Dataset`, elsewhere these batches themselves. In `fit`,
        NumPy alone takes half as much time again (its BLAS threads get in the way of TensorFlow's),
        and a `PyDataset` fails where the size of the images changes.
        """
        return _stream_by_tensorflow(self) if keras.backend.backend() == "tensorflow" else self

    def _read(self, step):
        """Return `(images, targets, transforms)`; uint8 images, cut but not moved."""
        indices, transforms, corners = self.plan.step(step)
        images = self.preprocessing.augmentation.cut(self.images[indices], corners)
        return images, self.targets[indices], transforms


@functools.cache
def compute_resizing(side, size, channels):
    """Return the two matrices that scale an image from side to size, antialiased bilinear.

    Resizing is linear in the pixels and treats rows and columns alike, so it is `rows @ image` and,
    on rows of interleaved channels, `image @ columns`: float32 (size, side) and (side * channels,
    size * channels). That is three times as fast as the general kernel.
    """
    impulses = np.eye(side, dtype=np.float32)[..., None]
    rows = keras.ops.image.resize(
        impulses, (size, side), antialias=True, data_format="channels_last"
    )
    rows = keras.ops.convert_to_numpy(rows)[..., 0]
    return rows, np.kron(rows.T, np.eye(channels, dtype=np.float32))


def resize_images(images, size):
    """Scale float images (n, s, s, c) to size x size, antialiased; as they are if they fit."""
    n, side, _, channels = images.shape
    if side == size:
        return images
    rows, columns = compute_resizing(side, size, channels)
    narrow = images.reshape(n * side, side * channels) @ columns
    return (rows @ narrow.reshape(n, side, -1)).reshape(n, size, size, channels)


def _stream_by_tensorflow(source):
    """Return `AugmentedBatches` as a tf.data.Dataset; its `epoch` decides what a pass gives.

    Finite and without `steps_per_epoch`: under Keras 3 a generator with `steps_per_epoch` runs dry
    after its first epoch.
    """
    import tensorflow as tf

    shape = source.images.shape[1:]
    moves = source.preprocessing.augmentation.only_moves_pixels
    fill_mode = choose_fill_mode(source.preprocessing.augmentation)
    side, _, channels = shape
    others = sorted({size for size in source.preprocessing.sizes if size != side})
    resizing = {size: compute_resizing(side, size, channels) for size in others}

    def resize(images, size):
        rows, columns = resizing[size]
        narrow = tf.reshape(images, (-1, side * channels)) @ columns
        small = rows @ tf.reshape(narrow, (-1, side, size * channels))
        return tf.reshape(small, (-1, size, size, channels))

    def load(images, targets, transforms, size):
        images = tf.cast(images, tf.float32) / 255.0
        if not moves:
            images = tf.raw_ops.ImageProjectiveTransformV3(
                images=images,
                transforms=transforms,
                output_shape=tf.constant(shape[:2]),
                fill_value=0.0,
                interpolation="BILINEAR",
                fill_mode=fill_mode.upper(),
            )
        if not others:
            return tf.ensure_shape(images, (None, *shape)), targets
        ways = [(tf.equal(size, k), functools.partial(resize, images, k)) for k in others]
        images = tf.case(ways, default=lambda: images, exclusive=True)
        return tf.ensure_shape(images, (None, None, None, channels)), targets

    def read():
        for step in range(len(source)):
            images, targets, transforms = source._read(step)
            images = gather_pixels(images, transforms) if moves else images
            yield images, targets, transforms, source.plan.size

    plan = tf.data.Dataset.from_generator(
        read,
        output_signature=(
            tf.TensorSpec((None, *shape), tf.uint8),
            tf.TensorSpec((None, source.targets.shape[1]), tf.float32),
            tf.TensorSpec((None, 8), tf.float32),
            tf.TensorSpec((), tf.int32),
        ),
    ).apply(tf.data.experimental.assert_cardinality(len(source)))
    # One thread: it is ten times faster than the training anyway, and TensorFlow's determinism
    # would turn a parallel map into this one, with a page of warnings.
    return without_autotune(plan.map(load).prefetch(8))


def without_autotune(dataset):
    """Return a tf.data.Dataset that ends when its data ends.

    TensorFlow 2.21's autotuner sleeps 10 ms, then 20, 40, … and does not wake up when an epoch is
    over: a pass of 5.2 s lasts 10.24 s. Nothing here needs tuning, so it is switched off.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def make_val_data(images, labels):
    """Return validation images as what `fit` takes, or None if none are held out.

    Args:
        images: uint8 (n, 32, 32, 3).
        labels: Integer (n,).

    Returns:
        With TensorFlow batches of `VAL_BATCH`, else arrays, of which `fit` needs to be told that.
    """
    if not len(images):
        return None
    images, targets = scale_images(images), one_hot(labels)
    if keras.backend.backend() != "tensorflow":
        return images, targets
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((images, targets)).batch(VAL_BATCH)
    return without_autotune(batches)


def predict_probs(model, images, batch_size=500):
    """Compute class probabilities, float32 (n, num_classes), of uint8 images (n, 32, 32, 3)."""
    # Not `model.predict` in a loop: its memory grows (keras#13118).
    parts = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    return np.concatenate([model.predict_on_batch(scale_images(part)) for part in parts])


class FollowEpoch(keras.callbacks.Callback):
    """Keeps `AugmentedBatches` at the epoch that `fit` is in, also after a resume."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        """Draw the epoch's plan before its first batch is asked for."""
        self.batches.epoch = epoch
