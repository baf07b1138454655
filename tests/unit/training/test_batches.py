"""The batches are the plan's, the same by TensorFlow and by NumPy, each image once an epoch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cifar_utils.backend import keras
from cifar_utils.data.preprocessing import Augmentation, EpochPlan, Preprocessing
from cifar_utils.runs.recipes import get_recipe
from cifar_utils.training import AugmentedBatches, FollowEpoch, make_val_data
from cifar_utils.training.batches import resize_images

OFF = Augmentation(0.0, 0.0, False)
N = 50
MOVES = {"rotation": 0.0, "whole_pixels": True}
CHOICES = [{}, {"cutout": 12}, MOVES | {"cutout": 7}, MOVES | {"zoom_out": 0.5, "zoom_share": 0.5}]


@pytest.fixture(scope="module")
def images():
    # Smooth, so that moved pixels can be compared.
    y, x = np.mgrid[0:32, 0:32]
    waves = [np.sin(x / (3 + c) + i) + np.cos(y / (4 + c) - i) for i in range(N) for c in range(3)]
    return (np.reshape(waves, (N, 3, 32, 32)).transpose(0, 2, 3, 1) * 60 + 128).astype(np.uint8)


@pytest.fixture(scope="module")
def labels():
    return np.arange(N) % 10


def make_batches(images, labels, augmentation=OFF, seed=0, batch_size=16):
    return AugmentedBatches(images, labels, batch_size, Preprocessing(seed, 0.0, augmentation))


@settings(deadline=None, max_examples=8)
@given(
    st.integers(0, 2**31 - 1),
    st.integers(1, 70),
    st.integers(0, 99),
    st.sampled_from(CHOICES),
)
def test_both_sources_give_the_same_batches(images, labels, seed, batch_size, epoch, choices):
    source = make_batches(images, labels, Augmentation(**choices), seed, batch_size)
    source.epoch = epoch
    batches = list(source.stream())
    assert len(batches) == len(source)
    for step, (tf_images, tf_targets) in enumerate(batches):
        own_images, own_targets = source[step]
        assert own_images.dtype == np.float32
        np.testing.assert_allclose(tf_images, own_images, atol=1e-5)
        np.testing.assert_array_equal(tf_targets, own_targets)
        assert own_images.min() >= 0
        assert own_images.max() <= 1


def test_both_sources_give_the_same_batches_for_quick_at_both_sizes(images, labels):
    preprocessing = Preprocessing.from_recipe(get_recipe("quick"), seed=4)
    source = AugmentedBatches(images, labels, 16, preprocessing)
    batches = source.stream()
    for epoch, size in ((0, 24), (2, 32), (1, 24), (7, 32)):
        source.epoch = epoch
        steps = 0
        for step, (tf_images, tf_targets) in enumerate(batches):
            own_images, own_targets = source[step]
            assert tf_images.shape == own_images.shape == (len(own_targets), size, size, 3)
            assert own_images.dtype == np.float32
            np.testing.assert_allclose(tf_images, own_images, atol=1e-5)
            np.testing.assert_array_equal(tf_targets, own_targets)
            steps += 1
        assert steps == len(source) == 4


def test_small_images_are_pillows():
    images = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    (small,) = resize_images(images, 24)
    for channel in range(3):
        whole = Image.fromarray(images[0, ..., channel])
        theirs = np.asarray(whole.resize((24, 24), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(small[..., channel], theirs, atol=1e-4)


def identify(batches, images):
    """Return which images a pass shows, in order, given that nothing moves them."""
    table = {image.tobytes(): i for i, image in enumerate(images)}
    shown = np.concatenate([np.asarray(batch) for batch, _ in batches])
    return [table[np.rint(image * 255).astype(np.uint8).tobytes()] for image in shown]


def test_each_epoch_shows_each_image_once_with_its_own_label(images, labels):
    source = make_batches(images, labels)
    batches = source.stream()
    orders = []
    for epoch in range(3):
        source.epoch = epoch
        orders.append(identify(batches, images))
        shown = np.concatenate([np.argmax(targets, 1) for _, targets in batches])
        np.testing.assert_array_equal(shown, labels[orders[-1]])
    assert all(sorted(order) == list(range(N)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


class Recorder(keras.Model):
    """Notes every batch that `fit` trains on, instead of training."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, images):
        return images

    def train_step(self, data):
        self.seen.append((np.asarray(data[0]), np.asarray(data[1])))
        return {"loss": 0.0}


@pytest.mark.parametrize("way", [AugmentedBatches.stream, lambda source: source], ids=["tf", "np"])
def test_fit_sees_the_plan_of_each_epoch_also_after_a_resume(images, labels, way):
    source = make_batches(images, labels)
    model = Recorder()
    model.compile(run_eagerly=True)
    model.fit(
        way(source),
        initial_epoch=2,
        epochs=5,
        shuffle=False,
        verbose=0,
        callbacks=[FollowEpoch(source)],
    )
    steps = len(source)
    assert len(model.seen) == 3 * steps
    for i, epoch in enumerate((2, 3, 4)):
        expected = EpochPlan(N, source.batch_size, source.preprocessing, epoch)
        seen = identify(model.seen[i * steps : (i + 1) * steps], images)
        assert seen == expected.order.tolist()


def test_neither_training_nor_validation_waits_for_tensorflows_autotuner(images, labels):
    batches = make_batches(images, labels).stream()
    assert int(batches.cardinality()) == 4
    for data in (batches, make_val_data(images, labels)):
        assert data.options().autotune.enabled is False
    assert make_val_data(images[:0], labels[:0]) is None
