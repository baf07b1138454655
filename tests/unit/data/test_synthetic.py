"""The drawn data set: shaped like CIFAR-10, balanced, repeatable, neither trivial nor hopeless."""

import numpy as np
import pytest

from cifar_utils.data.archive import CLASS_NAMES
from cifar_utils.data.drawings import FIGURES
from cifar_utils.data.synthetic import make_synthetic


@pytest.fixture(scope="module")
def drawn():
    return make_synthetic()


def test_it_has_the_shape_of_cifar10(drawn):
    train_images, train_labels, test_images, test_labels = drawn
    assert (train_images.shape, train_images.dtype) == ((5000, 32, 32, 3), np.uint8)
    assert (test_images.shape, test_images.dtype) == ((1000, 32, 32, 3), np.uint8)
    assert train_labels.dtype == test_labels.dtype == np.int64
    assert np.bincount(train_labels).tolist() == [500] * 10
    assert np.bincount(test_labels).tolist() == [100] * 10
    assert tuple(FIGURES) == CLASS_NAMES
    with pytest.raises(ValueError, match="read-only"):
        train_images[0] = 0


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    small = {"n_train": 100, "n_test": 20}
    first = make_synthetic(3, **small)
    make_synthetic.cache_clear()
    for a, b in zip(first, make_synthetic(3, **small), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != make_synthetic(4, **small)[0]).any()


def test_a_linear_classifier_cannot_do_it_but_does_better_than_chance(drawn):
    from sklearn.linear_model import RidgeClassifier

    # Every other pixel: four times fewer features, and no worse for a linear classifier.
    train, test = (x[:, ::2, ::2].reshape(len(x), -1) / 255 for x in (drawn[0], drawn[2]))
    accuracy = RidgeClassifier(alpha=10).fit(train[:2000], drawn[1][:2000]).score(test, drawn[3])
    assert 0.15 < accuracy < 0.6
