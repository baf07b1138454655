"""The fast network: frozen patch whitening, identity initialisation, three convolution blocks.

After airbench (Jordan, "94 % on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498).
"""

from cifar_utils.backend import keras
from cifar_utils.data.preprocessing import scale_images
from cifar_utils.models.layers import (
    FusedBatchNormalization,
    FusedGelu,
    PartialIdentity,
    compute_whitening,
    make_spread,
)

PATCH_SIZE = 2
# Of batch normalisation. airbench's 1e-12 would divide a map that is zero everywhere by nearly
# nothing; the variances of real maps are far above both.
BN_EPSILON = 1e-6
WHITENING_IMAGES = 5_000  # airbench's number: 4.8 million patches for twelve directions


def build_fast_network(recipe, num_classes=10):
    """Build the fast network as it is trained: fused layers, initial weights, images of any size.

    A 2x2 whitening convolution; three blocks of two 3x3 convolutions, the first of them pooled,
    each batch-normalised (without a learnt scale, as in airbench) and passed through a GELU; the
    maximum of each map; one dense layer, its outputs scaled down.

    Args:
        recipe: A `runs.Recipe`; its `widths`, `whitening`, `identity`, `bn_momentum` and
            `logit_scale` are used.
        num_classes: Number of outputs.

    Returns:
        An uncompiled `keras.Model` from float32 images (n, side, side, 3) in [0, 1] to class
        probabilities (n, num_classes). Call `adapt_whitening` before training it.
    """
    layers = keras.layers
    make_kernels = PartialIdentity if recipe.identity else make_spread
    stack = [
        keras.Input((None, None, 3), name="images"),
        layers.Conv2D(
            2 * PATCH_SIZE**2 * 3,
            PATCH_SIZE,
            kernel_initializer="zeros" if recipe.whitening else make_spread(),
            trainable=not recipe.whitening,
            name="whitening",
        ),
        FusedGelu(name="whitening_gelu"),
    ]
    for block, filters in enumerate(recipe.widths, start=1):
        for place in (1, 2):
            name = f"conv{block}_{place}"
            # An initialiser each: a shared one repeats itself.
            stack.append(
                layers.Conv2D(
                    filters,
                    3,
                    padding="same",
                    use_bias=False,
                    kernel_initializer=make_kernels(),
                    name=name,
                )
            )
            if place == 1:
                stack.append(layers.MaxPooling2D(2, name=f"pool{block}"))
            stack += [
                FusedBatchNormalization(
                    momentum=recipe.bn_momentum, epsilon=BN_EPSILON, scale=False, name=f"{name}_bn"
                ),
                FusedGelu(name=f"{name}_gelu"),
            ]
    dense = {"use_bias": False, "kernel_initializer": make_spread()}
    # float32 whatever the precision of the rest: half precision loses small classes.
    stack += [
        layers.GlobalMaxPooling2D(name="pool"),
        layers.Dense(num_classes, dtype="float32", name="logits", **dense),
        layers.Rescaling(recipe.logit_scale, dtype="float32", name="scaled_logits"),
        layers.Activation("softmax", dtype="float32", name="probs"),
    ]
    return keras.Sequential(stack, name="fast_cnn")


def adapt_whitening(model, images):
    """Compute the whitening filters of a freshly built fast network; does nothing to others.

    Args:
        model: From `build_fast_network`.
        images: uint8 training images; the first `WHITENING_IMAGES` of them are used.
    """
    for layer in model.layers:
        if layer.name == "whitening" and not layer.trainable:
            few = scale_images(images[:WHITENING_IMAGES])
            layer.set_weights(compute_whitening(few, PATCH_SIZE))
