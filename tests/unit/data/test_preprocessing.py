"""Scaling, one-hot labels, the split and the drawn augmentation, in NumPy alone."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cifar_utils.data.preprocessing import (
    GREY,
    Augmentation,
    EpochPlan,
    Preprocessing,
    one_hot,
    scale_images,
    split_train_val,
    spread_sizes,
    standardise_images,
)
from cifar_utils.data.statistics import compute_channel_statistics
from cifar_utils.errors import ParameterError
from cifar_utils.runs.recipes import get_recipe

SEEDS = st.integers(0, 2**31 - 1)
images_of_any_content = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 4), st.just(5), st.just(5), st.just(3))
)


@settings(deadline=None)
@given(images_of_any_content)
def test_scaling_divides_by_255(images):
    scaled = scale_images(images)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, images.astype(np.float32) / np.float32(255))
    assert scaled.min() >= 0
    assert scaled.max() <= 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int8, bool])
def test_scaling_refuses_what_may_be_scaled_already(dtype):
    with pytest.raises(ValueError, match=f"must be uint8 .* not {np.dtype(dtype)}"):
        scale_images(np.ones((1, 2, 2, 3), dtype))


@pytest.mark.filterwarnings("error")
@settings(deadline=None)
@given(images_of_any_content)
def test_statistics_are_those_of_numpy(images):
    mean, std = compute_channel_statistics(images)
    floats = images.astype(np.float64) / 255
    np.testing.assert_allclose(mean, floats.mean((0, 1, 2)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(std, floats.std((0, 1, 2)), rtol=0, atol=1e-7)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("level", range(0, 256, 5))
def test_statistics_of_one_flat_colour_are_numbers(level):
    mean, std = compute_channel_statistics(np.full((3, 32, 32, 3), level, np.uint8))
    np.testing.assert_allclose(mean, level / 255)
    np.testing.assert_allclose(std, 0, atol=1e-7)


def test_standardised_images_have_mean_zero_and_deviation_one():
    images = np.random.default_rng(0).integers(0, 200, (20, 32, 32, 3), np.uint8)
    standard = standardise_images(images, *compute_channel_statistics(images))
    assert standard.dtype == np.float32
    np.testing.assert_allclose(standard.mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(standard.std((0, 1, 2)), 1, atol=1e-4)


@settings(deadline=None)
@given(st.lists(st.integers(0, 9)), st.booleans())
def test_one_hot_rows_hold_a_single_one_at_the_label(labels, as_column):
    labels = np.array(labels, np.int64)
    rows = one_hot(labels[:, None] if as_column else labels)
    assert rows.shape == (len(labels), 10)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows.sum(1), 1)
    np.testing.assert_array_equal(rows.argmax(1), labels)


@pytest.mark.parametrize("labels", [[0, 10], [-1, 3]])
def test_one_hot_refuses_a_label_that_is_no_class(labels):
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


def test_a_split_depends_on_the_seed_alone():
    labels = np.repeat(np.arange(10), 100)
    first, again, other = (split_train_val(labels, 0.1, seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert len(np.intersect1d(first, other)) < 50
    assert len(first) == 100


def test_no_validation_share_holds_out_nothing():
    train, val = split_train_val(np.repeat(np.arange(10), 3), 0.0, 0)
    assert len(train) == 30
    assert len(val) == 0


@pytest.mark.parametrize("val_fraction", [-0.1, 0.51, float("nan")])
def test_a_share_out_of_range_is_refused(val_fraction):
    with pytest.raises(ParameterError, match=r"from 0 to 0\.5"):
        split_train_val(np.zeros(10, int), val_fraction, 0)


@settings(deadline=None)
@given(st.integers(2, 5_000))
def test_a_share_too_small_is_refused_and_the_one_advised_works(per_class):
    labels = np.zeros(per_class, int)
    with pytest.raises(ParameterError, match="without a validation image") as caught:
        split_train_val(labels, 0.1 / per_class, 0)
    advised = float(str(caught.value).split("at least ")[1].split(",")[0])
    assert len(split_train_val(labels, advised, 0)[1]) >= 1


def decompose(rows):
    """Read a transform's determinant, angle in degrees and shift of the centre in pixels."""
    a0, a1, a2, b0, b1, b2 = rows[:, :6].T.astype(float)
    matrix = np.stack([np.stack([a0, a1], -1), np.stack([b0, b1], -1)], 1)
    centre = np.full((len(rows), 2), 15.5)
    offset = np.stack([a2, b2], -1)
    # The output point that shows the centre of the input.
    shown_at = np.linalg.solve(matrix, (centre - offset)[..., None])[..., 0]
    return np.linalg.det(matrix), np.rad2deg(np.arctan2(-b0, b1)), shown_at - centre


