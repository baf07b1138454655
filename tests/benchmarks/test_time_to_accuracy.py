"""The benchmark of training speed: its arithmetic, and that PyTorch's network is ours."""

import dataclasses
import json
import runpy
import subprocess
import sys

import numpy as np
import pytest

from cifar_utils.data.preprocessing import spread_sizes
from cifar_utils.paths import project_root
from cifar_utils.runs.recipes import RECIPES, get_recipe

FOLDER = project_root() / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    return runpy.run_path(str(FOLDER / "time_to_accuracy.py"))


@pytest.fixture(scope="module")
def torch_bench():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so little work that waiting for each other would take longer
    yield runpy.run_path(str(FOLDER / "torch_fast_network.py"))
    torch.set_num_threads(threads)


# ---------- operations ----------------------------------------------------------------------------


def test_a_convolution_is_counted_as_by_hand(bench):
    without, wider = (
        dataclasses.replace(get_recipe("quick"), widths=widths) for widths in [(24,), (24, 64)]
    )
    # The second block: 24 to 64 maps of 15x15, then 64 to 64 of 7x7, three passes each. The dense
    # layer gets 64 inputs instead of 24.
    block = 3 * 2 * (15 * 15 * 9 * 24 * 64 + 7 * 7 * 9 * 64 * 64)
    dense = 3 * 2 * 10 * (64 - 24)
    count = bench["count_flops"]
    assert count(wider, 32) - count(without, 32) == block + dense


@pytest.mark.parametrize(("size", "sides"), [(32, (31, 15, 7, 3)), (24, (23, 11, 5, 2))])
def test_what_is_not_computed_is_not_counted(bench, size, sides):
    recipe = get_recipe("quick")
    whitening = sides[0] ** 2 * 2 * 2 * 3 * 24
    # Frozen, so forward only; and nothing trained comes before the first convolution.
    total, channels = 2 * whitening, 24
    for block, filters in enumerate(recipe.widths):
        first = sides[block] ** 2 * 9 * channels * filters
        total += 2 * first * (3 if block else 2)
        total += 3 * 2 * sides[block + 1] ** 2 * 9 * filters * filters
        channels = filters
    total += 3 * 2 * channels * 10
    assert bench["count_flops"](recipe, size) == total


def test_the_documented_networks_operations(bench):
    forward = [30**2 * 27 * 32, 13**2 * 288 * 64, 4**2 * 576 * 128, 512 * 256, 256 * 128, 1280]
    assert bench["count_flops"](get_recipe("baseline"), 32) == 6 * sum(forward) - 2 * forward[0]


# ---------- the summary ---------------------------------------------------------------------------


def make_rounds(bench):
    """Two rounds: the script at 1,000 images/s, `quick` at 2,000 and 1,000, PyTorch slower."""
    script = [
        {"images": 50_000, "train_seconds": 50.0, "epoch_seconds": 55.0},
        {"images": 32, "train_seconds": 0.1, "epoch_seconds": 5.0},
    ]
    common = {"precision": "float32", "epoch_images": 45_000}
    quick = [
        {"size": 24, "images": 20_000, "seconds": 10.0} | common,
        {"size": 32, "images": 10_000, "seconds": 10.0} | common,
    ]
    other = [
        {"size": size, "format": name, "images": images, "seconds": 10.0} | common
        for size, name, images in [
            (24, "channels_last", 8_000),
            (32, "channels_last", 4_000),
            (24, "contiguous", 6_000),
            (32, "contiguous", 5_000),
        ]
    ]
    peak = [[{"precision": "float32", "gflops": gflops}] for gflops in (90.0, 100.0)]
    return {
        bench["PEAK"]: peak,
        bench["DOCUMENTED"]: [script, script],
        "quick": [quick, quick],
        "quick" + bench["TORCH"]: [other, other],
    }


@pytest.fixture
def result(bench):
    return bench["make_result"](make_rounds(bench), load=0.1)


def test_every_size_is_summarised(bench, result):
    assert result["documented_seconds"] == 5500
    assert result["peak"] == {"float32": 100.0}
    rows = {(row["contender"], row["size"]): row for row in result["summary"]}
    assert [row["n"] for row in rows.values()] == [2] * 5
    assert rows["quick", 24]["ratio_to_documented"] == 2.0
    assert rows["quick", 24]["epoch_seconds"] == 22.5
    share = 1000 * bench["count_flops"](get_recipe("quick"), 32) / 100e9
    assert rows["quick", 32]["share_of_peak"] == round(share, 3)


