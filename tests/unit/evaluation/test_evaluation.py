"""Evaluation: values equal scikit-learn's, intervals cover, bad input is named."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score, precision_recall_fscore_support, recall_score

from cifar_utils.data import CLASS_NAMES
from cifar_utils.evaluation import metrics as evaluation
from cifar_utils.evaluation import uncertainty


def make_predictions(n=500, k=10, seed=0, skill=0.7):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 4 * skill * np.eye(k)[labels]
    probs = np.exp(logits)
    return labels, probs / probs.sum(1, keepdims=True)


def test_metric_values_equal_scikit_learn():
    labels, probs = make_predictions()
    metrics = evaluation.compute_metrics(labels, probs)
    predictions = probs.argmax(1)
    assert metrics["accuracy"]["value"] == pytest.approx((predictions == labels).mean())
    assert metrics["f1_weighted"]["value"] == pytest.approx(
        f1_score(labels, predictions, average="weighted")
    )
    assert metrics["recall_weighted"]["value"] == pytest.approx(
        recall_score(labels, predictions, average="weighted")
    )
    assert metrics["n"] == 500


def test_weighted_recall_has_the_interval_of_accuracy():
    metrics = evaluation.compute_metrics(*make_predictions())
    assert metrics["recall_weighted"] == metrics["accuracy"]


def test_same_seed_same_interval():
    labels, probs = make_predictions()
    first = evaluation.compute_metrics(labels, probs, seed=3)
    assert first == evaluation.compute_metrics(labels, probs, seed=3)
    assert first != evaluation.compute_metrics(labels, probs, seed=4)


@settings(deadline=None, max_examples=60)
@example(65, 1.0, 0.95)  # where rounding once put the end below the share
@given(st.integers(1, 10_000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_interval_equals_scipy(n, share, confidence):
    hits = round(share * n)
    expected = binomtest(hits, n).proportion_ci(confidence, method="wilson")
    low, high = uncertainty.compute_wilson_interval(hits, n, confidence)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert low <= hits / n <= high


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(2, 6), st.integers(0, 2**31))
def test_f1_from_confusion_equals_scikit_learn(n, k, seed):
    rng = np.random.default_rng(seed)
    labels, predictions = rng.integers(0, k, n), rng.integers(0, k, n)
    confusion = evaluation.compute_confusion(labels, np.eye(k)[predictions])
    per_class, weighted = uncertainty.compute_f1(confusion)
    _, _, expected, _ = precision_recall_fscore_support(
        labels, predictions, labels=range(k), zero_division=0
    )
    np.testing.assert_allclose(per_class, expected)
    assert weighted == pytest.approx(
        f1_score(labels, predictions, average="weighted", zero_division=0)
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(2, 5), st.integers(0, 2**31))
def test_every_interval_holds_its_value_and_stays_within_0_and_1(n, k, seed):
    labels, probs = make_predictions(n, k, seed, skill=0.2)
    names = CLASS_NAMES[:k]
    metrics = evaluation.compute_metrics(labels, probs, names, n_resamples=50)
    report = evaluation.compute_class_report(labels, probs, names, n_resamples=50)
    entries = [metrics[name] for name in evaluation.DOCUMENTED]
    entries += [row[name] for row in report for name in ("precision", "recall", "f1")]
    assert all(0 <= e["low"] <= e["value"] <= e["high"] <= 1 for e in entries)
    assert sum(row["support"] for row in report) == n


def test_bootstrap_equals_drawing_images_one_by_one():
    labels, probs = make_predictions(300, 4)
    predictions = probs.argmax(1)
    rng = np.random.default_rng(0)
    slow = []
    for _ in range(400):
        drawn = rng.integers(0, 300, 300)
        slow.append(f1_score(labels[drawn], predictions[drawn], average="weighted"))
    resamples = uncertainty.resample_confusion(
        evaluation.compute_confusion(labels, probs), 4000, seed=1
    )
    fast = uncertainty.compute_f1(resamples)[1]
    assert fast.mean() == pytest.approx(np.mean(slow), abs=0.006)
    assert fast.std() == pytest.approx(np.std(slow), rel=0.15)


def test_intervals_cover_the_truth_about_95_times_in_100():
    rng, true_accuracy, covered = np.random.default_rng(5), 0.8, 0
    for hits in rng.binomial(1000, true_accuracy, 500):
        low, high = uncertainty.compute_wilson_interval(hits, 1000)
        covered += low <= true_accuracy <= high
    assert 0.92 < covered / 500 < 0.98


def test_class_report_of_a_class_that_is_never_predicted():
    labels = np.array([0, 0, 1, 1])
    rows = evaluation.compute_class_report(labels, np.eye(2)[[0, 0, 0, 0]], ("a", "b"))
    assert rows[1]["precision"] == {"value": 0.0, "low": 0.0, "high": 1.0}
    assert rows[1]["f1"]["value"] == 0
    assert rows[0]["recall"]["value"] == 1


def test_confusion_rows_are_the_given_classes():
    confusion = evaluation.compute_confusion(np.array([0, 0, 2]), np.eye(3)[[1, 0, 2]])
    assert confusion.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_confident_mistakes_are_wrong_and_sorted():
    labels = np.array([0, 0, 1, 1])
    probs = np.array([[0.4, 0.6], [0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    assert evaluation.find_confident_mistakes(labels, probs).tolist() == [2, 0]
    assert evaluation.find_confident_mistakes(labels, probs, 1).tolist() == [2]
    assert len(evaluation.find_confident_mistakes(labels[1:2], probs[1:2])) == 0


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


def test_label_errors_refuse_another_test_set():
    labels, probs = make_predictions(10_000)
    labels[165] = 9
    with pytest.raises(ValueError, match="test image 165 has label 9 here and 4 in CIFAR-10"):
        evaluation.compute_metrics_without_label_errors(labels, probs, np.arange(10_000), "cifar10")


GOOD_LABELS, GOOD_PROBS = make_predictions(20)


@pytest.mark.parametrize(
    ("labels", "probs", "message"),
    [
        (GOOD_LABELS, GOOD_PROBS[:19], r"shape \(19,\)"),
        (GOOD_LABELS[:, None], GOOD_PROBS, r"labels\.ravel\(\)"),
        (GOOD_LABELS, GOOD_PROBS * 2, "sum to one"),
        (GOOD_LABELS, GOOD_PROBS * np.nan, "sum to one"),
        (GOOD_LABELS, GOOD_PROBS + np.array([[-1, 1] + [0] * 8]), "sum to one"),
        (GOOD_LABELS, np.log(GOOD_PROBS), "Logits need a softmax"),
        (GOOD_LABELS + 9, GOOD_PROBS, "between 0 and 9"),
        (GOOD_LABELS - 5, GOOD_PROBS, "between 0 and 9"),
        (GOOD_LABELS.astype(float), GOOD_PROBS, "must be integers"),
        (GOOD_LABELS[:0], GOOD_PROBS[:0], "empty"),
        (GOOD_LABELS, GOOD_PROBS.ravel(), r"shape \(n, classes\)"),
        (GOOD_LABELS % 9, GOOD_PROBS[:, :9], "9 columns, but there are 10 class names"),
    ],
)
def test_bad_predictions_are_refused_with_the_reason(labels, probs, message):
    with pytest.raises(ValueError, match=message):
        evaluation.compute_metrics(labels, probs)


def test_bad_row_is_named():
    probs = GOOD_PROBS.copy()
    probs[7, 2] = np.nan
    with pytest.raises(ValueError, match="1 of 20 rows do not, first row 7"):
        evaluation.compute_confusion(GOOD_LABELS, probs)


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_is_a_share(confidence):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        evaluation.compute_metrics(GOOD_LABELS, GOOD_PROBS, confidence=confidence)
