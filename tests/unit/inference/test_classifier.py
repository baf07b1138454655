"""The classifier predicts for any image, with a model from anywhere, or says what is wrong."""

import ast
import copy
import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from cifar_utils import plots
from cifar_utils.data import CLASS_NAMES, load_dataset
from cifar_utils.data.preprocessing import scale_images
from cifar_utils.errors import CifarError, ImageError, ModelError, ParameterError
from cifar_utils.evaluation.calibration import (
    Calibration,
    apply_temperature,
    compute_ece,
    measure_answers,
)
from cifar_utils.evaluation.tta import average_views, make_views
from cifar_utils.inference import engines, list_samples, open_picture
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.export import write_model
from cifar_utils.inference.sources import ModelSource
from cifar_utils.paths import notebooks_dir


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
    write_model(tiny_model, folder / "model.tflite", "tflite")
    (folder / "run.json").write_text(
        json.dumps({"name": "my-run", "recipe": "quick", "dataset": {"name": "synthetic"}})
    )
    return folder


@pytest.fixture(scope="session")
def classifier(run_dir):
    return Classifier.load(run_dir, views="one")


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


def test_wrong_batches_are_refused(classifier, images):
    for wrong in (images[0], images / 255, images[:, :16]):
        with pytest.raises(ValueError, match="uint8 images of shape"):
            classifier.predict_batch(wrong)


def test_a_batch_gets_a_list_in_order(classifier, images):
    found = classifier.predict(images[:70])
    assert [answer.label for answer in found] == [
        CLASS_NAMES[place] for place in classifier.predict_batch(images[:70]).argmax(1)
    ]
    assert classifier.predict(images[:0]) == []


def test_a_bad_image_among_many_leaves_the_others_alone(classifier, images):
    named = [images[0], images[1], b"no image", images[2]]
    answers = classifier.predict_many(named)
    assert [next(answers).label, next(answers).label]
    with pytest.raises(ImageError):
        next(answers)
    found = list(classifier.predict_many(iter(named), errors="return"))
    assert [isinstance(outcome, ImageError) for outcome in found] == [False, False, True, False]
    assert found[3].probs == classifier.predict(images[2]).probs


def test_many_images_are_predicted_while_they_are_read(classifier, images):
    read = []
    found = classifier.predict_many(read.append(i) or image for i, image in enumerate(images))
    next(found)
    assert len(read) < len(images)  # a folder of thousands does not have to fit into memory
    assert len(list(found)) == len(images) - 1


def test_a_classifier_is_pickled_and_copied_by_what_it_was_loaded_from(
    run_dir, images, tmp_path, monkeypatch
):
    monkeypatch.chdir(run_dir)
    sources = (None, "fast", ".", "model.tflite")
    loaded = [Classifier.load(source, views="one") for source in sources]
    monkeypatch.chdir(tmp_path)
    for first in loaded:
        for again in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):
            assert again.source.run_name == first.source.run_name
            np.testing.assert_array_equal(
                again.predict_batch(images[:9]), first.predict_batch(images[:9])
            )
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        found = pool.submit(loaded[0].predict_batch, images[:9]).result()
    np.testing.assert_array_equal(found, loaded[0].predict_batch(images[:9]))
    with pytest.raises(TypeError, match=r"Classifier\.load"):
        pickle.dumps(Classifier(loaded[0]._engine, loaded[0].source))


def test_threads_get_their_own_answers(classifier, images):
    expected = classifier.predict_batch(images[:40])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: classifier.predict_batch(images[i : i + 1])[0], range(40)))
    np.testing.assert_allclose(found, expected, atol=1e-6)


# ---------- engines -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "backend", ["LiteRT", pytest.param("ONNX Runtime", marks=pytest.mark.onnx), "Keras"]
)
@pytest.mark.parametrize("views", ["mirrored", "six"])
def test_every_engine_gives_the_networks_own_answers(
    backend, views, run_dir, tiny_model, images, tmp_path
):
    source = run_dir
    if backend == "ONNX Runtime":
        source = tmp_path / "model.onnx"
        write_model(tiny_model, source, "onnx")
    loaded = Classifier.load(source, views, backend)
    assert loaded.engine.startswith(backend)
    probs = [tiny_model(view / np.float32(255)) for view in make_views(images[:9], views)]
    expected = average_views(np.array(probs), views)
    np.testing.assert_allclose(loaded.predict_batch(images[:9]), expected, atol=1e-5)
    assert loaded.predict_batch(images[:0]).shape == (0, 10)


