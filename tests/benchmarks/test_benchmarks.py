"""The benchmarks' arithmetic, on made-up measurements: what they write is what they measured."""

import dataclasses
import json

import ablation
import numpy as np
import photographs
import pytest
import scaling
import short_training
import test_set_leak

from cifar_utils.data import load_dataset
from cifar_utils.data.preprocessing import Preprocessing
from cifar_utils.inference.crops import choose_boxes, choose_crop
from cifar_utils.plots.speed import WHOLE
from cifar_utils.runs import get_recipe


def test_the_leak_is_what_the_test_sets_own_choice_adds():
    result = test_set_leak.compare_choices([800, 700, 650], [0.5, 0.7, 0.6], 1000)
    assert [choice["epoch"] for choice in result["choices"].values()] == [3, 2, 1]
    assert [choice["value"] for choice in result["choices"].values()] == [0.65, 0.7, 0.8]
    assert result["leak"] == {"over_last_epoch": 0.15, "over_validation": 0.1}


# ---------- photographs ---------------------------------------------------------------------------


def test_what_the_classifier_does_is_among_what_was_compared():
    boxes = photographs.list_boxes(300, 200)
    for parts in photographs.WAYS.values():
        assert set(parts) <= set(boxes)
    chosen = [boxes[name] for name in photographs.WAYS[photographs.CHOSEN[0]]]
    assert list(map(tuple, choose_boxes(300, 200))) == list(map(tuple, chosen))
    probs = np.array([[[0.6, 0.4], [0.1, 0.9], [0.5, 0.5]]])
    surest = photographs.AVERAGES[photographs.CHOSEN[1]](probs)[0]
    np.testing.assert_array_equal(surest, probs[0, choose_crop(probs[0])])


# ---------- short trainings -----------------------------------------------------------------------


def test_a_short_training_is_measured_on_the_images_held_out(monkeypatch):
    data = load_dataset("synthetic")
    data = dataclasses.replace(
        data, train_images=data.train_images[:300], train_labels=data.train_labels[:300]
    )
    recipe = dataclasses.replace(
        get_recipe("quick", epochs=1, batch_size=50), widths=(8,), steps_per_execution=1
    )
    seen = []

    def predict(model, images):
        seen.append(len(images))
        return np.eye(10)[labels[: len(images)]]

    _, held_out = Preprocessing.from_recipe(recipe, 1).split(data.train_labels)
    labels = data.train_labels[held_out]
    monkeypatch.setattr("cifar_utils.training.predict_probs", predict, raising=False)
    row = short_training.train(recipe, data, seed=1)
    assert (row["accuracy"], row["accuracy_tta"]) == (1, 1)
    assert seen == [len(held_out)] * 6
    assert row["seconds"] > 0


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Let trainings take no time; lists the recipes that they had."""
    recipes = []

    def train(recipe, dataset, seed=0):
        recipes.append(recipe)
        return {"seconds": 2.0, "accuracy": 0.7, "accuracy_tta": 0.8}

    monkeypatch.setattr(short_training, "train", train)
    for module in (ablation, scaling):
        monkeypatch.setattr(module, "FILE", tmp_path / "measured.json")
        monkeypatch.setattr(module, "load_dataset", lambda name: load_dataset("synthetic"))
    return recipes


def test_the_ablation_trains_only_what_is_missing(trained):
    ablation.main("quick")
    assert len(trained) == 3 * (1 + len(ablation.TRICKS))
    kept = json.loads(ablation.FILE.read_text())
    assert kept["quick"]["accuracy"][WHOLE] == [0.8, 0.8, 0.8]
    assert kept["quick"]["accuracy"]["without test-time augmentation"] == [0.7, 0.7, 0.7]
    # One training stopped before its end, and one was of another form of its trick.
    del kept["quick"]["rows"][-1]
    kept["quick"]["rows"][1]["changes"] = {"whitening": "another"}
    ablation.FILE.write_text(json.dumps(kept))
    del trained[:]
    ablation.main("quick")
    assert len(trained) == 2
    # Another form of the recipe: all again.
    kept["quick"]["recipe"]["epochs"] = 99
    ablation.FILE.write_text(json.dumps(kept))
    ablation.main("quick")
    assert len(trained) == 2 + 30
    # The rates of SGD are kept in the same file, and the chosen one is among them.
    ablation.main("quick", "sgd")
    assert (
        ablation.leave_out(get_recipe("quick", val_fraction=0.1), "Muon (SGD instead)")
        in (trained[32:])
    )
    assert len(json.loads(ablation.FILE.read_text())["quick"]["rows"]) == 30


def test_the_scaling_trains_only_what_is_missing(trained):
    scaling.main()
    assert [recipe.epochs for recipe in trained if recipe.name == "quick"] == [1, 2, 5]
    result = json.loads(scaling.FILE.read_text())
    result["recipes"]["fast"]["epochs"] = 13
    scaling.FILE.write_text(json.dumps(result))
    del trained[:]
    scaling.main()
    assert [recipe.name for recipe in trained] == ["fast", "fast"]
