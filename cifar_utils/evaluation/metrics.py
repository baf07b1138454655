"""Metrics and their uncertainty, from labels and class probabilities alone."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from cifar_utils.data import CLASS_NAMES
from cifar_utils.evaluation.uncertainty import (
    CONFIDENCE,
    add_interval,
    compute_f1,
    compute_percentiles,
    compute_wilson_interval,
    resample_confusion,
)

# The results of the documented system on the 10,000 test images of CIFAR-10.
DOCUMENTED = {"accuracy": 0.8297, "f1_weighted": 0.8269, "recall_weighted": 0.8297}

N_RESAMPLES = 2000


class LabelErrors(NamedTuple):
    """Test images of CIFAR-10 whose given label most human raters rejected."""

    indices: np.ndarray  # int64 (54,), positions in the test set, ascending
    given: np.ndarray  # int64 (54,), the label in the data set
    suggested: np.ndarray  # int64 (54,), what the raters were offered instead


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
    """Count images by given class (rows) and predicted class (columns).

    Args:
        labels: Integer class ids, shape (n,).
        probs: Class probabilities, shape (n, k).

    Returns:
        Integers of shape (k, k) that sum to n.

    Raises:
        ValueError: If labels and probabilities do not fit together.
    """
    labels, probs = check_predictions(labels, probs)
    return confusion_matrix(labels, probs.argmax(1), labels=np.arange(probs.shape[1]))


def compute_metrics(
    labels: np.ndarray,
    probs: np.ndarray,
    class_names: tuple[str, ...] = CLASS_NAMES,
    confidence: float = CONFIDENCE,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> dict:
    """Compute accuracy, weighted F1 and weighted recall with their intervals.

    Accuracy has a Wilson interval. Recall weighted by class size is the same number, so it has the
    same interval. Weighted F1 has a bootstrap percentile interval over the test images.
    All three say how much a result would move on other test images from the same source; none says
    how much it would move with another training seed.

    Args:
        labels: Integer class ids, shape (n,).
        probs: Class probabilities, shape (n, k), each row summing to one.
        class_names: The k class names.
        confidence: Coverage of the intervals, strictly between 0 and 1.
        n_resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.

    Returns:
        `{"accuracy": {"value", "low", "high"}, "f1_weighted": …, "recall_weighted": …, "n": n}`.

    Raises:
        ValueError: If labels and probabilities do not fit together.
    """
    labels, probs = check_predictions(labels, probs, class_names)
    predictions = probs.argmax(1)
    confusion = compute_confusion(labels, probs)
    hits = int(np.trace(confusion))
    accuracy = add_interval(
        accuracy_score(labels, predictions), compute_wilson_interval(hits, len(labels), confidence)
    )
    f1_value = _sklearn_scores(labels, predictions, probs.shape[1], "weighted")[2]
    resamples = resample_confusion(confusion, n_resamples, seed)
    f1_interval = compute_percentiles(compute_f1(resamples)[1], confidence)
    return {
        "accuracy": accuracy,
        "f1_weighted": add_interval(f1_value, f1_interval),
        "recall_weighted": dict(accuracy),
        "n": len(labels),
    }


def compute_class_report(
    labels: np.ndarray,
    probs: np.ndarray,
    class_names: tuple[str, ...] = CLASS_NAMES,
    confidence: float = CONFIDENCE,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> list[dict]:
    """Compute precision, recall and F1 of each class with their intervals.

    Precision and recall are shares, so they have Wilson intervals (0 to 1 for a class that was
    never predicted or never given); F1 has the same bootstrap as in `compute_metrics`.

    Returns:
        One row per class: `{"class", "support", "precision": {"value", "low", "high"}, "recall",
        "f1"}`, in the order of `class_names`. A score without images is 0.
    """
    labels, probs = check_predictions(labels, probs, class_names)
    confusion = compute_confusion(labels, probs)
    scores = _sklearn_scores(labels, probs.argmax(1), probs.shape[1], None)
    hits, given, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    f1_low, f1_high = compute_percentiles(
        compute_f1(resample_confusion(confusion, n_resamples, seed))[0], confidence
    )
    rows = []
    for i, (name, precision, recall, f1) in enumerate(zip(class_names, *scores[:3], strict=True)):
        of_predicted = compute_wilson_interval(hits[i], predicted[i], confidence)
        of_given = compute_wilson_interval(hits[i], given[i], confidence)
        rows.append(
            {
                "class": str(name),
                "support": int(given[i]),
                "precision": add_interval(precision, of_predicted),
                "recall": add_interval(recall, of_given),
                "f1": add_interval(f1, (f1_low[i], f1_high[i])),
            }
        )
    return rows


def compute_metrics_without_label_errors(
    labels: np.ndarray, probs: np.ndarray, indices: np.ndarray, dataset: str, **options
) -> dict | None:
    """Compute the metrics again without the test images whose label most raters rejected.

    Args:
        labels: Integer class ids, shape (n,).
        probs: Class probabilities, shape (n, k).
        indices: Position of each image in the test set, shape (n,).
        dataset: Name of the data set; the list is about "cifar10" only.
        **options: Passed on to `compute_metrics`.

    Returns:
        The metrics, with `"excluded"` beside them: how many images were left out. None for any
        data set but CIFAR-10.

    Raises:
        ValueError: If a listed image does not have the label on the list: then these are not the
            images of the official test set in its order.
    """
    if dataset != "cifar10":
        return None
    labels, probs = check_predictions(labels, probs)
    indices = np.asarray(indices)
    if indices.shape != labels.shape:
        raise ValueError(f"indices must have the shape of labels, {labels.shape}.")
    errors = load_label_errors()
    given = dict(zip(errors.indices.tolist(), errors.given.tolist(), strict=True))
    listed = np.isin(indices, errors.indices)
    for index, label in zip(indices[listed].tolist(), labels[listed].tolist(), strict=True):
        if given[index] != label:
            raise ValueError(
                f"test image {index} has label {label} here and {given[index]} in CIFAR-10: these"
                " are not the official test images in the official order."
            )
    metrics = compute_metrics(labels[~listed], probs[~listed], **options)
    return {**metrics, "excluded": int(listed.sum())}


def find_confident_mistakes(labels: np.ndarray, probs: np.ndarray, k: int = 20) -> np.ndarray:
    """Find the wrong predictions with the highest probability.

    Returns:
        Positions in `labels`, int64 of shape (at most k,), most confident first.
    """
    labels, probs = check_predictions(labels, probs)
    wrong = np.flatnonzero(probs.argmax(1) != labels)
    return wrong[np.argsort(-probs[wrong].max(1), kind="stable")][: max(int(k), 0)]


def check_predictions(labels, probs, class_names=None):
    """Refuse labels and probabilities that do not fit together, saying what is wrong.

    Returns:
        `(labels, probs)` as arrays of shapes (n,) and (n, k).

    Raises:
        ValueError: If a shape, a label or a probability is not what it must be.
    """
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


def _sklearn_scores(labels, predictions, num_classes, average):
    return precision_recall_fscore_support(
        labels, predictions, labels=np.arange(num_classes), average=average, zero_division=0
    )
