"""Random rotation, shift, reduction, mirroring and cutout of training images. NumPy only."""

from dataclasses import dataclass

import numpy as np

IMAGE_SIZE = 32
GREY = 122  # about the mean of CIFAR-10's bytes: close to zero for a network that standardises
CHUNK = 100  # images at a time: what is computed of them fits into the processor's cache


@dataclass(frozen=True)
class Augmentation:
    """Random rotation, shift, reduction and mirroring, as one projective transform per image.

    Before it, if `cutout` is set, a square of each image is painted over.
    """

    rotation: float = 15.0  # the largest angle in degrees, either way
    shift: float = 0.1  # the largest in each direction, as a share of the side
    flip: bool = True  # whether half of the images are mirrored left to right
    # Whether an image that is mirrored in one epoch is not in the next, so that two epochs show
    # both of its sides (Jordan, arXiv:2404.00498, section 3.6).
    alternating: bool = False
    # Whether shifts are rounded to whole pixels, which blurs nothing. Pixels from outside then
    # mirror the image instead of repeating its edge. A rotation or a reduction interpolates still.
    whole_pixels: bool = False
    # The smallest size at which an image is shown, as a share of its own; 1 for none. An object
    # rarely fills a photo as it fills a thumbnail. And the share of the images that are reduced.
    zoom_out: float = 1.0
    zoom_share: float = 0.3
    # Side in pixels of a grey square in every image, so that the network cannot rely on one detail
    # (DeVries and Taylor, arXiv:1708.04552; here always whole, as in airbench96); 0 for none.
    cutout: int = 0

    @property
    def only_moves_pixels(self):
        """Whether every pixel of a transformed image is a pixel of the original."""
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


def augment_images(images, transforms, augmentation):
    """Scale images to [0, 1] and apply one transform to each.

    Args:
        images: uint8 (n, 32, 32, 3).
        transforms: float32 (n, 8); see `Augmentation.draw`.
        augmentation: The `Augmentation` that drew them.

    Returns:
        float32 (n, 32, 32, 3). Where only whole pixels move, pixels from outside mirror the image
        about its edge pixel. Otherwise interpolation is bilinear, and `choose_fill_mode` tells
        which pixels come in from outside.
    """
    if augmentation.only_moves_pixels:
        return gather_pixels(images, transforms).astype(np.float32) / np.float32(255)
    fill_mode = choose_fill_mode(augmentation)
    moved = np.empty(images.shape, np.float32)
    for start in range(0, len(images), CHUNK):
        part = slice(start, start + CHUNK)
        moved[part] = _interpolate(images[part], transforms[part], fill_mode)
    return moved


def choose_fill_mode(augmentation):
    """Return what comes in from outside: "reflect" or, as in the original, the "nearest" pixel."""
    return "reflect" if augmentation.whole_pixels else "nearest"


def gather_pixels(images, transforms):
    """Shift and mirror each image by whole pixels.

    Args:
        images: (n, side, side, c), any type.
        transforms: float32 (n, 8) without rotation and reduction; see `Augmentation.draw`.

    Returns:
        Array like `images`. Pixels from outside mirror the image about its edge pixel, which is
        not repeated ("reflect" in NumPy and PyTorch).
    """
    n, side, _, channels = images.shape
    places = np.arange(side)
    # Column x of the result is column a0 x + a2 of the image, row y is row y + b2.
    columns = np.rint(transforms[:, [0]] * places + transforms[:, [2]]).astype(np.int64)
    rows = np.rint(places + transforms[:, [5]]).astype(np.int64)
    columns, rows = (side - 1 - np.abs(side - 1 - np.abs(where)) for where in (columns, rows))
    # One list of pixels: five times faster than an index for each of three axes.
    pixels = (np.arange(n)[:, None, None] * side + rows[:, :, None]) * side + columns[:, None, :]
    flat = images.reshape(-1, channels).take(pixels.reshape(-1), axis=0, mode="clip")
    return flat.reshape(images.shape)


def _interpolate(images, transforms, fill_mode):
    """Apply transforms as `keras.ops.image.affine_transform`: uint8 in, float32 in [0, 1] out."""
    n, side, _, channels = images.shape
    y, x = np.indices((side, side), np.float32).reshape(2, 1, -1)
    a0, a1, a2, b0, b1, b2 = np.moveaxis(transforms[:, :6, None], 1, 0)
    columns = _fold(a0 * x + a1 * y + a2, side, fill_mode)
    rows = _fold(b0 * x + b1 * y + b2, side, fill_mode)
    # At most the last pixel but one, so that there is a next one; its weight may then reach 1.
    left, top = (np.minimum(where.astype(np.int32), side - 2) for where in (columns, rows))
    right_share, bottom_share = ((columns - left)[..., None], (rows - top)[..., None])
    pixels = images.reshape(-1, channels).astype(np.float32)
    corner = (np.arange(n, dtype=np.int32)[:, None] * side + top) * side + left

    def read(offset):
        return pixels.take(corner + offset, axis=0, mode="clip")

    upper = read(0)
    upper += right_share * (read(1) - upper)
    lower = read(side)
    lower += right_share * (read(side + 1) - lower)
    upper += bottom_share * (lower - upper)
    upper /= 255
    return upper.reshape(images.shape)


def _fold(places, side, fill_mode):
    """Bring coordinates from outside of an image back into 0..side - 1; see `choose_fill_mode`."""
    if fill_mode == "reflect":
        # The edge is the outer border of the last pixel, half a pixel beyond its centre.
        places = side - np.abs(side - (places + 0.5) % (2 * side)) - 0.5
    return places.clip(0, side - 1)
