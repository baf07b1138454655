"""What is each trick of the fast network worth? Train a recipe without it, and look.

    python benchmarks/ablation.py [RECIPE]       # quick: 30 trainings of half a minute on 2 cores
    python benchmarks/ablation.py RECIPE sgd     # 20 more: which rate and decay suit SGD best

Trains the recipe as it stands and once without each trick (`experiments.ABLATIONS`), with seeds 0
to 2, on all training images but the tenth that is held out, and keeps the accuracy on these: the
test set is not touched. All share a seed's split, order and augmentation. Writes every training as
it ends into `outputs/reference/ablation.json` and continues where it was stopped; what was trained
with another recipe, without another trick or on another kind of machine is trained again. Times are
not compared here. With `sgd`, it tries learning rates and weight decays of the SGD that stands in
for Muon, with seed 0; the best are to be written into `experiments.SGD_RATE` and `SGD_DECAY`.
"""

import dataclasses
import runpy
import sys
from pathlib import Path

from cifar_utils.paths import write_json
from cifar_utils.runs.recipes import get_recipe, recipe_from_json, recipe_to_json
from cifar_utils.training.experiments import (
    ABLATION_FILE,
    ABLATIONS,
    MUON,
    NOTHING,
    ablate,
    describe_ablation,
    load_ablation,
    run_experiment,
    summarise_ablation,
)
from cifar_utils.training.precision import choose_precision

SEEDS = (0, 1, 2)
# airbench had 0.37 for a batch of 250 before it had Muon, and a decay of 0.0015 over that rate.
SGD_RATES = tuple(rate / 250 for rate in (0.09, 0.18, 0.37, 0.74, 1.5))
SGD_DECAYS = (0.0, 0.0015, 0.005, 0.03)
AGAINST = runpy.run_path(str(Path(__file__).with_name("against_documented.py")))


def list_tricks(recipe):
    """List what the ablation trains, as pairs: what tells a row from others, and the recipe."""
    wanted = []
    for seed in SEEDS:
        for trick in (NOTHING, *ABLATIONS):
            variant = ablate(recipe, trick)
            after, before = recipe_to_json(variant), recipe_to_json(recipe)
            changes = {name: after[name] for name in after if after[name] != before[name]}
            wanted.append(({"trick": trick, "seed": seed, "changes": changes}, variant))
    return wanted


def list_sgd(recipe):
    """List the trainings with SGD in the same way."""
    wanted = []
    for rate in SGD_RATES:
        for decay in SGD_DECAYS:
            changes = {"learning_rate": rate * recipe.batch_size, "weight_decay": decay}
            variant = dataclasses.replace(ablate(recipe, MUON), **changes)
            wanted.append(({"seed": SEEDS[0]} | changes, variant))
    return wanted


# Under which name a file keeps the rows, and which trainings they are.
PARTS = {"tricks": ("rows", list_tricks), "sgd": ("sgd", list_sgd)}


def main(recipe_name="quick", part="tricks"):
    """Train what is missing, and print the table."""
    from cifar_utils.data import load_dataset

    if part not in PARTS:
        sys.exit(f"Error: no part {part}. Take of {', '.join(PARTS)}.")
    recipe, dataset = get_recipe(recipe_name, val_fraction=0.1), load_dataset("cifar10")
    whole = load_ablation() or {}
    identity = {
        "recipe": recipe_to_json(recipe),
        "machine": AGAINST["describe_trainer"](),
        "precision": choose_precision(recipe.precision),
        "n": round(len(dataset.train_labels) * recipe.val_fraction),
    }
    saved = whole.get(recipe_name, {})
    if "recipe" in saved:  # written before a field existed, it means that field's default
        saved["recipe"] = recipe_to_json(recipe_from_json(saved["recipe"]))
    if any(saved.get(key) != value for key, value in identity.items()):
        saved = identity
    key, list_wanted = PARTS[part]
    wanted = list_wanted(recipe)
    rows = [row for row in saved.get(key, []) if any(is_row(row, told) for told, _ in wanted)]
    for told, variant in wanted:
        if any(is_row(row, told) for row in rows):
            continue
        done = run_experiment(variant, dataset, told["seed"])
        measured = done.to_json()
        if part == "sgd":
            del measured["curve"]  # nobody looks at twenty
        rows.append(told | measured)
        rows.sort(key=lambda row: find_place(row, wanted))
        whole[recipe_name] = saved | {key: rows}
        write_json(ABLATION_FILE, whole)
        print(f"{told}: {done.accuracy_tta:.2%}", flush=True)
    if part == "sgd":
        best = max(rows, key=lambda row: row["accuracy_tta"])
        print(f"Best: rate {best['learning_rate']:g}, decay {best['weight_decay']:g}")
        return
    for row in summarise_ablation(rows):
        print(describe_ablation(row))


def find_place(row, wanted):
    """Return where in the list of trainings that of a row stands."""
    return next(i for i, (told, _) in enumerate(wanted) if is_row(row, told))


def is_row(row, told):
    """Return whether a row is of the training that `told` tells from others."""
    return told.items() <= row.items()


if __name__ == "__main__":
    main(*sys.argv[1:])