def test_the_faster_memory_format_is_kept_and_said(bench, result):
    rows = {row["size"]: row for row in result["summary"] if bench["TORCH"] in row["contender"]}
    assert (rows[24]["format"], rows[24]["images_per_second"]) == ("channels_last", 800)
    assert (rows[32]["format"], rows[32]["images_per_second"]) == ("contiguous", 500)


def test_a_trainings_time_counts_each_epoch_at_its_size(bench, result):
    recipe = get_recipe("quick")
    trainings = result["trainings"]
    assert trainings[bench["DOCUMENTED"]] == {"training_seconds": 5500, "ratio_to_documented": 1}
    seconds = {24: 22.5, 32: 45.0}
    expected = sum(seconds[size] for size in spread_sizes(recipe.sizes, recipe.epochs))
    assert trainings["quick"]["training_seconds"] == expected
    assert trainings["quick"]["ratio_to_documented"] == round(5500 / expected, 1)


def test_the_table_can_be_made_from_the_file(bench, result):
    read = json.loads(json.dumps(result))
    header, rows = bench["make_rows"](read)
    assert result["machine"] in header[0]
    assert {len(row) for row in rows} == {len(header)}
    assert [row[0] for row in rows] == [
        bench["DOCUMENTED"],
        "`quick`",
        "`quick`",
        "`quick`, PyTorch, channels_last",
        "`quick`, PyTorch, contiguous",
    ]
    assert rows[1][1:5] == ["24×24", "2,000", "22.5 s", "2.00 ×"]


# ---------- the measurement -----------------------------------------------------------------------


def test_every_recipe_and_size_is_measured(bench):
    names = bench["list_contenders"]()
    assert {bench["DOCUMENTED"], bench["PEAK"], *RECIPES} <= set(names)
    assert f"baseline{bench['TORCH']}" not in names
    assert bench["find_first_epochs"](get_recipe("baseline")) == {32: 0}


@pytest.mark.parametrize(("seconds", "counted"), [(0.0, 2 * 16), (60.0, 3 * 16 + 12)])
def test_our_steps_are_timed_until_time_is_up_or_the_epoch_over(bench, seconds, counted):
    recipe = dataclasses.replace(
        get_recipe("quick"), batch_size=16, widths=(24, 8, 8), steps_per_execution=1
    )
    rng = np.random.default_rng(0)
    n = 5 * 16 + 12
    images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    rows = list(bench["time_recipe"](recipe, images, rng.integers(0, 10, n), seconds))
    assert [(row["size"], row["images"]) for row in rows] == [(24, counted), (32, counted)]
    assert all(row["seconds"] > 0 for row in rows)


def test_calls_of_several_steps_are_timed_whole(bench):
    recipe = dataclasses.replace(get_recipe("baseline"), steps_per_execution=3, batch_size=8)
    images = np.zeros((8 * 20, 32, 32, 3), np.uint8)
    (row,) = bench["time_recipe"](recipe, images, np.zeros(len(images), int), 0.0)
    assert row["images"] == 2 * 3 * 8


# ---------- PyTorch's network ---------------------------------------------------------------------


def fill_randomly(model, seed=0):
    """Give a Keras network weights that hide no mix-up: random biases, averages and variances."""
    rng = np.random.default_rng(seed)
    filled = []
    for weight, array in zip(model.weights, model.get_weights(), strict=True):
        if weight.path.endswith("variance"):
            filled.append(rng.uniform(0.5, 2, array.shape))
        else:
            spread = np.sqrt(4 / np.prod(array.shape[:-1])) if array.ndim > 1 else 0.1
            filled.append(rng.normal(0, spread, array.shape))
    model.set_weights(filled)


