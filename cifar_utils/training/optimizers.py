"""The optimizer of a recipe, its loss, and how its learning rate falls."""

import itertools
import math
import numbers

import numpy as np

from cifar_utils.backend import keras
from cifar_utils.errors import ParameterError
from cifar_utils.models.muon import Muon

# After how many epochs the original rate is cut to a tenth. Its code says `epoch > 30`, `> 60`,
# `> 90` with epochs from 0, so the first rate holds for 31 epochs; its prose: 1-30, 31-60, 61-100.
ORIGINAL_CUTS = {"code": (31, 61, 91), "prose": (30, 60)}


def build_schedule(recipe, steps_per_epoch, lr_schedule=None):
    """Build the learning rate as a function of the step.

    Args:
        recipe: A `runs.Recipe`; `schedule`, `learning_rate` and `epochs` are used. "code" and
            "prose" are the two readings of the original one, x 0.1 at fixed epochs whatever
            `epochs` is; "cosine" warms up linearly over the first fifth, then falls to zero along
            a cosine (Loshchilov and Hutter, arXiv:1608.03983); "linear" falls from the first step
            to zero along a straight line.
        steps_per_epoch: Steps in one epoch.
        lr_schedule: A function from the epoch, counted from 0, to the rate; instead of the
            recipe's schedule.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`.

    Raises:
        ParameterError: If `lr_schedule` gives something else than a positive number.
    """
    schedules, rate = keras.optimizers.schedules, recipe.learning_rate
    total = recipe.epochs * steps_per_epoch
    if lr_schedule is None and recipe.schedule == "cosine":
        warmup = max(1, total // 5)
        return schedules.CosineDecay(
            rate / 20, max(1, total - warmup), warmup_target=rate, warmup_steps=warmup
        )
    if lr_schedule is None and recipe.schedule == "linear":
        return schedules.PolynomialDecay(rate, total, 0.0)
    if lr_schedule is None:
        cuts = ORIGINAL_CUTS[recipe.schedule]

        def lr_schedule(epoch):
            return rate * 0.1 ** sum(epoch >= cut for cut in cuts)

    rates = [lr_schedule(epoch) for epoch in range(recipe.epochs)]
    for epoch, value in enumerate(rates):
        if not isinstance(value, numbers.Real) or not 0 < value < math.inf:
            raise ParameterError(
                f"lr_schedule({epoch}) gives {value!r}. It must give the learning rate of every"
                " epoch, a number above 0."
            )
    levels = [(float(rate), len(list(epochs))) for rate, epochs in itertools.groupby(rates)]
    if len(levels) == 1:  # Keras wants two levels or more
        levels *= 2
    ends = np.cumsum([epochs for _, epochs in levels])[:-1]
    # Keras holds a value up to and including its boundary; steps are counted from 0.
    boundaries = [int(end) * steps_per_epoch - 1 for end in ends]
    return schedules.PiecewiseConstantDecay(boundaries, [rate for rate, _ in levels])


def compute_learning_rates(recipe, points_per_epoch=1, lr_schedule=None):
    """Evaluate a recipe's schedule, for a plot or a table.

    Args:
        recipe: A `runs.Recipe`.
        points_per_epoch: Points at equal distances; the first is the start of each epoch.
        lr_schedule: See `build_schedule`.

    Returns:
        `(epochs, rates)`, float arrays of length `recipe.epochs * points_per_epoch`; epochs
        count from 0 and are fractional between.
    """
    steps = np.arange(recipe.epochs * points_per_epoch)
    fine = 100  # steps between points, so that the warm-up's end is not rounded to a whole point
    schedule = build_schedule(recipe, points_per_epoch * fine, lr_schedule)
    rates = np.array([float(schedule(int(step) * fine)) for step in steps])
    return steps / points_per_epoch, rates


def build_optimizer(recipe, steps_per_epoch, lr_schedule=None):
    """Build the optimizer of a recipe, with its schedule.

    Args:
        recipe: A `runs.Recipe`; Adam, Muon or, to compare with that, SGD.
        steps_per_epoch: Steps in an epoch; the learning rate depends on it.
        lr_schedule: See `build_schedule`.

    Returns:
        A `keras.optimizers.Optimizer`.
    """
    schedule = build_schedule(recipe, steps_per_epoch, lr_schedule)
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(schedule)
    decay = recipe.weight_decay
    if recipe.optimizer == "sgd":
        # airbench's ratios before it had Muon: kernels and matrices alike, vectors 64 times faster.
        ratios = {"momentum": 0.85, "dense_ratio": 1.0, "bias_ratio": 64.0}
        return Muon(schedule, **ratios, sgd_decay=decay, ns_steps=0)
    dense, bias = (rate * recipe.batch_size for rate in (recipe.dense_rate, recipe.bias_rate))
    return Muon(schedule, dense_ratio=dense, bias_ratio=bias, sgd_decay=decay)


def compile_model(model, recipe, steps_per_epoch, lr_schedule=None):
    """Compile a network as its recipe says, as notebook 3 does in a cell; returns it.

    Args:
        model: A `keras.Model`.
        recipe: A `runs.Recipe`.
        steps_per_epoch: See `build_optimizer`.
        lr_schedule: See `build_schedule`.
    """
    model.compile(
        optimizer=build_optimizer(recipe, steps_per_epoch, lr_schedule),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        steps_per_execution=recipe.steps_per_execution,
        # XLA is slower on a CPU, and "auto" means something else in each version. JAX needs it.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    return model
