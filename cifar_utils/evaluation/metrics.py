"""Accuracy, precision, recall and F1 with their uncertainty, from labels and probabilities."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cifar_utils.data import CLASS_NAMES

# What the original system reports for the 10,000 test images of CIFAR-10.
DOCUMENTED = {"accuracy": 0.8297, "f1_weighted": 0.8269, "recall_weighted": 0.8297}

CONFIDENCE = 0.95  # coverage of every interval
N_RESAMPLES = 2000  # of the bootstrap, always with the same seed: a repeat repeats its numbers


class LabelErrors(NamedTuple):
    """Test images of CIFAR-10 whose given label most human raters rejected."""

    indices: np.ndarray  # int64 (54,), positions in the test set, ascending
    given: np.ndarray  # int64 (54,), the label in the data set
    suggested: np.ndarray  # int64 (54,), the label that the raters were offered instead


def load_label_errors() -> LabelErrors:
    """Read the 54 test images whose label at least three of five raters rejected.

    From Northcutt, Athalye and Mueller, "Pervasive Label Errors in Test Sets Destabilize Machine
    Learning Benchmarks", NeurIPS 2021, as published on labelerrors.com.
    """
    path = Path(__file__).with_name("label_errors.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(CLASS_NAMES)
    return LabelErrors(
        np.array([int(row["test_index"]) for row in rows]),
        np.array([names.index(row["given_label"]) for row in rows]),
        np.array([names.index(row["suggested_label"]) for row in rows]),
    )


def compute_confusion(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Count images by given class (rows) and predicted class (columns): integers (k, k)."""
    from sklearn.metrics import confusion_matrix

    labels, probs = check_predictions(labels, probs)
    return confusion_matrix(labels, probs.argmax(1), labels=np.arange(probs.shape[1]))


def compute_metrics(labels, probs, class_names=CLASS_NAMES) -> dict:
    """Compute accuracy, weighted F1 and weighted recall with their intervals.

    Accuracy has a Wilson interval, and so has weighted recall, which equals it; weighted F1 has a
    bootstrap percentile interval. The intervals, of 95 %, state how much a result would move on
    other test images from the same source, not with another training seed.

    Args:
        labels: Integer class ids, shape (n,).
        probs: Class probabilities, shape (n, k), each row summing to one.
        class_names: The k class names.

    Returns:
        `{"accuracy": {"value", "low", "high"}, "f1_weighted": …, "recall_weighted": …, "n": n}`.

    Raises:
        ValueError: If labels and probabilities do not fit together.
    """
    labels, probs = check_predictions(labels, probs, class_names)
    confusion = compute_confusion(labels, probs)
    hits, n = int(np.trace(confusion)), len(labels)
    accuracy = add_interval(hits / n, compute_wilson_interval(hits, n))
    return {
        "accuracy": accuracy,
        "f1_weighted": add_interval(_compute_f1(confusion)[-1], _bootstrap_f1(confusion)[:, -1]),
        "recall_weighted": dict(accuracy),
        "n": n,
    }


def compute_class_report(labels, probs, class_names=CLASS_NAMES) -> list[dict]:
    """Compute precision, recall and F1 of each class with their intervals.

    Precision and recall are shares, so they have Wilson intervals (0 to 1 for a class that was
    never predicted or never given); F1 has the same bootstrap as in `compute_metrics`.

    Returns:
        One row per class: `{"class", "support", "precision": {"value", "low", "high"}, "recall",
        "f1"}`, in the order of `class_names`. A score without images is 0.
    """
    labels, probs = check_predictions(labels, probs, class_names)
    confusion = compute_confusion(labels, probs)
    f1, f1_ends = _compute_f1(confusion), _bootstrap_f1(confusion)

    def share(hits, n):
        return add_interval(hits / max(n, 1), compute_wilson_interval(hits, n))

    hits, given, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    return [
        {
            "class": str(name),
            "support": int(given[i]),
            "precision": share(hits[i], predicted[i]),
            "recall": share(hits[i], given[i]),
            "f1": add_interval(f1[i], f1_ends[:, i]),
        }
        for i, name in enumerate(class_names)
    ]


