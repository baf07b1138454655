"""Trainings without a run folder, for the benchmarks: the calls of notebook 3's cells, in a row."""

import time

import numpy as np

from cifar_utils import models, training
from cifar_utils.backend import keras
from cifar_utils.data.preprocessing import Preprocessing
from cifar_utils.evaluation import average_views, make_views
from cifar_utils.runs.machine import detect_processor


def prepare(recipe, images, labels, seed=0):
    """Return the compiled network and the `AugmentedBatches` of a recipe, for uint8 images."""
    training.seed_everything(seed, recipe.deterministic)
    preprocessing = Preprocessing.from_recipe(recipe, seed)
    batches = training.AugmentedBatches(images, labels, recipe.batch_size, preprocessing)
    with training.use_precision(training.choose_precision(recipe.precision)):
        model = models.build(recipe)
        training.compile_model(model, recipe, len(batches))
    models.adapt_whitening(model, images)
    return model, batches


def train(recipe, dataset, seed=0, callbacks=()):
    """Train once, and measure on the images held out. The test set is not used.

    Returns:
        A dict of `seconds`, from uint8 arrays to the final weights, `accuracy` by one view and
        `accuracy_tta` by six.
    """
    start = time.perf_counter()
    part, held_out = Preprocessing.from_recipe(recipe, seed).split(dataset.train_labels)
    images, labels = dataset.train_images[held_out], dataset.train_labels[held_out]
    model, batches = prepare(recipe, dataset.train_images[part], dataset.train_labels[part], seed)
    model.fit(
        batches.stream(),
        validation_data=training.make_val_data(images, labels),
        epochs=recipe.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[training.FollowEpoch(batches), *callbacks],
    )
    seconds = time.perf_counter() - start
    model = models.unfuse(model)
    probs = [training.predict_probs(model, view) for view in make_views(images, "six")]
    views = {"accuracy": probs[0], "accuracy_tta": average_views(np.array(probs), "six")}
    return {"seconds": round(seconds, 2)} | {
        name: round(float(np.mean(view.argmax(axis=1) == labels)), 5)
        for name, view in views.items()
    }


def train_missing(wanted, rows, dataset, save):
    """Train what has no row yet, and save after each.

    Args:
        wanted: Triples `(label, recipe, seed)`; the label is a dict that tells a row from others.
        rows: What was measured before; rows that are not wanted are dropped.
        dataset: A `data.Dataset`.
        save: Is called with all rows, in the order of `wanted`.
    """
    found = [
        next((row for row in rows if label.items() <= row.items()), None) for label, *_ in wanted
    ]
    for i, (label, recipe, seed) in enumerate(wanted):
        if found[i] is None:
            found[i] = label | train(recipe, dataset, seed)
            print(found[i], flush=True)
            save([row for row in found if row])


def describe_machine():
    """Return what trains here: processor, cores, features; GPU and backend if not the usual."""
    processor = detect_processor()
    device, backend = training.describe_device(), keras.backend.backend()
    words = [processor.name, f"{processor.cores} cores", *processor.features]
    words += [device] if device != processor.name else []
    return ", ".join(words + ([backend] if backend != "tensorflow" else []))
