"""Small trainings on the synthetic set, each made once per session, for the tests that share them."""

import functools

from cifar_utils.opening import create_run
from cifar_utils.training import train

EPOCHS = 3
TINY = {"recipe": "quick", "dataset": "synthetic", "epochs": EPOCHS, "batch_size": 500}


def make_run(name, **changes):
    """Open a run of three short epochs in stage 03."""
    run = create_run(name, TINY | {"seed": 0} | changes)
    run.start_stage("03_training")
    return run


@functools.cache
def train_once(name, seed=0):
    """Train a tiny run to its end; returns `(run, model, history)`."""
    run = make_run(name, seed=seed)
    return run, *train(run)
