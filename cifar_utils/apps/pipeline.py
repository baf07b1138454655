"""The five notebooks in order, with one set of parameters: `python -m cifar_utils run`."""

import contextlib
import os
import re
import sys
import tempfile
import time
from pathlib import Path

from cifar_utils.apps.execution import CellFailed, KernelDied, execute_notebook, stop_on_signals
from cifar_utils.apps.report import save_report
from cifar_utils.data.preprocessing import split_train_val
from cifar_utils.errors import CifarError, ParameterError
from cifar_utils.inference.images import open_picture
from cifar_utils.inference.sources import find_model
from cifar_utils.paths import expand_home, notebooks_dir, relative_to_project
from cifar_utils.runs.machine import detect_processor
from cifar_utils.runs.parameters import check_parameters
from cifar_utils.runs.run import STAGES, backend_prefix, now_text
from cifar_utils.runs.store import (
    check_notebook,
    create_run,
    find_run,
    latest_run_with_weights,
    list_runs,
    refuse_conflicts,
    start_trained_run,
)
from cifar_utils.text import format_clock, suggest
from cifar_utils.training.precision import check_precision

ORPHAN_SECONDS = 10.0  # ipykernel notices within a second or two that its parent is gone
# Seconds of one core for an epoch of 50,000 images, from outputs/reference: a first guess where no
# earlier run on this machine is known.
CORE_SECONDS = {"quick": 18, "fast": 80, "accurate": 205, "baseline": 50}
FLOAT32_FACTOR = 3.0  # what `fast` takes on cores without bfloat16, over those that have it
OTHER_SECONDS = 10.0  # of each stage that trains nothing, most of it imports
EPOCH_LINE = re.compile(r"epoch \d+/\d+")  # what the training prints after each epoch


class Interrupted(CifarError):
    """The user, or the system, asked the pipeline to stop."""

    exit_code = 130


def choose_stages(run, from_stage=None, only=None):
    """Return the stages to execute: all from the first that `run` (or None) has not done.

    `from_stage` and `only` are the begin of a stage's name, such as "04": it and all after it, or
    it alone. ParameterError if no stage, or more than one, begins like this.
    """
    asked = only or from_stage
    if asked is None:
        done = [run is not None and run.is_done(stage) for stage in STAGES]
        return list(STAGES[done.index(False) :]) if False in done else []
    found = [i for i, stage in enumerate(STAGES) if stage.startswith(asked)]
    if len(found) != 1:
        raise ParameterError(f"There is no single stage {asked!r}. {suggest(asked, STAGES)}")
    return list(STAGES[found[0] : found[0] + 1 if only else None])


def prepare_run(name, parameters, existing=False):
    """Check everything that can be checked, then make the run, or find an existing one to go on.

    Returns `(run, given)`: the `Run`, and the checked parameters for `run_pipeline`. Where anything
    is wrong a CifarError says so, and nothing has been made.
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
    if missing := [stage for stage in STAGES if not _notebook(stage).exists()]:
        raise CifarError(
            f"{notebooks_dir()} does not hold {missing[0]}.ipynb: the pipeline runs the notebooks"
            " of the project's checkout. Call it from there."
        )
    if not existing:
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
    """Execute stages of a run, one line an epoch, until all are done or something stops it.

    `changes`, from `prepare_run`, are noted in the run first. With `retrain` stage 03 starts anew
    instead of going on from its checkpoint. `stream` is where progress is printed: stdout.

    Raises:
        CifarError: If a stage failed; says what happened and what to do next.
        Interrupted: After Ctrl-C, SIGTERM or SIGHUP; the kernel is gone by then.
    """

    def show(text):
        """Print; a closed terminal, or a reader that has seen enough, does not stop the run."""
        with contextlib.suppress(OSError, ValueError):
            print(text, file=stream or sys.stdout, flush=True)

    with _lock(run), stop_on_signals():
        run.update(error=None, parameters=changes or {})
        for left in run.dir.rglob(".*"):  # of a process that was killed while it wrote
            if left.is_file() and not left.name.endswith("lock"):
                left.unlink(missing_ok=True)
        if retrain and "03_training" in stages:
            run.path("checkpoint.npz").unlink(missing_ok=True)
        minutes, known_from = estimate_minutes(run, stages)
        show(f"About {max(1, round(minutes))} min, {known_from}.")
        for stage in stages:
            # A path of this machine is given, and is not in run.json.
            parameters = run.parameters | (changes or {}) | {"run_name": run.name}
            _run_stage(run, stage, parameters, show)


def _run_stage(run, stage, parameters, show):
    """Execute one stage and note in the run how it ended; the notebook itself notes success."""
    label, started = f"[{STAGES.index(stage) + 1}/{len(STAGES)}] {stage}", time.monotonic()
    last, how = [f"the start of {stage}"], "stopped"

    def show_epoch(line):
        last[0] = line
        show(f"      {line}")

    show(label)
    try:
        _execute(stage, run.path(f"notebooks/{stage}.ipynb"), parameters, show_epoch)
        how = "done"
    except BaseException as error:
        told = _say_what_happened(run, stage, error, last[0])
        status = "interrupted" if isinstance(told, Interrupted) else "failed"
        with contextlib.suppress(Exception):  # the reason matters more than a note of it
            run.update(status=status, end=now_text(), error=str(told))
            run.update(stages={stage: {"status": status}})
            save_report(run)
        raise told from error
    finally:
        show(f"{label}: {how} after {format_clock(time.monotonic() - started)}")


def _notebook(stage):
    return notebooks_dir() / f"{stage}.ipynb"


def _execute(stage, target, parameters, on_epoch):
    """Execute a stage's notebook with those of the parameters that it takes."""
    import papermill

    known = papermill.inspect_notebook(str(_notebook(stage)))
    taken = {name: value for name, value in parameters.items() if name in known}

    def pass_on(line):
        if EPOCH_LINE.match(line):
            on_epoch(line)

    execute_notebook(_notebook(stage), target, taken, pass_on)


