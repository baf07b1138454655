"""Layers and initialisers that Keras does not have, and their exchange for Keras's own.

They follow airbench (Jordan, "94 % on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498).
A network is trained with our fused layers (`fuse`) and saved with Keras's own (`unfuse`), so that
the file loads wherever Keras does. Both compute the same function from the same weights.
"""

import functools
import json
import math
import sys

import numpy as np

from cifar_utils.backend import keras, pinned_settings
from cifar_utils.data.augmentation import IMAGE_SIZE

PACKAGE = "cifar_utils"
WHITENING_EPSILON = 5e-4  # added to the variances, so that faint directions are not blown up


def compute_whitening(images, patch_size):
    """Compute the filters whose outputs are uncorrelated and about equally strong.

    They are the eigenvectors of the covariance of small patches, each divided by the square root of
    its eigenvalue (arXiv:2404.00498, section 3.2), and then their negatives, for the ReLU or GELU
    that follows. Other than there, the mean patch is taken to zero, and the bias is not trained.

    Args:
        images: float (n, height, width, channels), in the scale that the network gets.
        patch_size: Side of a patch in pixels.

    Returns:
        `(kernel, bias)`: float32 (patch_size, patch_size, channels, 2k) with
        k = patch_size**2 * channels, strongest direction first and the k negatives last, and
        float32 (2k,), which takes the mean patch to zero.
    """
    channels = images.shape[-1]
    size = patch_size**2 * channels
    count, total, products = 0, np.zeros(size), np.zeros((size, size))
    for start in range(0, len(images), 500):  # all patches at once would take a gigabyte
        windows = np.lib.stride_tricks.sliding_window_view(
            images[start : start + 500], (patch_size, patch_size), (1, 2)
        )
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size).astype(np.float64)
        count += len(patches)
        total += patches.sum(axis=0)
        products += patches.T @ patches
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    # Relative to a standardised image, so that the epsilon means the same in any scale.
    variance = np.trace(covariance) / len(covariance)
    eigenvalues, eigenvectors = np.linalg.eigh(covariance)
    filters = eigenvectors / np.sqrt(eigenvalues + WHITENING_EPSILON * variance)
    filters = filters[:, ::-1]
    # The sign of an eigenvector is arbitrary: fixed, so that every machine gets the same filters.
    filters = filters * np.where(
        filters[np.abs(filters).argmax(axis=0), range(len(mean))] < 0, -1, 1
    )
    filters = np.concatenate([filters, -filters], axis=1)
    kernel = filters.reshape(patch_size, patch_size, channels, -1)
    return kernel.astype(np.float32), (-mean @ filters).astype(np.float32)


def make_spread():
    """Return an initialiser of random weights, spread as PyTorch spreads them by default."""
    return keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")


