"""Metrics equal scikit-learn's, intervals cover the truth, bad input is named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support, recall_score

from cifar_utils import evaluation
from cifar_utils.data import CLASS_NAMES


def make_predictions(n=500, k=10, seed=0, skill=0.7):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 4 * skill * np.eye(k)[labels]
    probs = np.exp(logits)
    return labels, probs / probs.sum(1, keepdims=True)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 60), st.integers(2, 6), st.integers(0, 2**31))
def test_values_equal_scikit_learn_and_lie_in_their_intervals(n, k, seed):
    labels, probs = make_predictions(n, k, seed, skill=0.2)
    names, predicted = CLASS_NAMES[:k], probs.argmax(1)
    metrics = evaluation.compute_metrics(labels, probs, names)
    rows = evaluation.compute_class_report(labels, probs, names)
    options = {"average": "weighted", "zero_division": 0}
    expected = {
        "accuracy": accuracy_score(labels, predicted),
        "f1_weighted": f1_score(labels, predicted, **options),
        "recall_weighted": recall_score(labels, predicted, **options),
    }
    assert {name: metrics[name]["value"] for name in expected} == pytest.approx(expected)
    scores = precision_recall_fscore_support(labels, predicted, labels=range(k), zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), scores[:3], strict=True):
        assert [row[name]["value"] for row in rows] == pytest.approx(values)
    assert [row["support"] for row in rows] == scores[3].tolist()
    entries = [metrics[name] for name in expected]
    entries += [row[name] for row in rows for name in ("precision", "recall", "f1")]
    assert all(0 <= e["low"] <= e["value"] <= e["high"] <= 1 for e in entries)


def test_the_bootstrap_equals_drawing_images_one_by_one():
    labels, probs = make_predictions(300, 4)
    predicted, rng, slow = probs.argmax(1), np.random.default_rng(0), []
    for _ in range(600):
        drawn = rng.integers(0, 300, 300)
        slow.append(f1_score(labels[drawn], predicted[drawn], average="weighted"))
    entry = evaluation.compute_metrics(labels, probs, CLASS_NAMES[:4])["f1_weighted"]
    assert (entry["low"], entry["high"]) == pytest.approx(
        np.quantile(slow, [0.025, 0.975]), abs=0.01
    )


def test_label_errors_are_the_published_54():
    errors = evaluation.load_label_errors()
    assert len(errors.indices) == 54
    assert (np.diff(errors.indices) > 0).all()
    assert errors.indices[11] == 2405
    assert CLASS_NAMES[errors.given[11]] == "cat"
    assert CLASS_NAMES[errors.suggested[11]] == "frog"
    assert (errors.given != errors.suggested).all()


def test_metrics_without_label_errors_leave_out_exactly_those():
    errors = evaluation.load_label_errors()
    labels, probs = make_predictions(10_000, skill=2)
    labels[errors.indices] = errors.given
    probs[errors.indices] = np.eye(10)[errors.suggested]
    probs[[0, 1]] = np.eye(10)[(labels[[0, 1]] + 1) % 10]
    indices = np.arange(10_000)
    result = evaluation.compute_metrics_without_label_errors(labels, probs, indices, "cifar10")
    assert (result["n"], result["excluded"]) == (9946, 54)
    assert result["accuracy"]["value"] > (probs.argmax(1) == labels).mean()
    other = evaluation.compute_metrics_without_label_errors(labels, probs, indices, "synthetic")
    assert other is None
    labels[165] = 9
    with pytest.raises(ValueError, match="test image 165 has label 9 here and 4 in CIFAR-10"):
        evaluation.compute_metrics_without_label_errors(labels, probs, indices, "cifar10")


GOOD_LABELS, GOOD_PROBS = make_predictions(20)
ONE_BAD_ROW = GOOD_PROBS.copy()
ONE_BAD_ROW[7, 2] = np.nan


@pytest.mark.parametrize(
    ("labels", "probs", "named"),
    [
        (GOOD_LABELS, GOOD_PROBS[:19], "(19,)"),
        (GOOD_LABELS[:, None], GOOD_PROBS, "labels.ravel()"),
        (GOOD_LABELS, ONE_BAD_ROW, "first row 7"),
        (GOOD_LABELS, GOOD_PROBS + np.array([[-1, 1] + [0] * 8]), "20 of 20 rows"),
        (GOOD_LABELS, np.log(GOOD_PROBS), "softmax"),
        (GOOD_LABELS + 9, GOOD_PROBS, "between 0 and 9"),
        (GOOD_LABELS.astype(float), GOOD_PROBS, "float64"),
        (GOOD_LABELS[:0], GOOD_PROBS[:0], "empty"),
        (GOOD_LABELS % 9, GOOD_PROBS[:, :9], "9 columns"),
    ],
)
def test_bad_predictions_are_refused_with_what_is_bad(labels, probs, named):
    with pytest.raises(ValueError) as error:
        evaluation.compute_metrics(labels, probs)
    assert named in str(error.value)