@settings(deadline=None)
@given(st.floats(0, 180), st.floats(0, 0.5), st.booleans(), SEEDS)
def test_every_draw_is_a_rigid_move_within_its_ranges(rotation, shift, flip, seed):
    rows = Augmentation(rotation, shift, flip).draw(50, np.random.default_rng(seed))
    assert rows.shape == (50, 8)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows[:, 6:], 0)
    determinant, angle, moved = decompose(rows)
    np.testing.assert_allclose(np.abs(determinant), 1, atol=1e-5)
    assert flip or (determinant > 0).all()
    assert (np.abs(angle) <= rotation + 1e-3).all()
    assert (np.abs(moved) <= shift * 32 + 1e-3).all()


def test_draws_fill_their_ranges_both_ways():
    rows = Augmentation(15.0, 0.1, True).draw(4000, np.random.default_rng(0))
    determinant, angle, moved = decompose(rows)
    assert 0.45 < (determinant < 0).mean() < 0.55
    assert angle.min() < -14.5
    assert angle.max() > 14.5
    assert (moved.min(0) < -3.1).all()
    assert (moved.max(0) > 3.1).all()
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.1


def test_no_augmentation_is_the_identity():
    rows = Augmentation(0, 0, False).draw(3, np.random.default_rng(0))
    np.testing.assert_array_equal(rows, [[1, 0, 0, 0, 1, 0, 0, 0]] * 3)


def make_preprocessing(seed=0):
    return Preprocessing(seed, 0.1, Augmentation())


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 400), st.integers(0, 50), SEEDS)
def test_an_epoch_shows_each_image_exactly_once(n, batch_size, epoch, seed):
    plan = EpochPlan(n, batch_size, make_preprocessing(seed), epoch)
    steps = [plan.step(i) for i in range(len(plan))]
    assert sorted(np.concatenate([step[0] for step in steps])) == list(range(n))
    assert all(len(step[0]) == len(step[1]) == len(step[2]) > 0 for step in steps)
    assert {len(step[0]) for step in steps[:-1]} <= {batch_size}


def test_an_epoch_is_a_function_of_seed_and_epoch():
    def order_and_transforms(seed, epoch):
        plan = EpochPlan(500, 32, make_preprocessing(seed), epoch)
        return plan.order, plan.transforms

    first, again = order_and_transforms(0, 3), order_and_transforms(0, 3)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    for other in (order_and_transforms(0, 4), order_and_transforms(1, 3)):
        assert (first[0] == other[0]).mean() < 0.05
        assert (first[1][:, 1] == other[1][:, 1]).mean() < 0.05


def test_preprocessing_survives_its_json_file():
    recipe = get_recipe("quick", rotation=7, flip=False)
    chosen = Preprocessing.from_recipe(recipe, 5)
    moves = Augmentation(7.0, recipe.shift, False, alternating=True, whole_pixels=True)
    assert chosen == Preprocessing(5, 0.1, moves, (24, 24, 32))
    assert Preprocessing.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen


def test_a_file_from_before_the_fast_network_means_what_it_meant():
    old = {"rotation": 15.0, "shift": 0.1, "flip": True}
    saved = {"seed": 3, "val_fraction": 0.1, "augmentation": old}
    loaded = Preprocessing.from_json(saved)
    assert loaded == Preprocessing(3, 0.1, Augmentation(15.0, 0.1, True, False, False), (32,))
    assert [loaded.size_in(epoch) for epoch in (0, 50)] == [32, 32]


# Sizes of the training images


@pytest.mark.parametrize(
    ("shares", "epochs", "sizes"),
    [
        (((32, 1.0),), 2, (32, 32)),
        (((24, 0.7), (32, 0.3)), 1, (32,)),  # the last epoch is always at full size
        (((24, 0.7), (32, 0.3)), 3, (24, 24, 32)),
        (((24, 0.7), (32, 0.3)), 9, (24,) * 6 + (32,) * 3),
        (((24, 0.7), (32, 0.3)), 10, (24,) * 7 + (32,) * 3),
        (((16, 0.25), (24, 0.25), (32, 0.5)), 4, (16, 24, 32, 32)),
    ],
)
def test_sizes_are_spread_over_the_epochs(shares, epochs, sizes):
    assert spread_sizes(shares, epochs) == sizes


@settings(deadline=None)
@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=5),
    st.lists(st.integers(8, 64), min_size=5, max_size=5, unique=True),
    st.integers(1, 200),
)
def test_sizes_come_in_their_order_for_about_their_shares(weights, sides, epochs):
    shares = [weight / sum(weights) for weight in weights]
    sizes = spread_sizes(tuple(zip(sides[: len(shares)], shares, strict=True)), epochs)
    assert len(sizes) == epochs
    places = [sides.index(size) for size in sizes]
    assert places == sorted(places)
    assert max(places) < len(shares)
    assert places[-1] == len(shares) - 1
    for place, share in enumerate(shares):
        # One more or less by rounding, and one that the last size took.
        assert abs(places.count(place) - share * epochs) <= 2 + 1e-6


