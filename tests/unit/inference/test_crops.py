"""What is cut out of an image is what its box states."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cifar_utils.inference.crops import choose_boxes, cut_out, square_at
from cifar_utils.inference.images import NEUTRAL_GREY

SIZES = st.integers(1, 3000)


@given(SIZES, SIZES)
def test_every_box_is_whole_and_inside(width, height):
    for left, top, right, bottom in choose_boxes(width, height):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert all(isinstance(edge, int) for edge in (left, top, right, bottom))
    assert square_at(300, 200, (1, 0), 0.5) == (200, 0, 300, 100)


def test_a_thumbnail_comes_through_as_it_is_and_once():
    assert choose_boxes(32, 32) == [(0, 0, 32, 32)]
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(cut_out(Image.fromarray(pixels), [(0, 0, 32, 32)])[0], pixels)


def test_a_box_shows_its_own_part_only_and_grey_beyond_the_image():
    image = Image.new("RGB", (200, 100), (255, 0, 0))
    image.paste((0, 0, 255), (100, 0, 200, 100))
    left, right, boxed = cut_out(image, [(0, 0, 100, 100), (100, 0, 200, 100), (0, -50, 200, 150)])
    assert (left == (255, 0, 0)).all()
    assert (right == (0, 0, 255)).all()
    assert (boxed[0, 0] == NEUTRAL_GREY).all()
    np.testing.assert_allclose(boxed[16, 5], (255, 0, 0), atol=3)


def test_scaling_down_is_antialiased_and_extreme_shapes_work():
    y, x = np.mgrid[:512, :512]
    checks = np.repeat((255 * ((x + y) % 2)).astype(np.uint8)[:, :, None], 3, axis=2)
    for view in cut_out(Image.fromarray(checks), choose_boxes(512, 512)):
        np.testing.assert_allclose(view, 127, atol=4)  # unfiltered, it would be black or white
    for size in ((1, 1), (5000, 1), (7, 3000)):
        assert (cut_out(Image.new("RGB", size, (9, 9, 9)), choose_boxes(*size)) == 9).all()
