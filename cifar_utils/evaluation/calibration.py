"""Do probabilities mean what they state, and when should a classifier call itself unsure?

From labels and probabilities alone; SciPy is imported only to fit, not to classify.
"""

from dataclasses import dataclass

import numpy as np

from cifar_utils.evaluation.metrics import check_predictions

ECE_BINS = 15
TARGET_ACCURACY = 0.98  # of the predictions that are called sure
Z_ONE_SIDED = 1.645  # 95 %


@dataclass(frozen=True)
class Calibration:
    """How a network's probabilities are corrected, and below which one it is called unsure.

    Attributes:
        temperature: See `apply_temperature`.
        threshold: A prediction whose calibrated probability is below this is unsure; above 1
            every prediction is.
        n: How many held-out images both were fitted on.
        coverage: Share of these images whose prediction is sure.
        accuracy: Share of correct ones among the sure predictions; None if there are none.
    """

    temperature: float = 1.0
    threshold: float = 0.0
    n: int = 0
    coverage: float = 1.0
    accuracy: float | None = None


def compute_ece(labels, probs, bins=ECE_BINS):
    """Compute the expected calibration error of the predicted classes' probabilities.

    Images are sorted into bins of equal width by the probability of the predicted class. The error
    is the gap between that probability and the accuracy, averaged over the bins by their number of
    images (Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3).

    Args:
        labels: Integer class ids, shape (n,).
        probs: Class probabilities, shape (n, k).
        bins: Number of bins between 0 and 1.

    Returns:
        The error, from 0 (the probabilities mean what they state) to 1.
    """
    labels, probs = check_predictions(labels, probs)
    confidence = probs.max(axis=1).astype(np.float64)
    correct = probs.argmax(axis=1) == labels
    # Bins are open below and closed above, so that a probability of one is in the last.
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(places, correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def apply_temperature(probs, temperature):
    """Divide the logits behind probabilities by a temperature.

    Args:
        probs: Class probabilities, shape (n, k).
        temperature: Above 1 makes them less confident, below 1 more; their order stays.

    Returns:
        float64 (n, k), probabilities.
    """
    logits = np.log(np.maximum(probs, 1e-12)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    scaled = np.exp(logits)
    return scaled / scaled.sum(axis=1, keepdims=True)


def fit_calibration(labels, probs, target=TARGET_ACCURACY):
    """Fit temperature and threshold on images that the network was not trained on.

    The temperature is the one under which the labels are most probable (Guo et al., 2017). Of all
    thresholds that leave an accuracy of at least `target`, even at the lower end of its one-sided
    95 % interval (Wilson), the one that keeps most images: selective classification (Geifman &
    El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017), with a plainer
    bound. Where none reaches the target it is 1.01: every prediction is unsure.

    Args:
        labels: Integer class ids, shape (n,).
        probs: Class probabilities, shape (n, k).
        target: Accuracy of the predictions that are called sure, in (0, 1).

    Returns:
        A `Calibration`.

    Raises:
        ValueError: If labels and probabilities do not fit together.
    """
    from scipy.optimize import minimize_scalar

    labels, probs = check_predictions(labels, probs)
    rows = np.arange(len(labels))

    def loss(log_temperature):
        scaled = apply_temperature(probs, np.exp(log_temperature))
        return -np.log(np.maximum(scaled[rows, labels], 1e-300)).mean()

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    temperature = float(np.exp(found.x))
    scaled = apply_temperature(probs, temperature)
    threshold = _find_threshold(labels, scaled, target)
    return Calibration(temperature, threshold, **measure_answers(labels, scaled, threshold))


def _find_threshold(labels, probs, target):
    """Return the probability from which on predictions are correct often enough, or 1.01."""
    confidence = probs.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    confidence = confidence[order]
    correct = (probs.argmax(axis=1) == labels)[order]
    # Wilson's bound for every number of kept images at once: SciPy's `binomtest` takes one at a
    # time, 0.2 ms each.
    n = np.arange(1, len(labels) + 1)
    accuracy, square = np.cumsum(correct) / n, Z_ONE_SIDED**2
    spread = Z_ONE_SIDED * np.sqrt(accuracy * (1 - accuracy) / n + square / (4 * n**2))
    enough = (accuracy + square / (2 * n) - spread) / (1 + square / n) >= target
    # Equal probabilities are on the same side of a threshold.
    enough[:-1] &= confidence[:-1] > confidence[1:]
    places = np.flatnonzero(enough)
    return float(confidence[places[-1]]) if len(places) else 1.01


def measure_answers(labels, probs, threshold):
    """Measure what a threshold of calibrated probabilities does.

    Returns:
        `{"n", "coverage", "accuracy"}`: how many images, the share whose prediction is sure, and
        the share of correct ones among these (None if there are none).
    """
    sure = probs.max(axis=1) >= threshold
    correct = probs.argmax(axis=1) == np.asarray(labels)
    return {
        "n": len(labels),
        "coverage": float(sure.mean()),
        "accuracy": float(correct[sure].mean()) if sure.any() else None,
    }
