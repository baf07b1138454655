"""Test-time augmentation: the average of a network's outputs over several views of an image.

A view is the image itself, its mirror image, or either of them moved by one pixel (Jordan,
arXiv:2404.00498, section 3.5). NumPy only.
"""

import numpy as np

SHIFTS = ((0, 0), (-1, -1), (1, 1))  # pixels down and right; each shift is followed by its mirror
# Kind → weight of each view. The unmoved image and its mirror image weigh twice as much.
VIEWS = {"one": (1.0,), "mirrored": (0.5, 0.5), "six": (0.25, 0.25, 0.125, 0.125, 0.125, 0.125)}


def make_views(images, kind):
    """Make the views of images (n, height, width, channels).

    Returns:
        Shape (k, n, height, width, channels), one view of all images after another; the first is
        the images themselves.
    """
    count = len(VIEWS[kind])
    if count <= 2:
        return np.stack([images, images[:, :, ::-1]][:count])
    height, width = images.shape[1:3]
    # The border is mirrored into the pixel that a shift leaves empty.
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    views = []
    for down, right in SHIFTS:
        moved = padded[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
        views += [moved, moved[:, :, ::-1]]
    return np.stack(views)


def average_views(probs, kind):
    """Average the outputs for the views of `make_views`.

    Args:
        probs: Class probabilities, shape (k, n, classes), in the order of `make_views`.
        kind: A key of `VIEWS`.

    Returns:
        float32 (n, classes): the softmax of the averaged logits.
    """
    if len(probs) == 1:
        return probs[0]
    weights = np.array(VIEWS[kind], np.float32)
    # Logits are log-probabilities up to a constant that the softmax removes. The floor is the
    # smallest normal float32: the logarithm of zero is minus infinity.
    logs = np.tensordot(weights, np.log(np.maximum(probs, 1.2e-38)), axes=1)
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)