def compute_metrics_without_label_errors(labels, probs, indices, dataset) -> dict | None:
    """Compute the metrics again without the test images whose label most raters rejected.

    Args:
        labels, probs: As for `compute_metrics`.
        indices: Position of each image in the test set, shape (n,).
        dataset: Name of the data set; the list is about "cifar10" only.

    Returns:
        The metrics, with `"excluded"`: how many images were left out. None for any other data set.

    Raises:
        ValueError: If these are not the images of the official test set in its order.
    """
    if dataset != "cifar10":
        return None
    labels, probs = check_predictions(labels, probs)
    errors, listed = load_label_errors(), np.zeros(len(labels), bool)
    for index, given in zip(errors.indices, errors.given, strict=True):
        here = np.asarray(indices) == index
        listed |= here
        if (labels[here] != given).any():
            raise ValueError(
                f"test image {index} has label {labels[here][0]} here and {given} in CIFAR-10:"
                " these are not the official test images in the official order."
            )
    metrics = compute_metrics(labels[~listed], probs[~listed])
    return {**metrics, "excluded": int(listed.sum())}


def compute_wilson_interval(hits, n):
    """Compute the interval of a share of `hits` in `n` trials; (0, 1) without any trial.

    Unlike value ± 1.96 standard errors, Wilson's stays within [0, 1] and has a width at 0 % and
    100 % (JASA 22, 1927).
    """
    from scipy.stats import binomtest

    if not n:
        return 0.0, 1.0
    interval = binomtest(int(hits), int(n)).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def add_interval(value, interval):
    """Return the form of `metrics.json`; an interval of few images is widened to hold its value."""
    value, low, high = float(value), *map(float, interval)
    return {"value": value, "low": min(low, value), "high": max(high, value)}


def _compute_f1(confusion):
    """Compute F1 per class, and weighted by class size in the last place: (…, k, k) → (…, k + 1).

    A class that is neither given nor predicted has 0, as in scikit-learn with `zero_division=0`.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    given, predicted = confusion.sum(-1), confusion.sum(-2)
    f1 = 2 * hits / np.maximum(given + predicted, 1)
    weighted = (f1 * given).sum(-1, keepdims=True) / given.sum(-1, keepdims=True)
    return np.concatenate([f1, weighted], axis=-1)


def _bootstrap_f1(confusion):
    """Compute percentile intervals of `_compute_f1` over resampled images, shape (2, k + 1).

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    # Drawing n images with replacement and counting them by (label, prediction) is one draw from
    # a multinomial over the matrix's cells. For 10,000 images it takes 13 µs a resample;
    # `scipy.stats.bootstrap` takes 3.3 ms with scikit-learn's `f1_score` (260 times as long) and
    # 0.34 ms with a vectorised one (26 times).
    n = confusion.sum()
    draws = np.random.default_rng(0).multinomial(n, confusion.ravel() / n, size=N_RESAMPLES)
    samples = _compute_f1(draws.reshape(N_RESAMPLES, *confusion.shape))
    return np.quantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)


def check_predictions(labels, probs, class_names=None):
    """Return labels (n,) and probs (n, k) as arrays; refuse, by ValueError, what does not fit."""
    labels, probs = np.asarray(labels), np.asarray(probs)
    if probs.ndim != 2 or probs.shape[1] < 2:
        raise ValueError(f"probs must have the shape (n, classes), not {probs.shape}.")
    if labels.shape != (len(probs),) or not np.issubdtype(labels.dtype, np.integer):
        hint = " Use labels.ravel()." if labels.shape == (len(probs), 1) else ""
        raise ValueError(
            f"labels must be integers of shape ({len(probs)},) to fit probs, not {labels.dtype}"
            f" of shape {labels.shape}.{hint}"
        )
    if not len(labels):
        raise ValueError("there are no predictions: labels and probs are empty.")
    k = probs.shape[1]
    if class_names is not None and len(class_names) != k:
        raise ValueError(f"probs has {k} columns, but there are {len(class_names)} class names.")
    if not 0 <= labels.min() <= labels.max() < k:
        raise ValueError(
            f"labels must lie between 0 and {k - 1}, not between {labels.min()} and {labels.max()}."
        )
    # The tolerance admits float16 and bfloat16 outputs; logits are far outside it.
    bad = ~((probs >= 0).all(1) & (np.abs(probs.sum(1, dtype=np.float64) - 1) < 0.01))
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"each row of probs must hold probabilities that sum to one; {int(bad.sum())} of"
            f" {len(probs)} rows do not, first row {row}: {np.round(probs[row], 4).tolist()}."
            " Logits need a softmax first."
        )
    return labels, probs
