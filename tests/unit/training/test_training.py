"""Training obeys recipe and seed, and leaves what the next stage needs."""

import dataclasses
import json

import numpy as np
import pytest
from tiny_runs import STEPS, make_run, train, train_once

from cifar_utils.backend import keras
from cifar_utils.data.preprocessing import scale_images
from cifar_utils.models.layers import compute_whitening
from cifar_utils.runs import read_history, read_preprocessing
from cifar_utils.training import build_schedule, choose_precision, predict_probs


@pytest.fixture(scope="module")
def trained():
    return train_once("never-stopped")


def test_the_same_seed_gives_the_same_history_byte_for_byte_and_another_does_not(trained):
    run, model, _ = train_once("same-seed")
    assert run.path("history.csv").read_bytes() == trained[0].path("history.csv").read_bytes()
    for own, other in zip(model.get_weights(), trained[1].get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    _, history = train(make_run("another-seed", seed=1, epochs=1))
    assert history["loss"][0] != trained[2]["loss"][0]


def test_the_history_has_a_row_per_epoch_and_the_network_learns(trained):
    run, _, history = trained
    assert read_history(run) == history
    names = ["epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert list(history) == names
    assert history["epoch"] == [1, 2, 3]
    assert history["loss"][-1] < history["loss"][0]
    schedule = build_schedule(run.recipe, STEPS)
    for epoch, rate in enumerate(history["learning_rate"]):
        assert rate == pytest.approx(float(schedule(epoch * STEPS))), f"epoch {epoch + 1}"


def test_validation_and_whitening_use_the_images_that_they_should(trained):
    run, model, history = trained
    train_part, val = read_preprocessing(run).split(run.dataset.train_labels)
    probs = predict_probs(model, run.dataset.train_images[val])
    accuracy = (probs.argmax(1) == run.dataset.train_labels[val]).mean()
    assert history["val_accuracy"][-1] == pytest.approx(accuracy, abs=0.011)
    expected = compute_whitening(scale_images(run.dataset.train_images[train_part]), 2)
    for own, other in zip(model.get_layer("whitening").get_weights(), expected, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-4)


def test_run_json_records_how_it_was_trained(trained):
    info = trained[0].info
    assert info["recipe"] == json.loads(json.dumps(dataclasses.asdict(trained[0].recipe)))
    assert info["versions"]["keras"] == keras.__version__
    assert {"python", "numpy", "cifar_utils", keras.backend.backend()} <= set(info["versions"])
    assert min(info["seconds"]["training"], info["threads"], len(info["device"])) > 0
    assert info["backend"] == keras.backend.backend()
    assert info["precision"] == choose_precision(trained[0].recipe.precision)
    assert info["differs_from_recipe"] == []
    assert trained[0].path("preprocessing.json").exists()


def test_both_saved_models_load_and_agree_with_the_trained_one(trained):
    run, model, _ = trained
    images = run.dataset.test_images[:50]
    probs = predict_probs(model, images)
    for name in ("model.keras", "model1.h5"):
        loaded = keras.saving.load_model(run.path(name), compile=False)
        np.testing.assert_allclose(predict_probs(loaded, images), probs, atol=1e-6)
    np.testing.assert_allclose(predict_probs(model, images, batch_size=7), probs, atol=1e-5)


def test_all_images_are_used_and_the_test_set_never_where_none_are_held_out():
    run = make_run("all-images", val_fraction=0.0, epochs=1)
    run.dataset = dataclasses.replace(run.dataset, test_images=None, test_labels=None)
    _, history = train(run)
    assert list(history) == ["epoch", "learning_rate", "loss", "accuracy"]
