"""The networks by name, the documented one, and how the learning rate falls."""

import numpy as np

from cifar_utils.backend import keras
from cifar_utils.models.fast import build_fast_network
from cifar_utils.models.layers import FusedBatchNormalization

# The documented code: `if epoch > 30`, `> 60`, `> 90`, epochs counted from 0. So the first rate
# holds for 31 epochs, and there is a fourth. The documented prose: 1-30, 31-60, 61-100.
DOCUMENTED_DROPS = {"code": (31, 61, 91), "prose": (30, 60)}


def build_model(recipe, num_classes=10, training=False):
    """Build the network of a recipe.

    Args:
        recipe: A `recipes.Recipe`.
        num_classes: Number of outputs.
        training: Whether to build it as it is trained: fused batch normalisation, and for the fast
            network its initial weights and images of any size. The same function and the same
            weights in the same order; without it, all layers are Keras's own, so that what is
            saved loads wherever Keras does.

    Returns:
        An uncompiled `keras.Model` from float32 images (n, 32, 32, 3) in [0, 1] to class
        probabilities (n, num_classes).
    """
    build = build_fast_network if recipe.network == "fast" else build_documented_network
    return build(recipe, num_classes, training)


def build_documented_network(recipe, num_classes=10, training=False):
    """Build the documented network: three convolutions, two dense layers, 261,194 parameters.

    Args:
        recipe: A `recipes.Recipe`; its `dropout` and `bn_momentum` are used.
        num_classes: Number of outputs.
        training: See `build_model`.

    Returns:
        An uncompiled `keras.Model`; see `build_model`.
    """
    layers = keras.layers
    map_norm = FusedBatchNormalization if training else layers.BatchNormalization
    stack = [keras.Input((32, 32, 3), name="images")]
    for i, filters in enumerate((32, 64, 128), start=1):
        stack += [
            layers.Conv2D(filters, 3, activation="relu", name=f"conv{i}"),
            map_norm(momentum=recipe.bn_momentum, name=f"conv{i}_bn"),
            layers.MaxPooling2D(2, name=f"pool{i}"),
        ]
    stack.append(layers.Flatten(name="flatten"))
    for i, units in enumerate((256, 128), start=1):
        stack += [
            layers.Dense(units, activation="relu", name=f"dense{i}"),
            layers.BatchNormalization(momentum=recipe.bn_momentum, name=f"dense{i}_bn"),
            layers.Dropout(recipe.dropout, name=f"dropout{i}"),
        ]
    # float32 whatever the precision of the rest: a softmax in half precision loses small classes.
    stack.append(layers.Dense(num_classes, activation="softmax", dtype="float32", name="probs"))
    return keras.Sequential(stack, name="documented_cnn")


def build_schedule(recipe, steps_per_epoch):
    """Build the learning rate as a function of the step.

    Args:
        recipe: A `recipes.Recipe`; `schedule`, `learning_rate` and `epochs` are used. "code" and
            "prose" are the two readings of the documented one, x 0.1 at fixed epochs whatever
            `epochs` is; "cosine" warms up linearly over the first fifth, then falls to zero along
            a cosine (Loshchilov and Hutter, arXiv:1608.03983); "linear" falls
            from the first step to zero along a straight line.
        steps_per_epoch: Steps in one epoch.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`.
    """
    schedules = keras.optimizers.schedules
    rate = recipe.learning_rate
    if recipe.schedule == "cosine":
        total = recipe.epochs * steps_per_epoch
        warmup = max(1, total // 5)
        return schedules.CosineDecay(
            rate / 20, max(1, total - warmup), warmup_target=rate, warmup_steps=warmup
        )
    if recipe.schedule == "linear":
        return schedules.PolynomialDecay(rate, recipe.epochs * steps_per_epoch, 0.0)
    drops = DOCUMENTED_DROPS[recipe.schedule]
    # Keras holds a value up to and including its boundary; steps are counted from 0.
    boundaries = [epoch * steps_per_epoch - 1 for epoch in drops]
    return schedules.PiecewiseConstantDecay(
        boundaries, [rate * 0.1**i for i in range(len(drops) + 1)]
    )


def compute_learning_rates(recipe, points_per_epoch=1):
    """Evaluate a recipe's schedule, for a plot or a table.

    Args:
        recipe: A `recipes.Recipe`.
        points_per_epoch: Points at equal distances; the first is the start of each epoch.

    Returns:
        `(epochs, rates)`, float arrays of length `recipe.epochs * points_per_epoch`; epochs
        count from 0 and are fractional between.
    """
    steps = np.arange(recipe.epochs * points_per_epoch)
    fine = 100  # steps between points, so that the warm-up's end is not rounded to a whole point
    schedule = build_schedule(recipe, points_per_epoch * fine)
    rates = np.array([float(schedule(int(step) * fine)) for step in steps])
    return steps / points_per_epoch, rates


def describe_layers(model):
    """List the layers of a model, for the table and the diagram.

    Args:
        model: A built Keras model.

    Returns:
        Rows `(name, kind, output_shape, parameters)`, the output shape without the batch.
    """
    return [
        (layer.name, type(layer).__name__, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers
    ]
