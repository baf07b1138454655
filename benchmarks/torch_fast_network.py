"""The fast network and its optimizer in eager PyTorch, to measure ours against.

    python benchmarks/training_speed.py        # runs this where PyTorch is installed

The same function as `cifar_utils.models.fast` (a test copies the weights over and compares) and the
same updates as `cifar_utils.models.muon` (a test compares one step), under `torch.autocast` where
ours is in mixed bfloat16. What it trains on is augmented beforehand and held in memory, while ours
augments as it goes: that favours PyTorch. Its learning rate stays where ours falls; that costs
neither time.
"""

import time

import torch
from torch import nn

from cifar_utils.data.preprocessing import Preprocessing, scale_images
from cifar_utils.models.fast import BN_EPSILON, PATCH_SIZE, WHITENING_IMAGES
from cifar_utils.models.layers import compute_whitening
from cifar_utils.models.muon import NEWTON_SCHULZ
from cifar_utils.training import AugmentedBatches

FORMAT = torch.channels_last  # faster than contiguous memory for every recipe and image size
HELD_BATCHES = 4  # augmented batches in memory; they come in turn


class FastNetwork(nn.Module):
    """`cifar_utils.models.fast.build_fast_network`, from images (n, 3, h, w) to logits (n, 10)."""

    def __init__(self, recipe, num_classes=10):
        super().__init__()
        channels = 2 * PATCH_SIZE**2 * 3
        stack = [nn.Conv2d(3, channels, PATCH_SIZE).requires_grad_(False), nn.GELU()]
        for filters in recipe.widths:
            for place in (1, 2):
                stack.append(make_convolution(channels, filters))
                if place == 1:
                    stack.append(nn.MaxPool2d(2))
                norm = nn.BatchNorm2d(filters, BN_EPSILON, momentum=1 - recipe.bn_momentum)
                norm.weight.requires_grad_(False)  # ours has no scale: this one stays at one
                stack += [norm, nn.GELU()]
                channels = filters
        self.features = nn.Sequential(*stack, nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.logits = nn.Linear(channels, num_classes, bias=False)
        self.logit_scale = recipe.logit_scale

    def forward(self, images):
        """Compute the logits, in float32 as ours are."""
        features = self.features(images)
        with torch.autocast("cpu", enabled=False):
            return self.logits(features.float()) * self.logit_scale


def make_convolution(channels, filters):
    """Return a 3x3 convolution that starts as `layers.PartialIdentity` does."""
    convolution = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
    copies = min(channels, filters)
    with torch.no_grad():
        nn.init.dirac_(convolution.weight[:copies])
    return convolution


@torch.no_grad()
def adapt_whitening(network, images):
    """Set the whitening filters as `models.adapt_whitening` does; images float (n, h, w, 3)."""
    kernel, bias = compute_whitening(images, PATCH_SIZE)
    network.features[0].weight.copy_(torch.from_numpy(kernel).permute(3, 2, 0, 1))
    network.features[0].bias.copy_(torch.from_numpy(bias))


@torch.no_grad()
def copy_weights(network, weights):
    """Set all weights from those of the Keras network, in the order of its `get_weights()`."""
    left = [torch.tensor(array) for array in weights]
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(left.pop(0).permute(3, 2, 0, 1))
            if module.bias is not None:
                module.bias.copy_(left.pop(0))
        elif isinstance(module, nn.BatchNorm2d):
            for own in (module.bias, module.running_mean, module.running_var):
                own.copy_(left.pop(0))
        elif isinstance(module, nn.Linear):
            module.weight.copy_(left.pop(0).T)
    if left:
        raise ValueError(f"{len(left)} arrays of the Keras network have no place in this one.")


def orthogonalise(matrix, steps):
    """Do what `muon.orthogonalise` does."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """`cifar_utils.models.muon.Muon` for PyTorch's layout of the kernels.

    Args:
        parameters: What to train.
        like: The `cifar_utils.models.muon.Muon` to take the settings from.
        learning_rate: Of the convolution kernels.
    """

    def __init__(self, parameters, like, learning_rate):
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        super().__init__(trained, {"lr": learning_rate})
        self.like = like

    @torch.no_grad()
    def step(self):
        """Update every parameter."""
        for group in self.param_groups:
            for parameter in group["params"]:
                update = self._update_kernel if parameter.ndim == 4 else self._update_other
                update(parameter, group["lr"])

    def _average(self, parameter, momentum):
        """Return the Nesterov step: the gradient plus its running sum, looked ahead."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        average = state["momentum"]
        average.mul_(momentum).add_(parameter.grad)
        return parameter.grad.add(average, alpha=momentum)

    def _update_kernel(self, kernel, rate):
        step = self._average(kernel, self.like.momentum)
        step = orthogonalise(step.reshape(len(step), -1), self.like.ns_steps).view(kernel.shape)
        kernel.mul_(len(kernel) ** 0.5 / kernel.norm()).add_(step, alpha=-rate)

    def _update_other(self, parameter, rate):
        step = self._average(parameter, self.like.sgd_momentum)
        ratio = self.like.dense_ratio if parameter.ndim == 2 else self.like.bias_ratio
        parameter.mul_(1 - self.like.sgd_decay * rate).add_(step, alpha=-rate * ratio)


def make_trainer(recipe, images, precision):
    """Return a function of `(images, labels)` that takes one training step and returns the loss.

    Args:
        recipe: A `runs.Recipe` of the fast network.
        images: float32 (n, h, w, 3), to compute the whitening filters from.
        precision: "float32" or "bfloat16".
    """
    from cifar_utils.training import build_optimizer

    network = FastNetwork(recipe)
    adapt_whitening(network, images)
    network = network.to(memory_format=FORMAT).train()
    optimizer = Muon(network.parameters(), build_optimizer(recipe, 1), recipe.learning_rate)

    def take_step(images, labels):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(images)
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return take_step


def hold_batches(batches, epoch):
    """Augment a few full batches of an epoch; returns `[(images (b, 3, h, w), labels)]`."""
    batches.epoch = epoch
    held = []
    for step in range(min(HELD_BATCHES, len(batches.images) // batches.batch_size)):
        images, targets = batches[step]
        images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=FORMAT)
        held.append((images, torch.from_numpy(targets).argmax(1)))
    return held


def time_steps(take_step, held, seconds):
    """Train for some seconds, two steps at least, after one that is not timed.

    Returns:
        A dict of `images` and `seconds`.
    """
    take_step(*held[0])
    count, steps, start = 0, 0, time.perf_counter()
    while steps < 2 or time.perf_counter() - start < seconds:
        images, labels = held[steps % len(held)]
        take_step(images, labels)
        count, steps = count + len(images), steps + 1
    return {"images": count, "seconds": round(time.perf_counter() - start, 3)}


def time_recipe(recipe, images, labels, epochs, precision, seconds):
    """Yield one dict per image size: `size`, `images` and `seconds`.

    Args:
        recipe: A `runs.Recipe` of the fast network.
        images, labels: What is learnt from: uint8 (n, 32, 32, 3), and their classes.
        epochs: The epoch of each image size, by size.
        precision: "float32" or "bfloat16".
        seconds: For how long to train each.
    """
    torch.manual_seed(0)
    torch.set_flush_denormal(True)  # as TensorFlow does
    preprocessing = Preprocessing.from_recipe(recipe, seed=0)
    batches = AugmentedBatches(images, labels, recipe.batch_size, preprocessing)
    take_step = make_trainer(recipe, scale_images(images[:WHITENING_IMAGES]), precision)
    for size, epoch in epochs.items():
        yield {"size": size} | time_steps(take_step, hold_batches(batches, epoch), seconds)
