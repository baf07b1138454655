"""Keep the small files of a finished run under outputs/reference, and list all such runs.

    python benchmarks/keep_reference.py RUN [RUN …] [--shared]

Copies `run.json`, `preprocessing.json`, `history.csv`, `metrics.json` and two figures to
`outputs/reference/<recipe>/seed-<n>/` and writes `outputs/reference/summary.csv` anew from all of
them. A run with other parameters than its recipe's gets them into its folder's name. Refuses runs
on the synthetic set, and runs that are not finished. `documented_seconds`, 100 full epochs of the
documented script with its validation pass, is added to `run.json` if `documented_seconds.py`
measured it within the hour on a processor of the same name and number of cores. `--shared` notes
that the machine had other work as well: then the training time is told as that, and no ratio is
made of it.
"""

import csv
import io
import runpy
import sys
from pathlib import Path

from cifar_utils.errors import CifarError, RunError
from cifar_utils.paths import atomic_path, relative_to_project, write_json, write_text
from cifar_utils.runs.references import find_changes, load_references, reference_dir
from cifar_utils.runs.store import find_run

KEPT = ("preprocessing.json", "history.csv", "metrics.json")
FIGURES = ("confusion_matrix", "training_curves")
DOCUMENTED = runpy.run_path(str(Path(__file__).with_name("documented_seconds.py")))
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


def keep_run(run, shared=False):
    """Copy a run's small files; returns the folder. `shared`: other work ran beside it."""
    info = run.info
    if info.get("status") != "done" or info["dataset"]["name"] != "cifar10":
        raise RunError(
            f"Run {run.name!r} is not a finished run on CIFAR-10, so it is no reference."
        )
    # Where the archive lay on one machine is nobody else's business; its fingerprint is.
    for key in ("owner", "holder", "error"):
        info.pop(key, None)
    info["dataset"]["source"] = Path(info["dataset"]["source"]).name
    if shared:
        info["shared_machine"] = True
    else:
        info |= find_documented_seconds(info, DOCUMENTED["read_measurements"]())
    name = "-".join([f"seed-{info['seed']}", *(f"{k}-{v}" for k, v in find_changes(info).items())])
    folder = reference_dir() / info["recipe"]["name"] / name
    for name in KEPT:
        write_text(folder / name, run.path(name).read_text(encoding="utf-8"))
    for name in FIGURES:
        with atomic_path(folder / f"{name}.png") as temporary:
            temporary.write_bytes(run.path(f"figures/{name}.png").read_bytes())
    write_json(folder / "run.json", info)
    return folder


def find_documented_seconds(info, measurements):
    """Return `{"documented_seconds": …}` from the measurement that fits a run, or {}.

    Args:
        info: The contents of a run's `run.json`.
        measurements: Those of `documented_seconds.json`.
    """
    training = info.get("training")
    if not training:
        return {}
    machine = f"{info['device']}, {info['threads']} cores"
    found = DOCUMENTED["find_nearest"](measurements, machine, training["start"], training["end"])
    return {"documented_seconds": found["documented_seconds"]} if found else {}


def summarise_references():
    """Write `outputs/reference/summary.csv` from all reference folders; returns its path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for reference in load_references():
        info, metrics = reference.info, reference.metrics
        seconds = info["seconds"]["training"]
        documented = info.get("documented_seconds")
        writer.writerow(
            [
                reference.recipe,
                reference.seed,
                " ".join(f"{name}={value}" for name, value in reference.changes.items()),
                metrics["accuracy"]["value"],
                metrics.get("tta", {}).get("accuracy", {}).get("value", ""),
                seconds,
                round(seconds / documented, 5) if documented else "",
                f"{info['device']}, {info['threads']} threads",
            ]
        )
    return write_text(reference_dir() / "summary.csv", text.getvalue())


if __name__ == "__main__":
    try:
        for name in (word for word in sys.argv[1:] if word != "--shared"):
            kept = keep_run(find_run(name), shared="--shared" in sys.argv)
            print("kept", relative_to_project(kept))
        print("wrote", relative_to_project(summarise_references()))
    except CifarError as error:
        sys.exit(f"Error: {error}")
