"""Short trainings without a run folder: one recipe against another, for notebook 6 and benchmarks.

An ablation asks what a trick is worth: everything stays as it is, and one trick is taken out.
"""

import dataclasses
import json
import time
from dataclasses import dataclass

import numpy as np

from cifar_utils.backend import keras
from cifar_utils.data.preprocessing import Preprocessing
from cifar_utils.errors import ParameterError
from cifar_utils.evaluation.tta import average_views, make_views
from cifar_utils.paths import project_root
from cifar_utils.training.batches import FollowEpoch
from cifar_utils.training.loop import (
    VAL_BATCH,
    make_plain_model,
    make_val_data,
    predict_probs,
    prepare_training,
)
from cifar_utils.training.precision import choose_precision

# The best for `quick` on held-out images (`python benchmarks/ablation.py quick sgd`). SGD's rate is
# per image of a batch: on the mean loss its steps grow with the batch.
SGD_RATE = 0.74 / 250
SGD_DECAY = 0.0015
MUON = "Muon (SGD instead)"
# What is trained instead, by the name of the trick that it lacks.
ABLATIONS = {
    "whitening": {"whitening": False},
    "identity initialisation": {"identity": False},
    MUON: {"optimizer": "sgd", "weight_decay": SGD_DECAY},
    "label smoothing": {"label_smoothing": 0.0},
    "alternating flip": {"alternating": False},
    "translation": {"shift": 0.0},
    "low BatchNorm momentum": {"bn_momentum": 0.99},
    "scaled logits": {"logit_scale": 1.0},
    "smaller images first": {"sizes": ((32, 1.0),)},
}
NOTHING = "nothing"
TTA = "test-time augmentation"  # needs no training of its own: one view instead of six
ABLATION_FILE = project_root() / "outputs" / "reference" / "ablation.json"
SCALING_FILE = project_root() / "outputs" / "reference" / "scaling.json"
POINTS_PER_EPOCH = 12  # of the loss curve


@dataclass(frozen=True)
class Experiment:
    """What a short training came to.

    Attributes:
        model: The trained `keras.Model`, made of Keras's own layers.
        seconds: From uint8 arrays to final weights.
        accuracy: Share of the validation images that are right, by one view.
        accuracy_tta: The same by six views.
        curve: Pairs `(epochs, loss)`: the mean training loss of one stretch after another.
        history: Keras's: name to one value per epoch.
        images: How many images were held out.
    """

    model: keras.Model
    seconds: float
    accuracy: float
    accuracy_tta: float
    curve: list
    history: dict
    images: int

    def to_json(self):
        """Return what a benchmark keeps of it."""
        return {
            "seconds": round(self.seconds, 2),
            "accuracy": round(self.accuracy, 5),
            "accuracy_tta": round(self.accuracy_tta, 5),
            "curve": [(round(epochs, 3), round(loss, 4)) for epochs, loss in self.curve],
        }


def ablate(recipe, trick):
    """Return a recipe without one of its tricks.

    Args:
        recipe: A `recipes.Recipe` of the fast network.
        trick: A key of `ABLATIONS`, or `NOTHING`.

    Raises:
        ParameterError: If no training goes without that trick.
    """
    if trick not in ABLATIONS and trick != NOTHING:
        raise ParameterError(
            f"No training goes without {trick!r}. Take one of: {', '.join(ABLATIONS)};"
            f" or {NOTHING!r}, for the whole recipe."
        )
    changes = dict(ABLATIONS.get(trick, {}))
    if changes.get("optimizer") == "sgd":
        changes["learning_rate"] = SGD_RATE * recipe.batch_size
    return dataclasses.replace(recipe, **changes)


def run_experiment(recipe, dataset, seed=0, train_images=None, callbacks=()):
    """Train once, and look at the validation images. The test set is not touched.

    Args:
        recipe: A `recipes.Recipe` with a `val_fraction` above zero.
        dataset: A `data.Dataset`.
        seed: Seed of everything.
        train_images: Learn from the first so many of the images that are not held out; None is all.
        callbacks: More Keras callbacks.

    Returns:
        An `Experiment`.

    Raises:
        ParameterError: If the recipe holds no images out.
    """
    if not recipe.val_fraction:
        raise ParameterError(
            f"{recipe.name} holds no images out, and an experiment is judged by such:"
            f" get_recipe({recipe.name!r}, val_fraction=0.1) holds out a tenth."
        )
    start = time.perf_counter()
    preprocessing = Preprocessing.from_recipe(recipe, seed)
    precision = choose_precision(recipe.precision)
    ready = prepare_training(recipe, dataset, preprocessing, precision, train_images)
    curve = LossCurve(len(ready.source))
    history = ready.model.fit(
        ready.batches,
        validation_data=make_val_data(ready.val_images, ready.val_labels),
        validation_batch_size=VAL_BATCH,
        epochs=recipe.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[FollowEpoch(ready.source), curve, *callbacks],
    )
    seconds = time.perf_counter() - start
    model = make_plain_model(recipe, ready.model)
    views = [predict_probs(model, view) for view in make_views(ready.val_images, "six")]
    one, six = (
        float(np.mean(probs.argmax(axis=1) == ready.val_labels))
        for probs in (views[0], average_views(views, "six"))
    )
    return Experiment(
        model, seconds, one, six, curve.points, history.history, len(ready.val_images)
    )


