"""The documented convolutional network, and how its learning rate falls."""

import numpy as np

from cifar_utils.backend import keras

# The documented code: `if epoch > 30`, `> 60`, `> 90`, epochs counted from 0. So the first rate
# holds for 31 epochs, and there is a fourth. The documented prose: 1-30, 31-60, 61-100.
DOCUMENTED_DROPS = {"code": (31, 61, 91), "prose": (30, 60)}


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation of feature maps with TensorFlow's fused kernel, for training only.

    Keras 3 computes mean, variance and result in separate passes over memory; on a CPU they take a
    third of the documented network's training time. The fused kernel computes the same in one.
    Weights are those of `BatchNormalization`, under whose name a trained network is saved.
    """

    def call(self, inputs, training=None, mask=None):
        """Normalise; outside of training, and for anything but float32 maps, as Keras does."""
        fits = len(inputs.shape) == 4 and keras.backend.standardize_dtype(inputs.dtype) == "float32"
        if not (training and self.trainable and fits):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel gives the unbiased variance, and Keras keeps the biased one.
        n = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        variance = variance * ((n - 1) / n)
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return normalised


def build_model(recipe, num_classes=10, fused=False):
    """Build the documented network: three convolutions, two dense layers, 261,194 parameters.

    Args:
        recipe: A `recipes.Recipe`; its `dropout` and `bn_momentum` are used.
        num_classes: Number of outputs.
        fused: Whether to use `FusedBatchNormalization` (TensorFlow only): the same function and
            the same weights, faster to train.

    Returns:
        An uncompiled `keras.Model` from float32 images (n, 32, 32, 3) in [0, 1] to class
        probabilities (n, num_classes).
    """
    layers = keras.layers
    map_norm = FusedBatchNormalization if fused else layers.BatchNormalization
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
            a cosine (Loshchilov and Hutter, arXiv:1608.03983).
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
