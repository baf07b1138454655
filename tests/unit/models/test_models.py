"""The network is the documented one, and the rate falls where the documentation says."""

import numpy as np
import pytest

from cifar_utils.backend import keras
from cifar_utils.models.documented import (
    build_model,
    build_schedule,
    compute_learning_rates,
    describe_layers,
)
from cifar_utils.models.layers import FusedBatchNormalization
from cifar_utils.models.muon import Muon
from cifar_utils.runs.recipes import RECIPES, get_recipe
from cifar_utils.training.loop import compile_model

STEPS = 2  # per epoch: the first and the last


@pytest.fixture(scope="module")
def model():
    return build_model(get_recipe("baseline"))


def test_the_network_has_exactly_the_documented_parameters(model):
    assert model.count_params() == 261_194
    assert sum(row[3] for row in describe_layers(model)) == 261_194


def test_layers_come_in_the_documented_order(model):
    block = ["Conv2D", "BatchNormalization", "MaxPooling2D"]
    dense = ["Dense", "BatchNormalization", "Dropout"]
    assert [row[1] for row in describe_layers(model)] == [
        *block * 3,
        "Flatten",
        *dense * 2,
        "Dense",
    ]
    shapes = {row[0]: row[2] for row in describe_layers(model)}
    expected = {"conv1": (30, 30, 32), "pool1": (15, 15, 32), "conv2": (13, 13, 64)}
    expected |= {"pool2": (6, 6, 64), "conv3": (4, 4, 128), "pool3": (2, 2, 128)}
    expected |= {"flatten": (512,), "dense1": (256,), "dense2": (128,), "probs": (10,)}
    assert {name: shapes[name] for name in expected} == expected


def test_layers_are_set_as_documented(model):
    for i in (1, 2, 3):
        conv = model.get_layer(f"conv{i}")
        assert (conv.kernel_size, conv.padding) == ((3, 3), "valid")
        assert conv.activation is keras.activations.relu
    assert [model.get_layer(f"dropout{i}").rate for i in (1, 2)] == [0.2, 0.2]
    assert model.get_layer("conv1_bn").momentum == 0.99


def test_output_is_a_probability_for_each_class(model):
    images = np.random.default_rng(0).random((5, 32, 32, 3), np.float32)
    probs = model.predict_on_batch(images)
    assert probs.shape == (5, 10)
    assert probs.dtype == np.float32
    assert (probs >= 0).all()
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)


def test_another_number_of_classes_changes_the_last_layer_alone():
    assert build_model(get_recipe("baseline"), num_classes=3).output_shape == (None, 3)


def train_on_nothing(recipe):
    """Run the recipe's optimizer over all its steps with a model of one weight.

    Returns:
        The rate Keras really used, shape (epochs, STEPS), read from how far the weight moved: under
        a constant gradient each of Adam's steps is as long as its rate.
    """
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    optimizer = keras.optimizers.Adam(build_schedule(recipe, STEPS), epsilon=1e-30)
    weight = model.trainable_variables[0]
    weight.assign([[0.0]])
    moved = []
    for _ in range(recipe.epochs * STEPS):
        before = float(weight.numpy()[0, 0])
        optimizer.apply([np.ones((1, 1), np.float32)], [weight])
        moved.append(before - float(weight.numpy()[0, 0]))
        weight.assign([[0.0]])
    return np.reshape(moved, (recipe.epochs, STEPS))


@pytest.mark.parametrize(
    ("schedule", "parts"),
    [
        ("code", [(0, 30, 1e-3), (31, 60, 1e-4), (61, 90, 1e-5), (91, 99, 1e-6)]),
        ("prose", [(0, 29, 1e-3), (30, 59, 1e-4), (60, 99, 1e-5)]),
    ],
)
def test_the_documented_rate_falls_at_the_documented_epochs(schedule, parts):
    recipe = get_recipe("baseline", schedule=schedule)
    used = train_on_nothing(recipe)
    for first, last, rate in parts:
        for epoch in (first, last):
            np.testing.assert_allclose(used[epoch, [0, -1]], rate, rtol=1e-4)
    assert sum(last - first + 1 for first, last, _ in parts) == len(used) == 100


def test_a_short_documented_training_keeps_the_first_rate():
    recipe = get_recipe("baseline", epochs=3)
    np.testing.assert_allclose(train_on_nothing(recipe), 1e-3, rtol=1e-4)


