"""The fast network: frozen patch whitening, identity initialisation, three convolution blocks.

After airbench (Jordan, "94 % on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498).
"""

import functools

from cifar_utils.backend import keras
from cifar_utils.models.layers import (
    FusedBatchNormalization,
    FusedGelu,
    PartialIdentity,
    PatchWhitening,
)

PATCH_SIZE = 2
# Of batch normalisation. airbench's 1e-12 would divide a map that is zero everywhere by nearly
# nothing; the variances of real maps are far above both.
BN_EPSILON = 1e-6


def build_fast_network(recipe, num_classes=10, training=False):
    """Build the fast network.

    A 2x2 whitening convolution; three blocks of two 3x3 convolutions, the first of them pooled,
    each batch-normalised (without a learnt scale, as in airbench) and passed through a GELU; the
    maximum of each map; one dense layer, its outputs scaled down.

    Args:
        recipe: A `recipes.Recipe`; its `widths`, `whitening`, `identity`, `bn_momentum` and
            `logit_scale` are used.
        num_classes: Number of outputs.
        training: Whether to build it for training: with its initial weights (all but those of
            `whitening`, which needs `adapt`), fused normalisation and activation, and for images of
            any size. Else of Keras's own layers, for 32x32; `set_weights` takes the other's.

    Returns:
        An uncompiled `keras.Model` from float32 images (n, 32, 32, 3) in [0, 1] to class
        probabilities (n, num_classes).
    """
    layers = keras.layers
    norm = FusedBatchNormalization if training else layers.BatchNormalization
    gelu = FusedGelu if training else functools.partial(layers.Activation, "gelu")
    size = None if training else 32
    stack = [keras.Input((size, size, 3), name="images")]
    if training and recipe.whitening:
        stack.append(PatchWhitening(PATCH_SIZE, name="whitening"))
    else:
        stack.append(
            layers.Conv2D(
                2 * PATCH_SIZE**2 * 3,
                PATCH_SIZE,
                trainable=not recipe.whitening,
                kernel_initializer=_make_spread(),
                name="whitening",
            )
        )
    stack.append(gelu(name="whitening_gelu"))
    # What is saved shall load without our initialiser; its weights replace all of them anyway.
    make_kernels = PartialIdentity if training and recipe.identity else _make_spread
    for block, filters in enumerate(recipe.widths, start=1):
        for place in (1, 2):
            name = f"conv{block}_{place}"
            stack.append(
                layers.Conv2D(
                    filters,
                    3,
                    padding="same",
                    use_bias=False,
                    kernel_initializer=make_kernels(),  # one each: a shared one repeats itself
                    name=name,
                )
            )
            if place == 1:
                stack.append(layers.MaxPooling2D(2, name=f"pool{block}"))
            stack += [
                norm(
                    momentum=recipe.bn_momentum,
                    epsilon=BN_EPSILON,
                    scale=False,
                    name=f"{name}_bn",
                ),
                gelu(name=f"{name}_gelu"),
            ]
    stack += [
        layers.GlobalMaxPooling2D(name="pool"),
        layers.Dense(
            num_classes,
            use_bias=False,
            dtype="float32",
            name="logits",
            kernel_initializer=_make_spread(),
        ),
        layers.Rescaling(recipe.logit_scale, dtype="float32", name="scaled_logits"),
        # float32 whatever the precision of the rest: half precision loses small classes.
        layers.Activation("softmax", dtype="float32", name="probs"),
    ]
    return keras.Sequential(stack, name="fast_cnn")


def _make_spread():
    """Return an initialiser of random weights, spread as PyTorch spreads them by default."""
    return keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")
