"""Muon's steps are those of its definition, and a saved optimizer goes on where it stopped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_utils.backend import keras
from cifar_utils.models.muon import Muon, orthogonalise

# Narrower than twice as long: a square random matrix has singular values near zero, which three
# iterations do not lift to one.
SHAPES = [(24, 108), (108, 24), (1, 9)]


def assert_orthogonal(result, matrix):
    """Check that a matrix has the directions of another, and singular values near one."""
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ result @ vt.T
    np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-3)
    assert 0.5 < np.diag(inner).min() <= np.diag(inner).max() < 1.3
    np.testing.assert_allclose(u @ inner @ vt, result, atol=1e-3)


@settings(deadline=None, max_examples=15)
@given(st.sampled_from(SHAPES), st.integers(0, 2**31 - 1), st.sampled_from([1e-3, 1.0, 1e3]))
def test_singular_values_come_near_one_and_directions_stay(shape, seed, scale):
    matrix = np.random.default_rng(seed).normal(size=shape).astype(np.float32) * np.float32(scale)
    result = orthogonalise(keras.ops.convert_to_tensor(matrix))
    assert_orthogonal(keras.ops.convert_to_numpy(result), matrix)


def take_steps(start, gradients, **settings_of_muon):
    """Return a variable after each of the steps."""
    variable = keras.Variable(np.float32(start))
    optimizer = Muon(**settings_of_muon)
    optimizer.build([variable])
    values = []
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(np.float32(gradient))], [variable])
        values.append(keras.ops.convert_to_numpy(variable).copy())
    return values


@pytest.mark.parametrize(
    ("start", "gradients", "ratio"),
    [
        ([1.0, -2.0], [[0.5, 0.1], [-0.2, 0.3]], 110.0),
        ([[1.0, -2.0], [3.0, 0.0]], [[[0.5, 0.1], [0.0, 1.0]], [[1.0, 0.0], [2.0, -1.0]]], 1.7),
    ],
    ids=["vector", "matrix"],
)
def test_vectors_and_matrices_take_nesterov_steps_with_decay(start, gradients, ratio):
    first, second = take_steps(
        start, gradients, learning_rate=0.01, dense_ratio=1.7, bias_ratio=110.0, sgd_decay=0.03
    )
    w, g = np.float64(start), np.float64(gradients)
    kept = 1 - 0.03 * 0.01
    # The first average is the gradient itself: a step of (1 + 0.85) g.
    w = w * kept - 0.01 * ratio * 1.85 * g[0]
    np.testing.assert_allclose(first, w, rtol=1e-5)
    w = w * kept - 0.01 * ratio * (g[1] + 0.85 * (0.85 * g[0] + g[1]))
    np.testing.assert_allclose(second, w, rtol=1e-5)


def test_kernels_take_orthogonal_steps_from_a_fixed_norm():
    rng = np.random.default_rng(0)
    kernel, g = rng.normal(size=(3, 3, 4, 8)), rng.normal(size=(2, 3, 3, 4, 8))
    first, second = take_steps(kernel, g, learning_rate=0.1, momentum=0.6)
    averages = [1.6 * g[0], g[1] + 0.6 * (0.6 * g[0] + g[1])]
    for before, after, average in zip((kernel, first), (first, second), averages, strict=True):
        scaled = before * np.sqrt(8) / np.linalg.norm(before)
        step = ((scaled - after) / 0.1).reshape(36, 8).T  # one row per filter
        assert_orthogonal(step, average.reshape(36, 8).T)


def test_without_iterations_kernels_take_nesterov_steps():
    start = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype(np.float32)
    ones = np.ones((2, *start.shape), np.float32)
    first, second = take_steps(start, ones, learning_rate=0.1, momentum=0.5, ns_steps=0)
    np.testing.assert_allclose(first, start - 0.1 * 1.5, rtol=1e-5)
    np.testing.assert_allclose(second, first - 0.1 * (1 + 0.5 * 1.5), rtol=1e-5)


def test_a_saved_model_trains_on_as_one_never_saved(tmp_path):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    stack = [keras.Input((8, 8, 3)), layers.Conv2D(8, 3), layers.GlobalMaxPooling2D()]
    model = keras.Sequential([*stack, layers.Dense(2, activation="softmax")])
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 10, 0.0)
    optimizer = Muon(schedule, momentum=0.7, bias_ratio=2.0, sgd_decay=0.1, ns_steps=4)
    model.compile(optimizer, loss="categorical_crossentropy", jit_compile=False)
    images = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[np.arange(16) % 2]
    for _ in range(3):
        model.train_on_batch(images, targets)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    forgetful = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    forgetful.compile(Muon.from_config(optimizer.get_config()), model.loss, jit_compile=False)
    assert loaded.optimizer.get_config() == optimizer.get_config()
    for some in (model, loaded, forgetful):
        some.train_on_batch(images, targets)
    own, other, fresh = (
        np.concatenate([w.ravel() for w in m.get_weights()]) for m in (model, loaded, forgetful)
    )
    np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-6)
    assert np.abs(own - fresh).max() > 1e-3  # the momentum is part of the state
