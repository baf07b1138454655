"""Test-time augmentation: the average of a network's outputs for several views of an image.

A view is the image itself, its mirror image, or either of them moved by one pixel (Jordan,
arXiv:2404.00498, section 3.5). NumPy only.
"""

import numpy as np

# Shift down, shift right, mirrored; and how much the answer counts. As in `tta`, whose views these
# are: the average of the first two is what the `mirrored` views are.
SHIFTS = ((0, 0), (-1, -1), (1, 1))
VIEWS = {"one": (1.0,), "mirrored": (0.5, 0.5), "six": (0.25, 0.25, 0.125, 0.125, 0.125, 0.125)}


def make_views(images, kind):
    """Make the views of images.

    Args:
        images: uint8 (n, 32, 32, 3).
        kind: A key of `VIEWS`.

    Returns:
        uint8 (k, n, 32, 32, 3), one view of all images after another.
    """
    count = len(VIEWS[kind])
    if count <= 2:
        return np.stack([images, images[:, :, ::-1]][:count])
    side = images.shape[1]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    views = []
    for down, right in SHIFTS:
        moved = padded[:, 1 - down : 1 - down + side, 1 - right : 1 - right + side]
        views += [moved, moved[:, :, ::-1]]
    return np.stack(views)


def average_views(probs, kind):
    """Average the answers to views.

    Args:
        probs: (k, n, classes), in the order of `make_views`.
        kind: A key of `VIEWS`.

    Returns:
        float32 (n, classes): the softmax of the averaged logits.
    """
    if len(probs) == 1:
        return probs[0]
    weights = np.array(VIEWS[kind], np.float32)
    logs = np.tensordot(weights, np.log(np.maximum(probs, 1.2e-38)), axes=1)
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)
