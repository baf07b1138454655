"""What the images look like before any model sees them, from arrays alone."""

import numpy as np

CHUNK = 5000  # images per step: a float32 copy of the whole training set would take 600 MB
SMALL_SIDE = 8  # pixels; enough to find the nearest picture, 16 times cheaper than 32 x 32

# Weights of red, green and blue in perceived brightness: ITU-R BT.709-6 (2015), item 3.2.
LUMA_WEIGHTS = np.array([0.2126, 0.7152, 0.0722])


def compute_class_counts(labels: np.ndarray, num_classes: int = 10) -> np.ndarray:
    """Count the images of each class; returns integers of shape (num_classes,).

    Raises:
        ValueError: If a label is not an integer from 0 to `num_classes - 1`.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be integers of shape (n,), not {labels.dtype} of shape {labels.shape}."
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"labels must lie between 0 and {num_classes - 1}, not between"
            f" {labels.min()} and {labels.max()}."
        )
    return np.bincount(labels, minlength=num_classes)


def compute_channel_histograms(images: np.ndarray) -> np.ndarray:
    """Count every pixel value of every channel.

    Args:
        images: uint8, shape (n, height, width, channels).

    Returns:
        Counts of shape (channels, 256). They hold all that means, spreads and histograms need.
    """
    _check_images(images)
    counts = np.zeros((images.shape[-1], 256), np.int64)
    for chunk in _chunks(images):
        for channel, row in enumerate(counts):
            row += np.bincount(chunk[..., channel].ravel(), minlength=256)
    return counts


def compute_channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean and standard deviation of each channel, for pixels scaled to [0, 1].

    Exact (from integer counts), with no float copy of the images.

    Args:
        images: uint8, shape (n, height, width, channels), n at least 1.

    Returns:
        `(mean, std)`, float64, each of shape (channels,).
    """
    counts = compute_channel_histograms(images)
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(1)
    variance = counts @ values**2 / counts.sum(1) - mean**2
    return mean, np.sqrt(np.maximum(variance, 0))


def compute_mean_images(
    images: np.ndarray, labels: np.ndarray, num_classes: int = 10
) -> np.ndarray:
    """Average all images of each class.

    Returns:
        float64 in [0, 1], shape (num_classes, height, width, channels); NaN for a class without
        images.
    """
    _check_images(images)
    compute_class_counts(labels, num_classes)
    means = np.full((num_classes, *images.shape[1:]), np.nan)
    for class_id in np.unique(labels):
        means[class_id] = images[labels == class_id].mean(axis=0) / 255
    return means


