"""Run folders, recipes and parameters."""

from cifar_utils.runs.history import find_reference, read_history, read_preprocessing, write_history
from cifar_utils.runs.parameters import PARAMETERS, check_parameters
from cifar_utils.runs.recipes import RECIPES, Recipe, get_recipe
from cifar_utils.runs.run import NOTEBOOKS, STAGES, Run
from cifar_utils.runs.store import find_run, list_runs, open_run

__all__ = [
    "NOTEBOOKS",
    "PARAMETERS",
    "RECIPES",
    "STAGES",
    "Recipe",
    "Run",
    "check_parameters",
    "find_reference",
    "find_run",
    "get_recipe",
    "list_runs",
    "open_run",
    "read_history",
    "read_preprocessing",
    "write_history",
]
