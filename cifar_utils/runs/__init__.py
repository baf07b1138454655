"""Run folders, recipes and parameters. Start with `open_run`."""

from cifar_utils.runs.parameters import (
    PARAMETERS,
    check_notebook,
    check_parameter,
    check_parameters,
)
from cifar_utils.runs.recipes import RECIPES, Recipe, get_recipe
from cifar_utils.runs.run import (
    NOTEBOOKS,
    STAGES,
    Run,
    read_history,
    read_preprocessing,
    write_history,
)
from cifar_utils.runs.store import (
    create_run,
    find_reference,
    find_run,
    latest_run_with_weights,
    list_references,
    list_runs,
    open_run,
    start_trained_run,
)

__all__ = [
    "NOTEBOOKS",
    "PARAMETERS",
    "RECIPES",
    "STAGES",
    "Recipe",
    "Run",
    "check_notebook",
    "check_parameter",
    "check_parameters",
    "create_run",
    "find_reference",
    "find_run",
    "get_recipe",
    "latest_run_with_weights",
    "list_references",
    "list_runs",
    "open_run",
    "read_history",
    "read_preprocessing",
    "start_trained_run",
    "write_history",
]
