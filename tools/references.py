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
from pathlib import Path

from cifar_utils.errors import CifarError, RunError
from cifar_utils.paths import project_root, relative_to_project, write_json, write_text
from cifar_utils.runs import find_run, list_references
from cifar_utils.runs.store import reference_dir

ORIGINAL = project_root() / "benchmarks" / "original_script.json"
WITHIN = 3600.0  # seconds between a training and the measurement that it is compared with
KEPT = ("preprocessing.json", "history.csv", "metrics.json")
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


def keep_run(run, shared=False):
    """Copy a run's small files; returns where. `shared`: other work ran on the machine."""
    info = run.info
    if info.get("status") != "done" or info["dataset"]["name"] != "cifar10":
        raise RunError(
            f"Run {run.name!r} is not a finished run on CIFAR-10, so it is no reference."
        )
    info["dataset"]["source"] = Path(info["dataset"]["source"]).name
    if shared:
        info["shared_machine"] = True
    elif "training" in info:
        machine = f"{info['device']}, {info['threads']} cores"
        times = info["training"]["start"], info["training"]["end"]
        found = find_nearest(json.loads(ORIGINAL.read_text(encoding="utf-8")), machine, *times)
        info |= {"documented_seconds": found["documented_seconds"]} if found else {}
    name = "-".join([f"seed-{info['seed']}", *(f"{k}-{v}" for k, v in run.changes.items())])
    folder = reference_dir() / info["recipe"]["name"] / name
    for name in KEPT:
        write_text(folder / name, run.path(name).read_text(encoding="utf-8"))
    write_json(folder / "run.json", info)
    return folder


def compute_ratio(run):
    """Return how many times longer the original script takes; None if it was not measured."""
    documented = run.info.get("documented_seconds")
    return documented / run.info["seconds"]["training"] if documented else None


def summarise_references():
    """Return `summary.csv` as text: one row per reference run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in list_references():
        info, metrics, ratio = run.info, run.read_json("metrics.json"), compute_ratio(run)
        writer.writerow(
            [
                info["recipe"]["name"],
                info["seed"],
                " ".join(f"{name}={value}" for name, value in run.changes.items()),
                metrics["accuracy"]["value"],
                metrics.get("tta", {}).get("accuracy", {}).get("value", ""),
                info["seconds"]["training"],
                round(1 / ratio, 5) if ratio else "",
                f"{info['device']}, {info['threads']} threads",
            ]
        )
    return text.getvalue()


if __name__ == "__main__":
    try:
        for name in (word for word in sys.argv[1:] if word != "--shared"):
            kept = keep_run(find_run(name), shared="--shared" in sys.argv)
            print("kept", relative_to_project(kept))
        path = write_text(reference_dir() / "summary.csv", summarise_references())
        print("wrote", relative_to_project(path))
    except CifarError as error:
        sys.exit(f"Error: {error}")
