"""What the diagnosis tries, and what it says stands out."""

import dataclasses

import numpy as np
from PIL import Image

from cifar_utils.data import CLASS_NAMES
from cifar_utils.inference.classifier import Prediction
from cifar_utils.inference.diagnosis import describe_detail, diagnose


class ByCorner:
    """A green corner at the top left makes a frog, a blue one a ship; all else is a cat."""

    def predict(self, image):
        red, green, blue = image.getpixel((0, 0))
        return answer("frog" if green > red else "ship" if blue > red else "cat", green > red)

    def predict_box(self, image, box):
        return self.predict(image.crop(box))


def answer(label, sure=False):
    names = (label, *(name for name in CLASS_NAMES if name != label))
    first = 0.9 if sure else 0.4
    probs = (first, *[(1 - first) / 9] * 9)
    return Prediction(names, probs, np.zeros((32, 32, 3), np.uint8), (0, 0, 100, 100))


def picture(**corners):
    """A red picture, 200 x 100, with coloured corners."""
    image = Image.new("RGB", (200, 100), "red")
    places = {"top_left": (0, 0), "top_right": (199, 0), "bottom_left": (0, 99)}
    for name, colour in corners.items():
        image.putpixel(places[name], colour)
    return image


def test_every_turn_and_crop_is_shown_with_its_answer():
    found = diagnose(ByCorner(), picture(), answer("cat"))
    assert [caption for _, caption in found.turns] == [
        "as it is: cat 40%",
        "turned left: cat 40%",
        "upside down: cat 40%",
        "turned right: cat 40%",
        "mirrored: cat 40%",
    ]
    assert len(found.crops) == 5
    assert found.turns[1][0].size == found.turns[0][0].size[::-1]
    assert found.hints == []
    assert found.nearest == []


def test_a_turn_that_is_surer_stands_out():
    # Turned left, the corner top right comes to the top left.
    found = diagnose(ByCorner(), picture(top_right=(0, 255, 0)), answer("cat"))
    assert "It may lie on its side: turned left" in found.hints[0]
    assert "frog 90%" in found.hints[0]
    mirrored = diagnose(ByCorner(), picture(top_right=(0, 0, 255)), answer("cat"))
    assert any("Mirrored, the answer is ship" in hint for hint in mirrored.hints)
    assert not any("on its side" in hint for hint in mirrored.hints)


def test_crops_that_disagree_stand_out():
    found = diagnose(ByCorner(), picture(top_left=(0, 0, 255)), answer("cat"))
    assert any("parts of the picture are taken for ship" in hint for hint in found.hints)


def test_alike_training_images_of_the_same_class_stand_out():
    image = np.zeros((32, 32, 3), np.uint8)
    nearest = [(image, "cat"), (image, "cat"), (image, "deer")]
    found = diagnose(ByCorner(), picture(), answer("cat"), nearest)
    assert [caption for _, caption in found.nearest] == ["cat", "cat", "deer"]
    assert "2 of the 3 training images that look most alike are" in found.hints[-1]
    others = diagnose(ByCorner(), picture(), answer("cat"), [(image, "deer")])
    assert others.hints == []


def test_a_thumbnail_has_one_crop():
    small = dataclasses.replace(answer("cat"), box=(0, 0, 32, 32))
    found = diagnose(ByCorner(), Image.new("RGB", (32, 32), "red"), small)
    assert len(found.crops) == 1
    assert describe_detail((32, 32), small.box) == (
        "Of 32 x 32 pixels, a square of 32 became 32 x 32."
    )
    assert "finer than 10 pixels" in describe_detail((400, 320), (0, 0, 320, 320))
