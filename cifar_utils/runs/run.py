"""One run folder: what is in it, how it is read and written, and which process works on it."""

import csv
import dataclasses
import datetime
import io
import json
import shlex
import time
from functools import cached_property
from pathlib import Path

import numpy as np

from cifar_utils import data
from cifar_utils.data.preprocessing import Preprocessing, spread_sizes
from cifar_utils.errors import RunError
from cifar_utils.paths import (
    atomic_path,
    check_free_space,
    read_variable,
    relative_to_project,
    write_json,
    write_text,
)
from cifar_utils.runs.parameters import check_parameters
from cifar_utils.runs.recipes import (
    EXECUTION_FIELDS,
    RECIPE_FIELDS,
    RECIPES,
    get_recipe,
    recipe_from_json,
    recipe_to_json,
)

STAGES = (
    "01_data_exploration",
    "02_preprocessing",
    "03_training",
    "04_evaluation",
    "05_inference_widget",
)
# The last ones are no stages of the pipeline: they are read and run on their own.
NOTEBOOKS = (*STAGES, "06_why_it_is_fast")
# Weights in two formats, a checkpoint and its successor, figures, notebooks: 130 MB for `accurate`.
RUN_BYTES = 150e6
# Paths of this machine. A run folder can be given to somebody else, so they are not stored.
NOT_STORED = ("model_path", "image_path")
# One lock object per file: two of them in one process would exclude each other.
_locks = {}


class Run:
    """One folder under outputs/runs (or outputs/reference) and all that was written into it.

    `run.json` is read again at every access: the pipeline and a notebook's kernel both write it.
    """

    def __init__(self, folder):
        self.dir = Path(folder)
        self.name = self.dir.name
        self.stage = None

    def __repr__(self):
        return f"Run {self.name!r} in {relative_to_project(self.dir)}"

    def path(self, name):
        """Return the path of one of the run's files, which need not exist."""
        return self.dir / name

    def read_json(self, name):
        """Read a JSON file of the run, or return {} if there is none.

        Raises:
            RunError: If it is not valid JSON.
        """
        path = self.path(name)
        if not path.exists():
            return {}
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(
                f"{path} is not valid JSON ({error}). Restore it, or delete {self.dir}."
            ) from None

    def write_json(self, name, value):
        """Write a JSON file of the run atomically; returns its path."""
        return write_json(self.path(name), value)

    def write_arrays(self, name, **arrays):
        """Write NumPy arrays into a compressed .npz file of the run atomically."""
        with atomic_path(self.path(name)) as temporary:
            np.savez_compressed(temporary, **arrays)
        return self.path(name)

    @property
    def info(self):
        """Return the contents of `run.json`."""
        return self.read_json("run.json")

    def update(self, **changes):
        """Merge changes into `run.json`, dicts one level deep; without paths of this machine."""
        info = self.info
        for key, value in changes.items():
            old = info.get(key)
            if key == "parameters":
                value = {name: v for name, v in value.items() if name not in NOT_STORED}
            merge = isinstance(old, dict) and isinstance(value, dict)
            info[key] = {**old, **value} if merge else value
        self.write_json("run.json", info)

    @property
    def parameters(self):
        """Return the checked parameters that are fixed so far, by name."""
        return self.info.get("parameters", {})

    @property
    def recipe(self):
        """Return the run's `Recipe`: the one it was trained with, else that of its parameters."""
        info = self.info
        parameters = info.get("parameters", {})
        changes = {k: v for k, v in parameters.items() if k in RECIPE_FIELDS and v is not None}
        trained = info.get("recipe")
        if trained and trained["name"] == parameters.get("recipe", trained["name"]):
            # A recipe of the same name may be a different one today.
            return dataclasses.replace(recipe_from_json(trained), **check_parameters(changes))
        return get_recipe(parameters.get("recipe", "quick"), **changes)

    @property
    def changes(self):
        """Return in which parameters a trained run differs from its recipe."""
        return find_changes(self.info)

    @property
    def title(self):
        """Return what distinguishes runs of one recipe: "seed 0, val_fraction 0.1"."""
        changes = (f"{name} {value}" for name, value in self.changes.items())
        return ", ".join([f"seed {self.info['seed']}", *changes])

    @cached_property
    def dataset(self):
        """Load the data set that the run was opened with.

        Raises:
            RunError: If the data set of that name has different contents today.
        """
        opened = self.info["dataset"]
        dataset = data.load_dataset(opened["name"])
        if dataset.fingerprint != opened["fingerprint"]:
            raise RunError(
                f"Run {self.name!r} was opened with {opened['fingerprint']}, and"
                f" {dataset.source} is {dataset.fingerprint}. Point CIFAR10_PATH at the same"
                " archive, or start a new run."
            )
        # Only the process that opened the run knows why it is the synthetic set.
        return dataclasses.replace(dataset, note=opened.get("note", ""))

    def lock(self, kind, timeout=0.0):
        """Take one of the run's two locks; the system releases it when the process ends.

        Args:
            kind: "pipeline" (held over all stages) or "stage" (held while a notebook works).
            timeout: Seconds to wait for another process to release it.

        Returns:
            A context manager that releases the lock; unused, the process keeps it.

        Raises:
            RunError: If another process still holds it, or the folder cannot be written.
        """
        from filelock import FileLock, Timeout

        path = self.path(f".{kind}.lock")
        if path not in _locks:
            _locks[path] = FileLock(path, thread_local=False)
        try:
            return _locks[path].acquire(timeout=timeout)
        except Timeout:
            raise RunError(
                f"Run {self.name!r} is in use by another process (a notebook's kernel, or a"
                " pipeline). Wait for it, stop it, or take another name."
            ) from None
        except OSError as error:
            raise RunError(f"{self.dir} cannot be written ({error.strerror}).") from None

    def is_busy(self):
        """Return whether another process works on this run: a notebook, or a pipeline."""
        try:
            self._refuse_other_pipeline()
            with self.lock("stage"):
                return False
        except RunError:
            return True

    def _refuse_other_pipeline(self):
        """Raise if a pipeline holds the run, unless this process is one of its kernels."""
        if read_variable("CIFAR_PIPELINE") != str(self.dir):
            with self.lock("pipeline"):
                pass

    def start_stage(self, stage, parameters=None):
        """Note that this process now works on a stage, and make sure that no other one does.

        The stage's lock is held until `finish_stage`, or until the process ends or starts a stage
        of another run.

        Args:
            stage: A name from `STAGES`.
            parameters: Parameters to fix with it; a refusal leaves the run as it was.

        Raises:
            RunError: If another process works on this run.
            CifarError: If the disk is nearly full.
        """
        check_free_space(self.dir, RUN_BYTES, "a run")
        self._refuse_other_pipeline()
        for path, lock in _locks.items():
            if path.name == ".stage.lock":
                lock.release(force=True)  # of a stage that this process began and left
        self.lock("stage")
        self.stage, self._started = stage, time.perf_counter()
        self.update(
            status="running",
            parameters=parameters or {},
            stages={stage: {"status": "running", "start": now_text()}},
        )

    def finish_stage(self):
        """Note that the stage is done and how long it took; returns a line to print."""
        seconds = round(time.perf_counter() - self._started, 2)
        self.update(
            stages={self.stage: {"status": "done", "seconds": seconds}},
            seconds={self.stage: seconds},
        )
        done = all(self.is_done(stage) for stage in STAGES)
        self.update(status="done" if done else "open", end=now_text())
        _locks[self.path(".stage.lock")].release(force=True)
        return f"{self.stage} done; results in {relative_to_project(self.dir)}"

    def is_done(self, stage):
        """Return whether a stage has finished."""
        return self.info.get("stages", {}).get(stage, {}).get("status") == "done"

    def show_figure(self, figure, name, alt):
        """Save a figure as `figures/<name>.png` and return it for display in a notebook.

        Args:
            figure: A `matplotlib.figure.Figure` whose title is its `suptitle`.
            name: File name without suffix.
            alt: What the figure shows, for people who cannot see it; stored in the file too.

        Returns:
            An `IPython.display.Image`.
        """
        from cifar_utils.plots.style import show_figure

        image = show_figure(figure, alt, synthetic=self.info["dataset"]["name"] == "synthetic")
        with atomic_path(self.path(f"figures/{name}.png")) as temporary:
            temporary.write_bytes(image.data)
        return image


