"""The shipped weights are those of their card, and whatever is wrong with them is told."""

import json

import numpy as np
import pytest
from tiny_runs import train_once

from cifar_utils.backend import keras
from cifar_utils.data import load_dataset
from cifar_utils.data.preprocessing import scale_images
from cifar_utils.errors import ModelError
from cifar_utils.evaluation.tta import VIEWS
from cifar_utils.inference import pretrained

LARGEST_BYTES = 10_000_000


def predict_probs(model, images):
    """Return a network's probabilities for uint8 images."""
    parts = [images[i : i + 500] for i in range(0, len(images), 500)]
    return np.concatenate([model.predict_on_batch(scale_images(part)) for part in parts])


@pytest.fixture(scope="module")
def images():
    """Return 32 synthetic test images, uint8."""
    return load_dataset("synthetic").test_images[:32]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A tiny run's weights, shipped under the name "fast"; returns `(folder, model)`."""
    run, model, _ = train_once("exported")
    monkeypatch.setattr(pretrained, "WEIGHTS_DIR", tmp_path)
    recipe = json.loads(json.dumps(run.info["recipe"]))
    card = {"name": "fast", "recipe": recipe}
    pretrained.save_pretrained("fast", model.get_weights(), card, tmp_path)
    return tmp_path, model


def test_what_was_saved_is_what_is_loaded(weights, images):
    _, model = weights
    loaded = pretrained.load_pretrained("fast")
    np.testing.assert_allclose(
        predict_probs(loaded, images), predict_probs(model, images), atol=2e-2
    )
    assert loaded.dtype_policy.name == "float32"


def test_a_loaded_model_can_be_fine_tuned_and_saved(weights, images, tmp_path):
    loaded = pretrained.load_pretrained()
    before = loaded.get_layer("logits").kernel.numpy()
    loaded.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy", jit_compile=False)
    loaded.fit(scale_images(images), np.eye(10)[np.arange(len(images)) % 10], verbose=0)
    assert np.abs(loaded.get_layer("logits").kernel.numpy() - before).max() > 1e-6
    loaded.save(tmp_path / "tuned.keras")
    again = keras.saving.load_model(tmp_path / "tuned.keras")
    np.testing.assert_allclose(
        predict_probs(again, images), predict_probs(loaded, images), atol=1e-6
    )


def test_a_changed_byte_is_noticed(weights):
    path = weights[0] / "fast.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged.*SHA-256.*Reinstall"):
        pretrained.load_pretrained()


def test_a_missing_file_is_told(weights):
    (weights[0] / "fast.npz").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        pretrained.load_pretrained()


def test_weights_of_another_network_are_refused(weights):
    folder, model = weights
    card = json.loads((folder / "fast.json").read_text())
    card["recipe"]["widths"] = [8, 8, 8]
    pretrained.save_pretrained("fast", model.get_weights(), card, folder)
    with pytest.raises(ModelError, match="another network"):
        pretrained.load_pretrained()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"recipe": {}}', '{"sha256": "0"}'])
def test_a_damaged_card_is_told(weights, text):
    (weights[0] / "fast.json").write_text(text)
    with pytest.raises(ModelError, match=r"fast\.json is damaged.*Reinstall"):
        pretrained.load_pretrained()


def test_an_unknown_name_gets_the_nearest(weights):
    with pytest.raises(ModelError, match="Did you mean 'fast'"):
        pretrained.load_pretrained("fats")


@pytest.mark.parametrize("bad", [np.nan, 1e6])
def test_what_float16_cannot_hold_is_not_written(weights, tmp_path, bad):
    folder = tmp_path / "new"
    with pytest.raises(ModelError, match="nothing was written"):
        pretrained.save_pretrained("fast", [np.array([bad])], {}, folder)
    assert not folder.exists()


# ---------- what really ships -------------------------------------------------------------------


@pytest.mark.parametrize("name", pretrained.list_pretrained())
def test_every_shipped_file_loads_and_its_card_says_what_it_is(name, images):
    card = pretrained.read_card(name)
    assert max(card["bytes"], card["exported"]["bytes"]) < LARGEST_BYTES
    assert card["data"]["held_out"] >= 2_000
    assert card["licence"]
    assert card["limits"]
    assert list(card["views"]) == list(VIEWS)
    for part in card["views"].values():
        accuracy = part["test"]["accuracy"]
        assert accuracy["low"] < accuracy["value"] < accuracy["high"]
        assert part["test_ece"] < part["test_ece_uncalibrated"]
    probs = predict_probs(pretrained.load_pretrained(name), images)
    np.testing.assert_allclose(probs.sum(1), 1, atol=1e-5)


@pytest.mark.cifar10
@pytest.mark.parametrize("name", pretrained.list_pretrained())
def test_the_shipped_weights_have_the_accuracy_of_their_card(name, cifar10_path):
    cifar10 = load_dataset("cifar10")
    card = pretrained.read_card(name)
    probs = predict_probs(pretrained.load_pretrained(name), cifar10.test_images)
    accuracy = (probs.argmax(1) == cifar10.test_labels).mean()
    assert accuracy == pytest.approx(card["views"]["one"]["test"]["accuracy"]["value"], abs=1e-3)
