"""Every engine gives the network's own numbers; what a foreign one takes is read or probed."""

import importlib.metadata
import os
import subprocess
import sys

import numpy as np
import pytest

from cifar_utils.errors import ModelError, ParameterError
from cifar_utils.evaluation import average_views, make_views
from cifar_utils.inference import Classifier, engines, load_pretrained
from cifar_utils.inference.export import write_model

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)
SCALED = {"0..255": IMAGES, "0..1": IMAGES / 255, "-1..1": IMAGES / 127.5 - 1}
SCALED = {scale: images.astype(np.float32) for scale, images in SCALED.items()}

KERAS = tuple(map(int, importlib.metadata.version("keras").split(".")[:2]))


@pytest.fixture(scope="module")
def keras():
    from cifar_utils.backend import keras

    return keras


def save(model, tmp_path, name="model.keras"):
    model.save(tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize(
    "backend", ["LiteRT", pytest.param("ONNX Runtime", marks=pytest.mark.onnx), "Keras"]
)
def test_every_engine_gives_the_networks_own_answers(backend, run_dir, network, images, tmp_path):
    source, model = run_dir, network()
    if backend == "ONNX Runtime":
        source = tmp_path / "model.onnx"
        write_model(model, source, "onnx")
    for kind in ("mirrored", "six"):
        loaded = Classifier.load(source, kind, backend)
        assert loaded.engine.startswith(backend)
        probs = [model(view / np.float32(255)) for view in make_views(images, kind)]
        expected = average_views(np.array(probs), kind)
        for n in (0, 1, 9, 129):
            np.testing.assert_allclose(loaded.predict_batch(images[:n]), expected[:n], atol=1e-5)


def test_which_engine_and_why_can_be_asked(run_dir, monkeypatch):
    def broken(*_):
        raise ImportError("GLIBC_2.99 not found")

    with monkeypatch.context() as patch:
        patch.setattr(engines.LiteRTEngine, "_open", broken)
        loaded = Classifier.load(run_dir)
    assert loaded.engine.startswith("Keras ")
    assert "LiteRT: installed, but broken (GLIBC_2.99" in loaded.engine
    monkeypatch.setattr(engines, "is_installed", lambda engine: False)
    with pytest.raises(ModelError, match="pip install tensorflow-cpu"):
        Classifier.load(run_dir)
    with pytest.raises(ModelError, match="no engine 'TFLite'"):
        Classifier.load(run_dir, backend="TFLite")
    with pytest.raises(ParameterError, match="Valid: one, mirrored, six"):
        Classifier.load(run_dir, views="two")


def test_the_users_own_settings_of_keras_do_no_harm_and_stay(tmp_path):
    settings = '{"image_data_format": "channels_first", "floatx": "float16", "epsilon": 1e-3}'
    (tmp_path / "keras.json").write_text(settings)
    code = (
        "from cifar_utils.inference import Classifier, list_samples\n"
        "found = Classifier.load('fast', backend='Keras').predict(list_samples()['cat'])\n"
        "import keras\n"
        "print(found.label, keras.config.image_data_format(), keras.config.floatx())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_HOME": str(tmp_path)},
    )
    assert done.stdout.split() == ["cat", "channels_first", "float16"], done.stderr


# ---------- what a foreign network takes and gives ----------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields", "scale"),
    [
        ("Rescaling", {"scale": 1 / 127.5, "offset": -1}, "0..255"),
        ("Rescaling", {"scale": 2, "offset": -1}, "0..1"),
        ("Normalization", {"mean": (125, 123, 114), "variance": (3600,) * 3}, "0..255"),
        ("Normalization", {"mean": (0.49, 0.48, 0.44), "variance": (0.06,) * 3}, "0..1"),
    ],
)
def test_layers_that_scale_say_what_pixels_they_take(keras, network, tmp_path, kind, fields, scale):
    first = getattr(keras.layers, kind)(**fields)
    model = network(keras.Sequential([first]) if scale == "0..1" else first)
    loaded = Classifier.load(save(model, tmp_path), views="one")
    assert f"RGB {scale}: its layer {kind}" in str(loaded.source)
    np.testing.assert_allclose(loaded.predict_batch(IMAGES), model(SCALED[scale]), atol=1e-5)


def test_where_no_layer_says_it_a_probe_does(keras, tmp_path):
    unnamed = keras.layers.Conv2D(3, 1)  # it scales as well, and its kind does not say so
    model = keras.Sequential([keras.Input((32, 32, 3)), unnamed, load_pretrained("fast")])
    unnamed.set_weights([0.5 * np.eye(3).reshape(1, 1, 3, 3), np.full(3, 0.5)])
    loaded = Classifier.load(save(model, tmp_path))
    assert "RGB -1..1: its file does not say it" in str(loaded.source)
    shipped = Classifier.load("fast").compute_probs(IMAGES, "one")
    np.testing.assert_allclose(loaded.compute_probs(IMAGES, "one"), shipped, atol=1e-3)
    other = Classifier(loaded._engine, loaded.source, input_scale="0..1")
    assert np.abs(other.compute_probs(IMAGES, "one") - shipped).max() > 0.1
    with pytest.raises(ParameterError, match="0-255"):
        Classifier(loaded._engine, loaded.source, input_scale="0-255")


