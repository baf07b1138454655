"""The average over six views is the one that its definition describes, in one ordinary model."""

import numpy as np
import pytest

from cifar_utils.backend import keras
from cifar_utils.evaluation.keras_tta import (
    WEIGHTS,
    AverageViews,
    SixViews,
    add_test_time_augmentation,
)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(8, 5, strides=3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10, kernel_initializer="he_normal", name="logits"),
            layers.Activation("softmax"),
        ],
        name="net",
    )


@pytest.fixture(scope="module")
def wrapped(model):
    return add_test_time_augmentation(model)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((5, 32, 32, 3), np.float32)


def make_views(images):
    """Make the six views in NumPy: unmoved, up and left, down and right, each also mirrored."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    unmoved, up_left, down_right = padded[:, 1:-1, 1:-1], padded[:, 2:, 2:], padded[:, :-2, :-2]
    return [view for moved in (unmoved, up_left, down_right) for view in (moved, moved[:, :, ::-1])]


def test_the_views_are_those_made_by_hand(images):
    views = keras.ops.convert_to_numpy(SixViews()(images))
    np.testing.assert_array_equal(views, np.concatenate(make_views(images)))


def test_the_answer_is_the_softmax_of_the_averaged_logits(model, wrapped, images):
    logits_of = keras.Model(model.inputs, model.get_layer("logits").output)
    logits = [logits_of.predict_on_batch(view) for view in make_views(images)]
    weights = np.float64([1 / 4, 1 / 4, 1 / 8, 1 / 8, 1 / 8, 1 / 8])
    mean = np.tensordot(weights, np.float64(logits), 1)
    expected = np.exp(mean) / np.exp(mean).sum(1, keepdims=True)
    probs = wrapped.predict_on_batch(images)
    np.testing.assert_allclose(probs, expected, atol=1e-5)
    # Not the same as one view, nor as the mean of the probabilities.
    assert np.abs(probs - model.predict_on_batch(images)).max() > 1e-3


@pytest.mark.parametrize("n", [1, 2, 5])
def test_answers_are_probabilities_whatever_the_batch(wrapped, images, n):
    probs = wrapped.predict_on_batch(images[:n])
    assert probs.shape == (n, 10)
    assert (probs >= 0).all()
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(probs, wrapped.predict_on_batch(images)[:n], atol=1e-5)


def test_the_unmoved_view_and_its_mirror_image_count_alike():
    """An image that is even in colour looks the same moved: then mirroring changes nothing."""
    assert sum(WEIGHTS) == 1
    views = np.random.default_rng(1).dirichlet(np.ones(4), (6, 3)).astype(np.float32)
    swapped = views[[1, 0, 3, 2, 5, 4]]  # what mirrored answers would be
    average = AverageViews()
    np.testing.assert_allclose(
        average(views.reshape(18, 4)), average(swapped.reshape(18, 4)), atol=1e-6
    )


def test_a_mirrored_stripe_pattern_gets_the_same_answer(wrapped):
    """Where moving up or down changes nothing, the six views of a mirrored image are the same."""
    columns = np.random.default_rng(2).random((3, 1, 32, 3), np.float32)
    level = np.ascontiguousarray(columns.transpose(0, 2, 1, 3).repeat(32, 2))
    upright = columns.repeat(32, 1)
    for images in (level, upright):
        np.testing.assert_allclose(
            wrapped.predict_on_batch(images),
            wrapped.predict_on_batch(np.ascontiguousarray(images[:, :, ::-1])),
            atol=1e-5,
        )


def test_a_probability_of_zero_gives_no_nan():
    sure = np.tile(np.eye(3, dtype=np.float32)[:1], (6, 1))
    np.testing.assert_allclose(AverageViews()(sure), [[1, 0, 0]], atol=1e-6)


def test_weights_are_shared_and_the_whole_survives_a_file(model, wrapped, images, tmp_path):
    assert [w.path for w in wrapped.weights] == [w.path for w in model.weights]
    assert wrapped.input_shape == model.input_shape
    assert wrapped.output_shape == (None, 10)
    wrapped.save(tmp_path / "six.keras")
    loaded = keras.saving.load_model(tmp_path / "six.keras", compile=False)
    np.testing.assert_allclose(
        loaded.predict_on_batch(images), wrapped.predict_on_batch(images), atol=1e-6
    )
