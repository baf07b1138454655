"""What a run folder holds, and atomic reads and writes of it."""

import dataclasses
import datetime
import json
import os
import shlex
import time
from functools import cached_property
from pathlib import Path

import numpy as np
import psutil

from cifar_utils import data
from cifar_utils.errors import RunError
from cifar_utils.paths import (
    atomic_path,
    check_free_space,
    relative_to_project,
    write_json,
)
from cifar_utils.runs.parameters import check_parameters
from cifar_utils.runs.recipes import RECIPE_FIELDS, get_recipe, recipe_from_json

STAGES = (
    "01_data_exploration",
    "02_preprocessing",
    "03_training",
    "04_evaluation",
    "05_inference_widget",
)
# Those that are read and run on their own, outside of the pipeline, come last.
NOTEBOOKS = (*STAGES, "06_why_it_is_fast")
# Weights in two formats, a checkpoint and its successor, figures, notebooks: 130 MB for `accurate`.
RUN_BYTES = 150e6


class Run:
    """One folder under outputs/runs and everything that was written into it.

    Args:
        folder: The run's folder; `run.json` in it is read again at every access, since the
            pipeline and a notebook's kernel both write it, in turn.
    """

    def __init__(self, folder):
        self.dir = Path(folder)
        self.name = self.dir.name
        self.stage = None

    def __repr__(self):
        return f"Run {self.name!r} in {relative_to_project(self.dir)}"

    def path(self, name):
        """Return the path of one of the run's files, whether it exists or not."""
        return self.dir / name

    def read_json(self, name):
        """Read a JSON file of the run, or return {} where there is none."""
        path = self.path(name)
        if not path.exists():
            return {}
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(
                f"{path} is not valid JSON ({error}). Restore it, or delete the folder"
                f" {self.dir} and run again."
            ) from None

    def write_json(self, name, value):
        """Write a JSON file of the run atomically."""
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
        """Merge changes into `run.json`; dicts are merged one level deep."""
        info = self.info
        for key, value in changes.items():
            old = info.get(key)
            info[key] = (
                {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
            )
        self.write_json("run.json", info)

    @property
    def parameters(self):
        """Return the parameters fixed so far, by name."""
        return self.info.get("parameters", {})

    @property
    def recipe(self):
        """Return the run's `Recipe`: what it was trained with, else what its parameters say."""
        info = self.info
        parameters = info.get("parameters", {})
        changes = {k: v for k, v in parameters.items() if k in RECIPE_FIELDS and v is not None}
        trained = info.get("recipe")
        if trained and trained["name"] == parameters.get("recipe", trained["name"]):
            # A recipe of the same name may be another one today.
            return dataclasses.replace(recipe_from_json(trained), **check_parameters(changes))
        return get_recipe(parameters.get("recipe", "quick"), **changes)

    @cached_property
    def dataset(self):
        """Load the data set that the run was opened with.

        Raises:
            RunError: If what is found under that name today has other contents.
        """
        dataset = data.load_dataset(self.dataset_name)
        expected = self.info.get("dataset", {}).get("fingerprint", dataset.fingerprint)
        if dataset.fingerprint != expected:
            raise RunError(
                f"Run {self.name!r} was opened with {expected} and {dataset.source} is"
                f" {dataset.fingerprint}. Point CIFAR10_PATH at the same archive, or start a new"
                " run."
            )
        # Why it is the synthetic set is known to the process that decided it.
        return dataclasses.replace(dataset, note=self.info["dataset"].get("note", dataset.note))

    @property
    def dataset_name(self):
        """Return "cifar10" or "synthetic", the one that was really used."""
        return self.info.get("dataset", {}).get("name") or self.parameters.get("dataset", "auto")

    def log_event(self, event, **fields):
        """Append one line to `events.jsonl`, which the terminal's progress display follows."""
        line = json.dumps({"time": time.time(), "event": event, **fields})
        with open(self.path("events.jsonl"), "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def start_stage(self, stage, parameters=None):
        """Note that this process now works on a stage, and make sure that no other one does.

        Args:
            stage: A name from `STAGES`.
            parameters: Parameters to fix with it; a refusal leaves the run as it was.

        Raises:
            RunError: If another living process works on this run.
        """
        if self.is_busy():
            raise self.busy_error()
        check_free_space(self.dir, RUN_BYTES, "a run")
        self.stage, self._started = stage, time.perf_counter()
        self.update(
            status="running",
            owner=this_process(),
            parameters=parameters or {},
            stages={stage: {"status": "running", "start": now_text()}},
        )
        self.log_event("stage_start", stage=stage)

    def finish_stage(self):
        """Note that the stage is done and how long it took; returns what to print."""
        seconds = round(time.perf_counter() - self._started, 2)
        self.update(
            stages={self.stage: {"status": "done", "seconds": seconds}},
            seconds={self.stage: seconds},
            owner=None,
        )
        done = all(self.is_done(stage) for stage in STAGES)
        self.update(status="done" if done else "open", end=now_text())
        self.log_event("stage_end", stage=self.stage)
        return f"{self.stage} done; results in {relative_to_project(self.dir)}"

    def is_done(self, stage):
        """Return whether a stage has finished."""
        return self.info.get("stages", {}).get(stage, {}).get("status") == "done"

    def busy_error(self):
        """Return the error to raise where another process works on this run."""
        info = self.info
        pid = (info.get("owner") or info.get("holder") or {}).get("pid")
        return RunError(
            f"Run {self.name!r} is in use by process {pid}. Wait for it, stop it, or take another"
            " name."
        )

    def is_busy(self):
        """Return whether another living process on this machine works on this run.

        That is a notebook's kernel (`owner`) or a pipeline (`holder`), which holds the run between
        its stages too and is the parent of its own kernels.
        """
        info = self.info
        return _is_other(info.get("owner")) or _is_other(info.get("holder"))

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

        picture = show_figure(figure, alt, synthetic=self.dataset_name == "synthetic")
        with atomic_path(self.path(f"figures/{name}.png")) as temporary:
            temporary.write_bytes(picture.data)
        return picture


def read_backend(info):
    """Return which backend trained a run, from the contents of its `run.json`; None if none did."""
    known = ("tensorflow", "jax", "torch")
    versions = info.get("versions") or {}
    return info.get("backend") or next((name for name in known if name in versions), None)


def backend_prefix(info):
    """Return what to write before a command so that it uses the backend that trained a run."""
    backend = read_backend(info) or "tensorflow"
    return "" if backend == "tensorflow" else f"KERAS_BACKEND={shlex.quote(str(backend))} "


def this_process():
    """Return what tells this process from all others, ever: its number and when it began."""
    return {"pid": os.getpid(), "created": psutil.Process().create_time()}


def _is_other(process):
    """Return whether a `this_process()` of some time ago lives, and is not us or our parent."""
    if not process or process["pid"] in (os.getpid(), os.getppid()):
        return False
    try:
        living = psutil.Process(process["pid"])
        # A killed process stays as a zombie until its parent asks: in a container, for ever.
        dead = living.status() == psutil.STATUS_ZOMBIE
        return not dead and abs(living.create_time() - process["created"]) < 1
    except psutil.Error:
        return False


def now_text():
    """Return the local time with its offset, to the second."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