def test_cosine_rises_for_a_fifth_and_falls_to_almost_nothing():
    recipe = get_recipe("baseline", schedule="cosine", epochs=10, learning_rate=0.01)
    rates = train_on_nothing(recipe).ravel()
    top = rates.argmax()
    assert top == 2 * STEPS
    np.testing.assert_allclose(rates[top], 0.01, rtol=1e-3)
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    assert 0 < rates[0] < 0.001
    assert rates[-1] < 0.0001


def test_linear_falls_from_the_first_step_by_equal_parts_to_almost_nothing():
    recipe = get_recipe("baseline", schedule="linear", epochs=10, learning_rate=0.01)
    rates = train_on_nothing(recipe).ravel()
    expected = 0.01 * (1 - np.arange(10 * STEPS) / (10 * STEPS))
    np.testing.assert_allclose(rates, expected, rtol=1e-3)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_every_schedule_works_for_the_shortest_training(name, epochs):
    for steps in (1, 3):
        schedule = build_schedule(get_recipe(name, epochs=epochs), steps)
        rates = [float(schedule(step)) for step in range(epochs * steps)]
        assert all(0 < rate <= RECIPES[name].learning_rate * 1.000001 for rate in rates)


@pytest.mark.parametrize("schedule", ["code", "prose", "cosine", "linear"])
@pytest.mark.parametrize("points", [1, 5])
def test_the_plotted_schedule_is_the_one_that_trains(schedule, points):
    recipe = get_recipe("baseline", schedule=schedule)
    steps = 50
    real = build_schedule(recipe, steps)
    epochs, rates = compute_learning_rates(recipe, points)
    assert len(epochs) == len(rates) == 100 * points
    np.testing.assert_allclose(epochs, np.arange(100 * points) / points)
    expected = [float(real(int(step))) for step in np.rint(epochs * steps)]
    np.testing.assert_allclose(rates, expected, rtol=0.02, atol=1e-9)


def test_the_plotted_schedule_of_a_short_training_is_the_one_that_trains():
    recipe = get_recipe("quick")
    real = build_schedule(recipe, 180)
    epochs, rates = compute_learning_rates(recipe)
    expected = [float(real(int(epoch * 180))) for epoch in epochs]
    np.testing.assert_allclose(rates, expected, rtol=0.02)


def test_compiled_as_documented():
    model = compile_model(get_recipe("baseline"), 10)
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert isinstance(model.loss, keras.losses.CategoricalCrossentropy)
    assert model.loss.get_config()["label_smoothing"] == 0
    assert model.jit_compile is False


def test_the_fast_network_is_compiled_with_the_numbers_of_its_recipe():
    recipe = get_recipe("quick")
    model = compile_model(recipe, 10)
    assert isinstance(model.optimizer, Muon)
    config = model.optimizer.get_config()
    assert (config["dense_ratio"], config["bias_ratio"], config["sgd_decay"]) == (
        recipe.dense_rate * recipe.batch_size,
        recipe.bias_rate * recipe.batch_size,
        recipe.weight_decay,
    )
    assert float(model.optimizer.learning_rate) == pytest.approx(recipe.learning_rate)
    assert model.loss.get_config()["label_smoothing"] == recipe.label_smoothing == 0.2


def test_fused_batch_normalisation_computes_what_keras_computes():
    """Same output, gradients and running averages as Keras's own layer, and the same weights."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    images = (rng.normal(size=(64, 13, 13, 8)) * 3 + 1).astype(np.float32)
    weights = rng.normal(size=images.shape).astype(np.float32)
    results = []
    for layer in (
        keras.layers.BatchNormalization(momentum=0.9),
        FusedBatchNormalization(momentum=0.9),
    ):
        layer.build(images.shape)
        layer.gamma.assign(np.linspace(0.5, 2, 8))
        inputs = tf.constant(images)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            loss = tf.reduce_mean(outputs**2 * weights)
        gradients = tape.gradient(loss, [inputs, layer.gamma.value, layer.beta.value])
        results.append([outputs, *gradients, layer.moving_mean.value, layer.moving_variance.value])
    for theirs, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_fused_network_has_the_same_weights_and_the_same_function():
    recipe = get_recipe("baseline")
    plain, fused = build_model(recipe), build_model(recipe, training=True)
    assert FusedBatchNormalization in {type(layer) for layer in fused.layers}
    assert FusedBatchNormalization not in {type(layer) for layer in plain.layers}
    fused.set_weights(plain.get_weights())
    assert [w.path for w in fused.weights] == [w.path for w in plain.weights]
    images = np.random.default_rng(1).random((4, 32, 32, 3), np.float32)
    np.testing.assert_array_equal(plain.predict_on_batch(images), fused.predict_on_batch(images))