def _say_what_happened(run, stage, error, last):
    """Return the error that tells the user why a stage ended, with the next step."""
    resume = f"{backend_prefix(run.info)}python -m cifar_utils run --name {run.name} --resume"
    if isinstance(error, KeyboardInterrupt):
        return Interrupted(
            f"Stopped in {stage}; every finished stage and epoch is kept. Continue: {resume}"
        )
    if isinstance(error, KernelDied):
        return CifarError(
            f"The kernel of {stage} died, most likely because memory ran out. Last sign of life:"
            f" {last}. Close other programs, or take half the `-p batch_size` under a new --name;"
            f" to go on as before: {resume}"
        )
    if isinstance(error, CellFailed):
        executed = relative_to_project(run.path(f"notebooks/{stage}.ipynb"))
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


def estimate_minutes(run, stages):
    """Estimate how long stages take here: `(minutes, words on what that is known from)`.

    An earlier run of the recipe on this machine tells; epochs in the checkpoint are not counted.
    """
    recipe, processor = run.recipe, detect_processor()
    images = run.info["dataset"]["n_train"]
    epoch = CORE_SECONDS[recipe.name] / processor.cores * images / 50_000
    if recipe.precision != "float32" and not processor.bf16:
        epoch *= FLOAT32_FACTOR
    known_from = f"a guess from {processor.cores} cores; `python -m cifar_utils doctor` measures it"
    for earlier in list_runs():
        info, trained = earlier.info, earlier.info.get("recipe") or {}
        here = (info.get("device"), info.get("threads")) == (processor.name, processor.cores)
        alike = trained.get("name") == recipe.name and info["dataset"]["n_train"] == images
        if here and alike and "training" in info["seconds"] and earlier.name != run.name:
            epoch = info["seconds"]["training"] / trained["epochs"]
            known_from = f"as in run {earlier.name}"
            break
    seconds = OTHER_SECONDS * len(stages)
    if "03_training" in stages:
        history = run.path("history.csv")
        done = len(history.read_text(encoding="utf-8").splitlines()) - 1 if history.exists() else 0
        seconds += epoch * max(0, recipe.epochs - done)
    return seconds / 60, known_from


def open_trained_run(stage, run_name="", **given):
    """Start a stage that needs trained weights, for a notebook that may be opened first.

    Args:
        stage: A name from `STAGES`: notebook 04's.
        run_name: A run's name; empty takes the newest run with weights. Where there is none,
            notebook 3 is executed first, with the recipe `quick`, and says so.
        **given: The notebook's other parameters, to be checked.

    Returns:
        A `Run` whose stage is started.

    Raises:
        RunError: If there is no run of that name, or it has no weights.
        CifarError: If notebook 3 failed.
    """
    check_notebook(run_name=run_name, **given)
    if not run_name and latest_run_with_weights() is None:
        print("There is no trained network yet: notebook 3 trains one now (recipe quick).")
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "03_training.ipynb"
            try:
                _execute(target.stem, target, {"demo": False}, print)
            except (CellFailed, KernelDied) as error:
                raise CifarError(f"Notebook 3 failed: {error}. Open it and run it.") from None
    return start_trained_run(stage, run_name, **given)


def describe_result(run, seconds):
    """Say how a finished run ended: data set, accuracy with its interval, report."""
    report, metrics, info = save_report(run), run.read_json("metrics.json"), run.info["dataset"]
    data = "SYNTHETIC DATA, not CIFAR-10 (see `python -m cifar_utils data`)"
    if info["name"] != "synthetic":
        kind = "the official archive" if info["official"] else "not the official archive"
        data = f"CIFAR-10 from {info['source']} ({kind})"
    lines = [f"Run {run.name}: {format_clock(seconds)} in all", f"Data set: {data}"]
    if metrics:
        accuracy = metrics["accuracy"]
        lines.append(
            f"Test accuracy: {accuracy['value']:.2%} (95 % interval {accuracy['low']:.2%} to"
            f" {accuracy['high']:.2%}, n = {metrics['n']:,})"
        )
    return "\n".join([*lines, f"Report: {relative_to_project(report)}"])
