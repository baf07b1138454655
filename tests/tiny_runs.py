"""Small trainings on a part of the synthetic set, shared by the tests of a session."""

import contextlib
import dataclasses
import functools
import time

from cifar_utils import models
from cifar_utils.backend import keras
from cifar_utils.data import load_dataset
from cifar_utils.inference.export import save_for_classifier
from cifar_utils.runs import Run, read_preprocessing
from cifar_utils.runs.store import create_run
from cifar_utils.training import (
    AugmentedBatches,
    Checkpoint,
    FollowEpoch,
    Progress,
    choose_precision,
    compile_model,
    make_val_data,
    seed_everything,
    use_precision,
)

EPOCHS, STEPS = 3, 9  # 900 training images in batches of 100
TINY = {"recipe": "quick", "dataset": "synthetic", "epochs": EPOCHS, "batch_size": 100}


class StopAt(keras.callbacks.Callback):
    """Stops a training as Ctrl-C does: at the end of an epoch, or after one of its batches."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.at, self.epoch = (epoch, batch), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        epoch, stop = self.at
        # Of a call of several steps, `batch` is the first or the last one, by Keras's version.
        reached = batch + self.model.steps_per_execution
        if stop is not None and self.epoch == epoch and reached > stop:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if (epoch, None) == self.at:
            raise KeyboardInterrupt


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


def train(run, callbacks=(), network=None, lr_schedule=None, preprocessing=None, fits=None):
    """Train a run as the cells of notebook 3 do; returns `(model, history)`.

    Args:
        run: A `runs.Run` in stage 03.
        callbacks: More Keras callbacks.
        network, lr_schedule, preprocessing: What somebody may edit in a cell: a function that
            returns a network of Keras's layers, the learning rate of an epoch, the augmentation.
        fits: More callbacks of each execution of the `fit` cell, which a KeyboardInterrupt may end.
    """
    recipe, data = run.recipe, run.dataset
    preprocessing = preprocessing or read_preprocessing(run)
    train_part, val_part = preprocessing.split(data.train_labels)
    images, labels = data.train_images[train_part], data.train_labels[train_part]
    val_images, val_labels = data.train_images[val_part], data.train_labels[val_part]
    precision = choose_precision(recipe.precision, run)
    start = time.perf_counter()
    seed_everything(run.parameters["seed"], recipe.deterministic)
    batches = AugmentedBatches(images, labels, recipe.batch_size, preprocessing)
    with use_precision(precision):
        model = models.fuse(network()) if network else models.build(recipe)
    models.adapt_whitening(model, images)
    compile_model(model, recipe, len(batches), lr_schedule)
    checkpoint = Checkpoint(run, batches, seconds=time.perf_counter() - start)
    for stops in fits or [()]:
        with contextlib.suppress(*([KeyboardInterrupt] if fits else [])):
            model.fit(
                batches.stream(),
                validation_data=make_val_data(val_images, val_labels),
                validation_batch_size=500,
                initial_epoch=checkpoint.restore(model),
                epochs=recipe.epochs,
                shuffle=False,
                verbose=0,
                callbacks=[FollowEpoch(batches), checkpoint, *callbacks, *stops, Progress(run)],
            )
    model = models.unfuse(model)
    save_for_classifier(run, model, val_images, val_labels)
    return model, checkpoint.history


@functools.cache
def train_once(name, seed=0):
    """Train a tiny run to its end; returns `(run, model, history)`."""
    run = make_run(name, seed=seed)
    return run, *train(run)
