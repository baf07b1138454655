"""The five notebooks in order, with one set of parameters: `python -m cifar_utils run`."""

import contextlib
import os
import sys
from pathlib import Path

from cifar_utils.apps.kernels import (
    CellFailed,
    KernelDied,
    NotebookRun,
    catch_signals,
    watch_notebook,
)
from cifar_utils.apps.report import save_report
from cifar_utils.apps.terminal import StageDisplay, describe_last_event
from cifar_utils.data.preprocessing import split_train_val
from cifar_utils.errors import CifarError, ParameterError
from cifar_utils.inference.images import open_picture
from cifar_utils.inference.sources import find_model
from cifar_utils.paths import expand_home, notebooks_dir, relative_to_project
from cifar_utils.runs.parameters import check_parameters
from cifar_utils.runs.run import STAGES, backend_prefix, now_text
from cifar_utils.runs.store import create_run, find_run, refuse_conflicts
from cifar_utils.text import format_clock, suggest
from cifar_utils.training.precision import check_precision

ORPHAN_SECONDS = 10.0  # ipykernel notices within a second or two that its parent is gone


class Interrupted(CifarError):
    """The user, or the system, asked the pipeline to stop."""


def choose_stages(run, from_stage=None, only=None):
    """Choose what to execute.

    Args:
        run: An existing `Run`, or None for a new one.
        from_stage: Begin of a stage's name, such as "04": it and all after it.
        only: The same for one single stage.

    Returns:
        Names from `STAGES`; without `from_stage` and `only`, from the first that is not done.

    Raises:
        ParameterError: If no stage, or more than one, begins like this.
    """
    asked = only or from_stage
    if asked is None:
        if run is None:
            return list(STAGES)
        first = next((i for i, stage in enumerate(STAGES) if not run.is_done(stage)), len(STAGES))
        return list(STAGES[first:])
    found = [i for i, stage in enumerate(STAGES) if stage.startswith(asked)]
    if len(found) != 1:
        raise ParameterError(f"There is no single stage {asked!r}. {suggest(asked, STAGES)}")
    return [STAGES[found[0]]] if only else list(STAGES[found[0] :])


def prepare_run(name, parameters, resume=False, rerun=False):
    """Check everything that can be checked, then make or find the run.

    Args:
        name: Run name, or "" for one made from date, time and recipe.
        parameters: Parameters as the user gave them, by name.
        resume: Whether to continue an existing run.
        rerun: Whether part of an existing run is executed again.

    Returns:
        `(run, given)`: the `Run`, and the checked parameters for `run_pipeline`.

    Raises:
        ParameterError: If a parameter is not valid; nothing has been made by then.
        RunError: If the run exists and should not, does not and should, or has other parameters.
        ImageError, ModelError: If `image_path` is no picture, or `model_path` no model.
    """
    given = check_parameters({"run_name": name or "", **parameters})
    given.pop("run_name")
    check_precision(given.get("precision"))
    for option, check in (("model_path", find_model), ("image_path", open_picture)):
        if given.get(option):
            # A kernel may start in another folder than the one this was typed in.
            given[option] = str(expand_home(given[option]).resolve())
            if not Path(given[option]).exists():
                raise ParameterError(f"There is no file {given[option]} ({option}).")
            check(given[option])  # now, and not in the last notebook
    missing = [stage for stage in STAGES if not (notebooks_dir() / f"{stage}.ipynb").exists()]
    if missing:
        raise CifarError(
            f"{notebooks_dir()} does not hold {missing[0]}.ipynb: the pipeline runs the notebooks"
            " of the project's checkout. Call it from there."
        )
    if not (resume or rerun):
        run = create_run(name, {"recipe": "quick", "dataset": "auto", "seed": 0} | given)
        return run, given
    if not name:
        raise ParameterError("--resume, --from and --only need --name: which run?")
    run = find_run(name)
    refuse_conflicts(run, given)
    if given.get("val_fraction"):  # not fixed yet, if it is another one
        split_train_val(run.dataset.train_labels, given["val_fraction"], seed=0)
    return run, given