class PartialIdentity(keras.initializers.VarianceScaling):
    """A convolution kernel that hands its input channels through, and some random ones more.

    The first filters copy one input channel each (a Dirac delta at the centre); filters beyond the
    number of input channels are uniform with the variance of PyTorch's default, 1 / (3 fan_in)
    (arXiv:2404.00498, section 3.3).

    Args:
        seed: Seed of the random filters.
    """

    def __init__(self, seed=None):
        super().__init__(1 / 3, mode="fan_in", distribution="uniform", seed=seed)

    def __call__(self, shape, dtype=None):
        """Return a kernel of shape (height, width, channels_in, channels_out)."""
        height, width, channels, filters = shape
        copies = min(channels, filters)
        delta = np.zeros((height, width, channels, copies), np.float32)
        delta[height // 2, width // 2, range(copies), range(copies)] = 1
        random = super().__call__(shape, dtype=dtype)[..., copies:]
        return keras.ops.concatenate([keras.ops.convert_to_tensor(delta, dtype), random], axis=-1)


@keras.saving.register_keras_serializable(PACKAGE)
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation of feature maps with TensorFlow's fused kernel, for training only.

    Keras 3 computes mean, variance and result in separate passes over memory; on a CPU they take a
    third of the original network's training time. The fused kernel computes the same in one.
    With TensorFlow only; elsewhere it is Keras's own. The weights are those of
    `BatchNormalization`, and a trained network is saved with that layer instead.
    """

    def call(self, inputs, training=None, mask=None):
        """Normalise; outside of training, on other backends and for vectors, as Keras does."""
        is_map = len(inputs.shape) == 4 and keras.backend.backend() == "tensorflow"
        if not (training and self.trainable and is_map):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma) if self.scale else tf.ones_like(self.beta),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel gives the unbiased variance, and Keras keeps the biased one.
        n = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        variance = variance * ((n - 1) / n)
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return normalised


@keras.saving.register_keras_serializable(PACKAGE)
class FusedGelu(keras.layers.Layer):
    """The exact GELU, compiled into one kernel with another one for its gradient; for training.

    Keras leaves it to TensorFlow to chain five operations and their gradients, each a pass over
    memory and, in bfloat16, two conversions: a fifth of a training on processors with bfloat16.
    With TensorFlow on a Linux processor only; elsewhere it is Keras's own, and JAX fuses that
    itself. A trained network is saved with Keras's `Activation("gelu")` instead.
    """

    def call(self, inputs):
        """Apply x * Phi(x), Phi the distribution function of the standard normal."""
        if not _compiles_kernels():
            return keras.activations.gelu(inputs)
        return _make_tf_gelu()(inputs)

    def compute_output_shape(self, input_shape):
        """Return the shape of the inputs."""
        return input_shape


def _compiles_kernels():
    """Return whether XLA can be relied on: not every installation with a GPU has its tools."""
    if keras.backend.backend() != "tensorflow" or sys.platform != "linux":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


@functools.cache
def _make_tf_gelu():
    """Return GELU as a function of TensorFlow tensors; inside it computes in float32."""
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def forward(inputs):
        x = tf.cast(inputs, tf.float32)
        return tf.cast(0.5 * x * (1 + tf.math.erf(x / math.sqrt(2))), inputs.dtype)

    @tf.function(jit_compile=True)
    def backward(inputs, upstream):
        x = tf.cast(inputs, tf.float32)
        below = 0.5 * (1 + tf.math.erf(x / math.sqrt(2)))  # Phi
        density = tf.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        gradient = tf.cast(upstream, tf.float32) * (below + x * density)
        return tf.cast(gradient, inputs.dtype)

    @tf.custom_gradient
    def gelu(inputs):
        outputs = tf.ensure_shape(forward(inputs), inputs.shape)
        return outputs, lambda upstream: tf.ensure_shape(backward(inputs, upstream), inputs.shape)

    return gelu


def fuse(model):
    """Rebuild a network for training: the same layers and values, with the fused kernels.

    Args:
        model: A Sequential or functional `keras.Model` of Keras's own layers.

    Returns:
        An uncompiled model that trains as `model` would, faster. It has the values of all of its
        variables, the states of its dropout layers among them, and the number format that is set
        when it is made (`training.use_precision`), but for its last layer, which stays float32.

    Raises:
        ValueError: If the network is a class of its own, which cannot be rebuilt.
    """

    def fuse_layer(layer):
        config, kind = layer.get_config(), type(layer)
        if kind is keras.layers.BatchNormalization:
            kind = FusedBatchNormalization
        elif kind is keras.layers.Activation and config["activation"] == "gelu":
            kind = FusedGelu
            config = {name: config[name] for name in ("name", "trainable")}
        # A softmax in half precision loses small classes.
        is_last = layer is model.layers[-1]
        config["dtype"] = "float32" if is_last else keras.config.dtype_policy().name
        return kind.from_config(config)

    return _copy_variables(model, keras.models.clone_model(model, clone_function=fuse_layer))


def unfuse(model):
    """Rebuild a network as it is saved: of Keras's own layers, float32, for images of 32x32.

    Args:
        model: What `fuse` or `build_fast_network` returned, trained or not.

    Returns:
        An uncompiled model that computes the same function and needs Keras alone to load.
    """
    with pinned_settings():
        *sides, channels = model.input_shape[1:]
        shape = (*(side or IMAGE_SIZE for side in sides), channels)
        images = keras.Input(shape, name="images")
        plain = keras.models.clone_model(model, images, clone_function=_unfuse_layer)
        return _copy_variables(model, plain)


def _unfuse_layer(layer):
    """Return a new layer of Keras's own that does the same as a layer of a fused network."""
    config, kind = layer.get_config() | {"dtype": "float32"}, type(layer)
    if kind is FusedBatchNormalization:
        kind = keras.layers.BatchNormalization
    elif kind is FusedGelu:
        kind, config = keras.layers.Activation, config | {"activation": "gelu"}
    if isinstance(getattr(layer, "kernel_initializer", None), PartialIdentity):
        # What is saved shall load without our initialiser; its weights replace all of them anyway.
        config["kernel_initializer"] = make_spread()
    return kind.from_config(config)


def _copy_variables(source, target):
    """Give `target` the values of all variables of `source`, which are in the same order."""
    for old, new in zip(source.variables, target.variables, strict=True):
        new.assign(old)
    return target


def describe_network(model):
    """Describe what a network computes: its layers with their settings, without their names.

    Args:
        model: A `keras.Model`; its fused form gives the same as its own.

    Returns:
        JSON-ready; equal for two networks exactly if they are the same but for their weights.
    """
    config = model.get_config()
    if "layers" not in config:  # a class of its own: its configuration is all that is known
        return json.loads(json.dumps(config, default=str))
    links = {entry["config"]["name"]: entry.get("inbound_nodes") for entry in config["layers"]}
    places = {name: place for place, name in enumerate(links)}

    def clean(value, is_link=False):
        if isinstance(value, dict):
            return {
                key: clean(part, is_link)
                for key, part in value.items()
                if key not in ("name", "dtype", "build_config")
            }
        if isinstance(value, list):
            return [clean(part, is_link) for part in value]
        return places.get(value, value) if is_link and isinstance(value, str) else value

    # Made anew, so that settings which Keras adds or leaves out when it loads a layer are the same.
    plain = [_unfuse_layer(layer) for layer in model.layers]
    settings = [[type(layer).__name__, layer.get_config()] for layer in plain]
    settings = clean(json.loads(json.dumps(settings, default=str)))
    return [settings, clean(json.loads(json.dumps(list(links.values()))), is_link=True)]


def describe_layers(model):
    """List the layers of a model, for a table and the diagram.

    Args:
        model: A built Keras model.

    Returns:
        Rows `(name, kind, output_shape, parameters, activation)`: the shape without the batch, the
        activation "" where a layer has none.
    """
    rows = []
    for layer in model.layers:
        activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
        activation = "gelu" if isinstance(layer, FusedGelu) else activation.replace("linear", "")
        shape = tuple(layer.output.shape[1:])
        rows.append((layer.name, type(layer).__name__, shape, layer.count_params(), activation))
    return rows
