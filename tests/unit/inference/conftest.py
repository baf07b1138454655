"""A tiny network in a run folder, shared by the tests of this room."""

import json

import numpy as np
import pytest


def build_network(*first, batch_shape=(None, 32, 32, 3), last="softmax"):
    """Return a small network with random weights behind some first layers."""
    from cifar_utils.backend import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(batch_shape=batch_shape),
            *first,
            layers.Conv2D(8, 3, strides=4, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10, last, kernel_initializer="he_normal"),
        ]
    )


@pytest.fixture(scope="session")
def network():
    return build_network


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory):
    """Return a run folder as training leaves it, on the synthetic data; `build_network()` in it."""
    from cifar_utils.inference.export import write_model

    model, folder = build_network(), tmp_path_factory.mktemp("runs") / "my-run"
    folder.mkdir()
    model.save(folder / "model.keras")
    model.save(folder / "model1.h5")
    write_model(model, folder / "model.tflite", "tflite")
    (folder / "run.json").write_text(
        json.dumps({"name": "my-run", "recipe": "quick", "dataset": {"name": "synthetic"}})
    )
    return folder


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
