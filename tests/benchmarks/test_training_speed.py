"""The benchmark of training speed: its arithmetic, and that PyTorch's network is ours."""

import dataclasses

import numpy as np
import pytest
import training_speed

from cifar_utils.runs import get_recipe


@pytest.fixture(scope="module")
def torch_bench():
    torch = pytest.importorskip("torch")
    import torch_fast_network

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so little work that waiting for each other would take longer
    yield torch_fast_network
    torch.set_num_threads(threads)


def test_operations_are_counted_as_by_hand():
    recipe, sides = get_recipe("quick"), (23, 11, 5, 2)  # of the maps of an image of 24 pixels
    # Frozen, so forward only; and nothing trained comes before the first convolution.
    total, channels = 2 * sides[0] ** 2 * 2 * 2 * 3 * 24, 24
    for block, filters in enumerate(recipe.widths):
        first = sides[block] ** 2 * 9 * channels * filters
        total += 2 * first * (3 if block else 2)
        total += 3 * 2 * sides[block + 1] ** 2 * 9 * filters * filters
        channels = filters
    total += 3 * 2 * channels * 10
    assert training_speed.count_flops(recipe, 24) == total


def test_every_size_is_summarised():
    script = [
        {"images": 50_000, "train_seconds": 50.0, "epoch_seconds": 55.0},
        {"images": 32, "train_seconds": 0.1, "epoch_seconds": 5.0},
    ]
    common = {"precision": "float32", "epoch_images": 45_000, "seconds": 10.0}
    quick = [{"size": size, "images": n} | common for size, n in [(24, 20_000), (32, 10_000)]]
    rounds = {
        training_speed.PEAK: [[{"precision": "float32", "gflops": n}] for n in (90.0, 100.0)],
        training_speed.ORIGINAL: [script, script],
        "quick": [quick, quick],
        "quick" + training_speed.TORCH: [quick, quick],
    }
    peak, rows = training_speed.summarise(rounds)
    assert peak == {"float32": 100.0}
    rows = {(row["contender"], row["size"]): row for row in rows}
    assert [row["n"] for row in rows.values()] == [2] * 5
    assert rows["quick", 24]["ratio_to_documented"] == 2.0
    assert rows["quick", 24]["epoch_seconds"] == 22.5
    share = 1000 * training_speed.count_flops(get_recipe("quick"), 32) / 100e9
    assert rows["quick", 32]["share_of_peak"] == round(share, 3)


def test_our_steps_are_timed_at_every_size():
    recipe = dataclasses.replace(
        get_recipe("quick"), batch_size=16, widths=(8,), steps_per_execution=1
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5 * 16 + 12, 32, 32, 3), dtype=np.uint8)
    labels, epochs = rng.integers(0, 10, len(images)), {24: 0, 32: 2}
    rows = list(training_speed.time_recipe(recipe, images, labels, epochs, seconds=60.0))
    # The epoch ends before the time: all steps but those that compile.
    assert [(row["size"], row["images"]) for row in rows] == [(24, 60), (32, 60)]
    rows = list(training_speed.time_recipe(recipe, images, labels, {24: 0}, seconds=0.0))
    assert [row["images"] for row in rows] == [2 * 16]


# ---------- PyTorch's network ---------------------------------------------------------------------


def test_pytorchs_network_is_the_same_function(torch_bench):
    torch = pytest.importorskip("torch")
    from cifar_utils import models

    recipe = get_recipe("quick")
    model, rng = models.unfuse(models.build(recipe)), np.random.default_rng(1)
    for weight in model.weights:  # random, so that no mix-up of biases and averages is hidden
        spread = (4 / np.prod(weight.shape[:-1])) ** 0.5 if weight.ndim > 1 else 0.1
        value = rng.normal(0, spread, weight.shape)
        weight.assign(abs(value) + 1 if weight.path.endswith("variance") else value)
    network = torch_bench.FastNetwork(recipe).eval()
    left = [torch.tensor(array) for array in model.get_weights()]
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.copy_(left.pop(0).permute(3, 2, 0, 1))
                if module.bias is not None:
                    module.bias.copy_(left.pop(0))
            elif isinstance(module, torch.nn.BatchNorm2d):
                for own in (module.bias, module.running_mean, module.running_var):
                    own.copy_(left.pop(0))
            elif isinstance(module, torch.nn.Linear):
                module.weight.copy_(left.pop(0).T)
    assert not left
    images = rng.random((8, 1, 1, 3)) + rng.normal(0, 0.1, (8, 32, 32, 3))  # colours and noise
    images = images.astype(np.float32)
    with torch.no_grad():
        theirs = network(torch.from_numpy(images).permute(0, 3, 1, 2)).softmax(1).numpy()
    ours = model.predict_on_batch(images)
    assert ours.std(axis=0).max() > 1e-2, "the weights make every image look the same"
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_pytorchs_muon_makes_the_same_updates(torch_bench):
    torch = pytest.importorskip("torch")
    from cifar_utils.backend import keras
    from cifar_utils.training import build_optimizer

    rng = np.random.default_rng(0)
    for shape, turn in (((3, 3, 4, 40), (3, 2, 0, 1)), ((8, 10), (1, 0)), ((8,), (0,))):
        start, *gradients = rng.normal(size=(3, *shape)).astype(np.float32)
        like = build_optimizer(get_recipe("fast"), 10**6)  # so that its rate hardly falls
        ours, theirs = (
            keras.Variable(start),
            torch.nn.Parameter(torch.tensor(start.transpose(turn))),
        )
        average = torch.zeros_like(theirs)
        for gradient in gradients:
            like.apply([gradient], [ours])
            theirs.grad = torch.tensor(gradient.transpose(turn))
            torch_bench.update(theirs, average, like, get_recipe("fast").learning_rate)
        expected = keras.ops.convert_to_numpy(ours).transpose(turn)
        np.testing.assert_allclose(theirs.detach().numpy(), expected, atol=1e-3)
