"""The whitening layer whitens, the identity filters copy, and both survive a file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_utils.backend import keras
from cifar_utils.models import layers
from cifar_utils.models.layers import FusedGelu, PartialIdentity, PatchWhitening, compute_whitening


def make_images(n=200, side=12, channels=3, seed=0):
    """Return images whose neighbouring pixels and channels go together; their mean is not 0."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(n, side // 2, side // 2, 1)).repeat(2, 1).repeat(2, 2)
    fine = rng.normal(size=(n, side, side, channels))
    return (0.4 + 0.2 * coarse + 0.1 * fine).astype(np.float32)


def compute_maps(layer, images):
    """Return the layer's outputs, one row per place."""
    maps = keras.ops.convert_to_numpy(layer(images))
    return maps.reshape(-1, maps.shape[-1])


@pytest.fixture(scope="module")
def whitening():
    layer = PatchWhitening()
    layer.adapt(make_images())
    return layer


def test_adapted_outputs_are_uncorrelated_and_of_variance_one(whitening):
    maps = compute_maps(whitening, make_images())
    half = maps.shape[1] // 2
    assert maps.shape[1] == 2 * 2 * 2 * 3
    np.testing.assert_allclose(np.cov(maps[:, :half], rowvar=False), np.eye(half), atol=0.02)
    np.testing.assert_allclose(maps.mean(0), 0, atol=1e-3)


def test_an_image_is_convolved_without_padding(whitening):
    images = make_images(2, side=10)
    maps = keras.ops.convert_to_numpy(whitening(images))
    assert maps.shape == whitening.compute_output_shape(images.shape) == (2, 9, 9, 24)
    assert whitening.compute_output_shape((None, None, None, 3)) == (None, None, None, 24)
    patch = images[1, 4:6, 3:5].reshape(-1)
    kernel, bias = (keras.ops.convert_to_numpy(weight) for weight in whitening.weights)
    np.testing.assert_allclose(maps[1, 4, 3], patch @ kernel.reshape(12, 24) + bias, atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 3))
def test_filters_are_a_function_of_the_images_strongest_first(seed, patch_size, channels):
    images = make_images(30, 8, channels, seed)
    kernel, bias = compute_whitening(images, patch_size)
    again, _ = compute_whitening(images.copy(), patch_size)
    np.testing.assert_array_equal(kernel, again)
    k = patch_size**2 * channels
    filters = kernel.reshape(k, 2 * k)
    assert filters.dtype == bias.dtype == np.float32
    # The strongest direction has the smallest filter, and its largest entry decides the sign.
    norms = np.linalg.norm(filters[:, :k], axis=0)
    assert (np.diff(norms) >= -1e-4 * norms[1:]).all()
    assert (filters[np.abs(filters[:, :k]).argmax(0), range(k)] > 0).all()


def test_one_flat_direction_is_not_blown_up():
    images = make_images(50)
    images[..., 2] = images[..., 1]  # two equal channels: four directions without variance
    kernel, _ = compute_whitening(images, 2)
    assert np.isfinite(kernel).all()
    assert np.abs(kernel).max() < 1 / (np.sqrt(5e-4) * images.std(axis=(0, 1, 2)).min() * 0.5)


def test_whitening_is_not_trained_and_survives_its_config_and_a_file(whitening, tmp_path):
    assert whitening.trainable_weights == []
    assert PatchWhitening(3).get_config()["patch_size"] == 3
    assert PatchWhitening.from_config(PatchWhitening(3).get_config()).patch_size == 3
    model = keras.Sequential([keras.Input((12, 12, 3)), PatchWhitening()])
    images = make_images(3)
    np.testing.assert_array_equal(model.predict_on_batch(images), 0)  # not adapted yet
    model.layers[0].adapt(make_images())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(loaded.predict_on_batch(images), model.predict_on_batch(images))


@pytest.mark.parametrize(("channels", "filters"), [(5, 5), (3, 8), (6, 4)])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_identity_filters_copy_their_channel(channels, filters, size):
    kernel = PartialIdentity(seed=0)((size, size, channels, filters), "float32")
    images = np.random.default_rng(0).normal(size=(2, 7, 7, channels)).astype(np.float32)
    maps = keras.ops.conv(images, kernel, padding="same", data_format="channels_last")
    copies = min(channels, filters)
    assert maps.shape == (2, 7, 7, filters)
    np.testing.assert_allclose(maps[..., :copies], images[..., :copies], atol=1e-6)


def test_partial_identity_is_seeded_and_survives_its_config():
    shape = (3, 3, 2, 6)
    first, same, other = (
        keras.ops.convert_to_numpy(PartialIdentity(seed=seed)(shape)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0.01
    saved = keras.saving.serialize_keras_object(PartialIdentity(seed=1))
    loaded = keras.saving.deserialize_keras_object(saved)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(loaded(shape)), first)


def compute_gelu(layer, values, upstream, dtype):
    """Return what a layer answers, and the gradient that it hands back."""
    tf = pytest.importorskip("tensorflow")
    inputs, upstream = tf.cast(values, dtype), tf.cast(upstream, dtype)

    @tf.function
    def answer():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
        return outputs, tape.gradient(outputs, inputs, upstream)

    outputs, gradient = answer()
    assert outputs.dtype == gradient.dtype == inputs.dtype
    return tf.cast(outputs, "float32").numpy(), tf.cast(gradient, "float32").numpy()


# bfloat16 has eight bits: Keras rounds after each of its operations, ours once.
@pytest.mark.parametrize(("dtype", "near"), [("float32", 1e-5), ("bfloat16", 0.03)])
@pytest.mark.parametrize("compiles", [True, False])
def test_the_fused_gelu_is_keras_gelu_and_so_is_its_gradient(dtype, near, compiles, monkeypatch):
    if not compiles:
        monkeypatch.setattr(layers, "_compiles_kernels", lambda: False)
    rng = np.random.default_rng(0)
    values, upstream = rng.normal(0, 2, (2, 7, 5, 5, 3)).astype(np.float32)
    policy = "mixed_bfloat16" if dtype == "bfloat16" else "float32"
    ours = compute_gelu(FusedGelu(dtype=policy), values, upstream, dtype)
    theirs = compute_gelu(
        keras.layers.Activation("gelu", dtype="float32"), values, upstream, "float32"
    )
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own, other, atol=near, rtol=near)


def test_the_fused_gelu_takes_every_shape_in_one_graph():
    layer = FusedGelu()
    model = keras.Sequential([keras.Input((None, None, 2)), layer])
    for side, n in ((4, 3), (6, 3), (6, 1)):
        images = np.full((n, side, side, 2), 100.0, np.float32)
        np.testing.assert_allclose(model.predict_on_batch(images), images, rtol=1e-6)
        np.testing.assert_allclose(model.predict_on_batch(-images), 0, atol=1e-4)
    assert layer.compute_output_shape((None, 4, 4, 2)) == (None, 4, 4, 2)
