"""The shipped weights are those of their card, and whatever is wrong with them is told."""

import json

import numpy as np
import pytest
from ship_weights import save_pretrained
from tiny_runs import train_once

from cifar_utils.data import load_dataset
from cifar_utils.data.preprocessing import scale_images
from cifar_utils.errors import ModelError
from cifar_utils.evaluation import VIEWS
from cifar_utils.inference import pretrained


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A tiny run's weights, shipped under the name "fast"; returns `(folder, model)`."""
    run, model, _ = train_once("exported")
    monkeypatch.setattr(pretrained, "WEIGHTS_DIR", tmp_path)
    card = {"name": "fast", "recipe": json.loads(json.dumps(run.info["recipe"]))}
    save_pretrained("fast", model.get_weights(), card, tmp_path)
    return tmp_path, model


def test_what_was_saved_is_what_is_loaded(weights):
    model, loaded = weights[1], pretrained.load_pretrained("fast")
    images = scale_images(load_dataset("synthetic").test_images[:32])
    found, expected = (one.predict_on_batch(images) for one in (loaded, model))
    np.testing.assert_allclose(found, expected, atol=2e-2)
    assert loaded.dtype_policy.name == "float32"


def test_what_is_wrong_with_a_file_is_told(weights):
    folder, model = weights
    path, card = folder / "fast.npz", json.loads((folder / "fast.json").read_text())
    with pytest.raises(ModelError, match="Did you mean 'fast'"):
        pretrained.load_pretrained("fats")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged.*SHA-256.*Reinstall"):
        pretrained.load_pretrained()
    path.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        pretrained.load_pretrained()
    card["recipe"]["widths"] = [8, 8, 8]
    save_pretrained("fast", model.get_weights(), card, folder)
    with pytest.raises(ModelError, match="another network"):
        pretrained.load_pretrained()
    for text in ("{", "[]", '{"sha256": "0"}'):
        (folder / "fast.json").write_text(text)
        with pytest.raises(ModelError, match=r"fast\.json is damaged.*Reinstall"):
            pretrained.load_pretrained()
    with pytest.raises(ModelError, match="nothing was written"):
        save_pretrained("other", [np.array([1e6])], {}, folder)
    assert not (folder / "other.npz").exists()


@pytest.mark.parametrize("name", pretrained.list_pretrained())
def test_every_card_says_what_its_weights_are(name):
    card = pretrained.read_card(name)
    assert max(card["bytes"], card["exported"]["bytes"]) < 10_000_000
    assert card["data"]["held_out"] >= 2_000
    assert list(card["views"]) == list(VIEWS)
    for part in card["views"].values():
        accuracy = part["test"]["accuracy"]
        assert accuracy["low"] < accuracy["value"] < accuracy["high"]
        assert part["test_ece"] < part["test_ece_uncalibrated"]


@pytest.mark.cifar10
@pytest.mark.parametrize("name", pretrained.list_pretrained())
def test_the_shipped_weights_have_the_accuracy_of_their_card(name, cifar10_path):
    cifar10, card = load_dataset("cifar10"), pretrained.read_card(name)
    images = scale_images(cifar10.test_images)
    probs = pretrained.load_pretrained(name).predict(images, batch_size=500, verbose=0)
    accuracy = (probs.argmax(1) == cifar10.test_labels).mean()
    assert accuracy == pytest.approx(card["views"]["one"]["test"]["accuracy"]["value"], abs=1e-3)
