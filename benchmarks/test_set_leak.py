"""What is it worth to watch the test set during training, as the documented script does?

    python benchmarks/test_set_leak.py RUN
    python -m cifar_utils run --name RUN --resume      # evaluation and report of the same run

Trains `baseline` with 10 % held out and keeps the weights of every epoch in the run's folder
`epochs`; a stopped run goes on after its last epoch. Then compares, on the test set, the last epoch
(what this project reports), the epoch with the best validation accuracy, and the epoch that the
test set itself would choose. That last choice is the leak: nothing else uses it, and it is made
here only to measure it. Writes `outputs/reference/baseline/test_set_leak.json`.
"""

import sys

import numpy as np

from cifar_utils.backend import keras
from cifar_utils.errors import CifarError
from cifar_utils.evaluation.metrics import add_interval, compute_wilson_interval
from cifar_utils.inference.sources import load_run_model as load_model
from cifar_utils.models.documented import build_model
from cifar_utils.paths import atomic_path, relative_to_project, write_json
from cifar_utils.runs.references import LEAK_FILE, reference_dir
from cifar_utils.runs.run import runs_dir
from cifar_utils.runs.store import find_run, open_run, refuse_conflicts
from cifar_utils.training.checkpoint import read_history
from cifar_utils.training.loop import predict_probs, train

WANTED = {"dataset": "cifar10", "recipe": "baseline", "seed": 0, "val_fraction": 0.1}


class KeepEpochs(keras.callbacks.Callback):
    """Writes the weights of every epoch into one file each."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_epoch_begin(self, epoch, logs=None):
        """Make up for a kill between the checkpoint of an epoch and its file here."""
        if epoch and not (self.folder / f"{epoch:03d}.npz").exists():
            self.on_epoch_end(epoch - 1)

    def on_epoch_end(self, epoch, logs=None):
        """Save what a network needs to predict; atomically, so that each file is whole."""
        with atomic_path(self.folder / f"{epoch + 1:03d}.npz") as temporary:
            np.savez(temporary, *self.model.get_weights())


def train_all_epochs(name):
    """Train the run, or what is left of it; returns it."""
    if (runs_dir() / name).exists() and find_run(name).is_done("03_training"):
        run = find_run(name)
        refuse_conflicts(run, WANTED)
        return run
    run = open_run("03_training", name, **WANTED)
    train(run, [KeepEpochs(run.path("epochs"))])
    print(run.finish_stage())
    return run


def measure_leak(run):
    """Compare three ways of choosing the epoch whose test accuracy is reported.

    Returns:
        A JSON-ready dict: for each choice the epoch and its test accuracy with its 95 % interval;
        `leak`, the difference in accuracy that the test set's own choice makes; and the accuracy
        of every epoch on the validation and on the test images.
    """
    images, labels = run.dataset.test_images, np.asarray(run.dataset.test_labels).reshape(-1)
    history = read_history(run)
    model = build_model(run.recipe)
    hits = []
    for epoch in history["epoch"]:
        kept = run.path(f"epochs/{epoch:03d}.npz")
        if kept.exists():
            with np.load(kept) as saved:
                model.set_weights([saved[name] for name in saved.files])
        else:  # the last one, after a kill between its checkpoint and its file
            model = load_model(run)
        hits.append(int((predict_probs(model, images).argmax(1) == labels).sum()))
        print(f"epoch {epoch}: validation {history['val_accuracy'][epoch - 1]:.2%}", flush=True)
    choices = {
        "last epoch": len(hits) - 1,
        "best on the validation images": int(np.argmax(history["val_accuracy"])),
        "best on the test images (the leak)": int(np.argmax(hits)),
    }
    n = len(labels)
    told = {
        name: {"epoch": i + 1, **add_interval(hits[i] / n, compute_wilson_interval(hits[i], n))}
        for name, i in choices.items()
    }
    last, honest, leaked = (choice["value"] for choice in told.values())
    return {
        "run": {
            "dataset": run.dataset_name,
            "recipe": run.recipe.name,
            "seed": run.parameters["seed"],
            "val_fraction": run.recipe.val_fraction,
        },
        "dataset": run.dataset.fingerprint,
        "n": n,
        "choices": told,
        "leak": {
            "over_last_epoch": round(leaked - last, 4),
            "over_validation": round(leaked - honest, 4),
        },
        "by_epoch": {
            "validation": [round(value, 4) for value in history["val_accuracy"]],
            "test": [count / n for count in hits],
        },
    }


def main():
    """Train, measure, write the file."""
    if len(sys.argv) != 2:
        sys.exit("Which run? python benchmarks/test_set_leak.py RUN (a new name, or one to go on)")
    try:
        run = train_all_epochs(sys.argv[1])
    except CifarError as error:
        sys.exit(f"Error: {error}")
    result = measure_leak(run)
    print("wrote", relative_to_project(write_json(reference_dir() / LEAK_FILE, result)))
    print(result["choices"], result["leak"])


if __name__ == "__main__":
    main()
