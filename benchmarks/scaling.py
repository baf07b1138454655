"""How far does training time buy accuracy, and what makes it long?

    python benchmarks/scaling.py [PART …]        # all; not run as a whole yet

Trains `quick` for 1, 2 and 5 epochs and `fast` for 2 and 5, with seed 0, times an epoch of `quick`
with 5,000 to 45,000 images, and one at each of five image sizes. To these it adds what is known
without training again: the reference runs of the recipes on the same kind of machine, and
`baseline` epoch by epoch, once in the time that its own steps take and once in the documented
script's, both from `time_to_accuracy.json`. Accuracy is that of the images held out, by one view.
Writes `outputs/reference/scaling.json`; of the parts `trained`, `images` and `sizes` those that are
there are not measured again unless they are named. Run it on an idle machine.
"""

import csv
import dataclasses
import json
import runpy
import sys
import time
from pathlib import Path

from cifar_utils.backend import keras
from cifar_utils.experiments import SCALING_FILE, load_scaling, run_experiment
from cifar_utils.files import write_json
from cifar_utils.recipes import get_recipe
from cifar_utils.references import load_references

STEPS_FILE = Path(__file__).with_name("time_to_accuracy.json")
BASELINE_EPOCHS = (1, 2, 3, 5, 8, 12, 20, 30, 40, 60, 80, 100)
AGAINST = runpy.run_path(str(Path(__file__).with_name("against_documented.py")))
EPOCHS = {"quick": (1, 2, 5), "fast": (2, 5)}
IMAGES = (5_000, 10_000, 20_000, 45_000)
SIZES = (16, 20, 24, 28, 32)


def measure_trained(dataset):
    """Yield one dict per recipe and number of epochs."""
    for name, counts in EPOCHS.items():
        for epochs in counts:
            recipe = get_recipe(name, epochs=epochs, val_fraction=0.1)
            done = run_experiment(recipe, dataset)
            row = done.to_json() | {"recipe": name, "epochs": epochs}
            del row["curve"]
            yield row


def measure_images(dataset):
    """Yield one dict per number of training images: seconds of the second of two epochs."""
    for count in IMAGES:
        yield {"images": count, "epoch_seconds": time_epoch(dataset, 32, count)}


def measure_sizes(dataset):
    """Yield one dict per image size: seconds of an epoch of 20,000 images."""
    for size in SIZES:
        yield {"size": size, "images": 20_000, "epoch_seconds": time_epoch(dataset, size, 20_000)}


class Clock(keras.callbacks.Callback):
    """Times the steps of the last epoch, without the validation that follows them."""

    def on_epoch_begin(self, epoch, logs=None):
        """Start."""
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Stop, for now."""
        self.seconds = time.perf_counter() - self.start


def time_epoch(dataset, size, count):
    """Return the seconds of an epoch of `quick`, compilation and validation left out."""
    clock = Clock()
    recipe = get_recipe("quick", epochs=2, val_fraction=0.1)
    recipe = dataclasses.replace(recipe, sizes=((size, 1.0),))
    run_experiment(recipe, dataset, train_images=count, callbacks=[clock])
    return round(clock.seconds, 3)


def collect_known():
    """Return rows like those of `measure_trained`, of trainings that were measured elsewhere."""
    rows, machine = [], AGAINST["describe_machine"]()
    for reference in load_references():
        here = machine.startswith(f"{reference.info['device']}, {reference.info['threads']} cores")
        if here and reference.info.get("documented_seconds") and not reference.changes:
            history = read_columns(reference.folder)
            rows.append(
                {
                    "recipe": reference.recipe,
                    "epochs": len(history["epoch"]),
                    "seconds": reference.info["seconds"]["training"],
                    "accuracy": history["val_accuracy"][-1],
                }
            )
    steps = json.loads(STEPS_FILE.read_text(encoding="utf-8"))
    held_out = next(r for r in load_references("baseline") if "val_fraction" in r.changes)
    by_epoch = read_columns(held_out.folder)["val_accuracy"]
    for row in steps["summary"] if steps["machine"] == machine else ():
        if row["contender"] in ("baseline", "documented script"):
            rows += [
                {
                    "recipe": row["contender"],
                    "epochs": epochs,
                    "seconds": round(epochs * row["epoch_seconds"], 1),
                    "accuracy": by_epoch[epochs - 1],
                }
                for epochs in BASELINE_EPOCHS
            ]
    return rows


def read_columns(folder):
    """Return the columns of a run's `history.csv`."""
    header, *rows = csv.reader((folder / "history.csv").read_text(encoding="utf-8").splitlines())
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}


PARTS = {"trained": measure_trained, "images": measure_images, "sizes": measure_sizes}


def main(names):
    """Measure what is missing or named."""
    from cifar_utils.data import load_dataset

    result, dataset = load_scaling() or {}, load_dataset("cifar10")
    for name, measure in PARTS.items():
        if name in result and name not in names:
            continue
        rows = []
        for row in measure(dataset):
            rows.append(row)
            print(name, row, flush=True)
        result |= {name: rows, "machine": AGAINST["describe_machine"]()}
        write_json(SCALING_FILE, result)
    result["accuracy"] = result["trained"] + collect_known()
    write_json(SCALING_FILE, result)


if __name__ == "__main__":
    main(sys.argv[1:])
