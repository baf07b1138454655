"""The original network. Notebook 3 spells it out in a cell, and a test compares the two."""

from cifar_utils.backend import keras


def build_documented_network(recipe, num_classes=10):
    """Build the original network: three convolutions, two dense layers, 261,194 parameters.

    Args:
        recipe: A `runs.Recipe`; its `dropout` and `bn_momentum` are used.
        num_classes: Number of outputs.

    Returns:
        An uncompiled `keras.Model` from float32 images (n, 32, 32, 3) in [0, 1] to class
        probabilities (n, num_classes), of Keras's own layers.
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
