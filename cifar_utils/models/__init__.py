"""The networks: the original one, the fast one, and what makes them train faster. Needs Keras."""

from cifar_utils.backend import pinned_settings
from cifar_utils.models.documented import build_documented_network
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
