"""The results that this project states: small files of finished runs, under `outputs/reference`."""

import json
from dataclasses import dataclass
from pathlib import Path

from cifar_utils.paths import project_root
from cifar_utils.runs.recipes import EXECUTION_FIELDS, RECIPES, recipe_to_json
from cifar_utils.runs.run import read_backend

LEAK_FILE = "baseline/test_set_leak.json"


@dataclass(frozen=True)
class Reference:
    """One reference run.

    Attributes:
        folder: Where its small files lie.
        info: The contents of its `run.json`.
        metrics: The contents of its `metrics.json`.
    """

    folder: Path
    info: dict
    metrics: dict

    @property
    def recipe(self):
        """Return the recipe's name."""
        return self.info["recipe"]["name"]

    @property
    def seed(self):
        """Return the seed."""
        return self.info["seed"]

    @property
    def changes(self):
        """Return the parameters in which the run differed from its recipe."""
        return find_changes(self.info)

    @property
    def title(self):
        """Return what tells this run from the others: "seed 0, val_fraction 0.1"."""
        changes = (f"{name} {value}" for name, value in self.changes.items())
        return ", ".join([f"seed {self.seed}", *changes])


def reference_dir():
    """Return the folder of all reference runs."""
    return project_root() / "outputs" / "reference"


def find_changes(info):
    """List in which parameters a run differs from its recipe as it stands.

    Args:
        info: The contents of a run's `run.json`.

    Returns:
        Name to the run's own value; {} for the plain recipe. Another backend than TensorFlow
        counts as a change, called "backend".
    """
    used = info["recipe"]
    plain = recipe_to_json(RECIPES[used["name"]])
    used = json.loads(json.dumps(used))  # tuples and lists are the same
    changes = {
        name: used[name]
        for name in plain
        if name in used and name not in EXECUTION_FIELDS and used[name] != plain[name]
    }
    backend = read_backend(info) or "tensorflow"
    return changes | ({"backend": backend} if backend != "tensorflow" else {})


def load_references(recipe=None):
    """Read all reference runs, sorted by folder.

    Args:
        recipe: A recipe's name, or None for all.

    Returns:
        A list of `Reference`; empty where there is no checkout (a package from a wheel).
    """
    found = []
    for path in sorted(reference_dir().glob(f"{recipe or '*'}/seed-*/run.json")):
        info, metrics = (
            json.loads(path.with_name(name).read_text(encoding="utf-8"))
            for name in ("run.json", "metrics.json")
        )
        found.append(Reference(path.parent, info, metrics))
    return found


def load_leak():
    """Read what `benchmarks/test_set_leak.py` found, or return None where there is no checkout."""
    path = reference_dir() / LEAK_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
