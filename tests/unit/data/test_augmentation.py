"""Drawn moves stay in their ranges, and images are moved as Keras would move them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_utils.data.augmentation import (
    GREY,
    Augmentation,
    augment_images,
    choose_fill_mode,
    gather_pixels,
)
from cifar_utils.data.preprocessing import scale_images

SEEDS = st.integers(0, 2**31 - 1)
OFF = Augmentation(0.0, 0.0, False)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(5).integers(0, 256, (50, 32, 32, 3), np.uint8)


def decompose(rows):
    """Read a transform's determinant, angle in degrees and shift of the centre in pixels."""
    a0, a1, a2, b0, b1, b2 = rows[:, :6].T.astype(float)
    matrix = np.stack([np.stack([a0, a1], -1), np.stack([b0, b1], -1)], 1)
    centre = np.full((len(rows), 2), 15.5)
    offset = np.stack([a2, b2], -1)
    # The output point that shows the centre of the input.
    shown_at = np.linalg.solve(matrix, (centre - offset)[..., None])[..., 0]
    return np.linalg.det(matrix), np.rad2deg(np.arctan2(-b0, b1)), shown_at - centre


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 180), st.floats(0, 0.5), st.booleans(), SEEDS)
def test_every_draw_is_a_rigid_move_within_its_ranges(rotation, shift, flip, seed):
    rows = Augmentation(rotation, shift, flip).draw(50, np.random.default_rng(seed))
    assert (rows.shape, rows.dtype) == ((50, 8), np.float32)
    np.testing.assert_array_equal(rows[:, 6:], 0)
    determinant, angle, moved = decompose(rows)
    np.testing.assert_allclose(np.abs(determinant), 1, atol=1e-5)
    assert flip or (determinant > 0).all()
    assert (np.abs(angle) <= rotation + 1e-3).all()
    assert (np.abs(moved) <= shift * 32 + 1e-3).all()


@settings(deadline=None, max_examples=15)
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


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 24), SEEDS)
def test_the_square_is_whole_and_grey_and_hides_nothing_else(side, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (20, 32, 32, 3), np.uint8)
    before, moves = images.copy(), Augmentation(cutout=side)
    corners = moves.draw_corners(20, rng)
    cut = moves.cut(images, corners)
    np.testing.assert_array_equal(images, before)
    for image, (top, left), own in zip(images, corners, cut, strict=True):
        assert own[top : top + side, left : left + side].shape == (side, side, 3)
        image[top : top + side, left : left + side] = GREY
        np.testing.assert_array_equal(own, image)


# Images moved


MOVES = {
    "the original's": Augmentation(),
    "far and reduced": Augmentation(180, 0.5, zoom_out=0.3, zoom_share=1.0),
    "mirrored more than once": Augmentation(
        180, 0.5, whole_pixels=True, zoom_out=0.25, zoom_share=1.0
    ),
}


@pytest.mark.parametrize("augmentation", MOVES.values(), ids=MOVES)
def test_images_are_moved_as_keras_moves_them(images, augmentation):
    from cifar_utils.backend import keras

    rows = augmentation.draw(len(images), np.random.default_rng(0))
    moved = augment_images(images, rows, augmentation)
    expected = keras.ops.image.affine_transform(
        scale_images(images),
        rows,
        fill_mode=choose_fill_mode(augmentation),
        data_format="channels_last",
    )
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, keras.ops.convert_to_numpy(expected), atol=1e-4)


def test_no_augmentation_leaves_every_pixel(images):
    rows = OFF.draw(len(images), np.random.default_rng(0))
    np.testing.assert_array_equal(augment_images(images, rows, OFF), scale_images(images))


@settings(deadline=None, max_examples=15)
@given(SEEDS, st.floats(0, 0.5), st.booleans())
def test_whole_pixels_are_numpys_mirror_pad_and_crop(seed, shift, flip):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (6, 32, 32, 3), np.uint8)
    augmentation = Augmentation(0.0, shift, flip, whole_pixels=True)
    rows = augmentation.draw(6, rng)
    moved = gather_pixels(images, rows)
    assert moved.dtype == np.uint8
    for image, row, own in zip(images, rows, moved, strict=True):
        mirrored, down = row[0] < 0, -round(float(row[5]))
        # A row takes output to input: x comes from x - right, or, mirrored, from 31 - (x - right).
        right = round(float(row[2])) - 31 if mirrored else -round(float(row[2]))
        padded = np.pad(image[:, ::-1] if mirrored else image, ((16,), (16,), (0,)), "reflect")
        expected = padded[16 - down : 48 - down, 16 - right : 48 - right]
        np.testing.assert_array_equal(own, expected)
    np.testing.assert_array_equal(augment_images(images, rows, augmentation), scale_images(moved))
