"""What does each trick of the fast network improve? Trains a recipe without it.

    python benchmarks/ablation.py [RECIPE]       # quick: 30 trainings of half a minute on 2 cores
    python benchmarks/ablation.py RECIPE sgd     # 20 more: which rate and decay suit SGD best

Trains the recipe as it is and once without each trick, with seeds 0 to 2, on all training images
but a tenth, and keeps the accuracy on that tenth: the test set is not used. All trainings of a seed
share split, order and augmentation. Writes `outputs/reference/ablation.json` after each training
and continues where it was stopped; what was trained with another form of the recipe or on another
kind of machine is trained again. Times are not compared. With `sgd` it tries learning rates and
weight decays of the SGD that replaces Muon; the best are to be written into `SGD` below.
"""

import dataclasses
import json
import sys

from short_training import describe_machine, train_missing

from cifar_utils import training
from cifar_utils.data import load_dataset
from cifar_utils.paths import project_root, write_json
from cifar_utils.plots.speed import WHOLE
from cifar_utils.runs import get_recipe
from cifar_utils.runs.recipes import recipe_to_json

FILE = project_root() / "outputs" / "reference" / "ablation.json"
SEEDS = (0, 1, 2)
# Per image of a batch: on the mean loss, SGD's steps grow with the batch. airbench had 0.37 for a
# batch of 250 before it had Muon, and a decay of 0.0015 over that rate.
SGD_RATES = tuple(rate / 250 for rate in (0.09, 0.18, 0.37, 0.74, 1.5))
SGD_DECAYS = (0.0, 0.0015, 0.005, 0.03)
SGD = {"rate": 0.74 / 250, "weight_decay": 0.0015}  # the best of these for `quick`
TRICKS = {
    "whitening": {"whitening": False},
    "identity initialisation": {"identity": False},
    "Muon (SGD instead)": {"optimizer": "sgd", "weight_decay": SGD["weight_decay"]},
    "label smoothing": {"label_smoothing": 0.0},
    "alternating flip": {"alternating": False},
    "translation": {"shift": 0.0},
    "low BatchNorm momentum": {"bn_momentum": 0.99},
    "scaled logits": {"logit_scale": 1.0},
    "smaller images first": {"sizes": ((32, 1.0),)},
}


def leave_out(recipe, trick):
    """Return a recipe without one of its `TRICKS`."""
    changes = dict(TRICKS[trick])
    if "optimizer" in changes:
        changes["learning_rate"] = SGD["rate"] * recipe.batch_size
    return dataclasses.replace(recipe, **changes)


def list_tricks(recipe):
    """List the trainings of the ablation; see `short_training.train_missing`."""
    variants = {WHOLE: recipe}
    variants |= {f"without {trick}": leave_out(recipe, trick) for trick in TRICKS}
    whole = recipe_to_json(recipe)
    wanted = []
    for seed in SEEDS:
        for name, variant in variants.items():
            changes = {k: v for k, v in recipe_to_json(variant).items() if v != whole[k]}
            wanted.append(({"training": name, "seed": seed, "changes": changes}, variant, seed))
    return wanted


def list_sgd(recipe):
    """List the trainings with SGD."""
    wanted = []
    for rate in SGD_RATES:
        for decay in SGD_DECAYS:
            changes = {"learning_rate": rate * recipe.batch_size, "weight_decay": decay}
            variant = dataclasses.replace(recipe, optimizer="sgd", **changes)
            wanted.append(({"seed": 0} | changes, variant, 0))
    return wanted


def group_accuracy(rows):
    """Return by training its accuracies with six views, and with one under the name of that."""
    accuracy = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        accuracy.setdefault(row["training"], []).append(row["accuracy_tta"])
        if row["training"] == WHOLE:
            accuracy.setdefault("without test-time augmentation", []).append(row["accuracy"])
    return accuracy


def main(name="quick", part="tricks"):
    """Train what is missing."""
    if part not in ("tricks", "sgd"):
        sys.exit(f"Error: no part {part}. Take tricks or sgd.")
    recipe, dataset = get_recipe(name, val_fraction=0.1), load_dataset("cifar10")
    identity = {
        "recipe": recipe_to_json(recipe),
        "machine": describe_machine(),
        "precision": training.choose_precision(recipe.precision),
        "n": round(len(dataset.train_labels) * recipe.val_fraction),
    }
    whole = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    saved = whole.get(name, {})
    if any(saved.get(key) != value for key, value in identity.items()):
        saved = identity
    key, wanted = ("rows", list_tricks(recipe)) if part == "tricks" else ("sgd", list_sgd(recipe))

    def save(rows):
        grouped = {"accuracy": group_accuracy(rows)} if part == "tricks" else {}
        whole[name] = saved | {key: rows} | grouped
        write_json(FILE, whole)

    train_missing(wanted, saved.get(key, []), dataset, save)


if __name__ == "__main__":
    main(*sys.argv[1:])
