"""What is each trick of the fast network worth? Train a recipe without it, and look.

    python benchmarks/ablation.py [RECIPE]       # quick: 30 trainings of half a minute on 2 cores

Trains the recipe as it stands and once without each trick (`experiments.ABLATIONS`), with seeds 0
to 2, on all training images but the tenth that is held out, and keeps the accuracy on these: the
test set is not touched. All share a seed's split, order and augmentation. Writes every training as
it ends into `outputs/reference/ablation.json` and continues where it was stopped; what was trained
with another recipe or on another kind of machine is trained again. Times are not compared here.
"""

import runpy
import sys
from pathlib import Path

from cifar_utils.experiments import (
    ABLATION_FILE,
    ABLATIONS,
    NOTHING,
    ablate,
    describe_ablation,
    describe_trick,
    load_ablation,
    run_experiment,
    summarise_ablation,
)
from cifar_utils.files import write_json
from cifar_utils.precision import choose_precision
from cifar_utils.recipes import get_recipe, recipe_from_json, recipe_to_json

SEEDS = (0, 1, 2)
AGAINST = runpy.run_path(str(Path(__file__).with_name("against_documented.py")))


def main(recipe_name="quick"):
    """Train what is missing, and print the table."""
    from cifar_utils.data import load_dataset

    recipe, dataset = get_recipe(recipe_name, val_fraction=0.1), load_dataset("cifar10")
    whole = load_ablation() or {}
    identity = {
        "recipe": recipe_to_json(recipe),
        "machine": AGAINST["describe_machine"](),
        "precision": choose_precision(recipe.precision),
    }
    saved = whole.get(recipe_name, {})
    if "recipe" in saved:  # written before a field existed, it means that field's default
        saved["recipe"] = recipe_to_json(recipe_from_json(saved["recipe"]))
    same = all(saved.get(key) == value for key, value in identity.items())
    rows = saved["rows"] if same else []
    n = round(len(dataset.train_labels) * recipe.val_fraction)
    for seed in SEEDS:
        for trick in (NOTHING, *ABLATIONS):
            if any(row["trick"] == trick and row["seed"] == seed for row in rows):
                continue
            done = run_experiment(ablate(recipe, trick), dataset, seed)
            rows.append({"trick": trick, "seed": seed} | done.to_json())
            whole[recipe_name] = identity | {"n": n, "rows": rows}
            write_json(ABLATION_FILE, whole)
            print(f"seed {seed}, {describe_trick(trick)}: {done.accuracy_tta:.2%}", flush=True)
    for row in summarise_ablation(rows):
        print(describe_ablation(row))


if __name__ == "__main__":
    main(*sys.argv[1:])
