"""All runs: open one for a notebook, make a new one, find one by its name or the newest."""

import datetime
import platform
import subprocess
import time

import cifar_utils
from cifar_utils import data
from cifar_utils.data.preprocessing import split_train_val
from cifar_utils.errors import ParameterError, RunError
from cifar_utils.paths import check_free_space, project_root, relative_to_project, runs_dir
from cifar_utils.runs.parameters import PARAMETERS, check_notebook, check_parameter
from cifar_utils.runs.recipes import RECIPE_FIELDS, get_recipe
from cifar_utils.runs.run import NOT_STORED, RUN_BYTES, Run, now_text
from cifar_utils.text import suggest

# These do not change what is trained: they may differ from one time to the next.
FREE_PARAMETERS = (*NOT_STORED, "test_index", "demo")


def open_run(stage, run_name="", **given):
    """Check a notebook's parameters, choose its run, and start the stage.

    Args:
        stage: One of `STAGES` 01 to 03.
        run_name: A run's name, made if need be. Empty continues the newest run in which this stage
            is not done, if its parameters are compatible, and else opens a new one, named after
            date, time and recipe.
        **given: The notebook's parameters. None takes what an earlier stage of the run fixed, else
            the recipe's own value.

    Returns:
        A `Run` whose stage is started. Its `parameters` hold the checked values.

    Raises:
        ParameterError: If a name, type or value is not valid.
        RunError: If the run of that name has other parameters, or is in use.
    """
    given = check_notebook(run_name=run_name or "", **given)
    run_name = given.pop("run_name")
    for name, value in given.items():
        if value is None and name not in RECIPE_FIELDS:
            raise ParameterError(f"{name} must be {PARAMETERS[name].describe()}, not None.")
    folder = runs_dir() / run_name
    if run_name and (folder / "run.json").exists():
        run = Run(folder)
        refuse_conflicts(run, given)
    else:
        # Loaded first, since "auto" may mean something else today than when a run was opened.
        dataset = data.load_dataset(given.get("dataset", "auto"))
        run = None if run_name else _find_unfinished(stage, given, dataset)
        run = run or create_run(run_name, given, dataset)
    fixed = run.parameters
    recipe = get_recipe(given.get("recipe") or fixed.get("recipe") or "quick")
    resolved = {
        name: fixed.get(name, getattr(recipe, name, None)) if value is None else value
        for name, value in given.items()
    }
    run.start_stage(stage, resolved)
    return run


def _find_unfinished(stage, given, dataset):
    """Return the newest idle run in which `stage` is not done, unless it differs in something."""
    waiting = (run for run in list_runs() if not run.is_done(stage) and not run.is_busy())
    run = next(waiting, None)
    if run is None or _find_conflicts(run, given):
        return None
    # Of another version, a recipe of the same name may be a different one.
    opened = run.info["versions"]["cifar_utils"].split(".")[:2]
    same_version = opened == cifar_utils.__version__.split(".")[:2]
    if not same_version or run.info["dataset"]["fingerprint"] != dataset.fingerprint:
        return None
    run.dataset = dataset  # already loaded
    return run


def _find_conflicts(run, given):
    """Return `{name: (the run's value, the given one)}` where both are set and differ."""
    fixed = {n: v for n, v in run.parameters.items() if n not in FREE_PARAMETERS}
    pairs = {n: (fixed[n], v) for n, v in given.items() if v is not None and n in fixed}
    # What "auto" means is decided when a run is opened.
    if given.get("dataset") in ("auto", run.info.get("dataset", {}).get("name")):
        pairs.pop("dataset", None)
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def refuse_conflicts(run, given):
    """Raise if `given` differs from what the run was opened with."""
    if conflicts := _find_conflicts(run, given):
        listed = ", ".join(f"{n} {old!r}, not {new!r}" for n, (old, new) in conflicts.items())
        raise RunError(
            f"Run {run.name!r} was opened with {listed}. A run keeps its parameters: take another"
            " name, or give the same values."
        )


