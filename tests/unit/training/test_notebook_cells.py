"""What notebook 3 spells out is what the package holds, and what its cells hold is what trains."""

import dataclasses
import json

import numpy as np
import pytest
from tiny_runs import make_run, train

from cifar_utils import models
from cifar_utils.data.augmentation import Augmentation
from cifar_utils.data.preprocessing import Preprocessing
from cifar_utils.paths import notebooks_dir
from cifar_utils.runs import RECIPES, get_recipe
from cifar_utils.training import AugmentedBatches, choose_precision, compute_learning_rates

BASELINE = RECIPES["baseline"]
TINY = {"recipe": "baseline", "epochs": 2, "val_fraction": 0.1}
IMPORTS, LISTING, SCHEDULE = "from dataclasses", "original = keras.Sequential", "def lr_schedule("
BATCHES, NETWORK, FIT = "AugmentedBatches(", "training.Checkpoint(", "model.fit("


def find_cell(part):
    """Return the source of the one code cell of notebook 3 that holds a text."""
    path = notebooks_dir() / "03_training.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (source,) = [source for source in code if part in source]
    return source


def run_cells(run, *parts, **edits):
    """Execute cells for a run; `edits` replaces texts in them. Returns the names they define."""
    settings = run.recipe
    names = {"run": run, "data": run.dataset, "settings": settings}
    names |= {"first_seed": run.parameters["seed"]}
    names |= {"number_format": choose_precision(settings.precision, run)}
    for part in (IMPORTS, *parts):
        source = find_cell(part)
        for old, new in edits.get("edits", {}).items():
            source = source.replace(old, new)
        exec(compile(source, part, "exec"), names)
    return names


def test_the_listing_is_the_packages_network(capsys):
    names = run_cells(make_run("listing", **TINY), LISTING)
    assert names["original"].count_params() == 261_194
    expected = models.describe_network(models.build_documented_network(BASELINE))
    assert models.describe_network(names["original"]) == expected
    assert "261,194" in capsys.readouterr().out


@pytest.mark.parametrize("reading", ["code", "prose"])
def test_the_schedule_is_the_packages(reading):
    names = run_cells(make_run(f"schedule-{reading}", **TINY), SCHEDULE)
    _, expected = compute_learning_rates(get_recipe("baseline", schedule=reading))
    rates = [names["readings"][reading](epoch) for epoch in range(100)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_a_batch_of_the_cell_is_the_packages():
    run = make_run("one-batch", **TINY)
    names = run_cells(run, BATCHES)
    preprocessing = Preprocessing.from_recipe(BASELINE, 0)
    assert preprocessing.augmentation == Augmentation(15.0, 0.1, flip=True)  # its comment
    assert "Augmentation(15.0, 0.1, flip=True)" in find_cell(BATCHES)
    expected = AugmentedBatches(names["images"], names["labels"], 100, preprocessing)
    for own, other in zip(names["batches"][3], expected[3], strict=True):
        np.testing.assert_array_equal(own, other)


def test_the_cells_train_what_the_pieces_train_and_continue():
    """`tiny_runs.train`, which the other tests use, calls what the cells call."""
    parts = (LISTING, SCHEDULE, BATCHES, NETWORK, FIT)
    run = make_run("by-cells", **TINY)
    names = run_cells(run, *parts)
    exec(find_cell(FIT), names)  # a second time does no harm
    other = make_run("by-pieces", **TINY)
    train(other)
    assert run.path("history.csv").read_bytes() == other.path("history.csv").read_bytes()
    assert run.info["differs_from_recipe"] == []


def test_an_edited_cell_is_what_trains():
    edits = {"layers.Conv2D(32, 3": "layers.Conv2D(16, 3", "rate * 0.1**": "rate * 10 * 0.1**"}
    edits |= {"= preprocessing.augmentation": "= Augmentation(40.0, 0.1, flip=False)"}
    run = make_run("edited-cells", **TINY)
    names = run_cells(run, LISTING, SCHEDULE, BATCHES, NETWORK, FIT, edits=edits)
    assert set(run.info["differs_from_recipe"]) == {"schedule", "network", "augmentation"}
    assert names["model"].layers[0].filters == 16
    assert names["history"]["learning_rate"] == pytest.approx([0.01, 0.01])
    assert dataclasses.asdict(names["batches"].preprocessing.augmentation)["rotation"] == 40.0
