"""What the recipes train, and that changes of them are checked."""

import dataclasses

import pytest

from cifar_utils.data.preprocessing import Preprocessing
from cifar_utils.errors import ParameterError
from cifar_utils.runs.parameters import PARAMETERS, check_parameters
from cifar_utils.runs.recipes import RECIPE_FIELDS, RECIPES, get_recipe


def test_baseline_is_the_original():
    baseline = get_recipe("baseline")
    original = {
        "epochs": 100,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "schedule": "code",
        "val_fraction": 0.0,
        "rotation": 15.0,
        "shift": 0.1,
        "flip": True,
        "dropout": 0.2,
        "precision": "float32",
    }
    assert {name: getattr(baseline, name) for name in original} == original


@pytest.mark.parametrize("name", ["quick", "fast", "accurate"])
def test_the_fast_recipes_train_the_fast_network(name):
    recipe = get_recipe(name)
    assert (recipe.network, recipe.optimizer, recipe.schedule) == ("fast", "muon", "linear")
    assert len(recipe.widths) == 3
    assert sum(share for _, share in recipe.sizes) == pytest.approx(1)
    assert recipe.sizes[-1][0] == 32  # it ends on the images that it will be asked about
    moves = Preprocessing.from_recipe(recipe, 0).augmentation
    assert moves.only_moves_pixels
    assert moves.alternating


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_obeys_the_parameters_own_ranges(name):
    recipe = get_recipe(name)
    assert recipe.name == name
    shared = {field: getattr(recipe, field) for field in RECIPE_FIELDS if field in PARAMETERS}
    assert check_parameters(shared) == shared
    assert {f: type(v) for f, v in shared.items()} == {f: PARAMETERS[f].type for f in shared}


def test_changes_replace_only_what_is_given():
    changed = get_recipe("baseline", epochs="5", flip=None, seed=3, dataset="synthetic")
    assert changed == dataclasses.replace(RECIPES["baseline"], epochs=5)
    assert RECIPES["baseline"].epochs == 100


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("qick", {}, "Did you mean 'quick'"),
        ("quick", {"epochs": 0}, "epochs must be an integer from 1 to 10000"),
        ("quick", {"schedule": "prosa"}, "Did you mean 'prose'"),
    ],
)
def test_a_wrong_recipe_or_change_is_refused(name, changes, message):
    with pytest.raises(ParameterError, match=message):
        get_recipe(name, **changes)