def test_which_engine_and_why_can_be_asked(run_dir, monkeypatch):
    def broken(*_):
        raise ImportError("GLIBC_2.99 not found")

    with monkeypatch.context() as patch:
        patch.setattr(engines.LiteRTEngine, "_make_interpreter", broken)
        loaded = Classifier.load(run_dir)
    assert loaded.engine.startswith("Keras ")
    assert "LiteRT: installed, but broken (GLIBC_2.99" in loaded.engine
    assert "ONNX Runtime: " in loaded.engine
    assert len(engines.describe_engines()) == len(engines.ENGINES)
    monkeypatch.setattr(engines, "is_installed", lambda engine: False)
    with pytest.raises(ModelError, match="pip install tensorflow-cpu"):
        Classifier.load(run_dir)
    with pytest.raises(ModelError, match="no engine 'TFLite'"):
        Classifier.load(run_dir, backend="TFLite")
    with pytest.raises(ParameterError, match="Valid: one, mirrored, six"):
        Classifier.load(run_dir, views="two")


def test_many_threads_may_load_and_stderr_survives():
    code = (
        "import os, sys\nfrom concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor\n"
        "from cifar_utils.inference.classifier import Classifier\n"
        "before = os.fstat(2)\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    list(pool.map(lambda _: Classifier.load(), range(8)))\n"
        "after = os.fstat(2)\n"
        "print((before.st_dev, before.st_ino) == (after.st_dev, after.st_ino))\n"
        "os.close(2)\nsys.stderr = None\n"
        "print(Classifier.load().source.shipped)"
    )
    assert run_python(code).split() == ["True", "True"]


def test_a_bad_image_of_a_batch_is_numbered(classifier, images):
    with pytest.raises(ImageError, match="Image 0 of the batch"):
        classifier.predict(images[:3].astype(float))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.tflite", b"hello, hello"),
        ("head.tflite", b"\x1c\0\0\0TFL3" + bytes(100)),
        pytest.param("text.onnx", b"hello", marks=pytest.mark.onnx),
    ],
)
def test_an_exported_file_that_is_damaged_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        Classifier.load(tmp_path / name)


def test_the_mirror_image_is_asked_about_only_where_there_is_doubt(run_dir, images):
    engine = Classifier.load(run_dir)._engine
    asked = []

    class Counting(engines.Engine):
        name, input_type, shapes = "counting", engine.input_type, engine.shapes

        def run(self, batch):
            asked.append(len(batch))
            return engine.run(batch)

    one = Calibration(temperature=0.02, threshold=0.5)
    source = ModelSource(run_dir, {}, calibration={"one": one})
    loaded = Classifier(Counting(), source)
    first = loaded.compute_probs(images, "one")
    sure = apply_temperature(first, 0.02).max(axis=1) >= 0.98
    assert 0 < sure.sum() < len(images)
    asked.clear()
    probs = loaded.compute_probs(images, "mirrored")
    assert asked == [len(images), (~sure).sum()]
    np.testing.assert_array_equal(probs[sure], first[sure])
    whole = Classifier(engine, ModelSource(run_dir, {})).compute_probs(images, "mirrored")
    np.testing.assert_allclose(probs[~sure], whole[~sure], atol=1e-6)


# ---------- unsure ------------------------------------------------------------------------------


