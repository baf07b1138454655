"""The rate falls where the original's code and text say, and the recipes get their numbers."""

import numpy as np
import pytest

from cifar_utils.backend import keras
from cifar_utils.errors import ParameterError
from cifar_utils.models import build
from cifar_utils.models.muon import Muon
from cifar_utils.runs import RECIPES, get_recipe
from cifar_utils.training import build_schedule, compile_model, compute_learning_rates

STEPS = 2  # per epoch: the first and the last


def train_on_nothing(recipe, lr_schedule=None):
    """Run Adam over all steps of a recipe with a model of one weight.

    Returns:
        The rate Keras really used, shape (epochs, STEPS), read from how far the weight moved: under
        a constant gradient each of Adam's steps is as long as its rate.
    """
    schedule = build_schedule(recipe, STEPS, lr_schedule)
    optimizer = keras.optimizers.Adam(schedule, epsilon=1e-30)
    weight = keras.Variable(np.zeros((1, 1), np.float32))
    optimizer.build([weight])
    moved = []
    for _ in range(recipe.epochs * STEPS):
        optimizer.apply([np.ones((1, 1), np.float32)], [weight])
        moved.append(-float(keras.ops.convert_to_numpy(weight)[0, 0]))
        weight.assign([[0.0]])
    return np.reshape(moved, (recipe.epochs, STEPS))


@pytest.mark.parametrize(
    ("schedule", "parts"),
    [
        ("code", [(0, 30, 1e-3), (31, 60, 1e-4), (61, 90, 1e-5), (91, 99, 1e-6)]),
        ("prose", [(0, 29, 1e-3), (30, 59, 1e-4), (60, 99, 1e-5)]),
    ],
)
def test_the_original_rate_falls_at_the_original_epochs(schedule, parts):
    recipe = get_recipe("baseline", schedule=schedule)
    used = train_on_nothing(recipe)
    for first, last, rate in parts:
        for epoch in (first, last):
            np.testing.assert_allclose(used[epoch, [0, -1]], rate, rtol=1e-4)
    assert sum(last - first + 1 for first, last, _ in parts) == len(used) == 100
    _, plotted = compute_learning_rates(recipe)
    np.testing.assert_allclose(plotted, used[:, 0], rtol=1e-4)


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
    expected = 0.01 * (1 - np.arange(10 * STEPS) / (10 * STEPS))
    np.testing.assert_allclose(train_on_nothing(recipe).ravel(), expected, rtol=1e-3)


def test_a_schedule_of_ones_own_is_used_epoch_by_epoch():
    recipe = get_recipe("quick", epochs=5)
    rates = [0.1, 0.02, 0.02, 0.3, 0.001]
    used = train_on_nothing(recipe, lr_schedule=lambda epoch: rates[epoch])
    np.testing.assert_allclose(used, np.repeat(rates, STEPS).reshape(5, STEPS), rtol=1e-4)


@pytest.mark.parametrize("wrong", [None, "fast", 0, float("nan")])
def test_a_schedule_that_gives_no_rate_is_refused_with_the_epoch(wrong):
    with pytest.raises(ParameterError, match=r"lr_schedule\(2\) gives"):
        build_schedule(get_recipe("quick"), 10, lambda epoch: wrong if epoch == 2 else 0.1)


def test_every_schedule_works_for_the_shortest_training():
    for name, recipe in RECIPES.items():
        schedule = build_schedule(get_recipe(name, epochs=1), 1)
        assert 0 < float(schedule(0)) <= recipe.learning_rate * 1.000001


def test_networks_are_compiled_with_the_numbers_of_their_recipes():
    original, quick = (
        compile_model(build(get_recipe(name)), get_recipe(name), 10)
        for name in ("baseline", "quick")
    )
    assert isinstance(original.optimizer, keras.optimizers.Adam)
    assert original.loss.get_config()["label_smoothing"] == 0
    assert isinstance(quick.optimizer, Muon)
    recipe, config = get_recipe("quick"), quick.optimizer.get_config()
    assert (config["dense_ratio"], config["bias_ratio"], config["sgd_decay"]) == (
        recipe.dense_rate * recipe.batch_size,
        recipe.bias_rate * recipe.batch_size,
        recipe.weight_decay,
    )
    assert float(quick.optimizer.learning_rate) == pytest.approx(recipe.learning_rate)
    assert quick.loss.get_config()["label_smoothing"] == recipe.label_smoothing == 0.2
