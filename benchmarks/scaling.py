"""How far does training time buy accuracy, and what makes it long?

    python benchmarks/scaling.py [PART …]        # all: about 25 minutes on 2 cores

Times an epoch of `quick` with 5,000 to 45,000 images, and one at each of five image sizes; trains
`quick` for 1, 2 and 5 epochs, `fast` for 2 and 5 and `accurate` for 2 and 6, with seed 0. To these
it adds what is known without training again: the reference runs of the recipes on the same kind of
machine ("shared" where other work ran beside them), and one training of `baseline`, epoch by epoch,
once in the time that its own steps take and once in that of the documented script's epochs with
their validation, both from `time_to_accuracy.json`; the script's own accuracy is not measured, and
its epochs have the images that the training held out, too. Accuracy is that of a tenth of the
training images, held out (of the reference runs of `fast` and `accurate`: a twenty-fifth), by one
view. Writes `outputs/reference/scaling.json` after every measurement; of the parts `images`,
`sizes` and `trained` only those that are named are measured again, others go on where they were
stopped, but for what was measured with another recipe or on another kind of machine. Run it on an
idle machine.
"""

import csv
import dataclasses
import json
import runpy
import sys
import time
from pathlib import Path

from cifar_utils.backend import keras
from cifar_utils.paths import write_json
from cifar_utils.runs.recipes import get_recipe, recipe_from_json, recipe_to_json
from cifar_utils.runs.references import load_references
from cifar_utils.training.experiments import SCALING_FILE, load_scaling, run_experiment
from cifar_utils.training.precision import choose_precision

STEPS_FILE = Path(__file__).with_name("time_to_accuracy.json")
BASELINE_EPOCHS = (1, 2, 3, 5, 8, 12, 20, 30, 40, 60, 80, 100)
AGAINST = runpy.run_path(str(Path(__file__).with_name("against_documented.py")))
# The script holds no images out, so it has no accuracy on such; `baseline` trains the same network.
KNOWN_STEPS = {
    "documented script": "documented script, accuracy of baseline",
    "baseline": "baseline",
}
EPOCHS = {"quick": (1, 2, 5), "fast": (2, 5), "accurate": (2, 6)}
IMAGES = (5_000, 10_000, 20_000, 45_000)
SIZES = (16, 20, 24, 28, 32)


def measure_trained(dataset, recipe, epochs):
    """Return the accuracy and the seconds of a training."""
    done = run_experiment(get_recipe(recipe, epochs=epochs, val_fraction=0.1), dataset)
    return {key: value for key, value in done.to_json().items() if key != "curve"}


def measure_epoch(dataset, images, size):
    """Return the seconds of an epoch."""
    return {"epoch_seconds": time_epoch(dataset, size, images)}


# Per part: how one row is measured, and what is varied.
PARTS = {
    "images": (measure_epoch, [{"images": images, "size": 32} for images in IMAGES]),
    "sizes": (measure_epoch, [{"images": 20_000, "size": size} for size in SIZES]),
    "trained": (
        measure_trained,
        [{"recipe": name, "epochs": n} for name, counts in EPOCHS.items() for n in counts],
    ),
}


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
    rows, machine = [], AGAINST["describe_trainer"]()
    for reference in load_references():
        here = machine.startswith(f"{reference.info['device']}, {reference.info['threads']} cores")
        here &= reference.info.get("precision") == choose_precision("auto")
        history = read_columns(reference.folder)
        if here and not reference.changes and reference.seed == 0 and "val_accuracy" in history:
            rows.append(
                {
                    "recipe": reference.recipe,
                    "epochs": len(history["epoch"]),
                    "seconds": reference.info["seconds"]["training"],
                    "accuracy": history["val_accuracy"][-1],
                    "shared": reference.info.get("shared_machine", False),
                }
            )
    steps = json.loads(STEPS_FILE.read_text(encoding="utf-8"))
    held_out = next(r for r in load_references("baseline") if "val_fraction" in r.changes)
    by_epoch = read_columns(held_out.folder)["val_accuracy"]
    learnt = 50_000 * (1 - held_out.info["recipe"]["val_fraction"])
    for row in steps["summary"] if steps["machine"] == machine else ():
        if row["contender"] in KNOWN_STEPS:
            seconds = row["epoch_seconds"]
            if row["contender"] == "baseline":  # timed with all images
                seconds *= learnt / row["epoch_images"]
            rows += [
                {
                    "recipe": KNOWN_STEPS[row["contender"]],
                    "epochs": epochs,
                    "seconds": round(epochs * seconds, 1),
                    "accuracy": by_epoch[epochs - 1],
                }
                for epochs in BASELINE_EPOCHS
            ]
    return rows


def read_columns(folder):
    """Return the columns of a run's `history.csv`."""
    header, *rows = csv.reader((folder / "history.csv").read_text(encoding="utf-8").splitlines())
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}


def keep_current(result):
    """Return what a file says, without what was measured with a recipe that has changed since."""
    now = {name: recipe_to_json(get_recipe(name)) for name in EPOCHS}
    before = {
        name: recipe_to_json(recipe_from_json(saved))  # with what fields meant that were not there
        for name, saved in result.get("recipes", {}).items()
    }

    def is_current(row):
        recipe = row.get("recipe", "quick")  # the one whose epochs are timed
        return recipe in now and before.get(recipe) == now[recipe]

    rows = {name: [row for row in result.get(name, []) if is_current(row)] for name in PARTS}
    return result | rows | {"recipes": now}


def main(names):
    """Measure what is missing or named."""
    from cifar_utils.data import load_dataset

    if unknown := set(names) - set(PARTS):
        sys.exit(f"Error: no part {', '.join(sorted(unknown))}. Take of {', '.join(PARTS)}.")
    machine, result = AGAINST["describe_trainer"](), load_scaling() or {}
    if result.get("machine") != machine:  # its times do not compare with those of this one
        result = {"machine": machine}
    result = keep_current(result)
    dataset = load_dataset("cifar10")
    for name, (measure, varied) in PARTS.items():
        rows = [] if name in names else result[name]
        for choice in varied:
            if any(choice.items() <= row.items() for row in rows):
                continue
            rows.append(choice | measure(dataset, **choice))
            print(name, rows[-1], flush=True)
            result[name] = rows
            write_json(SCALING_FILE, result)
    result["accuracy"] = result["trained"] + collect_known()
    write_json(SCALING_FILE, result)


if __name__ == "__main__":
    main(sys.argv[1:])
