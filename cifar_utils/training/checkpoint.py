"""What makes a training repeatable: its seeds, and its state after every epoch in one file.

Keras's own `BackupAndRestore` restores no random state, and not atomically: after a resume it goes
on with other random numbers (keras-team/keras#17012). This one continues bit for bit.
"""

import dataclasses
import importlib
import json
import time

import numpy as np

import cifar_utils
from cifar_utils import models
from cifar_utils.backend import keras, pin_settings
from cifar_utils.data.preprocessing import Preprocessing
from cifar_utils.errors import RunError
from cifar_utils.paths import atomic_path
from cifar_utils.runs import write_history
from cifar_utils.runs.machine import detect_processor
from cifar_utils.runs.parameters import PARAMETERS
from cifar_utils.training.optimizers import compile_model
from cifar_utils.training.precision import describe_device

FILE = "checkpoint.npz"
METRIC_ORDER = ("loss", "accuracy", "val_loss", "val_accuracy")


def seed_everything(seed, deterministic=True):
    """Make what follows in this process repeatable.

    Seeds Python, NumPy and the backend, and gives Keras its standard settings, whatever
    `~/.keras/keras.json` says.

    Args:
        seed: Integer from 0 to 2**31 - 1.
        deterministic: Whether to allow only kernels that do not depend on timing (TensorFlow's op
            determinism), for this process.
    """
    pin_settings()
    keras.utils.set_random_seed(int(seed))  # np.int64 raises
    if deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


class Checkpoint(keras.callbacks.Callback):
    """Saves a training after every epoch, and restores it; `run.json` gets how it was trained.

    Args:
        run: A `runs.Run`.
        batches: The `AugmentedBatches` that it trains on.
        seconds: What this session has spent on the training before, on its network for instance;
            `seconds.training` in `run.json` counts from uint8 arrays to final weights.

    Attributes:
        history: Column name to list, one entry per finished epoch.
    """

    def __init__(self, run, batches, seconds=0.0):
        super().__init__()
        self.run, self.batches, self.preparing = run, batches, seconds
        self.history, self.fresh = {}, None

    def restore(self, model):
        """Bring a compiled network to the end of the last epoch that was finished.

        Without a checkpoint it gets the weights that it had when this was first called: a cell that
        was stopped within its first epoch begins again.

        Args:
            model: A compiled `keras.Model`.

        Returns:
            How many epochs are finished: what `fit` takes as `initial_epoch`.

        Raises:
            RunError: If the checkpoint cannot be read, or belongs to another training.
        """
        self.restored_at = time.perf_counter()
        self.began, self.has_trained = time.time(), False
        self.identity = _describe_training(self.run, self.batches, model)
        variables = _list_variables(model)
        if self.fresh is None:
            self.fresh = [keras.ops.convert_to_numpy(variable) for variable in variables]
        path = self.run.path(FILE)
        meta, values = {"epoch": 0, "seconds": 0.0, "history": {}}, self.fresh
        if path.exists():
            meta, values = _read(path)
            _refuse_another(self.run, meta, self.identity)
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.history, self.saved_seconds = meta["history"], meta["seconds"]
        self.seconds_before = self.saved_seconds + self.preparing
        self._record(find_differences(self.run.recipe, self.batches, model))
        if meta["epoch"]:
            write_history(self.run, self.history)  # a kill may have come between the two files
        return meta["epoch"]

    def on_epoch_begin(self, epoch, logs=None):
        """Note the rate that the epoch starts with; at its end the optimizer has the next one's."""
        self.rate = float(self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch, logs=None):
        """Save, so that a kill from here on loses nothing of this epoch."""
        row = {"epoch": epoch + 1, "learning_rate": self.rate}
        row |= {name: float(logs[name]) for name in METRIC_ORDER if name in logs}
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)
        self.has_trained = True
        self._write(epoch + 1)
        self.preparing = 0.0  # it is in the checkpoint's seconds now

    def on_train_end(self, logs=None):
        """Note how long it took."""
        if self.has_trained:
            self.run.update(
                seconds={"training": round(self._elapsed(), 2)},
                # The last session's, in seconds since 1970: what was measured beside it?
                training={"start": round(self.began), "end": round(time.time())},
            )
        elif "training" not in self.run.info.get("seconds", {}):
            # This session only read what others had trained, and they were killed right after it.
            self.run.update(seconds={"training": round(self.saved_seconds, 2)})

    def _record(self, differences):
        """Write into `run.json` what is trained, on what, with what."""
        run, identity = self.run, self.identity
        recipe, backend = identity["recipe"], identity["backend"]
        packages = {"keras": keras, backend: importlib.import_module(backend), "numpy": np}
        run.update(
            # All of them: an earlier stage executed later must not change what was trained.
            parameters={name: value for name, value in recipe.items() if name in PARAMETERS},
            recipe=recipe,
            differs_from_recipe=differences,
            seed=run.parameters["seed"],
            backend=backend,
            device=describe_device(),
            threads=detect_processor().cores,
            precision=identity["precision"],
            versions={name: package.__version__ for name, package in packages.items()},
        )
        if not run.path("preprocessing.json").exists():  # notebook 02 was not run
            run.write_json("preprocessing.json", {"preprocessing": identity["preprocessing"]})

    def _elapsed(self):
        """Return the seconds of training so far, over all sessions."""
        return self.seconds_before + time.perf_counter() - self.restored_at

    def _write(self, epoch):
        """Write the checkpoint first: `history.csv` can be made from it again, not the reverse."""
        variables = _list_variables(self.model)
        meta = {
            "version": cifar_utils.__version__,
            "identity": self.identity,
            "epoch": epoch,
            "seconds": self._elapsed(),
            "history": self.history,
            "variables": len(variables),
        }
        arrays = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}
        with atomic_path(self.run.path(FILE)) as temporary:
            np.savez(temporary, meta=json.dumps(meta), **arrays)
        write_history(self.run, self.history)