def test_logits_get_a_softmax_and_constant_predictions_a_warning(keras, network, tmp_path):
    model = network(last=None)
    path = save(model, tmp_path)
    loaded = Classifier.load(path, views="one", input_scale="0..1")
    expected = keras.ops.softmax(model(SCALED["0..1"]))
    np.testing.assert_allclose(loaded.predict_batch(IMAGES), expected, atol=1e-5)
    assert "logits" in str(loaded.source)
    model.layers[-1].set_weights([np.zeros((8, 10)), np.eye(10)[6] * 9])
    assert "WARNING: it predicts frog" in str(Classifier.load(save(model, tmp_path)).source)
    with pytest.raises(ModelError, match="softmax"):
        Classifier.load(save(network(last="sigmoid"), tmp_path))


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
@pytest.mark.parametrize(("kind", "scale"), [("uint8", "0..1"), ("int8", "-1..1")])
def test_quantised_inputs_and_outputs_are_read(network, tmp_path, kind, scale):
    import tensorflow as tf

    model = network()
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    low, high = (-1, 1) if scale == "-1..1" else (0, 1)
    samples = [*SCALED[scale][:20], np.full((32, 32, 3), low), np.full((32, 32, 3), high)]
    converter.representative_dataset = lambda: ([one[None].astype("float32")] for one in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    (tmp_path / "model.tflite").write_bytes(converter.convert())
    loaded = Classifier.load(tmp_path / "model.tflite", views="one")
    assert f"RGB {scale}: its quantised inputs" in str(loaded.source)
    probs = loaded.predict_batch(IMAGES)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(probs, model(SCALED[scale]), atol=0.05)


@pytest.mark.parametrize("shape", [(None, None, None, 3), (4, 32, 32, 3)])
def test_keras_files_of_any_size_or_of_a_fixed_batch_work(network, tmp_path, shape):
    model = network(batch_shape=shape)
    loaded = Classifier.load(save(model, tmp_path, "model.h5"), views="one", input_scale="0..1")
    free = network()
    free.set_weights(model.get_weights())
    np.testing.assert_allclose(loaded.predict_batch(IMAGES), free(SCALED["0..1"]), atol=1e-5)


def test_a_saved_model_folder_works(network, tmp_path):
    model = network()
    model.export(tmp_path / "folder", verbose=False)
    loaded = Classifier.load(tmp_path / "folder", views="one", input_scale="0..1")
    assert loaded.engine.startswith("TensorFlow")
    np.testing.assert_allclose(loaded.predict_batch(IMAGES), model(SCALED["0..1"]), atol=1e-5)


def make_onnx(path, shape, weights, external=False, **fields):
    """Write softmax(flattened images × weights); channels first where the shape has them so."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    first = shape[1] == 3
    nodes = [helper.make_node("Transpose", ["in"], ["last"], perm=[0, 2, 3, 1])] if first else []
    nodes += [
        helper.make_node("Flatten", ["last" if first else "in"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, (shape[0], 10))],
        [numpy_helper.from_array(weights, "weights")],
    )
    fields = {"ir_version": 8} | fields
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, **fields)
    onnx.save(model, path, save_as_external_data=external, location=f"{path.name}.data")
    return path


@pytest.mark.onnx
@pytest.mark.parametrize("shape", [("n", "h", "w", "c"), (1, 32, 32, 3), ("n", 3, 32, 32)])
def test_onnx_files_of_other_shapes_work(tmp_path, shape):
    weights = RNG.normal(0, 0.01, (3072, 10)).astype(np.float32)
    path = make_onnx(tmp_path / "model.onnx", shape, weights)
    loaded = Classifier.load(path, views="one", input_scale="-1..1")
    odds = np.exp(SCALED["-1..1"].reshape(70, -1) @ weights)
    expected = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loaded.predict_batch(IMAGES), expected, atol=1e-5)


@pytest.mark.onnx
def test_the_reason_of_onnx_runtime_is_shown(tmp_path):
    weights = np.zeros((3072, 10), np.float32)
    newer = make_onnx(tmp_path / "newer.onnx", (1, 32, 32, 3), weights, ir_version=99)
    parted = make_onnx(tmp_path / "parted.onnx", (1, 32, 32, 3), weights, external=True)
    (tmp_path / "parted.onnx.data").unlink()
    for path, reason in ((newer, "IR version: 99"), (parted, "parted.onnx.data")):
        with pytest.raises(ModelError, match=reason) as error:
            Classifier.load(path)
        assert "damaged" not in str(error.value)
        assert ".cc:" not in str(error.value)


# Keras 3.8 still runs the code of a Lambda layer in an HDF5 file.
@pytest.mark.parametrize("name", ["model.keras"] + ["model.h5"] * (KERAS >= (3, 13)))
def test_the_reason_of_keras_is_shown(keras, network, tmp_path, name):
    model = network(keras.layers.Lambda(lambda images: images / 2))
    with pytest.raises(ModelError, match=r"(?i)lambda") as error:
        Classifier.load(save(model, tmp_path, name))
    assert f"Keras {keras.__version__}" in str(error.value)
    assert "damaged" not in str(error.value)
    assert len(str(error.value)) < 700


def test_networks_that_do_not_fit_are_refused(keras, tmp_path):
    dense, flat = keras.layers.Dense, keras.layers.Flatten
    images, small = keras.Input((32, 32, 3)), keras.Input((28, 28, 1))
    signed = keras.Input((32, 32, 3), dtype="int32")
    whole = flat()(keras.ops.cast(signed, "float32"))
    bias = keras.initializers.Constant(np.nan)
    cases = {
        r"\(28, 28, 1\)": keras.Model(small, dense(10, "softmax")(flat()(small))),
        r"\(7,\)": keras.Model(images, dense(7, "softmax")(flat()(images))),
        "2 outputs": keras.Model(images, [dense(10, "softmax")(flat()(images)) for _ in "ab"]),
        "int32": keras.Model(signed, dense(10, "softmax")(whole)),
        "diverged": keras.Model(
            images, dense(10, "softmax", bias_initializer=bias)(flat()(images))
        ),
    }
    for word, model in cases.items():
        with pytest.raises(ModelError, match=word):
            Classifier.load(save(model, tmp_path))