def read_preprocessing(run):
    """Return the `Preprocessing` that notebook 02 decided for a run, else the recipe's own."""
    saved = run.read_json("preprocessing.json")
    recipe = run.recipe
    if not saved:
        return Preprocessing.from_recipe(recipe, run.parameters["seed"])
    decided = Preprocessing.from_json(saved["preprocessing"])
    # Notebook 02 does not know how many epochs notebook 03 is given.
    return dataclasses.replace(decided, sizes=spread_sizes(recipe.sizes, recipe.epochs))


def write_history(run, history):
    """Write `history.csv` from lists by column: one row per epoch, floats in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(history)
    writer.writerows(zip(*history.values(), strict=True))
    return write_text(run.path("history.csv"), text.getvalue())


def read_history(run):
    """Read `history.csv`: lists by column, "epoch" of integers from 1; {} where there is none."""
    path = run.path("history.csv")
    if not path.exists():
        return {}
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    columns = {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}
    return columns | {"epoch": [int(epoch) for epoch in columns["epoch"]]}


def find_changes(info):
    """Return by name in which parameters a trained run differs from its recipe as it is today.

    Args:
        info: The contents of its `run.json`. A backend other than TensorFlow is a change, too.
    """
    used, plain = info["recipe"], recipe_to_json(RECIPES[info["recipe"]["name"]])
    changes = {
        name: used[name]
        for name in plain
        if name in used and name not in EXECUTION_FIELDS and used[name] != plain[name]
    }
    backend = _read_backend(info)
    return changes | ({"backend": backend} if backend != "tensorflow" else {})


def _read_backend(info):
    """Return which backend trained a run; TensorFlow if none did."""
    versions = info.get("versions") or {}
    known = (name for name in ("tensorflow", "jax", "torch") if name in versions)
    return info.get("backend") or next(known, "tensorflow")


def backend_prefix(info):
    """Return what to write before a command so that it uses the backend that trained a run."""
    backend = _read_backend(info)
    return "" if backend == "tensorflow" else f"KERAS_BACKEND={shlex.quote(str(backend))} "


def now_text():
    """Return the local time with its offset, to the second."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
