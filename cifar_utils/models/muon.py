"""The Muon optimizer for convolution kernels, with Nesterov SGD for everything else."""

from cifar_utils.backend import keras

# Coefficients of the quintic Newton-Schulz iteration (Jordan, Muon, 2024): they trade an exact
# limit for a steep slope at zero, so that few steps bring all singular values near one.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix, steps=3):
    """Replace the singular values of a matrix by values near one.

    Args:
        matrix: Tensor (rows, columns).
        steps: Newton-Schulz iterations. Three bring most singular values to 0.5..1.2.

    Returns:
        Tensor of the same shape.
    """
    ops = keras.ops
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.norm(x) + 1e-7)
    for _ in range(steps):
        gram = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return ops.transpose(x) if tall else x


@keras.saving.register_keras_serializable("cifar_utils")
class Muon(keras.optimizers.Optimizer):
    """Muon on the convolution kernels, Nesterov SGD on the rest.

    The update of a kernel (height, width, channels_in, filters), seen as a matrix of one row per
    filter, is its averaged gradient made orthogonal, and the kernel is held at a norm of
    sqrt(filters) (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024,
    as in airbench). `keras.optimizers.Muon` updates two-dimensional variables only. The defaults
    are for batches of 500: the rates of plain SGD grow with the batch, Muon's hardly does.

    Args:
        learning_rate: Of the convolution kernels; a number or a schedule.
        momentum: Of the convolution kernels.
        dense_ratio: Learning rate of matrices over that of kernels.
        bias_ratio: Learning rate of vectors over that of kernels.
        sgd_momentum: Of matrices and vectors.
        sgd_decay: Share of a matrix or vector lost per step, over the learning rate.
        ns_steps: Newton-Schulz iterations; with 0 kernels get plain Nesterov SGD as well.
    """

    def __init__(
        self,
        learning_rate=0.24,
        momentum=0.6,
        dense_ratio=1.7,
        bias_ratio=110.0,
        sgd_momentum=0.85,
        sgd_decay=0.03,
        ns_steps=3,
        name="muon",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.dense_ratio = dense_ratio
        self.bias_ratio = bias_ratio
        self.sgd_momentum = sgd_momentum
        self.sgd_decay = sgd_decay
        self.ns_steps = ns_steps

    def build(self, variables):
        """Make one momentum buffer per variable."""
        if self.built:
            return
        super().build(variables)
        self._momenta = [
            self.add_variable_from_reference(variable, name="momentum") for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        """Update one variable."""
        ops = keras.ops
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)
        average = self._momenta[self._get_variable_index(variable)]
        is_kernel = len(variable.shape) == 4
        momentum = self.momentum if is_kernel else self.sgd_momentum
        self.assign(average, average * momentum + gradient)
        step = gradient + average * momentum  # Nesterov
        if is_kernel and self.ns_steps:
            filters = variable.shape[-1]
            matrix = ops.transpose(ops.reshape(step, (-1, filters)))
            step = ops.reshape(ops.transpose(orthogonalise(matrix, self.ns_steps)), variable.shape)
            scale = filters**0.5 / (ops.norm(ops.reshape(variable, (-1,))) + 1e-7)
            self.assign(variable, variable * scale - rate * step)
        else:
            ratio = {1: self.bias_ratio, 2: self.dense_ratio}.get(len(variable.shape), 1.0)
            decay = 0.0 if is_kernel else self.sgd_decay * rate
            self.assign(variable, variable * (1 - decay) - rate * ratio * step)

    def get_config(self):
        """Return the constructor's arguments."""
        names = ("momentum", "dense_ratio", "bias_ratio", "sgd_momentum", "sgd_decay", "ns_steps")
        return super().get_config() | {name: getattr(self, name) for name in names}
