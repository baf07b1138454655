"""An exported file answers as its network does, and where it cannot, nothing is left behind."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tiny_runs import train_once

from cifar_utils.backend import keras
from cifar_utils.data.preprocessing import scale_images
from cifar_utils.errors import ModelError, ParameterError
from cifar_utils.inference import export as exports
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.pretrained import WEIGHTS_DIR
from cifar_utils.inference.sources import find_model, load_run_model
from cifar_utils.runs.run import Run

ALONE = {"keras": False, "h5": False, "savedmodel": False, "tflite": True, "onnx": True}


@pytest.fixture(scope="module")
def run():
    """Return a finished tiny run of the fast network, whose GELUs ONNX does not have."""
    return train_once("exported")[0]


@pytest.fixture(scope="module")
def images(run):
    return run.dataset.test_images[:200]


@pytest.fixture
def diverged():
    """Return a network one of whose weights is not a number."""
    bias = keras.initializers.Constant(np.nan)
    last = keras.layers.Dense(10, "softmax", bias_initializer=bias)
    return keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), last])


@pytest.mark.parametrize("kind", exports.SUFFIXES)
def test_every_format_takes_bytes_and_answers_as_the_network(kind, run, images, capfd):
    capfd.readouterr()
    report = exports.export(run.name, kind)
    assert capfd.readouterr() == ("", "")  # converters talk a lot; none of it is for the user
    assert report["largest_difference"] < exports.TOLERANCE
    assert report["images"] == len(run.dataset.test_images[:1000])
    assert report["without_tensorflow"] is ALONE[kind]
    assert report["bytes"] > 10_000
    own = load_run_model(run).predict_on_batch(scale_images(images))
    assert kind in run.read_json("exports/exports.json")
    assert "differ from the network's by at most" in exports.describe_export(report)
    loaded = Classifier.load(report["path"])  # what was fitted for the run holds for its exports
    assert loaded.calibration.n == 100
    np.testing.assert_allclose(loaded.compute_probs(images, "one"), own, atol=1e-3)


def test_what_answers_otherwise_is_not_kept(run, images, tmp_path, monkeypatch):
    model, path = load_run_model(run), tmp_path / "model.keras"
    path.write_text("older")
    other = keras.models.clone_model(model)  # with other weights
    real = exports.write_model
    monkeypatch.setattr(exports, "write_model", lambda _, *rest: real(other, *rest))
    with pytest.raises(ModelError, match="differs from the network"):
        exports.export_model(model, path, "keras", images)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_export_does_not_lose_a_training(run, monkeypatch, tmp_path, capsys):
    def fail(*_):
        raise ModelError("The converter is gone.")

    monkeypatch.setattr(exports, "write_model", fail)
    other = Run(tmp_path)
    paths = exports.save_for_classifier(other, load_run_model(run), run.dataset.test_images[:0], [])
    assert [path.name for path in paths] == ["model.keras", "model1.h5"]
    assert "The converter is gone" in capsys.readouterr().out


def test_weights_that_are_not_finite_are_not_exported(diverged, tmp_path):
    with pytest.raises(ModelError, match="diverged"):
        exports.write_model(diverged, tmp_path / "model.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_a_missing_exporter_is_named(run, images, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "can_write_onnx", lambda: False)
    with pytest.raises(ModelError, match=r"pip install 'cifar-notebooks\[onnx\]'"):
        exports.export_model(load_run_model(run), tmp_path / "model.onnx", "onnx", images)


def test_wrong_names_are_refused_before_the_work(run, tmp_path, monkeypatch):
    with pytest.raises(ParameterError, match="Valid: keras, h5, tflite, onnx, savedmodel"):
        exports.export(run.name, "tensorrt")
    (tmp_path / "there.onnx").touch()
    with pytest.raises(ParameterError, match="exists already"):
        exports.export(run.name, "onnx", tmp_path / "there.onnx")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fast-savedmodel").mkdir()
    (tmp_path / "fast-savedmodel" / "mine").touch()
    (tmp_path / "fast").mkdir()
    with pytest.raises(ParameterError, match="exists already"):
        exports.export("fast", "savedmodel")
    assert (tmp_path / "fast-savedmodel" / "mine").exists()
    assert find_model("fast").shipped  # and not the folder
    with pytest.raises(ModelError, match="no file, run or shipped model nothing"):
        exports.export("nothing", "onnx")
    with pytest.raises(ModelError, match="export already"):
        exports.export(WEIGHTS_DIR / "fast.tflite", "onnx")


def test_a_finished_run_holds_what_the_classifier_needs(run, images):
    saved = json.loads(run.path("classifier.json").read_text())["calibration"]
    assert set(saved) == {"one", "mirrored", "six", "photo"}
    assert saved["one"]["n"] == 100
    code = (
        "import sys, numpy\n"
        "from cifar_utils.inference.classifier import Classifier\n"
        f"classifier = Classifier.load({str(run.dir)!r})\n"
        "print(classifier.predict(numpy.zeros((32, 32, 3), 'uint8')).calibrated)\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