@pytest.mark.parametrize("name", ["quick", "fast"])
def test_pytorchs_network_is_the_same_function(torch_bench, name):
    torch = pytest.importorskip("torch")
    from cifar_utils.models.documented import build_model

    recipe = get_recipe(name)
    model = build_model(recipe)
    fill_randomly(model)
    network = torch_bench["FastNetwork"](recipe).eval()
    torch_bench["copy_weights"](network, model.get_weights())
    rng = np.random.default_rng(1)  # eight colours, each with some noise
    images = (rng.random((8, 1, 1, 3)) + rng.normal(0, 0.1, (8, 32, 32, 3))).astype(np.float32)
    with torch.no_grad():
        theirs = network(torch.from_numpy(images).permute(0, 3, 1, 2)).softmax(1).numpy()
    ours = model.predict_on_batch(images)
    assert ours.std(axis=0).max() > 1e-2, "the weights make every picture look the same"
    np.testing.assert_allclose(theirs, ours, atol=1e-4)
    # The negative sample: one shifted bias must show.
    network.features[0].bias.data += 1
    with torch.no_grad():
        other = network(torch.from_numpy(images).permute(0, 3, 1, 2)).softmax(1).numpy()
    assert np.abs(other - ours).max() > 1e-4


def test_weights_of_another_network_are_refused(torch_bench):
    from cifar_utils.models.documented import build_model

    weights = build_model(get_recipe("quick")).get_weights()
    with pytest.raises(ValueError, match="1 arrays"):
        torch_bench["copy_weights"](torch_bench["FastNetwork"](get_recipe("quick")), [*weights, 0])


def test_pytorchs_muon_makes_the_same_updates(torch_bench):
    torch = pytest.importorskip("torch")
    from cifar_utils.backend import keras
    from cifar_utils.training.loop import make_optimizer

    rng = np.random.default_rng(0)
    shapes = [(3, 3, 4, 8), (3, 3, 4, 40), (8, 10), (8,)]
    start, *gradients = [
        [rng.normal(size=shape).astype(np.float32) for shape in shapes] for _ in range(3)
    ]
    like = make_optimizer(get_recipe("fast"), 10**6)  # so that its rate hardly falls
    ours = [keras.Variable(array) for array in start]
    turn = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
    theirs = [
        torch.nn.Parameter(torch.tensor(array.transpose(turn[array.ndim]))) for array in start
    ]
    other = torch_bench["Muon"](theirs, like, get_recipe("fast").learning_rate)
    for step in gradients:
        like.apply(step, ours)
        for parameter, gradient in zip(theirs, step, strict=True):
            parameter.grad = torch.tensor(gradient.transpose(turn[gradient.ndim]))
        other.step()
    for array, parameter in zip(ours, theirs, strict=True):
        expected = keras.ops.convert_to_numpy(array).transpose(turn[parameter.ndim])
        np.testing.assert_allclose(parameter.detach().numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_pytorchs_steps_are_timed_on_full_batches(torch_bench, precision):
    from cifar_utils.data.preprocessing import Preprocessing, scale_images
    from cifar_utils.training.batches import ArraySource

    recipe = dataclasses.replace(get_recipe("quick"), batch_size=16, widths=(24, 8, 8))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    preprocessing = Preprocessing.from_recipe(recipe, 0)
    source = ArraySource(images, rng.integers(0, 10, 60), recipe.batch_size, preprocessing)
    rows = list(
        torch_bench["time_recipe"](recipe, source, scale_images(images), {24: 0}, precision, 0.0)
    )
    assert [row["format"] for row in rows] == ["channels_last", "contiguous"]
    assert {(row["size"], row["images"]) for row in rows} == {(24, 32)}
    assert all(row["seconds"] > 0 for row in rows)


def test_a_step_of_pytorch_lowers_the_loss(torch_bench):
    torch = pytest.importorskip("torch")
    recipe = dataclasses.replace(get_recipe("quick"), widths=(24, 8, 8))
    images = np.random.default_rng(0).random((10, 24, 24, 3), dtype=np.float32)
    pair = torch.from_numpy(images).permute(0, 3, 1, 2), torch.arange(10)
    step = torch_bench["make_trainer"](recipe, images, "float32", torch.channels_last)
    losses = [float(step(*pair)) for _ in range(8)]
    assert losses[-1] < losses[0] - 0.1


def test_importing_the_benchmark_imports_no_framework(bench):
    code = (
        f"import runpy, sys; runpy.run_path({str(FOLDER / 'time_to_accuracy.py')!r});"
        "print({'tensorflow', 'torch', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