def _list_variables(model):
    """Return everything that decides how training goes on: weights, dropout seeds, optimizer."""
    model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def _read(path):
    """Return `(meta, values)` of a checkpoint."""
    try:
        with np.load(path) as saved:
            meta = json.loads(str(saved["meta"]))
            return meta, [saved[f"v{i}"] for i in range(meta["variables"])]
    except Exception as error:
        raise RunError(
            f"{path} cannot be read ({error}). Delete it to train this run from the start."
        ) from error


def _refuse_another(run, meta, identity):
    """Raise if a checkpoint is that of another training than the one that wants to go on."""
    path, saved = run.path(FILE), meta["identity"]
    wrote, now = (
        ".".join(version.split(".")[:2])
        for version in (meta.get("version", "0.7"), cifar_utils.__version__)
    )
    changed = [name for name, part in identity.items() if saved.get(name) != part]
    ways = "Train under another run_name, or delete it to train this run from the start."
    if wrote != now:
        raise RunError(f"{path} was written by version {wrote} of this package, not {now}. {ways}")
    if "backend" in changed:
        raise RunError(
            f"Run {run.name!r} began with the backend {saved['backend']}. Continue it with"
            f" KERAS_BACKEND={saved['backend']}, or train under another run_name."
        )
    if changed:
        raise RunError(f"{path} belongs to another training: {', '.join(changed)} changed. {ways}")


def _describe_training(run, batches, model):
    """Return all that decides what a training computes, JSON-ready, by the words of a message."""
    formats = {layer.compute_dtype for layer in model.layers}
    parts = {
        "backend": keras.backend.backend(),
        "recipe": dataclasses.asdict(run.recipe),
        "data": run.dataset.fingerprint,
        "preprocessing": batches.preprocessing.to_json(),
        "batches": [len(batches.images), batches.batch_size],
        "precision": "bfloat16" if "bfloat16" in formats else "float32",
        **_describe_compiled(model),
    }
    return json.loads(json.dumps(parts, default=str))


def _describe_compiled(model):
    """Return what a compiled network computes, by the words of a message."""
    settings = {k: v for k, v in model.optimizer.get_config().items() if k != "name"}
    loss = model.loss
    if loss == "categorical_crossentropy":  # the short form of what a recipe has
        loss = keras.losses.CategoricalCrossentropy()
    return {
        "schedule": settings.pop("learning_rate"),
        "optimizer": [type(model.optimizer).__name__, settings],
        "loss": keras.saving.serialize_keras_object(loss),
        "network": models.describe_network(model),
    }


def find_differences(recipe, batches, model):
    """List in what a training differs from its recipe, after somebody edited a cell."""
    own = _describe_compiled(model)
    plain = _describe_compiled(compile_model(models.build(recipe), recipe, len(batches)))
    own["augmentation"] = batches.preprocessing.augmentation
    plain["augmentation"] = Preprocessing.from_recipe(recipe, 0).augmentation
    own["batch_size"], plain["batch_size"] = batches.batch_size, recipe.batch_size
    return [name for name in own if own[name] != plain[name]]
