"""Scaling, one-hot labels, the split, and the plan of an epoch."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cifar_utils.data.augmentation import Augmentation
from cifar_utils.data.preprocessing import (
    EpochPlan,
    Preprocessing,
    one_hot,
    scale_images,
    split_train_val,
    spread_sizes,
)
from cifar_utils.errors import ParameterError
from cifar_utils.runs.recipes import get_recipe

SEEDS = st.integers(0, 2**31 - 1)


def test_scaling_divides_by_255_and_refuses_what_may_be_scaled_already():
    images = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(scale_images(images), images.astype(np.float32) / np.float32(255))
    assert scale_images(images).dtype == np.float32
    for dtype in (np.float32, np.int64, bool):
        with pytest.raises(ValueError, match=f"must be uint8 .* not {np.dtype(dtype)}"):
            scale_images(np.ones((1, 2, 2, 3), dtype))


@settings(deadline=None)
@given(st.lists(st.integers(0, 9)), st.booleans())
def test_one_hot_rows_hold_a_single_one_at_the_label(labels, as_column):
    labels = np.array(labels, np.int64)
    rows = one_hot(labels[:, None] if as_column else labels)
    assert rows.shape == (len(labels), 10)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows.sum(1), 1)
    np.testing.assert_array_equal(rows.argmax(1), labels)


def test_one_hot_refuses_a_label_that_is_no_class():
    for labels in ([0, 10], [-1, 3]):
        with pytest.raises(ValueError, match=r"0\.\.9, but run from"):
            one_hot(labels)


@settings(deadline=None)
@given(
    hnp.arrays(np.int64, st.integers(100, 400), elements=st.integers(0, 4)),
    st.floats(0.0, 0.5),
    SEEDS,
)
def test_a_split_is_disjoint_covering_and_stratified(labels, val_fraction, seed):
    counts = np.bincount(labels)
    if val_fraction and not round(counts[counts > 0].min() * val_fraction):
        with pytest.raises(ParameterError, match="without a validation image"):
            split_train_val(labels, val_fraction, seed)
        return
    train, val = split_train_val(labels, val_fraction, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, val])), np.arange(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(val) > 0).all()
    for label in np.unique(labels):
        share = (labels[val] == label).sum()
        assert abs(share - val_fraction * (labels == label).sum()) <= 0.5


@pytest.mark.parametrize("val_fraction", [-0.1, float("nan")])
def test_a_share_out_of_range_is_refused(val_fraction):
    with pytest.raises(ParameterError, match=r"from 0 to 0\.5"):
        split_train_val(np.zeros(10, int), val_fraction, 0)


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 400), st.integers(0, 50), SEEDS)
def test_an_epoch_shows_each_image_exactly_once(n, batch_size, epoch, seed):
    plan = EpochPlan(n, batch_size, Preprocessing(seed, 0.1, Augmentation()), epoch)
    steps = [plan.step(i) for i in range(len(plan))]
    assert sorted(np.concatenate([step[0] for step in steps])) == list(range(n))
    assert all(len(step[0]) == len(step[1]) == len(step[2]) > 0 for step in steps)
    assert {len(step[0]) for step in steps[:-1]} <= {batch_size}


def test_an_epoch_is_a_function_of_seed_and_epoch():
    def plan(seed, epoch):
        return EpochPlan(500, 32, Preprocessing(seed, 0.1, Augmentation()), epoch)

    first, again = plan(0, 3), plan(0, 3)
    np.testing.assert_array_equal(first.order, again.order)
    np.testing.assert_array_equal(first.transforms, again.transforms)
    for other in (plan(0, 4), plan(1, 3)):
        assert (first.order == other.order).mean() < 0.05
        assert (first.transforms[:, 1] == other.transforms[:, 1]).mean() < 0.05


def test_preprocessing_survives_its_json_file():
    recipe = get_recipe("quick", rotation=7, flip=False)
    chosen = Preprocessing.from_recipe(recipe, 5)
    moves = Augmentation(7.0, recipe.shift, False, alternating=True, whole_pixels=True)
    assert chosen == Preprocessing(5, 0.1, moves, (24, 24, 32))
    assert Preprocessing.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen


# Sizes of the training images


@pytest.mark.parametrize(
    ("shares", "epochs", "sizes"),
    [
        (((24, 0.7), (32, 0.3)), 1, (32,)),  # the last epoch is always at full size
        (((24, 0.7), (32, 0.3)), 3, (24, 24, 32)),
        (((24, 0.7), (32, 0.3)), 10, (24,) * 7 + (32,) * 3),
        (((16, 0.25), (24, 0.25), (32, 0.5)), 4, (16, 24, 32, 32)),
    ],
)
def test_sizes_are_spread_over_the_epochs(shares, epochs, sizes):
    assert spread_sizes(shares, epochs) == sizes


# The fast network's moves


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 200), st.integers(0, 50), SEEDS)
def test_over_two_epochs_every_image_is_mirrored_exactly_once(n, epoch, seed):
    moves = Augmentation(0.0, 0.0625, True, alternating=True, whole_pixels=True)
    mirrored = []
    for offset in range(3):
        plan = EpochPlan(n, 16, Preprocessing(seed, 0.1, moves), epoch + offset)
        by_image = np.empty(n, bool)
        by_image[plan.order] = plan.transforms[:, 0] < 0
        mirrored.append(by_image)
    np.testing.assert_array_equal(mirrored[0], ~mirrored[1])
    np.testing.assert_array_equal(mirrored[0], mirrored[2])
