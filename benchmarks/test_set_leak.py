"""How much does one gain by watching the test set during training, as the original script does?

    python benchmarks/test_set_leak.py        # an hour on one core, half of that on two

Trains `baseline` with a tenth held out, seed 0, and counts after every epoch the correct
predictions on the test images. Then compares, on the test set, the last epoch (what this project
reports), the epoch with the best validation accuracy, and the epoch that the test set itself would
choose. That last choice is the leak; it is made here only to measure it. Writes
`outputs/reference/baseline/test_set_leak.json`.
"""

import numpy as np
import short_training

from cifar_utils import training
from cifar_utils.backend import keras
from cifar_utils.data import load_dataset
from cifar_utils.evaluation import compute_wilson_interval
from cifar_utils.paths import project_root, write_json
from cifar_utils.runs import get_recipe

FILE = project_root() / "outputs" / "reference" / "baseline" / "test_set_leak.json"
SEED = 0


class CountCorrect(keras.callbacks.Callback):
    """Counts after every epoch the correct predictions on the test images."""

    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels
        self.correct, self.val_accuracy = [], []

    def on_epoch_end(self, epoch, logs=None):
        """Predict, count, print."""
        probs = training.predict_probs(self.model, self.images)
        self.correct.append(int((probs.argmax(axis=1) == self.labels).sum()))
        self.val_accuracy.append(round(float(logs["val_accuracy"]), 4))
        print(f"epoch {epoch + 1}: validation {self.val_accuracy[-1]:.2%}", flush=True)


def compare_choices(correct, val_accuracy, n):
    """Compare three ways to choose the epoch whose test accuracy is reported.

    Args:
        correct: Correct predictions on the test images, by epoch.
        val_accuracy: Accuracy on the images held out, by epoch.
        n: Number of test images.
    """
    epochs = {
        "last epoch": len(correct) - 1,
        "best on the validation images": int(np.argmax(val_accuracy)),
        "best on the test images (the leak)": int(np.argmax(correct)),
    }
    choices = {}
    for name, i in epochs.items():
        low, high = compute_wilson_interval(correct[i], n)
        choices[name] = {"epoch": i + 1, "value": correct[i] / n}
        choices[name] |= {"low": round(low, 6), "high": round(high, 6)}
    last, honest, leaked = (choice["value"] for choice in choices.values())
    return {
        "n": n,
        "choices": choices,
        "leak": {
            "over_last_epoch": round(leaked - last, 4),
            "over_validation": round(leaked - honest, 4),
        },
        "by_epoch": {"validation": val_accuracy, "test": [count / n for count in correct]},
    }


def main():
    """Train, compare, write the file."""
    recipe, dataset = get_recipe("baseline", val_fraction=0.1), load_dataset("cifar10")
    count = CountCorrect(dataset.test_images, dataset.test_labels)
    short_training.train(recipe, dataset, SEED, [count])
    run = {"dataset": dataset.name, "recipe": recipe.name, "seed": SEED}
    result = {"run": run | {"val_fraction": recipe.val_fraction}, "dataset": dataset.fingerprint}
    result |= compare_choices(count.correct, count.val_accuracy, len(dataset.test_labels))
    print("wrote", write_json(FILE, result).name, result["choices"], result["leak"])


if __name__ == "__main__":
    main()
