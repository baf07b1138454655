"""The heat map points at what the prediction came from, and the diagnosis at what is odd."""

import numpy as np
import pytest
from PIL import Image

from cifar_utils.data import CLASS_NAMES
from cifar_utils.inference import (
    Classifier,
    Prediction,
    compute_heat_map,
    diagnose,
    draw_heat_map,
    list_samples,
)
from cifar_utils.inference.explain import describe_detail


@pytest.fixture(scope="module")
def classifier():
    return Classifier.load()


@pytest.mark.parametrize("place", [(0, 0), (60, 60)])
def test_the_map_follows_the_object(classifier, place):
    cat = Image.open(list_samples()["cat"]).crop((90, 15, 280, 205)).resize((100, 100))
    scene = Image.new("RGB", (160, 160), (120, 130, 125))
    scene.paste(cat, place)
    heat = compute_heat_map(classifier, scene, "cat")
    inside = np.zeros((160, 160), bool)
    inside[place[1] : place[1] + 100, place[0] : place[0] + 100] = True
    assert heat[inside].mean() > 2 * heat[~inside].mean()
    with pytest.raises(ValueError, match="no class 'fish'"):
        compute_heat_map(classifier, scene, "fish")


@pytest.mark.parametrize("size", [(32, 32), (640, 200), (1, 1)])
def test_a_map_has_the_images_size_and_lies_between_0_and_1(classifier, size):
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    heat = compute_heat_map(classifier, image)
    assert heat.shape == (size[1], size[0])
    assert heat.min() >= 0
    assert heat.max() <= 1
    assert max(draw_heat_map(image, heat).size) <= 512


def test_what_does_not_matter_is_drawn_dark_and_grey():
    image = np.full((40, 40, 3), (200, 50, 50), np.uint8)
    heat = np.zeros((40, 40), np.float32)
    heat[:, 20:] = 1
    drawn = np.asarray(draw_heat_map(image, heat)).astype(int)
    np.testing.assert_allclose(drawn[20, 35], (200, 50, 50), atol=2)
    assert drawn[20, 2].max() < 60
    assert np.ptp(drawn[20, 2]) <= 1


# ---------- diagnosis ---------------------------------------------------------------------------


class ByCorner:
    """A green corner at the top left makes a frog, a blue one a ship; all else is a cat."""

    def predict(self, image):
        red, green, blue = image.getpixel((0, 0))
        label = "frog" if green > red else "ship" if blue > red else "cat"
        return make_prediction(label, confident=green > red)

    def predict_box(self, image, box):
        return self.predict(image.crop(box))


def make_prediction(label, confident=False, view=None):
    names = (label, *(name for name in CLASS_NAMES if name != label))
    first = 0.9 if confident else 0.4
    view = np.zeros((32, 32, 3), np.uint8) if view is None else view
    return Prediction(names, (first, *[(1 - first) / 9] * 9), view, (0, 0, *view.shape[1::-1]))


def red_image(place=(100, 50), colour=(255, 0, 0)):
    """A red image, 200 x 100, with one coloured pixel."""
    image = Image.new("RGB", (200, 100), "red")
    image.putpixel(place, colour)
    return image


def test_every_turn_and_crop_is_shown_with_its_prediction():
    found = diagnose(ByCorner(), red_image(), make_prediction("cat"))
    captions = [caption for _, caption in found.turns]
    assert captions[0] == "as it is: cat 40%"
    assert len(captions) == len(found.crops) == 5
    assert found.turns[1][0].size == found.turns[0][0].size[::-1]
    assert found.hints == found.nearest == []
    small = Image.new("RGB", (32, 32), "red")
    assert len(diagnose(ByCorner(), small, make_prediction("cat")).crops) == 1
    assert "finer" not in describe_detail((32, 32), (0, 0, 32, 32))
    assert "finer than 10 pixels" in describe_detail((400, 320), (0, 0, 320, 320))


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
