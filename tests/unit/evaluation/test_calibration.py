"""Calibration: the error is what the definition says, and the temperature mends what it can."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_utils.evaluation import apply_temperature, compute_ece, fit_calibration, measure_answers


def draw_predictions(n=20_000, spread=2.0, seed=0):
    """Return labels drawn from known probabilities: perfectly calibrated by construction."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (n, 10))
    probs = apply_temperature(np.exp(logits - logits.max(1, keepdims=True)), 1.0)
    labels = (probs.cumsum(1) < rng.random((n, 1))).sum(1).clip(0, 9)
    return labels, probs


def test_the_error_of_two_bins_by_hand():
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.6, 0.4]])
    labels = np.array([0, 1, 1, 0])  # correct, wrong, correct, correct
    # Bin of 0.9: half correct, gap 0.4, two images. Bin of 0.6: all correct, gap 0.4, two images.
    assert compute_ece(labels, probs) == pytest.approx(0.4)
    assert compute_ece(np.array([3, 5]), np.eye(10)[[3, 4]]) == pytest.approx(0.5)


@pytest.mark.parametrize("temperature", [1, 0.4, 2.5])
def test_the_temperature_undoes_over_and_underconfidence(temperature):
    labels, probs = draw_predictions()
    distorted = apply_temperature(probs, temperature)
    assert (compute_ece(labels, distorted) > 0.1) == (temperature != 1)
    found = fit_calibration(labels, distorted).temperature
    assert found == pytest.approx(1 / temperature, rel=0.05)
    assert compute_ece(labels, apply_temperature(distorted, found)) < 0.012


@given(st.integers(0, 1000), st.floats(0.05, 20))
def test_a_temperature_changes_no_order_and_keeps_probabilities(seed, temperature):
    probs = np.random.default_rng(seed).dirichlet(np.ones(10), 5)
    scaled = apply_temperature(probs, temperature)
    np.testing.assert_allclose(scaled.sum(1), 1, atol=1e-9)
    assert (scaled.argmax(1) == probs.argmax(1)).all()
    assert np.isfinite(apply_temperature(np.eye(10), temperature)).all()


def test_the_threshold_keeps_its_promise_on_fresh_images():
    held_out, fresh = (draw_predictions(5000, 8.0, seed) for seed in (1, 2))
    fitted = fit_calibration(*held_out)
    assert fitted.accuracy > 0.98
    scaled = apply_temperature(fresh[1], fitted.temperature)
    told = measure_answers(fresh[0], scaled, fitted.threshold)
    assert told["accuracy"] > 0.97
    assert told["coverage"] == pytest.approx(fitted.coverage, abs=0.05)
    assert fit_calibration(*held_out, target=0.9).threshold < fitted.threshold


def test_no_threshold_is_given_where_none_reaches_the_target():
    labels, probs = np.array([0, 1, 0, 1]), np.tile([0.6, 0.4], (4, 1))
    assert fit_calibration(labels, probs).threshold > 1
    assert measure_answers(labels, probs, 1.01) == {"n": 4, "coverage": 0, "accuracy": None}
    # Equal probabilities are on the same side, however many of the first are correct.
    many = np.tile([0.9, 0.1], (1000, 1))
    assert fit_calibration(np.arange(1000) // 500, many).threshold > 1
    with pytest.raises(ValueError, match="softmax"):
        fit_calibration(np.array([0]), np.array([[5.0, 1.0]]))
