"""Do probabilities mean what they say? The calibration error, and a temperature that mends it.

From labels and class probabilities alone; no TensorFlow here.
"""

import numpy as np
from scipy.optimize import minimize_scalar  # scikit-learn brings SciPy

from cifar_utils.evaluation import check_predictions

ECE_BINS = 15


def compute_ece(labels, probs, bins=ECE_BINS):
    """Compute the expected calibration error of the predicted classes' probabilities.

    Pictures are sorted into bins of equal width by the probability of the predicted class; the
    error is the gap between that probability and the share of right answers, averaged over the
    bins by their number of pictures (Guo et al., "On calibration of modern neural networks",
    ICML 2017, equation 3).

    Args:
        labels: Integer class ids, shape (n,).
        probs: Class probabilities, shape (n, k).
        bins: Number of bins between 0 and 1.

    Returns:
        The error, from 0 (the probabilities mean what they say) to 1.

    Raises:
        ValueError: If labels and probabilities do not fit together.
    """
    labels, probs = check_predictions(labels, probs)
    confidence = probs.max(axis=1).astype(np.float64)
    right = probs.argmax(axis=1) == labels
    # Bins are open below and closed above, so that a probability of one is in the last.
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(places, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def apply_temperature(probs, temperature):
    """Divide the logits behind probabilities by a temperature.

    Args:
        probs: Class probabilities, shape (n, k).
        temperature: Above 1 makes them less sure, below 1 surer; the order stays.

    Returns:
        float64 (n, k), probabilities.
    """
    logits = np.log(np.maximum(probs, 1e-12)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    scaled = np.exp(logits)
    return scaled / scaled.sum(axis=1, keepdims=True)


def fit_temperature(labels, probs):
    """Find the temperature under which the given labels are most probable (Guo et al., 2017).

    Args:
        labels: Integer class ids, shape (n,), of images that the network has not learnt from.
        probs: Class probabilities, shape (n, k).

    Returns:
        The temperature, between 0.05 and 20.

    Raises:
        ValueError: If labels and probabilities do not fit together.
    """
    labels, probs = check_predictions(labels, probs)
    rows = np.arange(len(labels))

    def loss(log_temperature):
        scaled = apply_temperature(probs, np.exp(log_temperature))
        return -np.log(np.maximum(scaled[rows, labels], 1e-300)).mean()

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))