def compute_brightness_and_colour(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute how bright and how colourful each image is.

    Args:
        images: uint8 RGB, shape (n, height, width, 3).

    Returns:
        `(brightness, saturation)`, each float64 in [0, 1] of shape (n,): the mean BT.709 luma, and
        the mean HSV saturation (0 grey, 1 pure colour; Smith, SIGGRAPH 1978).
    """
    _check_images(images)
    brightness, saturation = [], []
    for chunk in _chunks(images):
        red, green, blue = chunk[..., 0], chunk[..., 1], chunk[..., 2]
        high = np.maximum(np.maximum(red, green), blue)
        low = np.minimum(np.minimum(red, green), blue)
        ratio = (high - low) / np.maximum(high, 1).astype(np.float32)
        saturation.append(ratio.mean(axis=(1, 2), dtype=np.float64))
        brightness.append(chunk.mean(axis=(1, 2)) @ LUMA_WEIGHTS / 255)
    return np.concatenate(brightness), np.concatenate(saturation)


def find_exact_duplicates(train_images: np.ndarray, test_images: np.ndarray) -> np.ndarray:
    """Find test images that are, byte for byte, also in the training set.

    Returns:
        Every such pair as a row `(test index, train index)`, int64 of shape (pairs, 2).
    """
    _check_images(train_images)
    _check_images(test_images)
    by_bytes = {}
    for index, image in enumerate(test_images):
        by_bytes.setdefault(image.tobytes(), []).append(index)
    pairs = [
        (test_index, train_index)
        for train_index, image in enumerate(train_images)
        for test_index in by_bytes.get(image.tobytes(), ())
    ]
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)


def find_near_duplicates(
    train_images: np.ndarray, test_images: np.ndarray, max_distance: float = 0.06
) -> tuple[np.ndarray, np.ndarray]:
    """Find test images whose nearest training image shows (nearly) the same picture.

    The distance is 1 - r, with r the correlation of the two images' pixels after each channel's
    own mean is taken away: blind to a change of brightness, contrast or tint, so 0 for an exact
    copy and for a washed-out one. The nearest image is sought at 8 x 8 pixels and the distance
    taken at full resolution. On CIFAR-10 the default keeps about 100 pairs, of which about 19 in
    20 are the same photograph to the eye; the others are empty skies and horizons. That CIFAR-10
    holds such pairs, and what they do to results: Barz and Denzler, "Do We Train on Test Data?",
    J. Imaging 6(6), 2020, who find more by features that also forgive a shifted crop.

    Args:
        train_images: uint8, shape (n, 32, 32, 3); other sides must be multiples of 8.
        test_images: uint8, shape (m, 32, 32, 3).
        max_distance: Largest distance that is kept, 0 to 2.

    Returns:
        `(pairs, distances)`: rows `(test index, train index)`, int64 of shape (pairs, 2), and
        float64 of shape (pairs,); nearest first, at most one pair per test image.
    """
    _check_images(train_images)
    _check_images(test_images)
    nearest = _find_most_correlated(_small_unit(test_images), _small_unit(train_images))
    distances = np.concatenate(
        [
            1 - np.sum(_to_unit(test) * _to_unit(train_images[found]), axis=1, dtype=np.float64)
            for test, found in zip(_chunks(test_images), _chunks(nearest), strict=True)
        ]
    ).clip(0, 2)
    order = np.argsort(distances, kind="stable")
    order = order[distances[order] <= max_distance]
    return np.column_stack([order, nearest[order]]), distances[order]


class NearestImages:
    """Finds the images that are most alike to a given one, as pixels see it.

    By the distance of `find_near_duplicates`, at 8 x 8 pixels: the large shapes and their colours
    against their surroundings, no details and no meaning.

    Args:
        images: uint8 (n, 32, 32, 3), to be searched; shrunk once, which takes about a second for
            50,000.
    """

    def __init__(self, images: np.ndarray):
        _check_images(images)
        self._rows = _small_unit(images)

    def find(self, image: np.ndarray, count: int = 6) -> np.ndarray:
        """Return the indices of the `count` nearest images to one, uint8 (32, 32, 3)."""
        correlations = self._rows @ _small_unit(image[None])[0]
        return np.argsort(-correlations, kind="stable")[:count]


def _find_most_correlated(rows, candidates):
    """Return, for each unit vector in `rows`, the index of the nearest one in `candidates`."""
    step = 500  # rows at once: 100 MB of correlations with the 50,000 training images
    blocks = (rows[start : start + step] for start in range(0, len(rows), step))
    return np.concatenate([np.argmax(block @ candidates.T, axis=1) for block in blocks])


def _small_unit(images):
    """Shrink images to 8 x 8 by block means, then make them unit vectors."""
    return np.concatenate([_to_unit(_shrink(chunk)) for chunk in _chunks(images)])


def _shrink(images):
    """Sum blocks of pixels; sums do as well as means, since the result is scaled anyway."""
    height, width = images.shape[1:3]
    if height % SMALL_SIDE or width % SMALL_SIDE:
        raise ValueError(f"image sides must be multiples of {SMALL_SIDE}, not {height} x {width}.")
    for axis, block in ((1, height // SMALL_SIDE), (2, width // SMALL_SIDE)):
        parts = (images[(slice(None),) * axis + (slice(i, None, block),)] for i in range(block))
        images = sum(part.astype(np.uint32) for part in parts)
    return images


def _to_unit(images):
    """Take each channel's mean away and scale each image to length one, as float32 rows."""
    pixels = images.reshape(len(images), -1, images.shape[-1]).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    rows = pixels.reshape(len(images), -1)
    # A plain image has no structure to compare: it stays at zero, at distance 1 from everything.
    return rows / np.maximum(np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None], 1e-6)


def _chunks(array):
    return (array[start : start + CHUNK] for start in range(0, len(array), CHUNK))


def _check_images(images):
    if images.ndim != 4 or images.dtype != np.uint8 or not len(images):
        raise ValueError(
            "images must be uint8 of shape (n, height, width, channels) with n at least 1, not"
            f" {images.dtype} of shape {images.shape}."
        )
