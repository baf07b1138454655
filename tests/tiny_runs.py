"""Small trainings on a part of the synthetic set, shared by the tests of a session."""

import dataclasses
import functools

from cifar_utils.data import load_dataset
from cifar_utils.runs.run import Run
from cifar_utils.runs.store import create_run
from cifar_utils.training.loop import train

EPOCHS, STEPS = 3, 9  # 900 training images in batches of 100
TINY = {"recipe": "quick", "dataset": "synthetic", "epochs": EPOCHS, "batch_size": 100}


@functools.cache
def _load_part():
    whole = load_dataset("synthetic")
    return dataclasses.replace(
        whole, train_images=whole.train_images[:1000], train_labels=whole.train_labels[:1000]
    )


def open_again(folder):
    """Return the run in a folder as another process would see it, with the small data set."""
    run = Run(folder)
    run.dataset = _load_part()
    return run


def make_run(name, **changes):
    """Open a run of three short epochs in stage 03."""
    run = open_again(create_run(name, TINY | {"seed": 0} | changes).dir)
    run.start_stage("03_training")
    return run


@functools.cache
def train_once(name, seed=0):
    """Train a tiny run to its end; returns `(run, model, history)`."""
    run = make_run(name, seed=seed)
    return run, *train(run)
