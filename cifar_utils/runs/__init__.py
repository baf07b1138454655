"""Run folders, recipes and parameters. Start with `open_run`."""

# ruff: noqa: F401
from cifar_utils.runs.parameters import PARAMETERS, check_notebook
from cifar_utils.runs.recipes import RECIPES, get_recipe
from cifar_utils.runs.run import Run, read_history, read_preprocessing, write_history
from cifar_utils.runs.store import (
    find_reference,
    find_run,
    list_references,
    open_run,
    start_trained_run,
)
