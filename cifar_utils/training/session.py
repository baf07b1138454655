"""Around a training: its seeds, the device that it runs on, and predictions of a network."""

import importlib

import numpy as np

from cifar_utils.backend import keras, pin_settings
from cifar_utils.data.preprocessing import scale_images
from cifar_utils.runs.machine import detect_processor


def seed_everything(seed, deterministic=True):
    """Make what follows in this process repeatable.

    Seeds Python, NumPy and the backend, and gives Keras its standard settings, whatever
    `~/.keras/keras.json` says.

    Args:
        seed: Integer from 0 to 2**31 - 1.
        deterministic: Whether to allow only kernels that do not depend on timing (TensorFlow's op
            determinism), for this process.
    """
    pin_settings()
    keras.utils.set_random_seed(int(seed))  # np.int64 raises
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def predict_probs(model, images, batch_size=500):
    """Compute class probabilities.

    Args:
        model: A network from [0, 1] images to probabilities.
        images: uint8 (n, 32, 32, 3).
        batch_size: Images per step.

    Returns:
        float32 (n, num_classes).
    """
    # Not `model.predict` in a loop: its memory grows (keras#13118).
    parts = [
        model.predict_on_batch(scale_images(images[i : i + batch_size]))
        for i in range(0, len(images), batch_size)
    ]
    return np.concatenate(parts)


def describe_device():
    """Return the name of the device that trains: the first GPU, or else the processor."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    if keras.backend.backend() == "jax":
        import jax

        if jax.default_backend() != "cpu":
            return jax.devices()[0].device_kind
    return detect_processor().name


def list_versions():
    """Return the versions of what decides a training's numbers, by name."""
    backend = keras.backend.backend()
    return {
        "keras": keras.__version__,
        backend: importlib.import_module(backend).__version__,
        "numpy": np.__version__,
    }
