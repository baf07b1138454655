"""Scenes as photographs have them, made of thumbnails: the object anywhere, in something larger.

What a classifier is worth on photographs cannot be read off images that were cut out around their
object. Where there are no photographs with known contents to fit and choose on, these stand in.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SHAPES = ((240, 240), (240, 180), (180, 240), (270, 180), (180, 270), (320, 180))  # pixels
SHARES = (0.45, 1.0)  # the object's side over the scene's shorter side, uniform
OTHER_GROUND = 0.5  # share of the scenes whose ground is made of another image


def _make_scene(image, ground, rng):
    """Lay an image into a larger scene, over a blur of `ground`; both are uint8 (32, 32, 3)."""
    width, height = SHAPES[rng.integers(len(SHAPES))]
    side = round(min(width, height) * rng.uniform(*SHARES))
    scene = Image.fromarray(ground).resize((width, height), Image.Resampling.BICUBIC)
    scene = scene.filter(ImageFilter.GaussianBlur(min(width, height) / 10))
    thing = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
    mask = Image.new("L", (side, side), 0)  # soft edges: a pasted rectangle is no photograph
    edge = max(2, side // 16)
    ImageDraw.Draw(mask).rectangle((edge, edge, side - edge - 1, side - edge - 1), fill=255)
    mask = mask.filter(ImageFilter.GaussianBlur(edge / 2))
    place = [int(rng.integers(0, free + 1)) for free in (width - side, height - side)]
    scene.paste(thing, tuple(place), mask)
    return scene


def make_scenes(images, count, seed):
    """Yield scenes of the first `count` images, uint8 (n, 32, 32, 3), as RGB images, in order."""
    rng = np.random.default_rng(seed)
    for image in images[:count]:
        other = images[rng.integers(len(images))]
        yield _make_scene(image, other if rng.random() < OTHER_GROUND else image, rng)
