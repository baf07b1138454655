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
from cifar_utils.errors import CifarError, ImageError, ModelError
from cifar_utils.evaluation import Calibration, apply_temperature, compute_ece, measure_answers
from cifar_utils.inference import Classifier, find_model, list_samples, open_picture
from cifar_utils.inference.sources import ModelSource
from cifar_utils.paths import notebooks_dir


@pytest.fixture(scope="module")
def classifier(run_dir):
    return Classifier.load(run_dir, views="one")


@pytest.fixture(scope="module")
def shipped():
    return Classifier.load()


def run_python(code):
    """Run code in a fresh process; return what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr
    return done.stdout.strip()


def test_predict_ranks_the_classes(classifier, images):
    prediction = classifier.predict(images[0])
    probs = classifier.predict_batch(images[:1])[0]
    assert prediction.label == CLASS_NAMES[probs.argmax()]
    assert list(prediction.probs) == sorted(prediction.probs, reverse=True)
    assert sum(prediction.probs) == pytest.approx(1, abs=1e-4)
    assert prediction.top(1) == [(prediction.label, pytest.approx(probs.max()))]
    assert str(prediction).startswith(f"{prediction.label} {prediction.confidence:.1%}, ")
    np.testing.assert_array_equal(prediction.view, images[0])
    assert not prediction.calibrated  # nothing was fitted for this model
    assert not prediction.unsure
    assert "Nothing is called unsure" in classifier.describe_thresholds()


def test_a_batch_gets_a_list_in_order(classifier, images):
    found = classifier.predict(images[:70])
    expected = classifier.predict_batch(images[:70])
    with ThreadPoolExecutor(8) as pool:  # threads get their own answers
        alone = list(pool.map(lambda i: classifier.predict_batch(images[i : i + 1])[0], range(40)))
    np.testing.assert_allclose(alone, expected[:40], atol=1e-6)
    assert [answer.label for answer in found] == [CLASS_NAMES[i] for i in expected.argmax(1)]
    assert classifier.predict(images[:0]) == []
    with pytest.raises(ImageError, match="Image 0 of the batch"):
        classifier.predict(images[:3].astype(float))
    for wrong in (images[0], images / 255, images[:, :16]):
        with pytest.raises(ValueError, match="uint8 images of shape"):
            classifier.predict_batch(wrong)


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
    loaded = [Classifier.load(source, views="one") for source in ("fast", ".", "model.tflite")]
    monkeypatch.chdir(tmp_path)
    expected = [one.predict_batch(images[:9]) for one in loaded]
    for first, probs in zip(loaded, expected, strict=True):
        for again in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first)):
            assert again.source.run_name == first.source.run_name
            np.testing.assert_array_equal(again.predict_batch(images[:9]), probs)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        found = pool.submit(loaded[0].predict_batch, images[:9]).result()
    np.testing.assert_array_equal(found, expected[0])


def test_classifying_is_light_and_many_threads_may_load():
    code = (
        "import os, sys, numpy, psutil\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "from cifar_utils.inference import Classifier\n"
        "Classifier.load().predict(numpy.zeros((480, 640, 3), 'uint8'))\n"
        "names = ('tensorflow', 'keras', 'jax', 'scipy', 'sklearn', 'matplotlib', 'requests')\n"
        "print([name for name in names if name in sys.modules])\n"
        "print(psutil.Process().memory_info().rss < 200 * 2**20)\n"
        "before = os.fstat(2)\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    list(pool.map(lambda _: Classifier.load(), range(8)))\n"
        "print(os.fstat(2).st_ino == before.st_ino)\n"  # stderr survives
        "os.close(2)\nsys.stderr = None\n"
        "print(Classifier.load().source.shipped)"
    )
    assert run_python(code).split() == ["[]", "True", "True", "True"]


# ---------- unsure ------------------------------------------------------------------------------


def test_the_mirror_image_is_asked_about_only_where_there_is_doubt(run_dir, images):
    plain = Classifier.load(run_dir)
    whole = plain.compute_probs(images, "mirrored")
    first = plain.compute_probs(images, "one")
    heat = next(
        heat
        for heat in np.geomspace(0.01, 1, 50)  # of which half are sure
        if np.median(apply_temperature(first, heat).max(axis=1)) < 0.98
    )
    fitted = {"one": Calibration(temperature=heat)}
    loaded = Classifier(plain._engine, ModelSource(run_dir, {}, calibration=fitted))
    sure = apply_temperature(first, heat).max(axis=1) >= 0.98
    assert 0 < sure.sum() < len(images)
    probs = loaded.compute_probs(images, "mirrored")
    np.testing.assert_array_equal(probs[sure], first[sure])
    np.testing.assert_allclose(probs[~sure], whole[~sure], atol=1e-6)
    assert np.abs(whole[sure] - first[sure]).max() > 1e-3


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
    fitted = {"mirrored": {"threshold": 0.9}, "photo": {"threshold": 1.01}}
    (folder / "classifier.json").write_text(json.dumps({"calibration": fitted}))
    assert "larger image never" in Classifier.load(folder).describe_thresholds()
    for damaged in (
        '{"calibration": {"one": {"temperature": "hot"}}}',
        "{",
        '{"calibration": [1]}',
    ):
        (folder / "classifier.json").write_text(damaged)
        with pytest.raises(ModelError, match=r"classifier\.json cannot be used"):
            Classifier.load(folder)


def test_the_surest_crop_of_a_photo_is_taken_and_scaled_once_more(run_dir):
    photo = Calibration(temperature=2.0, threshold=0.15)
    source = ModelSource(run_dir, {}, calibration={"photo": photo})
    loaded = Classifier(Classifier.load(run_dir)._engine, source)
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
    # A square that somebody has chosen is predicted alone, and scaled as well.
    alone = loaded.predict_box(picture, boxes[1])
    assert alone.box == boxes[1]
    assert alone.confidence == pytest.approx(apply_temperature(probs[1:2], 2.0).max(), abs=1e-5)
    thumbnail = loaded.predict(picture[:32, :32])  # one crop: nothing is chosen, nothing scaled
    assert not thumbnail.calibrated


@pytest.mark.cifar10
def test_the_shipped_model_answers_and_is_right_as_often_as_promised(cifar10_path, shipped):
    data = load_dataset("cifar10")
    probs = shipped.predict_batch(data.test_images)
    answers = measure_answers(data.test_labels, probs, shipped.calibration.threshold)
    assert answers["coverage"] >= 0.85
    assert answers["accuracy"] >= 0.98
    assert compute_ece(data.test_labels, probs) < 0.015


# ---------- sources -----------------------------------------------------------------------------


def test_whatever_names_a_model_finds_it_and_its_run(run_dir, monkeypatch):
    monkeypatch.setenv("CIFAR_RUNS_DIR", str(run_dir.parent))
    for name in ("my-run", run_dir, run_dir / "model.keras", str(run_dir / "model1.h5")):
        source = find_model(name)
        assert (source.run_name, source.recipe, source.dataset) == ("my-run", "quick", "synthetic")
        assert "SYNTHETIC" in str(source)
    assert find_model().shipped
    assert find_model("fast").shipped
    with pytest.raises(ModelError, match="Did you mean 'my-run'"):
        find_model("my-rum")


def test_files_that_are_no_model_are_refused(network, run_dir, tmp_path):
    network().save_weights(tmp_path / "only.weights.h5")
    for name in ("text.h5", "text.keras", "cat.jpg", "text.tflite", "text.onnx"):
        (tmp_path / name).write_text("hello, hello")
    (tmp_path / "head.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    for name in ("model.keras", "model1.h5"):
        whole = (run_dir / name).read_bytes()
        (tmp_path / f"half-{name}").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "zip.keras").write_bytes(b"PK\x05\x06" + bytes(18))
    (tmp_path / "empty").mkdir()
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "run.json").write_text("{}")
    for name, word in {
        "none.keras": "no file",
        "only.weights.h5": "(?i)no model config",
        "text.h5": "signature not found",
        "text.keras": "no Keras model",
        "cat.jpg": "image_path",  # what it is for
        "text.tflite": r"text\.tflite",
        "head.tflite": r"head\.tflite",
        "text.onnx": "pip install onnxruntime|text.onnx",
        "half-model.keras": "no Keras model",
        "half-model1.h5": "truncated",
        "zip.keras": "cannot load",
        "empty": "no run folder",
        "unfinished": "--resume",
    }.items():
        with pytest.raises(CifarError, match=word):
            Classifier.load(tmp_path / name)


# ---------- notebook 05 -------------------------------------------------------------------------


def test_what_notebook_05_spells_out_is_what_the_classifier_does(
    classifier, run_dir, network, capsys
):
    cells = json.loads((notebooks_dir() / "05_inference_widget.ipynb").read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]

    def run(words):
        (source,) = [source for source in code if words in source]
        exec(source, names)

    names = {"np": np, "Image": Image, "ImageOps": ImageOps, "plots": plots}
    names |= {"list_samples": list_samples, "open_picture": open_picture, "show": lambda *_: None}
    run("def read_photo")
    names |= {"photo": names["cat"], "model_path": str(run_dir / "model1.h5")}
    names |= {"classifier": classifier}
    run("square.resize")
    crops, boxes, _ = classifier.prepare(list_samples()["cat"])
    assert (names["left"], names["top"]) == boxes[0][:2]
    small = np.asarray(names["small"])[None]
    # Ours first averages over whole numbers of pixels, which is faster, and as good.
    assert np.abs(small.astype(int) - crops[:1]).mean() < 1
    run('astype("float32")')
    np.testing.assert_array_equal(names["x"], scale_images(small))
    capsys.readouterr()
    run("load_model")
    probs = np.asarray(network()(scale_images(small)))[0]
    told = ast.literal_eval(capsys.readouterr().out)
    rounded = {name: round(float(p), 3) for name, p in zip(CLASS_NAMES, probs, strict=True)}
    assert told == pytest.approx(rounded, abs=2e-3)
    np.testing.assert_allclose(classifier.predict_batch(small)[0], probs, atol=1e-5)
