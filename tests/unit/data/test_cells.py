"""What the cells of notebooks 01 and 02 spell out is what the package does."""

import json

import numpy as np
import pytest

from cifar_utils.data.augmentation import Augmentation, augment_images
from cifar_utils.data.preprocessing import (
    EpochPlan,
    Preprocessing,
    one_hot,
    split_train_val,
)
from cifar_utils.data.synthetic import make_synthetic
from cifar_utils.paths import notebooks_dir
from cifar_utils.runs import get_recipe


def run_cell(name, part, **names):
    """Execute the one code cell that holds `part`; returns its names."""
    text = (notebooks_dir() / f"{name}.ipynb").read_text(encoding="utf-8")
    code = ["".join(c["source"]) for c in json.loads(text)["cells"] if c["cell_type"] == "code"]
    (source,) = (source for source in code if part in source)
    names = {"np": np, **names}
    exec(source, names)
    return names


@pytest.mark.parametrize(("share", "seed"), [(0.1, 0), (0.0, 1)])
def test_the_split_of_notebook_2_is_the_packages(share, seed):
    labels = make_synthetic()[1]
    split = run_cell("02_preprocessing", "def split(")["split"]
    expected = split_train_val(labels, share, seed)
    for own, part in zip(split(labels, share, seed), expected, strict=True):
        np.testing.assert_array_equal(own, part)


def test_the_batch_of_notebook_2_is_what_training_is_given():
    from cifar_utils.training import AugmentedBatches

    images, labels = make_synthetic()[:2]
    train = np.arange(500)
    prep = Preprocessing(3, 0.1, Augmentation(0.0, 0.1, whole_pixels=True, cutout=6))
    cell = run_cell(
        "02_preprocessing", "plan.step(0)",
        EpochPlan=EpochPlan, augment_images=augment_images, images=images, labels=labels,
        train=train, prep=prep, own=prep.augmentation, run=FakeRun,
    )  # fmt: skip
    x, y = AugmentedBatches(images[train], labels[train], FakeRun.recipe.batch_size, prep)[0]
    np.testing.assert_array_equal(cell["x"], x)
    np.testing.assert_array_equal(cell["y"], y)


def test_one_line_of_numpy_is_keras_to_categorical():
    from cifar_utils.backend import keras

    labels = np.array([3, 0, 9, 9])
    own = np.eye(10, dtype="float32")[labels]
    np.testing.assert_array_equal(own, one_hot(labels))
    np.testing.assert_array_equal(own, keras.utils.to_categorical(labels[:, None], 10))


def test_the_originals_augmentation_in_notebook_2_is_the_baselines():
    cell = run_cell(
        "02_preprocessing", "original = Augmentation(",
        Augmentation=Augmentation, seed=0, images=make_synthetic()[0],
        augment_images=augment_images, plots=FakePlots, run=FakeRun,
    )  # fmt: skip
    baseline = Preprocessing.from_recipe(get_recipe("baseline"), 0).augmentation
    assert cell["original"] == baseline
    assert cell["variants"].shape == (15, 32, 32, 3)


class FakePlots:
    def plot_augmentations(*_):
        return None


class FakeRun:
    recipe = get_recipe("quick")

    def show_figure(*_):
        return None
