"""The networks: the original one, the fast one, and what makes them train faster. Needs Keras."""

from cifar_utils.backend import keras, pinned_settings
from cifar_utils.models.fast import adapt_whitening, build_fast_network
from cifar_utils.models.layers import describe_layers, describe_network, fuse, unfuse

__all__ = [
    "adapt_whitening",
    "build",
    "build_documented_network",
    "build_fast_network",
    "describe_layers",
    "describe_network",
    "fuse",
    "unfuse",
]


def build(recipe, num_classes=10):
    """Build the network of a recipe as it is trained; `unfuse` gives the form that is saved.

    Args:
        recipe: A `runs.Recipe`.
        num_classes: Number of outputs.

    Returns:
        An uncompiled `keras.Model` from float32 images (n, 32, 32, 3) in [0, 1] to class
        probabilities (n, num_classes). The fast network takes images of any size; its first layer
        is zero until `adapt_whitening`.
    """
    with pinned_settings():
        if recipe.network == "fast":
            return build_fast_network(recipe, num_classes)
        return fuse(build_documented_network(recipe, num_classes))


def build_documented_network(recipe, num_classes=10):
    """Build the original network: three convolutions, two dense layers, 261,194 parameters.

    Notebook 3 spells it out in a cell, and a test compares the two.

    Args:
        recipe: A `runs.Recipe`; its `dropout` and `bn_momentum` are used.
        num_classes: Number of outputs.

    Returns:
        An uncompiled `keras.Model` of Keras's own layers; see `build`.
    """
    layers = keras.layers
    stack = [keras.Input((32, 32, 3), name="images")]
    for i, filters in enumerate((32, 64, 128), start=1):
        stack += [
            layers.Conv2D(filters, 3, activation="relu", name=f"conv{i}"),
            layers.BatchNormalization(momentum=recipe.bn_momentum, name=f"conv{i}_bn"),
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
