"""The whitening filters whiten, the identity filters copy, and the fused GELU is Keras's."""

import numpy as np
import pytest

from cifar_utils.backend import keras
from cifar_utils.models import layers
from cifar_utils.models.layers import FusedGelu, PartialIdentity, compute_whitening


def make_images(n=200, side=12, seed=0):
    """Return images whose neighbouring pixels and channels go together; their mean is not 0."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(n, side // 2, side // 2, 1)).repeat(2, 1).repeat(2, 2)
    fine = rng.normal(size=(n, side, side, 3))
    return (0.4 + 0.2 * coarse + 0.1 * fine).astype(np.float32)


def convolve(images, kernel, padding):
    maps = keras.ops.conv(images, kernel, padding=padding, data_format="channels_last")
    return keras.ops.convert_to_numpy(maps)


def test_whitened_outputs_are_uncorrelated_and_of_variance_one_strongest_first():
    images = make_images()
    kernel, bias = compute_whitening(images, 2)
    assert kernel.shape == (2, 2, 3, 24)
    assert kernel.dtype == bias.dtype == np.float32
    maps = (convolve(images, kernel, "valid") + bias).reshape(-1, 24)
    np.testing.assert_allclose(np.cov(maps[:, :12], rowvar=False), np.eye(12), atol=0.02)
    np.testing.assert_allclose(maps.mean(0), 0, atol=1e-3)
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])
    # The strongest direction has the smallest filter, and its largest entry decides the sign.
    filters = kernel.reshape(12, 24)[:, :12]
    norms = np.linalg.norm(filters, axis=0)
    assert (np.diff(norms) >= -1e-4 * norms[1:]).all()
    assert (filters[np.abs(filters).argmax(0), range(12)] > 0).all()


def test_one_flat_direction_is_not_blown_up():
    images = make_images(50)
    images[..., 2] = images[..., 1]  # two equal channels: four directions without variance
    kernel, _ = compute_whitening(images, 2)
    assert np.abs(kernel).max() < 1 / (np.sqrt(5e-4) * images.std(axis=(0, 1, 2)).min() * 0.5)


@pytest.mark.parametrize(("channels", "filters"), [(5, 5), (3, 8), (6, 4)])
def test_identity_filters_copy_their_channel_and_the_rest_is_seeded(channels, filters):
    shape = (3, 3, channels, filters)
    kernel, same, other = (
        keras.ops.convert_to_numpy(PartialIdentity(seed)(shape, "float32")) for seed in (0, 0, 1)
    )
    images = np.random.default_rng(0).normal(size=(2, 7, 7, channels)).astype(np.float32)
    copies = min(channels, filters)
    maps = convolve(images, kernel, "same")
    np.testing.assert_allclose(maps[..., :copies], images[..., :copies], atol=1e-6)
    np.testing.assert_array_equal(kernel, same)
    assert (filters > copies) == bool(np.abs(kernel - other).max() > 0.01)


def compute_gelu(layer, values, upstream, dtype):
    """Return what a layer outputs, and the gradient that it hands back."""
    tf = pytest.importorskip("tensorflow")
    inputs, upstream = tf.cast(values, dtype), tf.cast(upstream, dtype)

    @tf.function
    def compute():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
        return outputs, tape.gradient(outputs, inputs, upstream)

    outputs, gradient = compute()
    assert outputs.dtype == gradient.dtype == inputs.dtype
    return tf.cast(outputs, "float32").numpy(), tf.cast(gradient, "float32").numpy()


# bfloat16 has eight bits: Keras rounds after each of its operations, ours once.
@pytest.mark.parametrize(
    ("dtype", "near", "compiles"),
    [("float32", 1e-5, True), ("float32", 1e-5, False), ("bfloat16", 0.03, True)],
)
def test_the_fused_gelu_is_keras_gelu_and_so_is_its_gradient(dtype, near, compiles, monkeypatch):
    if not compiles:
        monkeypatch.setattr(layers, "_compiles_kernels", lambda: False)
    values, upstream = np.random.default_rng(0).normal(0, 2, (2, 7, 5, 5, 3)).astype(np.float32)
    policy = "mixed_bfloat16" if dtype == "bfloat16" else "float32"
    ours = compute_gelu(FusedGelu(dtype=policy), values, upstream, dtype)
    plain = keras.layers.Activation("gelu", dtype="float32")
    theirs = compute_gelu(plain, values, upstream, "float32")
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own, other, atol=near, rtol=near)