def run_pipeline(run, stages, changes=None, retrain=False, stream=None):
    """Execute stages of a run, showing progress, until all are done or something stops it.

    Args:
        run: A `Run` from `prepare_run`.
        stages: Names from `STAGES`, in order.
        changes: Parameters to note in the run first, from `prepare_run`.
        retrain: Whether stage 03 starts anew instead of going on from its checkpoint.
        stream: Where progress is shown: a live line on a terminal, else plain lines. None is
            stdout.

    Raises:
        CifarError: If a stage failed; says what happened, where the executed notebook is, and what
            to do next. `run.json` says "failed".
        Interrupted: After Ctrl-C or SIGTERM; the kernel is gone by then, and `run.json` says
            "interrupted".
    """
    with _lock(run), catch_signals() as signals:
        run.update(error=None, parameters=changes or {})
        for left in run.dir.glob(".checkpoint-*"):  # of a process killed while it wrote
            left.unlink(missing_ok=True)
        if retrain and "03_training" in stages:
            run.path("checkpoint.npz").unlink(missing_ok=True)
        for stage in stages:
            _run_stage(run, stage, signals, stream or sys.stdout)


def _run_stage(run, stage, signals, stream):
    """Execute one stage; note in the run how it ended."""
    display = StageDisplay(run, stage, STAGES.index(stage) + 1, len(STAGES), stream)
    how = "stopped"
    try:
        if signals:
            raise Interrupted(stage)
        target = run.path(f"notebooks/{stage}.ipynb")
        notebook = NotebookRun(
            notebooks_dir() / f"{stage}.ipynb", target, _parameters_of(stage, run)
        )
        watch_notebook(notebook.start(), signals, display.refresh)
        how = "done"
    except BaseException as error:
        raise _explain(run, stage, error, bool(signals)) from error
    finally:
        display.close(how)


def _parameters_of(stage, run):
    """Return the run's parameters that a stage's notebook takes, and its name."""
    import papermill

    known = papermill.inspect_notebook(str(notebooks_dir() / f"{stage}.ipynb"))
    given = {name: value for name, value in run.parameters.items() if name in known}
    return given | {"run_name": run.name}


def _explain(run, stage, error, interrupted):
    """Note in `run.json` and the report how a stage ended; return the error that tells the user."""
    told = _say_what_happened(run, stage, error, interrupted)
    status = "interrupted" if interrupted else "failed"
    with contextlib.suppress(Exception):  # the reason matters more than a note of it
        run.update(status=status, end=now_text(), error=str(told))
        run.update(stages={stage: {"status": status}})
        run.log_event(status, stage=stage)
        save_report(run)
    return told


def _say_what_happened(run, stage, error, interrupted):
    """Put a stage's end into words, with the next step."""
    resume = f"{backend_prefix(run.info)}python -m cifar_utils run --name {run.name} --resume"
    executed = relative_to_project(run.path(f"notebooks/{stage}.ipynb"))
    if interrupted:
        return Interrupted(
            f"Stopped in {stage}; every finished stage and epoch is kept. Continue: {resume}"
        )
    if isinstance(error, KernelDied):
        last = describe_last_event(run.path("events.jsonl"))
        return CifarError(
            f"The kernel of {stage} died, most likely because memory ran out. Last sign of life:"
            f" {last}. Close other programs, or take half the `-p batch_size` under a new --name;"
            f" to go on as before: {resume}"
        )
    if isinstance(error, CellFailed):
        return CifarError(
            f"{stage} failed. {error}\nThe cell and its traceback: {executed}\nOnce it is mended:"
            f" {resume}"
        )
    return CifarError(f"{stage} could not be run: {error!r}. Once it is mended: {resume}")


@contextlib.contextmanager
def _lock(run):
    """Hold the run for this pipeline and the kernels that it starts."""
    with run.lock("pipeline"):
        # The kernel of a pipeline that was killed needs a moment to notice it and end.
        with run.lock("stage", timeout=ORPHAN_SECONDS):
            pass
        os.environ["CIFAR_PIPELINE"] = str(run.dir)
        try:
            yield
        finally:
            del os.environ["CIFAR_PIPELINE"]


def describe_result(run, seconds):
    """Say how a finished run ended: data set, accuracy with its interval, report."""
    report = save_report(run)
    metrics = run.read_json("metrics.json")
    info = run.info["dataset"]
    lines = [f"Run {run.name}: {format_clock(seconds)} in all"]
    if info["name"] == "synthetic":
        lines.append("Data set: SYNTHETIC DATA, not CIFAR-10 (see `python -m cifar_utils data`)")
    else:
        kind = "the official archive" if info["official"] else "not the official archive"
        lines.append(f"Data set: CIFAR-10 from {info['source']} ({kind})")
    if metrics:
        accuracy = metrics["accuracy"]
        lines.append(
            f"Test accuracy: {accuracy['value']:.2%} (95 % interval {accuracy['low']:.2%} to"
            f" {accuracy['high']:.2%}, n = {metrics['n']:,})"
        )
    return "\n".join([*lines, f"Report: {relative_to_project(report)}"])
