"""What is cut out of an image is what its box states."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cifar_utils.inference.crops import choose_boxes, cut_out, letterbox, square_at, whole
from cifar_utils.inference.images import NEUTRAL_GREY, open_picture

SIZES = st.integers(1, 3000)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@given(SIZES, SIZES)
def test_every_box_is_whole_and_inside_and_covers_the_middle(width, height):
    for left, top, right, bottom in choose_boxes(width, height):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert all(isinstance(edge, int) for edge in (left, top, right, bottom))
    left, top, right, bottom = letterbox(width, height)
    assert right - left == bottom - top == max(width, height)


def test_a_thumbnail_is_shown_as_it_is_and_once():
    assert choose_boxes(32, 32) == [(0, 0, 32, 32)]
    pixels = noise(32, 32, 3)
    np.testing.assert_array_equal(cut_out(Image.fromarray(pixels), [(0, 0, 32, 32)])[0], pixels)


def test_squares_lie_where_they_should():
    assert square_at(300, 200, (0.5, 0.5)) == (50, 0, 250, 200)
    assert square_at(300, 200, (1, 0), 0.5) == (200, 0, 300, 100)
    assert whole(300, 200) == (0, 0, 300, 200)


def test_a_box_shows_its_own_part_only_and_grey_beyond_the_picture():
    picture = Image.new("RGB", (200, 100), (255, 0, 0))
    picture.paste((0, 0, 255), (100, 0, 200, 100))
    left, right, boxed = cut_out(
        picture, [(0, 0, 100, 100), (100, 0, 200, 100), (0, -50, 200, 150)]
    )
    assert (left == (255, 0, 0)).all()
    assert (right == (0, 0, 255)).all()
    assert (boxed[0, 0] == NEUTRAL_GREY).all()
    np.testing.assert_allclose(boxed[16, 5], (255, 0, 0), atol=3)


@settings(max_examples=25, deadline=None)
@given(pixels=st.binary(min_size=32 * 32 * 3, max_size=32 * 32 * 3))
def test_a_32x32_picture_comes_through_unchanged(pixels):
    image = np.frombuffer(pixels, np.uint8).reshape(32, 32, 3)
    for source in (image, Image.fromarray(image)):
        picture = open_picture(source)
        np.testing.assert_array_equal(cut_out(picture, choose_boxes(*picture.size))[0], image)


def test_scaling_down_is_antialiased():
    y, x = np.mgrid[:512, :512]
    checks = np.repeat((255 * ((x + y) % 2)).astype(np.uint8)[:, :, None], 3, axis=2)
    for view in cut_out(Image.fromarray(checks), choose_boxes(512, 512)):
        np.testing.assert_allclose(view, 127, atol=4)  # unfiltered, it would be black or white


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (1, 5000), (31, 33), (7, 3000)])
def test_extreme_shapes_still_give_views(size):
    assert (cut_out(Image.new("RGB", size, (255, 0, 0)), choose_boxes(*size)) == (255, 0, 0)).all()
