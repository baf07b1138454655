"""The fast network: one function in two builds, and the one that is saved needs Keras alone."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from cifar_utils.backend import keras
from cifar_utils.models.documented import build_model, describe_layers
from cifar_utils.models.layers import FusedBatchNormalization
from cifar_utils.runs.recipes import get_recipe
from cifar_utils.training.loop import adapt_whitening, compile_model

TINY = dataclasses.replace(get_recipe("quick"), widths=(8, 16, 16))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def inputs(images):
    return images / np.float32(255)


@pytest.fixture(scope="module")
def targets():
    return np.eye(10, dtype=np.float32)[np.arange(16) % 10]


@pytest.fixture(scope="module")
def trained(images, inputs, targets):
    """Return a training build after a few steps, so that no running average is at its start."""
    keras.utils.set_random_seed(0)
    model = compile_model(TINY, 10)
    adapt_whitening(model, images)
    for _ in range(3):
        model.train_on_batch(inputs, targets)
    return model


@pytest.fixture
def plain(trained):
    model = build_model(TINY)
    model.set_weights(trained.get_weights())
    return model


def test_parameters_of_the_quick_network():
    model = build_model(get_recipe("quick"))
    rows = {name: count for name, _, _, count in describe_layers(model) if count}
    expected = {"whitening": 2 * 2 * 3 * 24 + 24, "logits": 64 * 10}
    channels = 24
    for block, filters in enumerate((32, 64, 64), start=1):
        for place in (1, 2):
            expected[f"conv{block}_{place}"] = 9 * channels * filters
            expected[f"conv{block}_{place}_bn"] = 3 * filters  # shift, running mean and variance
            channels = filters
    assert rows == expected
    assert model.count_params() == sum(expected.values()) == 147_064
    assert build_model(get_recipe("fast")).count_params() == 1_973_944


def test_the_order_of_the_layers_and_their_shapes():
    rows = describe_layers(build_model(get_recipe("quick")))
    shapes = {name: shape for name, _, shape, _ in rows}
    expected = {"whitening": (31, 31, 24), "pool1": (15, 15, 32), "pool2": (7, 7, 64)}
    expected |= {"pool3": (3, 3, 64), "pool": (64,), "probs": (10,)}
    assert {name: shapes[name] for name in expected} == expected
    block = ["Conv2D", "MaxPooling2D", "BatchNormalization", "Activation"]
    block += ["Conv2D", "BatchNormalization", "Activation"]
    end = ["GlobalMaxPooling2D", "Dense", "Rescaling", "Activation"]
    assert [kind for _, kind, _, _ in rows] == ["Conv2D", "Activation", *block * 3, *end]


def test_both_builds_are_one_function(trained, plain, inputs):
    assert [w.path for w in plain.weights] == [w.path for w in trained.weights]
    probs = plain.predict_on_batch(inputs)
    np.testing.assert_allclose(probs, trained.predict_on_batch(inputs), atol=1e-5)
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    assert probs.std(0).max() > 1e-3  # it looks at the images


def test_the_training_build_takes_small_images_too(trained, inputs):
    probs = trained.predict_on_batch(inputs[:, 4:28, 4:28])
    assert probs.shape == (16, 10)
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)
    kinds = {type(layer) for layer in trained.layers}
    assert FusedBatchNormalization in kinds


def test_a_fresh_training_build_hands_its_inputs_through(images, inputs):
    model = build_model(TINY, training=True)
    assert not np.any(model.get_layer("whitening").get_weights()[0])
    adapt_whitening(model, images)
    before = keras.Model(model.inputs, model.get_layer("whitening_gelu").output)
    after = keras.Model(model.inputs, model.get_layer("conv1_1").output)
    np.testing.assert_allclose(
        after.predict_on_batch(inputs), before.predict_on_batch(inputs)[..., :8], atol=1e-5
    )
    shapes = [w.shape for w in model.get_layer("whitening").trainable_weights]
    assert shapes == []


def test_adapting_leaves_the_documented_network_alone(images):
    model = build_model(get_recipe("baseline"), training=True)
    before = model.get_weights()
    adapt_whitening(model, images)
    for own, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


def test_another_number_of_classes_changes_the_last_layer_alone():
    model = build_model(TINY, num_classes=3)
    assert model.output_shape == (None, 3)
    others = zip(model.weights[:-1], build_model(TINY).weights[:-1], strict=True)
    assert all(own.shape == other.shape for own, other in others)


def test_a_saved_network_loads_in_a_process_that_knows_keras_alone(plain, inputs, tmp_path):
    assert all(type(layer).__module__.startswith("keras.") for layer in plain.layers)
    for name in ("model.keras", "model1.h5"):
        plain.save(tmp_path / name)
    np.save(tmp_path / "inputs.npy", inputs)
    code = (
        "import sys, numpy as np, keras\n"
        "inputs = np.load('inputs.npy')\n"
        "for name in ('model.keras', 'model1.h5'):\n"
        "    model = keras.saving.load_model(name, compile=False)\n"
        "    np.save(name + '.npy', model.predict_on_batch(inputs))\n"
        "print('cifar_utils' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"
    for name in ("model.keras.npy", "model1.h5.npy"):
        probs = np.load(tmp_path / name)
        np.testing.assert_allclose(probs, plain.predict_on_batch(inputs), atol=1e-5)


def test_a_saved_network_can_be_fine_tuned(plain, inputs, targets):
    before = {weight.path: weight.numpy().copy() for weight in plain.weights}
    plain.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    loss, _ = plain.train_on_batch(inputs, targets)
    assert np.isfinite(loss)
    for weight in plain.weights:
        changed = np.abs(weight.numpy() - before[weight.path]).max() > 0
        assert changed != ("whitening" in weight.path), weight.path


@pytest.mark.parametrize("changes", [{"whitening": False}, {"identity": False}])
def test_a_network_without_a_trick_is_one_function_in_both_builds_too(changes, images, inputs):
    recipe = dataclasses.replace(TINY, **changes)
    keras.utils.set_random_seed(0)
    model = compile_model(recipe, 10)
    adapt_whitening(model, images)
    before = [keras.ops.convert_to_numpy(weight) for weight in model.get_layer("whitening").weights]
    targets = np.eye(10, dtype=np.float32)[np.arange(16) % 10]
    for _ in range(3):
        model.train_on_batch(inputs, targets)
    moved = keras.ops.convert_to_numpy(model.get_layer("whitening").weights[0]) - before[0]
    assert bool(np.abs(moved).max()) is not recipe.whitening  # an ordinary layer learns
    plain = build_model(recipe)
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(
        plain.predict_on_batch(inputs), model.predict_on_batch(inputs), atol=1e-5
    )


def test_without_identities_the_kernels_are_random():
    start = build_model(dataclasses.replace(TINY, identity=False), training=True)
    kernel = keras.ops.convert_to_numpy(start.get_layer("conv1_2").kernel)
    assert np.count_nonzero(kernel) == kernel.size
    kernel = keras.ops.convert_to_numpy(
        build_model(TINY, training=True).get_layer("conv1_2").kernel
    )
    assert np.count_nonzero(kernel) == 8
