"""Random rotation, shift, reduction, mirror image and cutout of training images. NumPy only."""

from dataclasses import dataclass

import numpy as np

IMAGE_SIZE = 32
GREY = 122  # about the mean of CIFAR-10's bytes: close to zero for a network that standardises


@dataclass(frozen=True)
class Augmentation:
    """Random rotation, shift, reduction and mirror image, as one projective transform per image.

    And before it, if asked for, a square that is painted over.

    Attributes:
        rotation: Largest angle in degrees, either way.
        shift: Largest shift in each direction, as a share of the side.
        flip: Whether half of the images are mirrored left to right.
        alternating: Whether an image that is mirrored in one epoch is not in the next, so that two
            epochs show both of its sides (Jordan, arXiv:2404.00498, section 3.6).
        whole_pixels: Whether shifts are rounded to whole pixels, which blurs nothing, and what
            comes in from outside mirrors the image instead of repeating its edge. With a rotation
            or a reduction, pixels are mixed all the same.
        zoom_out: Smallest size at which an image is shown, as a share of its own; 1 for none. A
            photograph's object rarely fills it as a thumbnail's does.
        zoom_share: Share of the images that are reduced, by factors even in their logarithm.
        cutout: Side in pixels of a square that is painted grey in every image, so that the network
            cannot rest on one telling detail (DeVries and Taylor, arXiv:1708.04552; here always
            whole, as in airbench96); 0 for none.
    """

    rotation: float = 15.0
    shift: float = 0.1
    flip: bool = True
    alternating: bool = False
    whole_pixels: bool = False
    zoom_out: float = 1.0
    zoom_share: float = 0.3
    cutout: int = 0

    @property
    def only_moves_pixels(self):
        """Whether every pixel of a transformed image is one of the original's, unmixed."""
        return self.whole_pixels and not self.rotation and self.zoom_out == 1

    def draw(self, n, rng, mirrored=None):
        """Draw `n` random transforms.

        Args:
            n: How many.
            rng: A `numpy.random.Generator`.
            mirrored: bool (n,), which images to mirror, if that is decided already.

        Returns:
            float32 (n, 8): rows (a0, a1, a2, b0, b1, b2, 0, 0) which take an output pixel (x, y) to
            the input point (a0 x + a1 y + a2, b0 x + b1 y + b2), the convention of
            `keras.ops.image.affine_transform` and TensorFlow's ImageProjectiveTransformV3.
        """
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation, n))
        if self.whole_pixels:
            pixels = round(self.shift * IMAGE_SIZE)
            shift_x, shift_y = rng.integers(-pixels, pixels, (2, n), endpoint=True)
        else:
            shift_x, shift_y = rng.uniform(-self.shift, self.shift, (2, n)) * IMAGE_SIZE
        if mirrored is None:
            mirrored = rng.random(n) < 0.5
        mirror = np.where(mirrored, -1.0, 1.0) if self.flip else np.ones(n)
        reach = np.ones(n)  # of an image's side, how much more than itself the result shows
        if self.zoom_out < 1:
            factors = np.exp(rng.uniform(0, -np.log(self.zoom_out), n))
            reach = np.where(rng.random(n) < self.zoom_share, factors, reach)
        # Output to input about the centre: undo the shift, the reduction, the rotation, the mirror.
        centre = (IMAGE_SIZE - 1) / 2
        a0, a1 = reach * mirror * np.cos(angle), reach * mirror * np.sin(angle)
        b0, b1 = -reach * np.sin(angle), reach * np.cos(angle)
        x, y = centre + shift_x, centre + shift_y
        a2, b2 = centre - a0 * x - a1 * y, centre - b0 * x - b1 * y
        zero = np.zeros(n)
        return np.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1).astype(np.float32)

    def draw_corners(self, n, rng):
        """Draw where `n` images are painted over: top and left of a square, int64 (n, 2)."""
        return rng.integers(0, IMAGE_SIZE - self.cutout, (n, 2), endpoint=True)

    def cut(self, images, corners):
        """Paint the square at its corner of each image.

        Args:
            images: uint8 (n, 32, 32, 3).
            corners: int64 (n, 2); see `draw_corners`.

        Returns:
            uint8 (n, 32, 32, 3): new images, or the same ones if nothing is cut out.
        """
        if not self.cutout:
            return images
        offsets = np.arange(IMAGE_SIZE) - corners[..., None]  # (n, 2, 32): from the square's start
        rows, columns = np.moveaxis((offsets >= 0) & (offsets < self.cutout), 1, 0)
        inside = rows[:, :, None] & columns[:, None, :]
        return np.where(inside[..., None], np.uint8(GREY), images)