def test_a_calibration_beside_the_model_scales_and_says_unsure(run_dir, images, tmp_path):
    folder = tmp_path / "calibrated"
    shutil.copytree(run_dir, folder)
    raw = Classifier.load(run_dir).predict_batch(images)
    saved = {"temperature": 0.5, "threshold": 0.2, "n": 100, "coverage": 0.9, "accuracy": 0.99}
    (folder / "classifier.json").write_text(json.dumps({"calibration": {"mirrored": saved}}))
    loaded = Classifier.load(folder)
    np.testing.assert_allclose(loaded.predict_batch(images), apply_temperature(raw, 0.5), atol=1e-6)
    for answer in loaded.predict(images[:50]):
        assert answer.calibrated
        assert answer.unsure == (answer.confidence < 0.2)
        assert str(answer).startswith("unsure: ") == answer.unsure
    assert Classifier.load(folder, views="one").calibration is None
    hot = '{"calibration": {"one": {"temperature": "hot"}}}'
    for damaged in (
        hot,
        "{",
        "[]",
        '{"calibration": {"one": {"heat": 1}}}',
        '{"calibration": [1]}',
    ):
        (folder / "classifier.json").write_text(damaged)
        with pytest.raises(ModelError, match=r"classifier\.json cannot be used"):
            Classifier.load(folder)


def test_the_surest_crop_of_a_photo_is_taken_and_scaled_once_more(run_dir):
    photo = Calibration(temperature=2.0, threshold=0.15)
    engine = Classifier.load(run_dir)._engine
    source = ModelSource(run_dir, {}, calibration={"photo": photo})
    loaded = Classifier(engine, source)
    picture = np.random.default_rng(5).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    crops, boxes, _ = loaded.prepare(picture)
    probs = loaded.predict_batch(crops)
    best = probs.max(axis=1).argmax()
    answer = loaded.predict(picture)
    assert answer.box == boxes[best]
    np.testing.assert_array_equal(answer.view, crops[best])
    expected = apply_temperature(probs[best : best + 1], 2.0)[0]
    assert answer.confidence == pytest.approx(expected.max())
    assert answer.unsure == (expected.max() < 0.15)
    thumbnail = loaded.predict(picture[:32, :32])  # one crop: nothing is chosen, nothing scaled
    assert not thumbnail.calibrated


@pytest.mark.parametrize(
    ("photo", "told", "warned"),
    [
        (
            {"threshold": 1.01},
            "Confident about a thumbnail from 90.0% on, about a larger image never.",
            True,
        ),
        (
            {"threshold": 0.97},
            "Confident about a thumbnail from 90.0% on, about a larger image from",
            False,
        ),
    ],
)
def test_a_model_that_is_never_sure_of_a_photo_says_so(run_dir, tmp_path, photo, told, warned):
    folder = tmp_path / "run"
    shutil.copytree(run_dir, folder)
    info = json.loads((folder / "run.json").read_text())
    info["dataset"] = {"name": "cifar10"}
    (folder / "run.json").write_text(json.dumps(info))
    fitted = {"mirrored": {"threshold": 0.9}, "photo": photo}
    (folder / "classifier.json").write_text(json.dumps({"calibration": fitted}))
    loaded = Classifier.load(folder)
    assert loaded.describe_thresholds().startswith(told)
    assert ("never confident about a photo" in str(loaded.source)) == warned


def test_a_model_without_calibration_is_never_unsure(classifier, images):
    answer = classifier.predict(images[0])
    assert not answer.calibrated
    assert not answer.unsure
    assert "Nothing is called unsure" in classifier.describe_thresholds()


@pytest.mark.cifar10
def test_the_shipped_model_answers_and_is_right_as_often_as_promised(cifar10_path):
    data = load_dataset("cifar10")
    loaded = Classifier.load()
    probs = loaded.predict_batch(data.test_images)
    answers = measure_answers(data.test_labels, probs, loaded.calibration.threshold)
    assert answers["coverage"] >= 0.85
    assert answers["accuracy"] >= 0.98
    assert compute_ece(data.test_labels, probs) < 0.015


# ---------- sources -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "model.keras", "model1.h5"])
def test_a_run_folder_and_its_files_tell_their_run(run_dir, name):
    source = Classifier.load(str(run_dir / name)).source
    assert (source.run_name, source.recipe, source.dataset) == ("my-run", "quick", "synthetic")
    assert source.synthetic
    assert "SYNTHETIC" in str(source)


