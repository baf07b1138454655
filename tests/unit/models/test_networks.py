"""Both networks: what they consist of, and the same function as trained and as saved."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from tiny_runs import make_run, train

from cifar_utils import models
from cifar_utils.backend import keras, pinned_settings
from cifar_utils.models.layers import FusedBatchNormalization
from cifar_utils.runs import get_recipe
from cifar_utils.training import compile_model, use_precision

BASELINE = get_recipe("baseline")
TINY = dataclasses.replace(get_recipe("quick"), widths=(8, 16, 16))
IMAGES = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
INPUTS = IMAGES / np.float32(255)
TARGETS = np.eye(10, dtype=np.float32)[np.arange(16) % 10]


def train_a_little(recipe):
    """Return a network after a few steps, so that no running average is at its start."""
    keras.utils.set_random_seed(0)
    model = compile_model(models.build(recipe), recipe, 10)
    models.adapt_whitening(model, IMAGES)
    for _ in range(3):
        model.train_on_batch(INPUTS, TARGETS)
    return model


@pytest.fixture(scope="module", params=[TINY, BASELINE], ids=["fast", "original"])
def trained(request):
    return train_a_little(request.param)


def test_the_original_network_is_as_described():
    model = models.build_documented_network(BASELINE)
    assert model.count_params() == 261_194
    rows = {name: (shape, activation) for name, _, shape, _, activation in
            models.describe_layers(model)}  # fmt: skip
    expected = {"conv1": (30, 30, 32), "pool1": (15, 15, 32), "conv2": (13, 13, 64)}
    expected |= {"pool2": (6, 6, 64), "conv3": (4, 4, 128), "pool3": (2, 2, 128)}
    expected |= {"flatten": (512,), "dense1": (256,), "dense2": (128,), "probs": (10,)}
    assert {name: rows[name][0] for name in expected} == expected
    assert (rows["conv1"][1], rows["probs"][1]) == ("relu", "softmax")
    assert [model.get_layer(f"dropout{i}").rate for i in (1, 2)] == [0.2, 0.2]


def test_the_fast_network_has_the_layers_and_parameters_of_its_recipe():
    model = models.unfuse(models.build(get_recipe("quick")))
    kinds = [row[1] for row in models.describe_layers(model)]
    block = ["Conv2D", "MaxPooling2D", "BatchNormalization", "Activation"]
    block += ["Conv2D", "BatchNormalization", "Activation"]
    end = ["GlobalMaxPooling2D", "Dense", "Rescaling", "Activation"]
    assert kinds == ["Conv2D", "Activation", *block * 3, *end]
    assert model.count_params() == 147_064
    assert models.build(TINY, num_classes=3).output_shape == (None, 3)


def test_the_saved_form_is_the_same_function(trained):
    plain = models.unfuse(trained)
    assert [w.path for w in plain.weights] == [w.path for w in trained.weights]
    probs = plain.predict_on_batch(INPUTS)
    assert probs.dtype == np.float32
    np.testing.assert_allclose(probs, trained.predict_on_batch(INPUTS), atol=1e-5)
    assert probs.std(0).max() > 1e-3  # it depends on the images


def test_a_listing_of_keras_layers_trains_as_the_packages_own_network():
    """The same values, dropout states among them: what notebook 3 spells out trains bit for bit."""
    networks = []
    for fused in (False, True):
        keras.utils.set_random_seed(5)
        plain = models.build_documented_network(BASELINE)
        networks.append(models.fuse(plain) if fused else plain)
    for own, other in zip(networks[0].variables, networks[1].variables, strict=True):
        np.testing.assert_array_equal(own, other)
    assert any("seed" in variable.path for variable in networks[1].variables)
    assert FusedBatchNormalization in {type(layer) for layer in networks[1].layers}


def test_a_functional_network_is_fused_and_described_too():
    inputs = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(4, 3, padding="same", activation="gelu")(inputs)
    maps = keras.layers.Add()([maps, keras.layers.BatchNormalization()(maps)])
    outputs = keras.layers.Dense(10, "softmax")(keras.layers.GlobalMaxPooling2D()(maps))
    model = keras.Model(inputs, outputs)
    fused = models.fuse(model)
    expected = model.predict_on_batch(INPUTS)
    for other in (fused, models.unfuse(fused)):
        np.testing.assert_allclose(other.predict_on_batch(INPUTS), expected, atol=1e-6)
        assert models.describe_network(other) == models.describe_network(model)


@pytest.mark.parametrize(
    "edit",
    [
        lambda layers: layers.insert(3, keras.layers.Dropout(0.1)),
        lambda layers: layers.__setitem__(0, keras.layers.Conv2D(32, 3, activation="gelu")),
    ],
)
def test_an_edited_network_is_described_otherwise_and_names_do_not_matter(edit):
    plain = models.build_documented_network(BASELINE)

    def rebuild(change=lambda layers: None):
        settings = [(type(layer), layer.get_config()) for layer in plain.layers]
        stack = [kind.from_config(config | {"name": None}) for kind, config in settings]
        change(stack)
        return keras.Sequential([keras.Input((32, 32, 3)), *stack])

    described = models.describe_network(plain)
    assert models.describe_network(models.build(BASELINE)) == described
    assert models.describe_network(rebuild()) == described
    assert models.describe_network(rebuild(edit)) != described
    assert json.loads(json.dumps(described)) == described


def test_the_fast_network_is_described_as_its_saved_form_is():
    described = models.describe_network(models.build(TINY))
    assert models.describe_network(models.unfuse(models.build(TINY))) == described
    wider = dataclasses.replace(TINY, widths=(8, 16, 24))
    assert models.describe_network(models.build(wider)) != described


def test_a_network_that_is_a_class_of_its_own_is_refused_by_name():
    class Mine(keras.Model):
        def get_config(self):
            return {}

    with pytest.raises(ValueError, match="Mine"):
        models.fuse(Mine())


def test_the_fast_network_takes_small_images_and_hands_its_inputs_through_at_first():
    model = models.build(TINY)
    assert model.predict_on_batch(INPUTS[:, 4:28, 4:28]).shape == (16, 10)
    models.adapt_whitening(model, IMAGES)
    before = keras.Model(model.inputs, model.get_layer("whitening_gelu").output)
    after = keras.Model(model.inputs, model.get_layer("conv1_1").output)
    np.testing.assert_allclose(
        after.predict_on_batch(INPUTS), before.predict_on_batch(INPUTS)[..., :8], atol=1e-5
    )


@pytest.mark.parametrize("whitening", [True, False])
def test_the_whitening_is_trained_only_where_it_is_not_computed(whitening):
    recipe = dataclasses.replace(TINY, whitening=whitening, identity=False)
    before = compile_model(models.build(recipe), recipe, 10)
    models.adapt_whitening(before, IMAGES)
    start = before.get_layer("whitening").get_weights()
    assert (np.abs(start[1]).max() > 0) == whitening
    before.train_on_batch(INPUTS, TARGETS)
    moved = np.abs(before.get_layer("whitening").get_weights()[0] - start[0]).max()
    assert (moved == 0) == whitening


def test_a_network_trained_in_bfloat16_is_saved_in_float32():
    with use_precision("bfloat16"):
        model = train_a_little(TINY)
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}
    probs, half = (some.predict_on_batch(INPUTS) for some in (models.unfuse(model), model))
    assert probs.dtype == half.dtype == np.float32
    np.testing.assert_allclose(half, probs, atol=0.02)
    assert np.abs(half - probs).max() > 0  # it did compute in another format


LOAD = """
import sys, numpy as np, keras
for name in ("model.keras", "model1.h5"):
    model = keras.saving.load_model(name, compile=False)
    np.save(name + ".npy", model.predict_on_batch(np.load("inputs.npy")))
