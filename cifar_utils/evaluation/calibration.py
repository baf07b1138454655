"""Do probabilities mean what they say, and when should a classifier say "unsure"?

From labels and class probabilities alone; no TensorFlow here, and nothing slow to import: a
classifier that starts needs no SciPy.
"""

from dataclasses import dataclass

import numpy as np

ECE_BINS = 15
TARGET_ACCURACY = 0.98  # of the answers that are given
Z_ONE_SIDED = 1.645  # 95 %


@dataclass(frozen=True)
class Calibration:
    """What turns a network's probabilities into answers, and into "unsure".

    Attributes:
        temperature: See `apply_temperature`; 1 leaves the probabilities as they are.
        threshold: An answer whose calibrated probability is below this is unsure; above 1 every
            answer is.
        n: How many held-out images both were fitted on.
        coverage: Share of those that got an answer.
        accuracy: Share of right ones among these answers; None if there were none.
    """

    temperature: float = 1.0
    threshold: float = 0.0
    n: int = 0
    coverage: float = 1.0
    accuracy: float | None = None


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
    from cifar_utils.evaluation.metrics import check_predictions

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
    from scipy.optimize import minimize_scalar  # scikit-learn brings SciPy

    from cifar_utils.evaluation.metrics import check_predictions

    labels, probs = check_predictions(labels, probs)
    rows = np.arange(len(labels))

    def loss(log_temperature):
        scaled = apply_temperature(probs, np.exp(log_temperature))
        return -np.log(np.maximum(scaled[rows, labels], 1e-300)).mean()

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def fit_threshold(labels, probs, target=TARGET_ACCURACY):
    """Find the probability from which on answers are right often enough.

    Of all thresholds that leave an accuracy of at least `target`, even at the lower end of its
    one-sided 95 % interval (Wilson), the one that answers most images: selective classification
    (Geifman & El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017), with a
    plainer bound.

    Args:
        labels: Integer class ids, shape (n,), of images that the network has not learnt from.
        probs: Calibrated class probabilities, shape (n, k).
        target: Share of right answers among those that are given, in (0, 1).

    Returns:
        A probability, or 1.01 (no answer is sure enough) where no threshold reaches the target.

    Raises:
        ValueError: If labels and probabilities do not fit together.
    """
    from cifar_utils.evaluation.metrics import check_predictions

    labels, probs = check_predictions(labels, probs)
    confidence = probs.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    confidence = confidence[order]
    right = (probs.argmax(axis=1) == labels)[order]
    n = np.arange(1, len(labels) + 1)
    accuracy, square = np.cumsum(right) / n, Z_ONE_SIDED**2
    spread = Z_ONE_SIDED * np.sqrt(accuracy * (1 - accuracy) / n + square / (4 * n**2))
    enough = (accuracy + square / (2 * n) - spread) / (1 + square / n) >= target
    # Equal probabilities stand on the same side of a threshold.
    enough[:-1] &= confidence[:-1] > confidence[1:]
    places = np.flatnonzero(enough)
    return float(confidence[places[-1]]) if len(places) else 1.01


def fit_calibration(labels, probs, target=TARGET_ACCURACY):
    """Fit temperature and threshold on images that the network has not learnt from.

    Args:
        labels: Integer class ids, shape (n,).
        probs: Class probabilities, shape (n, k).
        target: See `fit_threshold`.

    Returns:
        A `Calibration`.
    """
    temperature = fit_temperature(labels, probs)
    scaled = apply_temperature(probs, temperature)
    threshold = fit_threshold(labels, scaled, target)
    return Calibration(temperature, threshold, **measure_answers(labels, scaled, threshold))


def measure_answers(labels, probs, threshold):
    """Measure what a threshold does.

    Args:
        labels: Integer class ids, shape (n,).
        probs: Calibrated class probabilities, shape (n, k).
        threshold: Answers with less than this probability are not given.

    Returns:
        `{"n", "coverage", "accuracy"}`: how many images, the share that gets an answer, and the
        share of right ones among these answers (None if there are none).
    """
    answered = probs.max(axis=1) >= threshold
    right = probs.argmax(axis=1) == np.asarray(labels)
    return {
        "n": len(labels),
        "coverage": float(answered.mean()),
        "accuracy": float(right[answered].mean()) if answered.any() else None,
    }
