"""Test-time augmentation: the average over six views of an image, as an ordinary Keras model.

The image, and the image moved by one pixel up and left, and down and right; each of the three as it
is and mirrored (Jordan, arXiv:2404.00498, section 3.5). The unmoved views count twice.
"""

from cifar_utils.backend import keras

SHIFTS = ((0, 0), (-1, -1), (1, 1))  # rows, columns
WEIGHTS = (0.25, 0.25, 0.125, 0.125, 0.125, 0.125)  # of the views, in the order of `SixViews`


@keras.saving.register_keras_serializable("cifar_utils")
class SixViews(keras.layers.Layer):
    """Turns images (n, h, w, c) into their six views (6n, h, w, c), one view after another."""

    def call(self, images):
        """Shift by one pixel, the border mirrored into the gap, and mirror left to right."""
        ops = keras.ops
        height, width = images.shape[1:3]
        padded = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        views = []
        for down, right in SHIFTS:
            moved = padded[:, 1 - down : 1 - down + height, 1 - right : 1 - right + width]
            views += [moved, ops.flip(moved, axis=2)]
        return ops.concatenate(views, axis=0)

    def compute_output_shape(self, input_shape):
        """Return the shape of the views; their number is not known before there are images."""
        return (None, *input_shape[1:])


@keras.saving.register_keras_serializable("cifar_utils")
class AverageViews(keras.layers.Layer):
    """Averages the answers to six views: probabilities (6n, k) to probabilities (n, k).

    What is averaged are logarithms, so that the result is the softmax of the averaged logits.
    """

    def call(self, probs):
        """Return the normalised weighted geometric mean."""
        ops = keras.ops
        views = ops.reshape(probs, (len(WEIGHTS), -1, probs.shape[-1]))
        weights = ops.reshape(ops.convert_to_tensor(WEIGHTS, views.dtype), (-1, 1, 1))
        # The smallest normal float32, not zero, whose logarithm is minus infinity.
        logs = ops.log(ops.maximum(views, 1.2e-38))
        return ops.softmax(ops.sum(weights * logs, axis=0))

    def compute_output_shape(self, input_shape):
        """Return the shape of the averaged probabilities."""
        return (None, input_shape[-1])


def add_test_time_augmentation(model):
    """Wrap a network so that it answers with the average over six views.

    Args:
        model: From float32 images (n, 32, 32, 3) to class probabilities (n, k).

    Returns:
        A `keras.Model` from and to the same, sharing the weights; six times the work.
    """
    inputs = keras.Input(model.input_shape[1:], name="images")
    outputs = AverageViews(name="average")(model(SixViews(name="views")(inputs)))
    return keras.Model(inputs, outputs, name=f"{model.name}_six_views")