def test_the_last_size_holds_for_all_later_epochs():
    preprocessing = Preprocessing(0, 0.1, Augmentation(), (24, 24, 32))
    sizes = [EpochPlan(5, 2, preprocessing, epoch).size for epoch in (0, 1, 2, 3, 99)]
    assert sizes == [24, 24, 32, 32, 32]


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


def test_alternating_mirrors_half_of_the_images_and_never_where_mirroring_is_off():
    plan = EpochPlan(2000, 100, Preprocessing(0, 0.1, Augmentation(alternating=True)), 0)
    mirrored = decompose(plan.transforms)[0] < 0
    assert 0.45 < mirrored.mean() < 0.55
    off = Preprocessing(0, 0.1, Augmentation(flip=False, alternating=True))
    for epoch in (0, 1):
        assert (decompose(EpochPlan(50, 100, off, epoch).transforms)[0] > 0).all()


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 0.5), st.booleans(), SEEDS)
def test_whole_pixels_shift_by_integers_in_range(shift, flip, seed):
    moves = Augmentation(0.0, shift, flip, whole_pixels=True)
    rows = moves.draw(60, np.random.default_rng(seed))
    moved = decompose(rows)[2]
    np.testing.assert_allclose(moved, np.rint(moved), atol=1e-4)
    assert np.abs(moved).max() <= round(shift * 32) + 1e-4
    assert moves.only_moves_pixels


def test_whole_pixels_take_every_value_of_their_range():
    moves = Augmentation(0.0, 0.0625, True, whole_pixels=True)
    moved = np.rint(decompose(moves.draw(2000, np.random.default_rng(0)))[2])
    for axis in (0, 1):
        values, counts = np.unique(moved[:, axis], return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert counts.min() > 300


def test_turned_or_finely_shifted_images_mix_pixels():
    assert not Augmentation(1.0, 0.0625, whole_pixels=True).only_moves_pixels
    assert not Augmentation(0.0, 0.0625).only_moves_pixels


@settings(deadline=None, max_examples=30)
@given(st.floats(0.25, 0.99), st.floats(0.1, 1.0), SEEDS)
def test_some_images_are_reduced_within_the_range_and_stay_in_the_middle(zoom_out, share, seed):
    moves = Augmentation(0.0, 0.0, False, whole_pixels=True, zoom_out=zoom_out, zoom_share=share)
    rows = moves.draw(400, np.random.default_rng(seed)).astype(np.float64)
    reach = rows[:, 0]  # how many of the image's pixels one pixel of the result steps over
    np.testing.assert_array_equal(reach, rows[:, 4])
    assert (reach >= 1).all()
    assert reach.max() <= 1 / zoom_out + 1e-5
    assert abs((reach > 1).mean() - share) < 0.15
    np.testing.assert_allclose(reach * 15.5 + rows[:, 2], 15.5, atol=1e-3)
    np.testing.assert_allclose(reach * 15.5 + rows[:, 5], 15.5, atol=1e-3)
    assert not moves.only_moves_pixels


def test_without_a_reduction_nothing_else_is_drawn_than_before_there_was_one():
    plain = Augmentation(3.0, 0.1).draw(50, np.random.default_rng(0))
    off = Augmentation(3.0, 0.1, zoom_out=1.0, zoom_share=0.9).draw(50, np.random.default_rng(0))
    np.testing.assert_array_equal(plain, off)


# A square painted over


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 24), SEEDS)
def test_the_square_is_whole_and_grey_and_hides_nothing_else(side, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (20, 32, 32, 3), np.uint8)
    before, moves = images.copy(), Augmentation(cutout=side)
    corners = moves.draw_corners(20, rng)
    cut = moves.cut(images, corners)
    np.testing.assert_array_equal(images, before)
    assert cut.dtype == np.uint8
    for image, (top, left), own in zip(images, corners, cut, strict=True):
        assert own[top : top + side, left : left + side].shape == (side, side, 3)
        image[top : top + side, left : left + side] = GREY
        np.testing.assert_array_equal(own, image)


def test_squares_reach_every_corner_and_change_from_epoch_to_epoch():
    plans = [
        EpochPlan(3000, 100, Preprocessing(0, 0.1, Augmentation(cutout=24)), e) for e in (0, 1)
    ]
    for plan in plans:
        assert set(map(tuple, plan.corners)) == set(np.ndindex(9, 9))
    assert (plans[0].corners == plans[1].corners).all(1).mean() < 0.05


def test_cutting_out_changes_no_other_draw():
    plain = EpochPlan(200, 50, Preprocessing(0, 0.1, Augmentation()), 3)
    cut = EpochPlan(200, 50, Preprocessing(0, 0.1, Augmentation(cutout=12)), 3)
    np.testing.assert_array_equal(plain.order, cut.order)
    np.testing.assert_array_equal(plain.transforms, cut.transforms)