def create_run(name, parameters, dataset=None):
    """Make a new run folder; returns its `Run`, with status "open".

    Args:
        name: Its name; empty makes one from date, time and recipe.
        parameters: Checked parameters.
        dataset: The `Dataset`; None loads the one that the parameters name, so that "auto" is
            decided once.

    Raises:
        RunError: If a run of that name exists.
        ParameterError: If `val_fraction` leaves a class without a validation image.
    """
    check_free_space(runs_dir(), RUN_BYTES, "a run")
    if name and (runs_dir() / name).exists():
        raise RunError(
            f"{relative_to_project(runs_dir() / name)} exists already. Take another name, or,"
            f" if it is a run, continue it with `python -m cifar_utils run --name {name} --resume`."
        )
    dataset = dataset or data.load_dataset(parameters.get("dataset") or "auto")
    split_train_val(dataset.train_labels, parameters.get("val_fraction") or 0, seed=0)
    commit = _git_commit()  # before there is a folder: nothing slow while it is empty
    stem = name or f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{parameters.get('recipe') or 'quick'}"
    folder, count = runs_dir() / stem, 1
    while True:  # another process may have taken the name within this second
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            count += 1
            folder = runs_dir() / f"{stem}-{count}"
    run = Run(folder)
    run.dataset = dataset
    run.write_json(
        "run.json",
        {
            "name": run.name,
            "status": "open",
            "created_at": time.time(),
            "start": now_text(),
            "end": None,
            "parameters": {
                k: v for k, v in parameters.items() if v is not None and k not in NOT_STORED
            },
            "dataset": dataset.to_json(),
            "seed": parameters.get("seed"),
            "versions": {
                "python": platform.python_version(),
                "cifar_utils": cifar_utils.__version__,
            },
            "git_commit": commit,
            "stages": {},
            "seconds": {},
        },
    )
    return run


def start_trained_run(stage, run_name="", **given):
    """Start a stage of a run that holds trained weights; None if no run is named and none does.

    Args:
        stage: A name from `runs.STAGES`.
        run_name: A run's name; empty takes the newest run with weights.
        **given: The notebook's other parameters, to be checked.

    Raises:
        ParameterError: If a name, type or value is not valid.
        RunError: If there is no run of that name, or it has no weights.
    """
    run_name = check_notebook(run_name=run_name or "", **given)["run_name"]
    run = find_run(run_name) if run_name else latest_run_with_weights()
    if run is None:
        return None
    if not run.path("model.keras").exists():
        raise RunError(
            f"Run {run.name!r} has no trained weights. Finish it with `python -m cifar_utils run"
            f" --name {run.name} --resume`, or leave run_name empty for the newest trained run."
        )
    run.start_stage(stage)
    return run


def _git_commit():
    """Return the checkout's commit, with "+changes" if the tree differs from it, or None."""
    command = ["git", "-C", project_root(), "describe", "--always", "--abbrev=40"]
    try:
        told = subprocess.run(
            [*command, "--dirty=+changes"], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None


def list_runs():
    """List all runs, the newest first."""
    found = []
    for path in runs_dir().glob("*/run.json"):
        run = Run(path.parent)
        try:
            found.append((run.info.get("created_at", 0), run.name, run))
        except RunError as error:
            print(f"Left out: {error}")
    return [run for _, _, run in sorted(found, reverse=True)]


def latest_run_with_weights():
    """Return the newest run that holds trained weights, or None."""
    return next((run for run in list_runs() if run.path("model.keras").exists()), None)


def find_run(name):
    """Return the run called `name`; raises a `RunError` that names the nearest if there is none."""
    folder = runs_dir() / check_parameter("run_name", name)
    if (folder / "run.json").exists():
        return Run(folder)
    names = [run.name for run in list_runs()]
    hint = suggest(name, names) if names else "There is no run yet: `make run` makes one."
    raise RunError(f"There is no run {name!r} in {relative_to_project(runs_dir())}. {hint}")


def reference_dir():
    """Return the folder of the reference runs: small files of runs whose numbers are stated."""
    return project_root() / "outputs" / "reference"


def list_references(recipe=None):
    """List the reference runs (of one recipe), sorted by folder; none without a checkout."""
    found = reference_dir().glob(f"{recipe or '*'}/seed-*/run.json")
    return [Run(path.parent) for path in sorted(found)]


def find_reference(recipe, seed=0, **changes):
    """Return the reference run of a recipe and seed with exactly these changes, or None."""
    found = (r for r in list_references(recipe) if (r.info["seed"], r.changes) == (seed, changes))
    return next(found, None)


def read_reference(name):
    """Return the contents of a JSON file of the reference folder; {} without a checkout."""
    return Run(reference_dir()).read_json(name)


def load_leak():
    """Return the results of the experiment in which the test set is chosen by, {} if not here."""
    return read_reference("baseline/test_set_leak.json")
