"""Near duplicates are found, and nothing else is."""

import numpy as np
import pytest

from cifar_utils.data.statistics import NearestImages, find_near_duplicates


def make_images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def test_near_duplicates_survive_noise_and_contrast_and_come_nearest_first():
    train, test = make_images(200), make_images(50, seed=1)
    noise = np.random.default_rng(2).normal(0, 8, (32, 32, 3))
    test[5] = np.clip(train[17] + noise, 0, 255)
    test[6] = train[3] // 2 + 60  # washed out
    test[7] = train[99]
    pairs, distances = find_near_duplicates(train, test)
    assert pairs[0].tolist() == [7, 99]
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert {tuple(pair) for pair in pairs.tolist()} == {(7, 99), (6, 3), (5, 17)}
    assert (np.diff(distances) >= 0).all()


def test_odd_sizes_are_refused():
    images = make_images(2)[:, :30]
    with pytest.raises(ValueError, match="multiples of 8, not uint8 of 30 x 32"):
        find_near_duplicates(images, images)


@pytest.mark.cifar10
def test_cifar10_near_duplicates(cifar10_path):
    from cifar_utils.data import load_dataset

    dataset = load_dataset("cifar10")
    pairs, distances = find_near_duplicates(dataset.train_images, dataset.test_images)
    assert 90 <= len(pairs) <= 115
    same = dataset.test_labels[pairs[:, 0]] == dataset.train_labels[pairs[:, 1]]
    assert same.mean() > 0.98
    assert distances[-1] <= 0.06


def test_the_most_alike_images_come_first_whatever_their_contrast():
    images = make_images(300)
    washed_out = (images[7] // 2 + 60).astype(np.uint8)
    nearest = NearestImages(images).find(washed_out, count=4)
    assert nearest[0] == 7
    assert len(set(nearest)) == 4
    with pytest.raises(ValueError, match="uint8"):
        NearestImages(images / 255)
