"""Old names, until nothing imports them."""

from cifar_utils.runs.run import find_changes  # noqa: F401
from cifar_utils.runs.store import (  # noqa: F401
    LEAK_FILE,
    list_references,
    load_leak,
    reference_dir,
)


class _Old:
    def __init__(self, run):
        self.folder, self.info, self.metrics = run.dir, run.info, run.read_json("metrics.json")
        self.recipe, self.seed = run.info["recipe"]["name"], run.info["seed"]
        self.changes, self.title = run.changes, run.title


def load_references(recipe=None):
    return [_Old(run) for run in list_references(recipe)]
