"""How far a measured share or F1 could be from its true value, given only so many images."""

from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
METRIC_NAMES = {
    "accuracy": "accuracy",
    "f1_weighted": "weighted F1",
    "recall_weighted": "weighted recall",
}


def compute_wilson_interval(
    hits: int, n: int, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Compute the score interval of a share of `hits` in `n` independent trials.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    Unlike value ± 1.96 standard errors it stays within [0, 1] and has a width at 0 % and 100 %.

    Returns:
        `(low, high)`; (0, 1) without any trial.
    """
    _check_confidence(confidence)
    hits, n = int(hits), int(n)
    if not 0 <= hits <= n:
        raise ValueError(f"hits must lie between 0 and n = {n}, not {hits}.")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (hits + z * z / 2) / (n + z * z)
    half = z * (hits * (n - hits) / n + z * z / 4) ** 0.5 / (n + z * z)
    # The formula gives 0 and 1 exactly for no hit and all hits; rounding would miss them by a bit.
    low = 0.0 if hits == 0 else centre - half
    high = 1.0 if hits == n else centre + half
    return low, high


def resample_confusion(confusion: np.ndarray, n_resamples: int, seed: int) -> np.ndarray:
    """Draw the confusion matrices of bootstrap resamples of the test images.

    Drawing n images with replacement and counting them by (label, prediction) is one draw from a
    multinomial over the matrix's cells, so no image need be touched. The bootstrap: Efron,
    "Bootstrap Methods: Another Look at the Jackknife", Ann. Statist. 7(1), 1979.

    Returns:
        Integers of shape (n_resamples, k, k), each matrix with the sum of `confusion`.
    """
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, not {n_resamples}.")
    n = confusion.sum()
    draws = np.random.default_rng(seed).multinomial(n, confusion.ravel() / n, size=n_resamples)
    return draws.reshape(n_resamples, *confusion.shape)


def compute_f1(confusions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute F1 from confusion matrices of shape (…, k, k).

    Returns:
        `(per class, weighted by class size)`, of shapes (…, k) and (…,). The F1 of a class that is
        neither given nor predicted is 0, as in scikit-learn with `zero_division=0`.
    """
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    given, predicted = confusions.sum(-1), confusions.sum(-2)
    f1 = 2 * hits / np.maximum(given + predicted, 1)
    return f1, (f1 * given).sum(-1) / given.sum(-1)


def compute_percentiles(samples: np.ndarray, confidence: float = CONFIDENCE) -> np.ndarray:
    """Compute the percentile interval of bootstrap samples.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Args:
        samples: One statistic per resample, shape (n_resamples, …).
        confidence: Coverage, strictly between 0 and 1.

    Returns:
        Low and high ends, shape (2, …).
    """
    _check_confidence(confidence)
    return np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)


def _check_confidence(confidence):
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1, not {confidence}.")


def add_interval(value: float, interval: tuple[float, float]) -> dict:
    """Put a value and its interval into the form of `metrics.json`.

    A percentile interval of a few images can miss its own value; it is widened to hold it.
    """
    low, high = interval
    value = float(value)
    return {"value": value, "low": min(float(low), value), "high": max(float(high), value)}
