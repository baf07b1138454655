"""How much accuracy does training time buy?

    python benchmarks/scaling.py        # about 15 minutes on 2 idle cores

Trains `quick` for 1, 2 and 5 epochs, `fast` for 2 and 5 and `accurate` for 2 and 6, with seed 0. To
these it adds what is known without training: the reference runs of the recipes on this kind of
machine, and one training of `baseline` epoch by epoch, once in the time of its own steps and once
in that of the original script's epochs with their validation (both from `training_speed.json`).
Accuracy is that of a tenth of the training images, held out (of the reference runs of `fast` and
`accurate`: a twenty-fifth), by one view. Writes `outputs/reference/scaling.json` after each
training and continues where it was stopped; another kind of machine begins anew.
"""

import json
from pathlib import Path

from short_training import describe_machine, train_missing

from cifar_utils import training
from cifar_utils.data import load_dataset
from cifar_utils.paths import project_root, write_json
from cifar_utils.runs import get_recipe, list_references, read_history
from cifar_utils.runs.recipes import recipe_to_json

FILE = project_root() / "outputs" / "reference" / "scaling.json"
SPEED_FILE = Path(__file__).with_name("training_speed.json")
EPOCHS = {"quick": (1, 2, 5), "fast": (2, 5), "accurate": (2, 6)}
BASELINE_EPOCHS = (1, 2, 3, 5, 8, 12, 20, 30, 40, 60, 80, 100)
ORIGINAL = "original script"


def list_trainings():
    """List what is trained; see `short_training.train_missing`."""
    return [
        ({"recipe": name, "epochs": n}, get_recipe(name, epochs=n, val_fraction=0.1), 0)
        for name, counts in EPOCHS.items()
        for n in counts
    ]


def collect_known(machine):
    """Return rows of trainings that were measured elsewhere, on this kind of machine."""
    rows = []
    for run in list_references():
        info, history = run.info, read_history(run)
        here = machine.startswith(f"{info['device']}, {info['threads']} cores")
        here &= info.get("precision") == training.choose_precision("auto")
        if here and not run.changes and info["seed"] == 0 and "val_accuracy" in history:
            rows.append(
                {
                    "recipe": info["recipe"]["name"],
                    "epochs": len(history["epoch"]),
                    "seconds": info["seconds"]["training"],
                    "accuracy": history["val_accuracy"][-1],
                }
            )
    speed = json.loads(SPEED_FILE.read_text(encoding="utf-8"))
    held_out = next(run for run in list_references("baseline") if "val_fraction" in run.changes)
    by_epoch = read_history(held_out)["val_accuracy"]
    share = 1 - held_out.info["recipe"]["val_fraction"]
    for row in speed["summary"] if speed["machine"] == machine else ():
        # The script holds no images out and has no such accuracy; `baseline` is the same network.
        names = {ORIGINAL: f"{ORIGINAL}, accuracy of baseline", "baseline": "baseline"}
        if row["contender"] in names:
            # `baseline` was timed with all images, and learnt from this share of them.
            seconds = row["epoch_seconds"] * (share if row["contender"] == "baseline" else 1)
            rows += [
                {
                    "recipe": names[row["contender"]],
                    "epochs": epochs,
                    "seconds": round(epochs * seconds, 1),
                    "accuracy": by_epoch[epochs - 1],
                }
                for epochs in BASELINE_EPOCHS
            ]
    return rows


def main():
    """Train what is missing, and write the file."""
    identity = {
        "machine": describe_machine(),
        "recipes": {name: recipe_to_json(get_recipe(name)) for name in EPOCHS},
    }
    saved = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    rows = saved.get("accuracy", []) if saved.get("machine") == identity["machine"] else []
    before = saved.get("recipes", {})
    rows = [
        row for row in rows if before.get(row["recipe"]) == identity["recipes"].get(row["recipe"])
    ]

    def save(rows):
        write_json(FILE, identity | {"accuracy": rows + collect_known(identity["machine"])})

    train_missing(list_trainings(), rows, load_dataset("cifar10"), save)


if __name__ == "__main__":
    main()
