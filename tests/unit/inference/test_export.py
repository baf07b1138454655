"""An exported file answers as its network does, and where it cannot, nothing is left behind."""

import json
import sys

import numpy as np
import pytest
from tiny_runs import train_once

from cifar_utils.backend import keras
from cifar_utils.errors import ModelError, ParameterError
from cifar_utils.inference import Classifier, find_model
from cifar_utils.inference import export as exports
from cifar_utils.inference.pretrained import WEIGHTS_DIR
from cifar_utils.runs.run import Run

ALONE = {"keras": False, "h5": False, "savedmodel": False, "tflite": True, "onnx": True}


@pytest.fixture(scope="module")
def run():
    """Return a finished tiny run of the fast network, whose GELUs ONNX does not have."""
    return train_once("exported")[0]


def read(path, images):
    """Predict with an exported file in this process."""
    return Classifier.load(path, "one").compute_probs(images, "one")


KINDS = [
    pytest.param(kind, marks=pytest.mark.onnx) if kind == "onnx" else kind
    for kind in exports.SUFFIXES
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_takes_bytes_and_answers_as_the_network(kind, run, capfd, monkeypatch):
    if not ALONE[kind]:  # a process that imports TensorFlow takes its time
        monkeypatch.setattr(exports, "read_in_own_process", lambda *given: (read(*given), True))
    capfd.readouterr()
    report = exports.export(run.name, kind)
    assert capfd.readouterr() == ("", "")  # converters talk a lot; none of it is for the user
    assert report["largest_difference"] < exports.TOLERANCE
    assert report["images"] == len(run.dataset.test_images[:1000])
    assert report["without_tensorflow"] is ALONE[kind]
    assert report["bytes"] > 10_000
    assert kind in run.read_json("exports/exports.json")
    assert "differ from the network's by at most" in exports.describe_export(report)
    # What was fitted for the run holds for its exports.
    assert find_model(report["path"]).calibration["one"].n == 100


def test_what_answers_otherwise_is_not_kept(run, monkeypatch):
    path = run.path(f"exports/{run.name}.keras")
    path.parent.mkdir(exist_ok=True)
    path.write_text("older")
    before = sorted(path.parent.iterdir())
    wrong = np.eye(10)[np.zeros(1000, int)]
    monkeypatch.setattr(exports, "read_in_own_process", lambda *_: (wrong, True))
    with pytest.raises(ModelError, match="differs from the network"):
        exports.export(run.name, "keras")
    assert path.read_text() == "older"
    assert sorted(path.parent.iterdir()) == before


def test_a_failing_export_does_not_lose_a_training(run, monkeypatch, tmp_path, capsys):
    def fail(*_):
        raise ModelError("The converter is gone.")

    monkeypatch.setattr(exports, "write_model", fail)
    model = keras.models.load_model(run.path("model.keras"), compile=False)
    paths = exports.save_for_classifier(Run(tmp_path), model, run.dataset.test_images[:0], [])
    assert [path.name for path in paths] == ["model.keras", "model1.h5"]
    assert "The converter is gone" in capsys.readouterr().out


def test_what_cannot_be_written_is_told(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ModelError, match=r"tf2onnx.*pip install 'cifar-notebooks\[onnx\]'"):
        exports.write_model(network(), tmp_path / "model.onnx", "onnx")
    diverged = network()
    diverged.set_weights([weight * np.nan for weight in diverged.get_weights()])
    with pytest.raises(ModelError, match="diverged"):
        exports.write_model(diverged, tmp_path / "model.tflite", "tflite")
    assert not list(tmp_path.iterdir())


def test_wrong_names_are_refused_before_the_work(run, tmp_path, monkeypatch):
    with pytest.raises(ParameterError, match="Valid: keras, h5, tflite, onnx, savedmodel"):
        exports.export(run.name, "tensorrt")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").touch()
    (tmp_path / "fast-savedmodel").mkdir()
    (tmp_path / "fast").mkdir()  # and not the shipped weights
    for name, kind, path in ((run.name, "onnx", "there.onnx"), ("fast", "savedmodel", None)):
        with pytest.raises(ParameterError, match="exists already"):
            exports.export(name, kind, path)
    with pytest.raises(ModelError, match="no file, run or shipped model nothing"):
        exports.export("nothing", "onnx")
    with pytest.raises(ModelError, match="export already"):
        exports.export(WEIGHTS_DIR / "fast.tflite", "onnx")


def test_a_finished_run_holds_what_the_classifier_needs(run):
    saved = json.loads(run.path("classifier.json").read_text())["calibration"]
    assert set(saved) == {"one", "mirrored", "six", "photo"}
    loaded = Classifier.load(run.dir)
    assert loaded.engine.startswith("LiteRT")  # without TensorFlow
    assert loaded.predict(np.zeros((32, 32, 3), np.uint8)).calibrated
