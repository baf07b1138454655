"""Which run a notebook takes: continue one, or open a new folder."""

import datetime
import platform
import subprocess
import time

import cifar_utils
from cifar_utils import data
from cifar_utils.errors import ParameterError, RunError
from cifar_utils.files import check_free_space, project_root, relative_to_project, runs_dir
from cifar_utils.parameters import PARAMETERS, check_parameters
from cifar_utils.recipes import RECIPE_FIELDS, get_recipe
from cifar_utils.runs import RUN_BYTES, Run, list_runs, now_text


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
        A `Run` whose stage is started.

    Raises:
        ParameterError: If a name, type or value is not valid.
        RunError: If the run of that name has other parameters, or is in use.
    """
    given = check_parameters({"run_name": run_name or "", **given})
    run_name = given.pop("run_name")
    for name, value in given.items():
        if value is None and name not in RECIPE_FIELDS:
            raise ParameterError(f"{name} must be {PARAMETERS[name].describe()}, not None.")
    folder = runs_dir() / run_name
    if run_name and (folder / "run.json").exists():
        run = Run(folder)
        refuse_conflicts(run, given)
    else:
        run = None if run_name else _find_unfinished(stage, given)
        run = run or create_run(run_name, given)
    fixed = run.parameters
    recipe = get_recipe(given.get("recipe") or fixed.get("recipe") or "quick")
    resolved = {
        name: fixed.get(name, getattr(recipe, name, None)) if value is None else value
        for name, value in given.items()
    }
    run.update(parameters=resolved)
    run.start_stage(stage)
    return run


def _find_unfinished(stage, given):
    """Return the newest idle run in which `stage` is not done, unless its parameters differ."""
    waiting = (run for run in list_runs() if not run.is_done(stage) and not run.is_busy())
    run = next(waiting, None)
    return run if run and not _find_conflicts(run, given) else None


def _find_conflicts(run, given):
    """Return `{name: (the run's value, the given one)}` where both are set and differ."""
    fixed = run.parameters
    pairs = {n: (fixed[n], v) for n, v in given.items() if v is not None and n in fixed}
    # "auto" has long been decided for an existing run: it goes with whatever that was.
    if given.get("dataset") in ("auto", run.info.get("dataset", {}).get("name")):
        pairs.pop("dataset", None)
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def refuse_conflicts(run, given):
    """Raise if `given` differs from what the run was opened with."""
    conflicts = _find_conflicts(run, given)
    if conflicts:
        listed = ", ".join(f"{n} {old!r}, not {new!r}" for n, (old, new) in conflicts.items())
        raise RunError(
            f"Run {run.name!r} was opened with {listed}. A run keeps its parameters: take another"
            " name, or give the same values."
        )


def create_run(name, parameters):
    """Make a new run folder.

    Args:
        name: Its name; empty makes one from date, time and recipe.
        parameters: Checked parameters; `dataset` is loaded now, so that "auto" is decided once.

    Returns:
        A `Run` with status "open".

    Raises:
        RunError: If a run of that name exists.
    """
    check_free_space(runs_dir(), RUN_BYTES, "a run")
    dataset = data.load_dataset(parameters.get("dataset") or "auto")
    stem = name or f"{datetime.datetime.now():%Y%m%d-%H%M%S}-{parameters.get('recipe') or 'quick'}"
    folder = _make_folder(stem, must_be_new=bool(name))
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
            "owner": None,
            "parameters": {k: v for k, v in parameters.items() if v is not None},
            "dataset": {
                "name": dataset.name,
                "source": dataset.source,
                "fingerprint": dataset.fingerprint,
                "official": dataset.official,
                "note": dataset.note,
                "n_train": len(dataset.train_images),
                "n_test": len(dataset.test_images),
            },
            "seed": parameters.get("seed"),
            "versions": {
                "python": platform.python_version(),
                "cifar_utils": cifar_utils.__version__,
            },
            "git_commit": _git_commit(),
            "stages": {},
            "seconds": {},
        },
    )
    return run


def _make_folder(stem, must_be_new):
    """Make a folder that did not exist, counting up from `stem` where that is allowed."""
    runs_dir().mkdir(parents=True, exist_ok=True)
    for count in range(1, 1000):
        folder = runs_dir() / (stem if count == 1 else f"{stem}-{count}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            if must_be_new:
                break
    raise RunError(
        f"{relative_to_project(folder)} exists already. Take another name, or continue it with"
        f" `python -m cifar_utils run --name {stem} --resume`."
    )


def _git_commit():
    """Return the checkout's commit, with "+changes" if the tree differs from it, or None."""
    try:
        told = subprocess.run(
            [
                "git",
                "-C",
                project_root(),
                "describe",
                "--always",
                "--abbrev=40",
                "--dirty=+changes",
            ],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None
