"""Reference runs: the small files of finished runs whose numbers this project states.

    python tools/references.py RUN [RUN …] [--shared]

copies `run.json`, `preprocessing.json`, `history.csv` and `metrics.json` of each run to
`outputs/reference/<recipe>/seed-<n>/`, with the parameters that differ from the recipe's in the
folder's name, and writes `summary.csv` anew. Runs on the synthetic set and unfinished runs are
refused. `documented_seconds`, 100 full epochs of the original script, is added to `run.json` where
`benchmarks/original_script.py` measured it within the hour on the same kind of machine. `--shared`
records that other work ran on the machine: no ratio is made of such a time.
"""

import csv
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from cifar_utils.errors import CifarError, RunError
from cifar_utils.paths import project_root, relative_to_project, write_json, write_text
from cifar_utils.runs import find_run
from cifar_utils.runs.recipes import EXECUTION_FIELDS, RECIPES, recipe_to_json

FOLDER = project_root() / "outputs" / "reference"
ORIGINAL = project_root() / "benchmarks" / "original_script.json"
WITHIN = 3600.0  # seconds between a training and the measurement that it is compared with
KEPT = ("preprocessing.json", "history.csv", "metrics.json")
PRIVATE = ("owner", "holder", "error")  # of run.json: who ran it is nobody's business
COLUMNS = (
    "recipe",
    "seed",
    "changes",
    "accuracy",
    "accuracy_tta",
    "train_seconds",
    "ratio_to_documented",
    "machine",
)


@dataclass(frozen=True)
class Reference:
    """One reference run: its folder, and the contents of its `run.json` and `metrics.json`."""

    folder: Path
    info: dict
    metrics: dict

    @property
    def recipe(self):
        """Return the recipe's name."""
        return self.info["recipe"]["name"]

    @property
    def seconds(self):
        """Return the training time."""
        return self.info["seconds"]["training"]

    @property
    def ratio(self):
        """Return how many times longer the original script takes; None if it was not measured."""
        documented = self.info.get("documented_seconds")
        return documented / self.seconds if documented else None

    @property
    def changes(self):
        """Return the parameters in which the run differs from its recipe."""
        return find_changes(self.info)

    @property
    def title(self):
        """Return what tells this run from the others: "seed 0, val_fraction 0.1"."""
        changes = (f"{name} {value}" for name, value in self.changes.items())
        return ", ".join([f"seed {self.info['seed']}", *changes])


def find_changes(info):
    """Return by name the parameters in which a run differs from its recipe as it is now.

    Args:
        info: The contents of a `run.json`. A backend other than TensorFlow is a change, too.
    """
    used = json.loads(json.dumps(info["recipe"]))  # tuples become lists, as in a file
    plain = recipe_to_json(RECIPES[used["name"]])
    changes = {
        name: used[name]
        for name in plain
        if name in used and name not in EXECUTION_FIELDS and used[name] != plain[name]
    }
    if "jax" in (info.get("backend"), *info.get("versions", ())):
        changes["backend"] = "jax"
    return changes


def load_references(recipe="*", folder=None):
    """Return all `Reference`s, or those of one recipe, sorted by folder."""
    return [
        Reference(path.parent, _read(path), _read(path.with_name("metrics.json")))
        for path in sorted((folder or FOLDER).glob(f"{recipe}/seed-*/run.json"))
    ]


def _read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def find_nearest(measurements, machine, start, end):
    """Return the measurement of the original script that a training is compared with, or None.

    Args:
        measurements: The contents of `benchmarks/original_script.json`.
        machine: Processor and cores, as the measurement's `machine` begins.
        start, end: When the training began and ended, in seconds since 1970.
    """

    def distance(measured):
        return max(start - measured["time"], measured["time"] - end, 0)

    near = [m for m in measurements if m["machine"].startswith(machine) and distance(m) <= WITHIN]
    return min(near, key=distance, default=None)


def keep_run(run, shared=False, folder=None):
    """Copy a run's small files; returns where. `shared`: other work ran on the machine."""
    info = run.info
    if info.get("status") != "done" or info["dataset"]["name"] != "cifar10":
        raise RunError(
            f"Run {run.name!r} is not a finished run on CIFAR-10, so it is no reference."
        )
    info = {name: value for name, value in info.items() if name not in PRIVATE}
    info["dataset"]["source"] = Path(info["dataset"]["source"]).name
    if shared:
        info["shared_machine"] = True
    elif "training" in info:
        machine = f"{info['device']}, {info['threads']} cores"
        times = info["training"]["start"], info["training"]["end"]
        found = find_nearest(_read(ORIGINAL), machine, *times)
        info |= {"documented_seconds": found["documented_seconds"]} if found else {}
    name = "-".join([f"seed-{info['seed']}", *(f"{k}-{v}" for k, v in find_changes(info).items())])
    target = (folder or FOLDER) / info["recipe"]["name"] / name
    for name in KEPT:
        write_text(target / name, run.path(name).read_text(encoding="utf-8"))
    write_json(target / "run.json", info)
    return target


def summarise_references(references):
    """Return `summary.csv` as text: one row per reference run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for reference in references:
        info, metrics = reference.info, reference.metrics
        writer.writerow(
            [
                reference.recipe,
                info["seed"],
                " ".join(f"{name}={value}" for name, value in reference.changes.items()),
                metrics["accuracy"]["value"],
                metrics.get("tta", {}).get("accuracy", {}).get("value", ""),
                reference.seconds,
                round(1 / reference.ratio, 5) if reference.ratio else "",
                f"{info['device']}, {info['threads']} threads",
            ]
        )
    return text.getvalue()


if __name__ == "__main__":
    try:
        for name in (word for word in sys.argv[1:] if word != "--shared"):
            kept = keep_run(find_run(name), shared="--shared" in sys.argv)
            print("kept", relative_to_project(kept))
        path = write_text(FOLDER / "summary.csv", summarise_references(load_references()))
        print("wrote", relative_to_project(path))
    except CifarError as error:
        sys.exit(f"Error: {error}")
