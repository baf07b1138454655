"""The heat map points at what the prediction came from, and the diagnosis at what is odd."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_utils.data import CLASS_NAMES
from cifar_utils.errors import ImageError
from cifar_utils.evaluation.calibration import apply_temperature
from cifar_utils.inference.classifier import Classifier, Prediction
from cifar_utils.inference.engines import Engine
from cifar_utils.inference.explain import (
    compute_heat_map,
    describe_detail,
    diagnose,
    draw_heat_map,
)
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


@pytest.mark.parametrize("place", [(0, 0), (60, 60), (30, 30)])
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
    class Sharp(Engine):
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


# ---------- diagnosis ---------------------------------------------------------------------------


class ByCorner:
    """A green corner at the top left makes a frog, a blue one a ship; all else is a cat."""

    def predict(self, image):
        red, green, blue = image.getpixel((0, 0))
        label = "frog" if green > red else "ship" if blue > red else "cat"
        return make_prediction(label, confident=green > red)

    def predict_box(self, image, box):
        return self.predict(image.crop(box))


def make_prediction(label, confident=False):
    names = (label, *(name for name in CLASS_NAMES if name != label))
    first = 0.9 if confident else 0.4
    probs = (first, *[(1 - first) / 9] * 9)
    return Prediction(names, probs, np.zeros((32, 32, 3), np.uint8), (0, 0, 100, 100))


def red_image(place=None, colour=None):
    """A red image, 200 x 100, with one coloured pixel."""
    image = Image.new("RGB", (200, 100), "red")
    if place:
        image.putpixel(place, colour)
    return image


def test_every_turn_and_crop_is_shown_with_its_prediction():
    found = diagnose(ByCorner(), red_image(), make_prediction("cat"))
    captions = [caption for _, caption in found.turns]
    assert captions[0] == "as it is: cat 40%"
    assert len(captions) == len(found.crops) == 5
    assert found.turns[1][0].size == found.turns[0][0].size[::-1]
    assert found.hints == found.nearest == []


@pytest.mark.parametrize(
    ("place", "colour", "words"),
    [
        # Turned left, the corner top right comes to the top left.
        ((199, 0), (0, 255, 0), "on its side: turned left, the network is more confident, of frog"),
        ((199, 0), (0, 0, 255), "Mirrored, the prediction is ship"),
        ((0, 0), (0, 0, 255), "parts of the image are taken for ship"),
    ],
)
def test_what_speaks_against_a_prediction_stands_out(place, colour, words):
    found = diagnose(ByCorner(), red_image(place, colour), make_prediction("cat"))
    assert any(words in hint for hint in found.hints), found.hints


def test_similar_training_images_of_the_same_class_stand_out():
    image = np.zeros((32, 32, 3), np.uint8)
    nearest = [(image, "cat"), (image, "cat"), (image, "deer")]
    found = diagnose(ByCorner(), red_image(), make_prediction("cat"), nearest)
    assert [caption for _, caption in found.nearest] == ["cat", "cat", "deer"]
    assert "2 of the 3 training images that look most alike are" in found.hints[-1]
    others = diagnose(ByCorner(), red_image(), make_prediction("cat"), [(image, "deer")])
    assert others.hints == []


def test_a_thumbnail_has_one_crop_and_loses_no_detail():
    small = Image.new("RGB", (32, 32), "red")
    assert len(diagnose(ByCorner(), small, make_prediction("cat")).crops) == 1
    assert describe_detail((32, 32), (0, 0, 32, 32)) == (
        "Of 32 x 32 pixels, a square of 32 became 32 x 32."
    )
    assert "finer than 10 pixels" in describe_detail((400, 320), (0, 0, 320, 320))
