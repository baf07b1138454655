"""Images that look alike: near duplicates between two sets, and the nearest images to one."""

import numpy as np

CHUNK = 5000  # images per step: a float32 copy of the whole training set would take 600 MB
SMALL_SIDE = 8  # pixels; enough to find the nearest image, 16 times cheaper than 32 x 32


def find_near_duplicates(
    train_images: np.ndarray, test_images: np.ndarray, max_distance: float = 0.06
) -> tuple[np.ndarray, np.ndarray]:
    """Find test images whose nearest training image shows (nearly) the same.

    The distance is 1 - r, with r the correlation of the two images' pixels after each channel's
    own mean is subtracted: 0 for an exact copy and for a washed-out one. The nearest image is
    searched at 8 x 8 pixels, the distance computed at full resolution. On CIFAR-10 the default
    keeps about 100 pairs, of which about 19 in 20 are the same photo to the eye. Barz and Denzler,
    "Do We Train on Test Data?", J. Imaging 6(6), 2020, find more, by features.

    Args:
        train_images: uint8, shape (n, 32, 32, 3); other sides must be multiples of 8.
        test_images: uint8, shape (m, 32, 32, 3).
        max_distance: Largest distance that is kept, 0 to 2.

    Returns:
        `(pairs, distances)`: rows `(test index, train index)`, int64 of shape (pairs, 2), and
        float64 of shape (pairs,); nearest first, at most one pair per test image.
    """
    test = _small_unit(test_images)
    train = _small_unit(train_images)
    step = 500  # images at once: 100 MB of correlations with the 50,000 training images
    blocks = (test[start : start + step] for start in range(0, len(test), step))
    nearest = np.concatenate([np.argmax(block @ train.T, axis=1) for block in blocks])
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
    """Finds the images whose pixels are most like those of a given one.

    The distance is that of `find_near_duplicates` at 8 x 8 pixels: it compares large shapes and
    colours, no details and no meaning.

    Args:
        images: uint8 (n, 32, 32, 3), to be searched. They are shrunk once, which takes about half
            a second for 50,000.
    """

    def __init__(self, images: np.ndarray):
        self._rows = _small_unit(images)

    def find(self, image: np.ndarray, count: int = 6) -> np.ndarray:
        """Return the indices of the `count` nearest images to one, uint8 (32, 32, 3)."""
        correlations = self._rows @ _small_unit(image[None])[0]
        return np.argsort(-correlations, kind="stable")[:count]


def _small_unit(images):
    """Shrink images to 8 x 8 by sums of blocks, then make them unit vectors."""
    _, height, width, channels = images.shape
    if images.dtype != np.uint8 or height % SMALL_SIDE or width % SMALL_SIDE:
        raise ValueError(
            f"images must be uint8 with sides that are multiples of {SMALL_SIDE}, not"
            f" {images.dtype} of {height} x {width}."
        )
    blocks = (SMALL_SIDE, height // SMALL_SIDE, SMALL_SIDE, width // SMALL_SIDE, channels)
    return np.concatenate(
        [
            _to_unit(chunk.reshape(-1, *blocks).sum(axis=(2, 4), dtype=np.uint32))
            for chunk in _chunks(images)
        ]
    )


def _to_unit(images):
    """Subtract each channel's mean and scale each image to length one, as float32 rows."""
    pixels = images.reshape(len(images), -1, images.shape[-1]).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    rows = pixels.reshape(len(images), -1)
    # An image of one colour has no structure to compare: all zeros, at distance 1 from every image.
    return rows / np.maximum(np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None], 1e-6)


def _chunks(array):
    return (array[start : start + CHUNK] for start in range(0, len(array), CHUNK))
