"""From uint8 images to batches: scaling, one-hot labels, the split, the plan of an epoch.

Randomness is a function of seed and epoch alone, drawn in NumPy before the epoch starts: a run that
was killed continues exactly, and every backend is given the same batches.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from cifar_utils.data.augmentation import IMAGE_SIZE, Augmentation
from cifar_utils.errors import ParameterError

# One stream of random numbers per purpose, so that none depends on how much another has drawn.
SPLIT_STREAM, ORDER_STREAM, AUGMENTATION_STREAM, MIRROR_STREAM, CUTOUT_STREAM = 1, 2, 3, 4, 5


def scale_images(images):
    """Scale pixels from 0..255 to [0, 1], as the original does.

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
        found = f"run from {labels.min()} to {labels.max()}"
        raise ValueError(f"Labels must lie in 0..{num_classes - 1}, but {found}.")
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
class Preprocessing:
    """What notebook 02 decides and notebook 03 uses: the contents of `preprocessing.json`."""

    seed: int  # of the split, the order and the augmentation
    val_fraction: float  # share held out for validation
    augmentation: Augmentation
    sizes: tuple[int, ...] = (IMAGE_SIZE,)  # of the images in each epoch; the last one holds on

    @classmethod
    def from_recipe(cls, recipe, seed):
        """Take the choices of a `runs.Recipe`."""
        names = [field.name for field in dataclasses.fields(Augmentation)]
        augmentation = Augmentation(**{name: getattr(recipe, name) for name in names})
        sizes = spread_sizes(recipe.sizes, recipe.epochs)
        return cls(seed, recipe.val_fraction, augmentation, sizes)

    @classmethod
    def from_json(cls, saved):
        """Read what `to_json` wrote."""
        sizes = tuple(saved.get("sizes", (IMAGE_SIZE,)))
        parts = {"augmentation": Augmentation(**saved["augmentation"]), "sizes": sizes}
        return cls(**{**saved, **parts})

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

    Small images cost less, and are enough for the coarse shapes that a network learns first
    (progressive resizing: Howard, fast.ai's DAWNBench entry, 2018).

    Args:
        shares: Pairs `(side, share)` in order; the shares sum to one.
        epochs: Passes over the training images.

    Returns:
        A tuple of `epochs` sides: those that the epochs' middles fall into, and the last one last.
    """
    ends = np.cumsum([share for _, share in shares])
    middles = (np.arange(epochs) + 0.5) / epochs
    places = np.minimum(np.searchsorted(ends, middles), len(shares) - 1)
    places[-1] = len(shares) - 1
    return tuple(shares[place][0] for place in places)


class EpochPlan:
    """The order of the images in one epoch, and how each is moved, drawn before it starts.

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
