"""Train a recipe for twenty steps with whatever backend there is; run in a process by test_jax.

    python twenty_steps.py RECIPE FOLDER

Begins with the weights in FOLDER/start.npz, or writes them there; writes FOLDER/<backend>.npz:
the loss of each step, the weights after the first and the last one, and the probabilities
of some validation images in the saved form.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np

from cifar_utils import models
from cifar_utils.backend import keras
from cifar_utils.data import load_dataset
from cifar_utils.data.preprocessing import Preprocessing
from cifar_utils.runs import get_recipe
from cifar_utils.training import AugmentedBatches, compile_model, predict_probs, seed_everything

EPOCHS, STEPS = 2, 10  # two epochs, so that a change of the image size is among the steps
BATCH_SIZE = 50  # the wide networks take long with more


def train(name, folder):
    """Train, and write what it came to."""
    # Dropout is random numbers of the backend's own: the one thing that cannot be compared.
    recipe = dataclasses.replace(
        get_recipe(name, epochs=EPOCHS, batch_size=BATCH_SIZE, val_fraction=0.1),
        dropout=0.0,
        steps_per_execution=1,
    )
    preprocessing = Preprocessing.from_recipe(recipe, seed=0)
    dataset = load_dataset("synthetic")
    train_part, val_part = preprocessing.split(dataset.train_labels)
    train_part = train_part[: STEPS * BATCH_SIZE]
    images, labels = dataset.train_images[train_part], dataset.train_labels[train_part]
    seed_everything(0)
    batches = AugmentedBatches(images, labels, BATCH_SIZE, preprocessing)
    model = compile_model(models.build(recipe), recipe, len(batches))
    models.adapt_whitening(model, images)
    start = folder / "start.npz"
    if start.exists():
        with np.load(start) as saved:
            model.set_weights([saved[name] for name in saved.files])
    else:
        np.savez(start, *model.get_weights())
    losses, first = [], None
    for epoch in range(EPOCHS):
        batches.epoch = epoch
        for step in range(STEPS):
            model.reset_metrics()
            logs = model.train_on_batch(*batches[step], return_dict=True)
            losses.append(float(logs["loss"]))
            first = first or model.get_weights()
    weights = {f"w{i}": weight for i, weight in enumerate(model.get_weights())}
    weights |= {f"first{i}": weight for i, weight in enumerate(first)}
    probs = predict_probs(models.unfuse(model), dataset.train_images[val_part][:200])
    np.savez(
        folder / f"{keras.backend.backend()}.npz",
        losses=losses,
        probs=probs,
        tensorflow="tensorflow" in sys.modules,
        **weights,
    )


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]))
