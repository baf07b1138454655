"""From uint8 images to batches: scaling, one-hot labels, the split, the augmentation. NumPy only.

Randomness is a function of seed and epoch alone: the plan of an epoch (which image comes when,
turned and shifted by how much) is drawn in NumPy before the epoch starts. So a run that was killed
continues exactly as it would have gone on, and every backend sees the same batches.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from cifar_utils.errors import ParameterError

IMAGE_SIZE = 32
GREY = 122  # about the mean of CIFAR-10's bytes: next to nothing for a network that standardises
# One stream of random numbers per purpose, so that none depends on how much another has drawn.
SPLIT_STREAM, ORDER_STREAM, AUGMENTATION_STREAM, MIRROR_STREAM, CUTOUT_STREAM = 1, 2, 3, 4, 5


def scale_images(images):
    """Scale pixels from 0..255 to [0, 1], as the documented system does.

    Args:
        images: uint8, any shape.

    Returns:
        float32 array of the same shape.

    Raises:
        ValueError: If the images are not uint8; images scaled twice would be almost black.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ValueError(f"Images must be uint8 from 0 to 255 to be scaled, not {images.dtype}.")
    return images.astype(np.float32) / np.float32(255)


def standardise_images(images, mean, std):
    """Scale to [0, 1], then shift and stretch each channel to mean 0 and standard deviation 1.

    Args:
        images: uint8 (n, height, width, 3).
        mean, std: Per channel, from `exploration.compute_channel_statistics` of the training
            images; those of the test set would leak it into training.

    Returns:
        float32 array of the same shape.
    """
    return ((scale_images(images) - mean) / std).astype(np.float32)


def one_hot(labels, num_classes=10):
    """Turn class ids into one-hot rows.

    Args:
        labels: Integers in 0..num_classes-1, shape (n,) or, as CIFAR-10 is often stored, (n, 1).
        num_classes: Length of a row.

    Returns:
        float32 (n, num_classes).

    Raises:
        ValueError: If a label is out of range.
    """
    labels = np.asarray(labels).reshape(-1)
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"Labels must lie in 0..{num_classes - 1}, but run from {labels.min()} to"
            f" {labels.max()}."
        )
    return np.eye(num_classes, dtype=np.float32)[labels]


def split_train_val(labels, val_fraction, seed):
    """Split a training set into train and validation, stratified by class.

    Args:
        labels: Integer class ids, shape (n,).
        val_fraction: Share of each class held out, in [0, 0.5]; 0 holds out nothing.
        seed: Seed of the permutation within each class.

    Returns:
        Sorted index arrays `(train, val)`, disjoint and covering all n.

    Raises:
        ParameterError: If the share is out of range, or so small that some class would get no
            validation image.
    """
    if not 0 <= val_fraction <= 0.5:
        raise ParameterError(f"val_fraction must be from 0 to 0.5, not {val_fraction!r}.")
    labels = np.asarray(labels)
    held_out = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = round(len(members) * val_fraction)
        if val_fraction and not count:
            raise ParameterError(
                f"val_fraction {val_fraction} leaves class {label} ({len(members)} images) without"
                f" a validation image. Take at least {1 / len(members):.4f}, or 0 for none."
            )
        held_out.append(_rng(seed, SPLIT_STREAM, label).permutation(members)[:count])
    val = np.sort(np.concatenate(held_out)) if held_out else np.array([], dtype=np.int64)
    return np.setdiff1d(np.arange(len(labels)), val), val


def _rng(seed, *stream):
    """Return the generator of one purpose (and epoch, or class)."""
    return np.random.default_rng([int(seed), *(int(part) for part in stream)])


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


@dataclass(frozen=True)
class Preprocessing:
    """What notebook 02 decides and notebook 03 obeys: the contents of `preprocessing.json`.

    Attributes:
        seed: Seed of the split, the order and the augmentation.
        val_fraction: Share held out for validation.
        augmentation: An `Augmentation`.
        sizes: Side of the training images in each epoch; the last entry holds for all later ones.
    """

    seed: int
    val_fraction: float
    augmentation: Augmentation
    sizes: tuple[int, ...] = (IMAGE_SIZE,)

    @classmethod
    def from_recipe(cls, recipe, seed):
        """Take the choices from a `recipes.Recipe`."""
        names = [field.name for field in dataclasses.fields(Augmentation)]
        augmentation = Augmentation(**{name: getattr(recipe, name) for name in names})
        sizes = spread_sizes(recipe.sizes, recipe.epochs)
        return cls(seed, recipe.val_fraction, augmentation, sizes)

    @classmethod
    def from_json(cls, saved):
        """Read what `to_json` wrote."""
        augmentation = Augmentation(**saved["augmentation"])
        sizes = tuple(saved.get("sizes", (IMAGE_SIZE,)))
        return cls(saved["seed"], saved["val_fraction"], augmentation, sizes)

    def to_json(self):
        """Return a JSON-ready dict."""
        return dataclasses.asdict(self)

    def split(self, labels):
        """Return sorted index arrays `(train, val)`; see `split_train_val`."""
        return split_train_val(labels, self.val_fraction, self.seed)

    def size_in(self, epoch):
        """Return the side of the training images in an epoch, counted from 0."""
        return self.sizes[min(epoch, len(self.sizes) - 1)]


def spread_sizes(shares, epochs):
    """Turn shares of a training into one image size per epoch.

    Small images cost less, and teach the coarse things that come first as well as large ones do
    (progressive resizing: Howard, fast.ai's DAWNBench entry, 2018).

    Args:
        shares: Pairs `(side, share)` in order; the shares sum to one.
        epochs: Passes over the training images.

    Returns:
        A tuple of `epochs` sides. An epoch has the size that its middle falls into; the last one
        has the last size, however few there are.
    """
    ends = np.cumsum([share for _, share in shares])
    middles = (np.arange(epochs) + 0.5) / epochs
    places = np.minimum(np.searchsorted(ends, middles), len(shares) - 1)
    places[-1] = len(shares) - 1
    return tuple(shares[place][0] for place in places)


class EpochPlan:
    """Which image comes when, and how it is turned: one epoch of training, drawn ahead.

    Args:
        n: Number of training images.
        batch_size: Images per step; the last step takes what is left.
        preprocessing: A `Preprocessing`.
        epoch: Counted from 0.

    Attributes:
        order: int64 (n,), a permutation.
        transforms: float32 (n, 8); see `Augmentation.draw`.
        corners: int64 (n, 2); see `Augmentation.draw_corners`.
        size: Side that the images are scaled to.
    """

    def __init__(self, n, batch_size, preprocessing, epoch):
        seed, augmentation = preprocessing.seed, preprocessing.augmentation
        self.batch_size = batch_size
        self.size = preprocessing.size_in(epoch)
        self.order = _rng(seed, ORDER_STREAM, epoch).permutation(n)
        mirrored = None
        if augmentation.alternating:
            mirrored_first = _rng(seed, MIRROR_STREAM).random(n) < 0.5
            mirrored = (mirrored_first ^ bool(epoch % 2))[self.order]
        rng = _rng(seed, AUGMENTATION_STREAM, epoch)
        self.transforms = augmentation.draw(n, rng, mirrored)
        self.corners = augmentation.draw_corners(n, _rng(seed, CUTOUT_STREAM, epoch))

    def __len__(self):
        """Return the number of steps."""
        return -(-len(self.order) // self.batch_size)

    def step(self, index):
        """Return `(indices, transforms, corners)` of one step: (b,), (b, 8) and (b, 2)."""
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self.order[part], self.transforms[part], self.corners[part]
