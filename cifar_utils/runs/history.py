"""`history.csv`: one row per epoch; and what notebook 02 decided."""

import csv
import dataclasses
import io

from cifar_utils.data.preprocessing import Preprocessing, spread_sizes
from cifar_utils.paths import write_text


def write_history(run, history):
    """Write `history.csv`: one row per epoch, floats in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(history)
    writer.writerows(zip(*history.values(), strict=True))
    return write_text(run.path("history.csv"), text.getvalue())


def read_history(run):
    """Read `history.csv` back.

    Returns:
        Column name to list; "epoch" holds integers, the rest floats. {} where there is none.
    """
    path = run.path("history.csv")
    if not path.exists():
        return {}
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    columns = {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}
    return columns | {"epoch": [int(epoch) for epoch in columns["epoch"]]}


def read_preprocessing(run):
    """Return what notebook 02 decided for a run, or the recipe's own choices without it."""
    saved = run.read_json("preprocessing.json")
    recipe = run.recipe
    if not saved:
        return Preprocessing.from_recipe(recipe, run.parameters["seed"])
    decided = Preprocessing.from_json(saved["preprocessing"])
    # Notebook 02 does not know how many epochs notebook 03 is given.
    return dataclasses.replace(decided, sizes=spread_sizes(recipe.sizes, recipe.epochs))


def find_reference(recipe, seed=0, **changes):
    """Return the reference run of a recipe and seed with exactly these changes, or None."""
    from cifar_utils.runs.references import load_references
    from cifar_utils.runs.run import Run

    for reference in load_references(recipe):
        if reference.seed == seed and reference.changes == changes:
            return Run(reference.folder)
    return None
