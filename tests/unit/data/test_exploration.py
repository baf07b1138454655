"""Exploration: the numbers are right, and duplicates are found and nothing else is."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cifar_utils.data import statistics as exploration


def make_images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def test_class_counts_include_empty_classes():
    assert exploration.compute_class_counts(np.array([1, 1, 3]), 5).tolist() == [0, 2, 0, 1, 0]


@pytest.mark.parametrize("labels", [[0, 10], [-1, 0]])
def test_labels_out_of_range_are_named(labels):
    with pytest.raises(ValueError, match="between 0 and 9"):
        exploration.compute_class_counts(np.array(labels))


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 4)] * 3, st.just(3))))
def test_channel_statistics_equal_those_of_the_float_images(images):
    mean, std = exploration.compute_channel_statistics(images)
    scaled = images.astype(np.float64) / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 1, 2)), atol=1e-12)
    np.testing.assert_allclose(std, scaled.std((0, 1, 2)), atol=1e-7)


def test_chunks_change_nothing(monkeypatch):
    images = make_images(25)
    whole = exploration.compute_channel_histograms(images)
    shades = exploration.compute_brightness_and_colour(images)
    monkeypatch.setattr(exploration, "CHUNK", 7)
    assert (exploration.compute_channel_histograms(images) == whole).all()
    np.testing.assert_allclose(exploration.compute_brightness_and_colour(images), shades)
    assert whole.sum() == images.size


def test_float_images_are_refused():
    with pytest.raises(ValueError, match="must be uint8"):
        exploration.compute_channel_statistics(make_images(2) / 255)


def test_mean_image_of_a_class_without_images_is_nan():
    images = np.stack([np.full((32, 32, 3), v, np.uint8) for v in (0, 255, 51)])
    means = exploration.compute_mean_images(images, np.array([0, 0, 2]), 3)
    assert np.allclose(means[0], 0.5)
    assert np.isnan(means[1]).all()
    assert np.allclose(means[2], 0.2)


def test_brightness_and_colour_of_known_pictures():
    colours = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0), (200, 100, 100)]
    images = np.stack([np.full((32, 32, 3), colour, np.uint8) for colour in colours])
    brightness, saturation = exploration.compute_brightness_and_colour(images)
    np.testing.assert_allclose(brightness[:4], [0, 1, 128 / 255, 0.2126], atol=1e-6)
    np.testing.assert_allclose(saturation, [0, 0, 0, 1, 0.5], atol=1e-6)


def test_exact_duplicates_are_all_found():
    train, test = make_images(30), make_images(10, seed=1)
    test[3] = train[7]
    test[8] = train[7]
    train[20] = train[7]
    pairs = exploration.find_exact_duplicates(train, test)
    assert pairs.tolist() == [[3, 7], [3, 20], [8, 7], [8, 20]]
    assert exploration.find_exact_duplicates(train[:5], test).shape == (0, 2)


def test_near_duplicates_survive_noise_and_contrast_and_come_nearest_first():
    train, test = make_images(200), make_images(50, seed=1)
    noise = np.random.default_rng(2).normal(0, 8, (32, 32, 3))
    test[5] = np.clip(train[17] + noise, 0, 255)
    test[6] = train[3] // 2 + 60  # washed out
    test[7] = train[99]
    pairs, distances = exploration.find_near_duplicates(train, test)
    assert pairs[0].tolist() == [7, 99]
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert {tuple(pair) for pair in pairs.tolist()} == {(7, 99), (6, 3), (5, 17)}
    assert (np.diff(distances) >= 0).all()


def test_plain_images_are_nobody_s_duplicates():
    train = np.stack([np.full((32, 32, 3), v, np.uint8) for v in (10, 200)])
    pairs, _ = exploration.find_near_duplicates(train, train[::-1].copy())
    assert len(pairs) == 0


def test_odd_sizes_are_refused():
    images = make_images(2)[:, :30]
    with pytest.raises(ValueError, match="multiples of 8, not 30 x 32"):
        exploration.find_near_duplicates(images, images)


@pytest.mark.cifar10
def test_cifar10_near_duplicates(cifar10_path):
    from cifar_utils.data import load_dataset

    dataset = load_dataset("cifar10")
    mean, std = exploration.compute_channel_statistics(dataset.train_images)
    np.testing.assert_allclose(mean, [0.4914, 0.4822, 0.4465], atol=1e-4)
    np.testing.assert_allclose(std, [0.2470, 0.2435, 0.2616], atol=1e-4)
    start = time.process_time()
    pairs, distances = exploration.find_near_duplicates(dataset.train_images, dataset.test_images)
    assert time.process_time() - start < 20  # seconds of all cores together, on a busy machine
    assert 90 <= len(pairs) <= 115
    same = dataset.test_labels[pairs[:, 0]] == dataset.train_labels[pairs[:, 1]]
    assert same.mean() > 0.98
    assert distances[-1] <= 0.06


def test_the_most_alike_images_come_first_whatever_their_contrast():
    images = make_images(300)
    washed_out = (images[7] // 2 + 60).astype(np.uint8)
    nearest = exploration.NearestImages(images).find(washed_out, count=4)
    assert nearest[0] == 7
    assert len(set(nearest)) == 4
    with pytest.raises(ValueError, match="uint8"):
        exploration.NearestImages(images / 255)