def test_no_source_means_what_ships_and_a_name_means_a_run(run_dir, monkeypatch):
    monkeypatch.setenv("CIFAR_RUNS_DIR", str(run_dir.parent))
    assert Classifier.load().source.shipped
    assert Classifier.load("fast").source.shipped
    assert Classifier.load("my-run").source.run_name == "my-run"
    with pytest.raises(ModelError, match="Did you mean 'my-run'"):
        Classifier.load("my-rum")


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
        "cat.jpg": "image_path",  # what it is for
        "half.keras": "no Keras model",
        "half.h5": "cut short",
        "zip.keras": "cannot load",
        "empty": "no run folder",
        "unfinished": "--resume",
    }.items():
        with pytest.raises(CifarError, match=word):
            Classifier.load(tmp_path / name)


def run_python(code):
    """Run code in a fresh process; return what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr
    return done.stdout.strip()


def test_classifying_with_what_ships_imports_no_tensorflow_and_takes_little_memory():
    code = (
        "import sys, numpy, cifar_utils.inference.classifier as inference\n"
        "classifier = inference.Classifier.load()\n"
        "classifier.predict(numpy.zeros((480, 640, 3), 'uint8'))\n"
        "names = ('tensorflow', 'keras', 'jax', 'sklearn', 'matplotlib', 'requests')\n"
        "print([name for name in names if name in sys.modules])\n"
        "import psutil\n"
        "print(psutil.Process().memory_info().rss // 2**20)"
    )
    modules, megabytes = run_python(code).splitlines()
    assert modules == "[]"
    assert int(megabytes) < 200


def test_a_chosen_square_is_answered_alone_and_as_sure_as_a_photographs_crop(images):
    photo = Image.fromarray(np.concatenate([images[0], images[1]], axis=1)).resize((256, 128))
    shipped = Classifier.load()
    left = shipped.predict_box(photo, (0, 0, 128, 128))
    right = shipped.predict_box(photo, (128, 0, 256, 128))
    assert left.box == (0, 0, 128, 128)
    assert np.abs(left.view.astype(int) - right.view).mean() > 1
    crop = shipped.prepare(photo)
    first = (crop[0][1:2], crop[1][1:2])  # one of the photograph's own crops
    alone = shipped.predict_box(photo, first[1][0])
    np.testing.assert_array_equal(alone.view, first[0][0])
    one_of_many = shipped.predict_prepared([(np.repeat(first[0], 2, axis=0), first[1] * 2)])[0]
    np.testing.assert_allclose(alone.probs, one_of_many.probs, atol=1e-5)


# ---------- notebook 05 -------------------------------------------------------------------------


def test_what_notebook_05_spells_out_is_what_the_classifier_does(run_dir, tiny_model, capsys):
    cells = json.loads((notebooks_dir() / "05_inference_widget.ipynb").read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]

    def run(words):
        (source,) = [source for source in code if words in source]
        exec(source, names)

    loaded = Classifier.load(run_dir, views="one")
    names = {"np": np, "Image": Image, "ImageOps": ImageOps, "plots": plots, "classifier": loaded}
    names |= {"list_samples": list_samples, "open_picture": open_picture, "show": lambda *_: None}
    run("def read_photo")
    names |= {"photo": names["cat"], "model_path": str(run_dir / "model1.h5")}
    run("square.resize")
    crops, boxes, _ = loaded.prepare(list_samples()["cat"])
    assert (names["left"], names["top"]) == boxes[0][:2]
    small = np.asarray(names["small"])[None]
    # Ours first averages over whole numbers of pixels, which is faster, and as good.
    assert np.abs(small.astype(int) - crops[:1]).mean() < 1
    run('astype("float32")')
    np.testing.assert_array_equal(names["x"], scale_images(small))
    capsys.readouterr()
    run("load_model")
    probs = tiny_model(scale_images(small))[0]
    told = ast.literal_eval(capsys.readouterr().out)
    assert told == {
        name: round(float(p), 3) for name, p in zip(loaded.class_names, probs, strict=True)
    }
    np.testing.assert_allclose(loaded.predict_batch(small)[0], probs, atol=1e-5)