print("cifar_utils" in sys.modules)
"""


def test_a_saved_network_loads_where_keras_alone_is_known(trained, tmp_path):
    plain = models.unfuse(trained)
    for name in ("model.keras", "model1.h5"):
        plain.save(tmp_path / name)
    np.save(tmp_path / "inputs.npy", INPUTS)
    command = [sys.executable, "-c", LOAD]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
    for name in ("model.keras.npy", "model1.h5.npy"):
        probs = np.load(tmp_path / name)
        np.testing.assert_allclose(probs, plain.predict_on_batch(INPUTS), atol=1e-5)


# Keras's settings

TRAIN = """
from cifar_utils.backend import keras
config = keras.config
before = (config.image_data_format(), config.floatx(), config.dtype_policy().name)
from cifar_utils import models
from cifar_utils.runs import get_recipe
model = models.unfuse(models.build(get_recipe("quick")))
assert model.input_shape == (None, 32, 32, 3)
assert {w.dtype for w in model.weights} == {"float32"}
assert (config.image_data_format(), config.floatx(), config.dtype_policy().name) == before
from tiny_runs import make_run, train
train(make_run("other-settings", epochs=1))
print(before)
"""


def test_networks_are_built_trained_and_saved_whatever_keras_json_says(tmp_path):
    wrong = {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 1e-3}
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "tensorflow", **wrong}))
    environment = {"KERAS_HOME": str(tmp_path), "CIFAR_RUNS_DIR": str(tmp_path)}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "KERAS_MAX_STEPS_PER_EPOCH": "2"}
    command, env = [sys.executable, "-c", TRAIN], {**os.environ, **environment}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "('channels_first', 'float16', 'float16')" in done.stdout
    run = make_run("standard-settings", epochs=1)
    train(run)
    expected = run.path("history.csv").read_bytes()
    assert (tmp_path / "other-settings" / "history.csv").read_bytes() == expected


def test_settings_are_put_back_also_after_an_error():
    keras.config.set_image_data_format("channels_first")
    try:
        with contextlib.suppress(KeyError), pinned_settings():
            assert keras.config.image_data_format() == "channels_last"
            raise KeyError
        assert keras.config.image_data_format() == "channels_first"
    finally:
        keras.config.set_image_data_format("channels_last")
