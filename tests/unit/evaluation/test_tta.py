"""The average over views is the one that its definition describes."""

import numpy as np
import pytest
from scipy.special import softmax

from cifar_utils.evaluation import VIEWS, average_views, make_views


def test_the_six_views_are_those_made_by_hand():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    moved = (padded[:, 1:-1, 1:-1], padded[:, 2:, 2:], padded[:, :-2, :-2])
    expected = np.stack([view for one in moved for view in (one, one[:, :, ::-1])])
    np.testing.assert_array_equal(make_views(images, "six"), expected)
    np.testing.assert_array_equal(make_views(images, "mirrored"), expected[:2])
    np.testing.assert_array_equal(make_views(images, "one"), images[None])


def test_the_average_is_the_softmax_of_the_averaged_logits():
    logits = np.random.default_rng(1).normal(0, 3, (6, 5, 10))
    weights = np.array([2, 2, 1, 1, 1, 1]) / 8
    expected = softmax(np.tensordot(weights, logits, 1), axis=1)
    probs = softmax(logits, axis=2).astype(np.float32)
    np.testing.assert_allclose(average_views(probs, "six"), expected, atol=1e-5)
    assert np.abs(probs.mean(axis=0) - expected).max() > 1e-3  # not the mean of probabilities


@pytest.mark.parametrize("kind", VIEWS)
def test_equal_outputs_stay_and_zeros_give_no_nan(kind):
    assert sum(VIEWS[kind]) == 1
    probs = np.random.default_rng(1).dirichlet(np.ones(10), 4).astype(np.float32)
    same = np.stack([probs] * len(VIEWS[kind]))
    np.testing.assert_allclose(average_views(same, kind), probs, atol=1e-6)
    certain = np.stack([np.eye(10, dtype=np.float32)[:2]] * len(VIEWS[kind]))
    np.testing.assert_allclose(average_views(certain, kind), np.eye(10)[:2], atol=1e-6)