def predict_untrained(recipe, dataset, seed, n=500):
    """Ask a network before its first step.

    Args:
        recipe: A `recipes.Recipe`.
        dataset: A `data.Dataset`.
        seed: Seed of its weights.
        n: How many training images to ask about.

    Returns:
        float32 (n, 10), its probabilities.
    """
    preprocessing = Preprocessing.from_recipe(recipe, seed)
    model = prepare_training(recipe, dataset, preprocessing, "float32").model
    return predict_probs(model, dataset.train_images[:n])


def compute_first_step(recipe, dataset, seed, layer):
    """Compute where plain gradient descent takes a convolution in its first step.

    Args:
        recipe: A `recipes.Recipe` of the fast network.
        dataset: A `data.Dataset`.
        seed: Seed of its weights and of the batch.
        layer: Name of the convolution.

    Returns:
        float32 (filters, height * width * channels), up to a factor the mean gradient of a batch.
    """
    plain = dataclasses.replace(recipe, optimizer="sgd")
    preprocessing = Preprocessing.from_recipe(plain, seed)
    ready = prepare_training(plain, dataset, preprocessing, "float32")
    kernel = ready.model.get_layer(layer).kernel
    before = keras.ops.convert_to_numpy(kernel)
    ready.model.train_on_batch(*ready.source[0])
    step = keras.ops.convert_to_numpy(kernel) - before
    return step.reshape(-1, step.shape[-1]).T


class LossCurve(keras.callbacks.Callback):
    """Keeps the mean loss of every stretch of an epoch, not only of the whole.

    Args:
        steps: Steps per epoch.
        points: Stretches per epoch.
    """

    def __init__(self, steps, points=POINTS_PER_EPOCH):
        super().__init__()
        self.steps, self.stretch, self.points = steps, steps / points, []

    def on_epoch_begin(self, epoch, logs=None):
        """Begin the epoch's first stretch."""
        self.epoch, self.done, self.last, self.total = epoch, 0, 0, 0.0

    def on_train_batch_end(self, batch, logs=None):
        """Close a stretch once it is long enough; `logs` holds the mean over the epoch so far."""
        # Of a call of several steps, `batch` is the first or the last one, by version and backend.
        self.done = done = min(self.done + self.model.steps_per_execution, self.steps)
        if done - self.last >= self.stretch or done == self.steps:
            total = float(logs["loss"]) * done
            middle = self.epoch + (self.last + done) / 2 / self.steps
            self.points.append((middle, (total - self.total) / (done - self.last)))
            self.last, self.total = done, total


def load_ablation():
    """Read what `benchmarks/ablation.py` found, or return None where there is no checkout."""
    return _read(ABLATION_FILE)


def load_scaling():
    """Read what `benchmarks/scaling.py` found, or return None where there is no checkout."""
    return _read(SCALING_FILE)


def group_accuracy(scaling):
    """Return what training time buys, recipe by recipe.

    Args:
        scaling: From `load_scaling`.

    Returns:
        Name to triples `(seconds, accuracy, epochs)`; {} for None.
    """
    series = {}
    for row in scaling["accuracy"] if scaling else ():
        triple = (row["seconds"], row["accuracy"], row["epochs"])
        series.setdefault(row["recipe"], []).append(triple)
    return series


def _read(path):
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def summarise_ablation(rows):
    """Compare every ablation with the recipe as it stands.

    Args:
        rows: Dicts with "trick", "seed", "accuracy" and "accuracy_tta"; each trick with the seeds
            that `NOTHING` has.

    Returns:
        One dict per trick, the dearest first: "trick", "n", "mean", "low" and "high" of the
        accuracy with six views (of `TTA`: with one), "cost", the mean loss against the recipe seed
        by seed, "cost_low" and "cost_high", the least and the largest, and "clear": whether there
        are two seeds or more, all agree on its sign, and it is above the range of accuracies over
        the seeds, both with the trick and without.
    """
    by_trick = {}
    for row in rows:
        by_trick.setdefault(row["trick"], {})[row["seed"]] = row["accuracy_tta"]
    plain = by_trick[NOTHING]
    by_trick[TTA] = {row["seed"]: row["accuracy"] for row in rows if row["trick"] == NOTHING}
    found = []
    for trick, values in by_trick.items():
        costs = [plain[seed] - value for seed, value in values.items()]
        mean_cost = float(np.mean(costs))
        agree = len(costs) > 1 and (min(costs) > 0 or max(costs) < 0)
        spread = max(np.ptp(list(some.values())) for some in (plain, values))
        found.append(
            {
                "trick": trick,
                "n": len(values),
                "mean": float(np.mean(list(values.values()))),
                "low": min(values.values()),
                "high": max(values.values()),
                "cost": mean_cost,
                "cost_low": min(costs),
                "cost_high": max(costs),
                "clear": bool(agree and abs(mean_cost) > spread),
            }
        )
    return sorted(found, key=lambda row: -row["cost"])


def describe_trick(trick):
    """Name a recipe by the trick that it lacks: "without whitening", "the whole recipe"."""
    return "the whole recipe" if trick == NOTHING else f"without {trick}"


def describe_ablation(row):
    """Write a row of `summarise_ablation` as a line: accuracy, difference, verdict."""
    line = f"{describe_trick(row['trick']):<34} {row['mean']:.2%}"
    if row["trick"] == NOTHING:
        return line
    verdict = "clear" if row["clear"] else "within the spread"
    mean, low, high = (
        f"{0.0 - 100 * row[name]:+.2f}" for name in ("cost", "cost_high", "cost_low")
    )
    return f"{line}, {mean} points ({low} to {high}): {verdict}"
