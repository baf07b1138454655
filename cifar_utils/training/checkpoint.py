"""The state of a training after an epoch, in one file that is there whole or not at all.

Keras's own `BackupAndRestore` restores weights and epoch only, and not atomically: after a resume
it goes on with a fresh optimizer and other random numbers. This one continues bit for bit.
"""

import json
import time
from dataclasses import dataclass, field

import numpy as np

from cifar_utils.backend import keras
from cifar_utils.errors import RunError
from cifar_utils.paths import atomic_path
from cifar_utils.runs.run import read_history, write_history  # noqa: F401

METRIC_ORDER = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass
class TrainingState:
    """How far a training has come.

    Attributes:
        epoch: Finished epochs.
        seconds: Time spent on them, over all sessions.
        history: Column name to list, one entry per finished epoch.
    """

    epoch: int = 0
    seconds: float = 0.0
    history: dict = field(default_factory=dict)


def _list_variables(model):
    """Return everything that decides how training goes on: weights, dropout seeds, optimizer."""
    model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def restore_checkpoint(model, path, identity):
    """Load the last finished epoch into a compiled model.

    Args:
        model: A compiled model, freshly built.
        path: The checkpoint; need not exist.
        identity: JSON-ready dict of everything that must be the same: recipe, data, preprocessing.

    Returns:
        A `TrainingState`; of zero epochs where there is no checkpoint.

    Raises:
        RunError: If the file cannot be read or belongs to another training.
    """
    if not path.exists():
        return TrainingState()
    try:
        with np.load(path) as saved:
            meta = json.loads(str(saved["meta"]))
            values = [saved[f"v{i}"] for i in range(meta["variables"])]
    except Exception as error:
        raise RunError(
            f"{path} cannot be read ({error}). Delete it to train this run from the start."
        ) from error
    if meta["identity"] != json.loads(json.dumps(identity)):
        raise RunError(
            f"{path} belongs to another recipe, data set, split or precision. Train under another"
            " run_name, or delete it to train this run from the start."
        )
    for variable, value in zip(_list_variables(model), values, strict=True):
        variable.assign(value)
    return TrainingState(meta["epoch"], meta["seconds"], meta["history"])


class SaveCheckpoint(keras.callbacks.Callback):
    """Writes `checkpoint.npz` and `history.csv` after every epoch.

    Args:
        run: A `runs.Run`.
        identity: See `restore_checkpoint`.
        state: The `TrainingState` that training starts from; kept up to date.
        start: `time.perf_counter()` when this session's work began.
    """

    def __init__(self, run, identity, state, start):
        super().__init__()
        self.run, self.identity, self.state = run, identity, state
        self.seconds_before, self.start = state.seconds, start
        self.has_trained = False

    def elapsed(self):
        """Return the seconds of training so far, over all sessions."""
        return self.seconds_before + time.perf_counter() - self.start

    def on_epoch_begin(self, epoch, logs=None):
        """Note the rate that the epoch starts with; at its end the optimizer has the next one's."""
        self.rate = float(self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch, logs=None):
        """Save, so that a kill from here on loses nothing of this epoch."""
        row = {"epoch": epoch + 1, "learning_rate": self.rate}
        row |= {name: float(logs[name]) for name in METRIC_ORDER if name in logs}
        for name, value in row.items():
            self.state.history.setdefault(name, []).append(value)
        self.state.epoch, self.state.seconds = epoch + 1, self.elapsed()
        self.has_trained = True
        self._write()
        logs["learning_rate"] = row["learning_rate"]

    def _write(self):
        """Write the checkpoint first: `history.csv` can be made from it again, not the reverse."""
        variables = _list_variables(self.model)
        meta = {
            "identity": self.identity,
            "epoch": self.state.epoch,
            "seconds": self.state.seconds,
            "history": self.state.history,
            "variables": len(variables),
        }
        arrays = {
            f"v{i}": keras.ops.convert_to_numpy(variable) for i, variable in enumerate(variables)
        }
        with atomic_path(self.run.path("checkpoint.npz")) as temporary:
            np.savez(temporary, meta=json.dumps(meta), **arrays)
        write_history(self.run, self.state.history)
