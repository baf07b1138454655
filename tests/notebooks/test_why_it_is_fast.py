"""What notebook 6 spells out in its cells is what the package trains."""

import json

import ablation
import nbformat
import numpy as np
import pytest

from cifar_utils import models
from cifar_utils.backend import keras
from cifar_utils.models.layers import PartialIdentity, compute_whitening
from cifar_utils.models.muon import orthogonalise
from cifar_utils.paths import notebooks_dir
from cifar_utils.runs import get_recipe

BUILT_FROM = (
    "start_as_identity",
    "make_convolution",
    "build_network",
    "newton_schulz",
    "filters =",
)


@pytest.fixture(scope="module")
def cells():
    """Run the cells that define something; returns their names."""
    path = notebooks_dir() / "06_why_it_is_fast.ipynb"
    notebook = nbformat.read(path, as_version=4)
    images = np.random.default_rng(0).random((20, 32, 32, 3), dtype=np.float32)
    names = {"np": np, "keras": keras, "layers": keras.layers, "images": images}
    for cell in notebook.cells:
        source = cell.source.partition("plots.show_figure")[0]
        defines = any(f"def {name}" in source for name in BUILT_FROM)
        if cell.cell_type == "code" and (defines or "patches =" in source or "filters =" in source):
            exec(compile(source.partition("\nprint(")[0], path.name, "exec"), names)
    return names


def test_the_whitening_filters_are_the_packages_but_for_their_signs(cells):
    kernel, bias = compute_whitening(cells["images"], 2)
    ours, theirs = (
        np.sort(np.abs(one.reshape(12, 24)), axis=0) for one in (cells["kernel"], kernel)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(np.abs(cells["bias"]), np.abs(bias), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["quick", "fast"])
def test_the_network_is_the_packages(cells, name):
    recipe = get_recipe(name)
    ours = cells["build_network"](recipe.widths, recipe.logit_scale)
    theirs = models.unfuse(models.build(recipe))
    assert ours.count_params() == theirs.count_params()
    assert [type(layer) for layer in ours.layers] == [type(layer) for layer in theirs.layers]
    for one, other in zip(ours.layers, theirs.layers, strict=True):
        # Initialisers are not saved with a network; a test below compares them.
        left_out = {"name", "dtype", "kernel_initializer"}
        one, other = one.get_config(), other.get_config()
        for key in (one.keys() & other.keys()) - left_out:
            assert one[key] == other[key], key


def test_kernels_start_like_the_packages(cells):
    ours, theirs = (
        make((3, 3, 24, 32)) for make in (cells["start_as_identity"], PartialIdentity())
    )
    theirs = keras.ops.convert_to_numpy(theirs)
    np.testing.assert_array_equal(ours[..., :24], theirs[..., :24])
    random = ours[..., 24:], theirs[..., 24:]
    assert np.abs(random[0]).max() == pytest.approx(np.abs(random[1]).max(), rel=0.02)
    assert random[0].std() == pytest.approx(random[1].std(), rel=0.05)


@pytest.mark.parametrize("rounds", [1, 3])
def test_newton_schulz_is_muons(cells, rounds):
    matrix = np.random.default_rng(0).normal(size=(8, 36)).astype(np.float32)
    theirs = keras.ops.convert_to_numpy(orthogonalise(keras.ops.convert_to_tensor(matrix), rounds))
    np.testing.assert_allclose(cells["newton_schulz"](matrix, rounds), theirs, atol=1e-4)


def test_gradient_descent_has_the_rate_that_the_ablation_found_best():
    text = (notebooks_dir() / "06_why_it_is_fast.ipynb").read_text(encoding="utf-8")
    sgd = ablation.leave_out(get_recipe("quick"), "Muon (SGD instead)")
    assert f"learning_rate={sgd.learning_rate:g}, weight_decay={sgd.weight_decay:g}" in text
    rows = json.loads(ablation.FILE.read_text(encoding="utf-8"))["quick"]["sgd"]
    best = max(rows, key=lambda row: row["accuracy_tta"])
    assert best["learning_rate"] == pytest.approx(sgd.learning_rate)
    assert best["weight_decay"] == pytest.approx(sgd.weight_decay)
