"""The classifier answers any picture, from any place a model may lie, or says what is wrong."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cifar_utils.data import CLASS_NAMES
from cifar_utils.errors import CifarError, ImageError
from cifar_utils.inference import Classifier
from cifar_utils.model_files import ModelError


@pytest.fixture(scope="session")
def keras():
    from cifar_utils.backend import keras

    return keras


@pytest.fixture(scope="session")
def tiny_model(keras):
    """Return a model with random weights and the documented input and output."""
    keras.utils.set_random_seed(1)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(4, 3, strides=4, activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", kernel_initializer="he_normal"),
        ]
    )


@pytest.fixture(scope="session")
def run_dir(tiny_model, tmp_path_factory):
    """Return a run folder as training leaves it, on the synthetic data."""
    folder = tmp_path_factory.mktemp("runs") / "my-run"
    folder.mkdir()
    tiny_model.save(folder / "model.keras")
    tiny_model.save(folder / "model1.h5")
    (folder / "run.json").write_text(
        json.dumps({"name": "my-run", "recipe": "quick", "dataset": {"name": "synthetic"}})
    )
    return folder


@pytest.fixture(scope="session")
def classifier(run_dir):
    return Classifier.load(run_dir)


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)


def test_probabilities_are_the_models_own_at_every_batch_size(classifier, tiny_model, images):
    expected = np.asarray(tiny_model(images / np.float32(255)))
    for n in (1, 2, 128, 129, 300):
        np.testing.assert_allclose(classifier.predict_batch(images[:n]), expected[:n], atol=1e-5)
    assert classifier.predict_batch(images[:0]).shape == (0, 10)


def test_predict_ranks_the_classes(classifier, images):
    prediction = classifier.predict(images[0])
    probs = classifier.predict_batch(images[:1])[0]
    assert prediction.label == CLASS_NAMES[probs.argmax()]
    assert prediction.confidence == pytest.approx(probs.max())
    assert sorted(prediction.class_names) == sorted(CLASS_NAMES)
    assert list(prediction.probs) == sorted(prediction.probs, reverse=True)
    assert sum(prediction.probs) == pytest.approx(1, abs=1e-4)
    assert prediction.top(2) == [
        (prediction.class_names[0], prediction.probs[0]),
        (prediction.class_names[1], prediction.probs[1]),
    ]
    assert str(prediction).startswith(f"{prediction.label} {prediction.confidence:.1%}, ")
    np.testing.assert_array_equal(prediction.view, images[0])


def test_a_path_bytes_image_and_array_get_the_same_answer(classifier, images, tmp_path):
    image = Image.fromarray(images[1])
    path = tmp_path / "picture.png"
    image.save(path)
    expected = classifier.predict(images[1]).probs
    for source in (path, str(path), path.read_bytes(), image):
        assert classifier.predict(source).probs == expected


def test_a_photo_of_any_size_is_seen_as_32x32(classifier):
    buffer = io.BytesIO()
    Image.new("RGB", (640, 480), (10, 200, 30)).save(buffer, "JPEG")
    assert classifier.predict(buffer.getvalue()).view.shape == (32, 32, 3)
    with pytest.raises(ImageError):
        classifier.predict(b"no picture")


def test_wrong_batches_are_refused(classifier, images):
    for wrong in (images[0], images / 255, images[:, :16]):
        with pytest.raises(ValueError, match="uint8 images of shape"):
            classifier.predict_batch(wrong)


def test_many_predictions_build_no_new_graph(keras, classifier, images):
    for n in (1, 2):
        classifier.predict_batch(images[:n])
    traces = []
    original = classifier._model.call
    classifier._model.call = lambda *args, **kwargs: traces.append(1) or original(*args, **kwargs)
    for n in (1, 3, 50, 127, 200):
        classifier.predict_batch(images[:n])
    classifier._model.call = original
    assert not traces


@pytest.mark.parametrize("name", ["", "model.keras", "model1.h5"])
def test_a_run_folder_and_its_files_tell_their_run(run_dir, name):
    source = Classifier.load(str(run_dir / name)).source
    assert (source.run_name, source.recipe, source.dataset) == ("my-run", "quick", "synthetic")
    assert source.synthetic
    assert "SYNTHETIC" in str(source)


def test_a_bare_file_is_taken_for_the_documented_model(run_dir, classifier, images, tmp_path):
    bare = tmp_path / "model1.h5"
    bare.write_bytes((run_dir / "model1.h5").read_bytes())
    loaded = Classifier.load(bare)
    assert "documented model" in str(loaded.source)
    assert not loaded.source.synthetic
    np.testing.assert_allclose(
        loaded.predict_batch(images[:5]), classifier.predict_batch(images[:5]), atol=1e-6
    )


def test_a_cifar10_run_is_not_called_synthetic(run_dir, tmp_path):
    (tmp_path / "model.keras").write_bytes((run_dir / "model.keras").read_bytes())
    record = {"name": "r", "recipe": "baseline", "dataset": {"name": "cifar10"}}
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert str(Classifier.load(tmp_path).source).endswith("baseline, trained on CIFAR-10.")


def test_no_source_means_the_newest_run(run_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_RUNS_DIR", str(run_dir.parent))
    assert Classifier.load().source.run_name == "my-run"
    monkeypatch.setenv("CIFAR_RUNS_DIR", str(tmp_path / "none"))
    assert Classifier.load().source.shipped


def save(model, tmp_path, name="other.keras"):
    model.save(tmp_path / name)
    return tmp_path / name


def network(keras, *layers, shape=(32, 32, 3)):
    return keras.Sequential([keras.Input(shape), keras.layers.Flatten(), *layers])


def test_models_that_do_not_fit_are_refused(keras, tmp_path):
    dense = keras.layers.Dense
    nan = network(keras, dense(10, "softmax", bias_initializer=keras.initializers.Constant(np.nan)))
    cases = [
        (network(keras, dense(10, "softmax"), shape=(28, 28, 1)), r"takes \(28, 28, 1\)"),
        (network(keras, dense(7, "softmax")), r"gives \(7,\)"),
        (network(keras, dense(10)), "softmax"),
        (nan, "diverged"),
    ]
    for model, word in cases:
        with pytest.raises(ModelError, match=word):
            Classifier.load(save(model, tmp_path))


def test_files_that_are_no_model_are_refused(tiny_model, run_dir, tmp_path):
    tiny_model.save_weights(tmp_path / "only.weights.h5")
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "text.keras").write_text("hello")
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8")
    whole = (run_dir / "model.keras").read_bytes()
    (tmp_path / "half.keras").write_bytes(whole[: len(whole) // 2])
    whole = (run_dir / "model1.h5").read_bytes()
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "zip.keras").write_bytes(b"PK\x05\x06" + bytes(18))
    (tmp_path / "empty").mkdir()
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "run.json").write_text("{}")
    for name, word in {
        "none.keras": "no file",
        "only.weights.h5": "weights only",
        "text.h5": "no HDF5 file",
        "text.keras": "no Keras model",
        "cat.jpg": "image_path",
        "half.keras": "no Keras model",
        "half.h5": "cut short",
        "zip.keras": "cannot load zip.keras",
        "empty": "no run folder",
        "unfinished": "--resume",
    }.items():
        with pytest.raises(CifarError, match=word):
            Classifier.load(tmp_path / name)


def test_importing_the_classifier_imports_no_tensorflow():
    code = (
        "import sys, cifar_utils.inference\n"
        "print([name for name in ('tensorflow', 'keras', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
