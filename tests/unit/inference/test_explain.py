"""The heat map points at what the answer came from, in the picture's own coordinates."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_utils.errors import ImageError
from cifar_utils.evaluation.calibration import apply_temperature
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.explain import compute_heat_map, draw_heat_map
from cifar_utils.inference.samples import list_samples
from cifar_utils.inference.sources import ModelSource


@pytest.fixture(scope="module")
def classifier():
    return Classifier.load()


@pytest.fixture(scope="module")
def cat():
    """Return the middle of a real photograph of a cat, 100 by 100 pixels."""
    return Image.open(list_samples()["cat"]).crop((90, 15, 280, 205)).resize((100, 100))


def find_centre(heat):
    """Return the centre of mass of a heat map, as shares of its width and height."""
    heat = heat**2
    rows, columns = np.indices(heat.shape)
    height, width = heat.shape
    return (heat * columns).sum() / heat.sum() / width, (heat * rows).sum() / heat.sum() / height


@pytest.mark.parametrize("place", [(0, 0), (60, 0), (0, 60), (60, 60), (30, 30)])
def test_the_map_follows_the_object(classifier, cat, place):
    scene = Image.new("RGB", (160, 160), (120, 130, 125))
    scene.paste(cat, place)
    heat = compute_heat_map(classifier, scene, "cat")
    x, y = find_centre(heat)
    middle = [(edge + 50) / 160 for edge in place]
    assert abs(x - middle[0]) < 0.2
    assert abs(y - middle[1]) < 0.2
    inside = np.zeros((160, 160), bool)
    inside[place[1] : place[1] + 100, place[0] : place[0] + 100] = True
    assert heat[inside].mean() > 2 * heat[~inside].mean()


@pytest.mark.parametrize("size", [(32, 32), (640, 200), (90, 700), (1, 1)])
def test_a_map_has_the_pictures_size_and_lies_between_0_and_1(classifier, size):
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    heat = compute_heat_map(classifier, picture)
    assert heat.shape == (size[1], size[0])
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    assert heat.max() <= 1
    drawn = draw_heat_map(picture, heat)
    assert drawn.mode == "RGB"
    assert max(drawn.size) <= 512


def test_a_network_that_is_very_sure_has_a_map_too(classifier, cat):
    class Sharp:
        name, input_type = "sharp", classifier._engine.input_type
        shapes = classifier._engine.shapes

        def run(self, images):
            return apply_temperature(classifier._engine.run(images), 0.1).astype(np.float32)

    sharp = Classifier(Sharp(), ModelSource(Path("sharp"), {}))
    heat = compute_heat_map(sharp, np.asarray(cat.resize((32, 32))), "cat")
    assert heat.max() == 1


def test_what_does_not_matter_is_drawn_dark_and_grey():
    picture = np.full((40, 40, 3), (200, 50, 50), np.uint8)
    heat = np.zeros((40, 40), np.float32)
    heat[:, 20:] = 1
    drawn = np.asarray(draw_heat_map(picture, heat)).astype(int)
    np.testing.assert_allclose(drawn[20, 35], (200, 50, 50), atol=2)
    assert drawn[20, 2].max() < 60
    assert np.ptp(drawn[20, 2]) <= 1


def test_wrong_input_is_refused(classifier):
    with pytest.raises(ValueError, match="no class 'fish'"):
        compute_heat_map(classifier, np.zeros((32, 32, 3), np.uint8), "fish")
    with pytest.raises(ImageError):
        compute_heat_map(classifier, b"no picture")
