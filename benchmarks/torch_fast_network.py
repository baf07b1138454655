"""The fast network and its optimizer in eager PyTorch, to measure ours against.

    python benchmarks/training_speed.py        # runs this where PyTorch is installed

The same function as `cifar_utils.models.fast` and the same updates as `cifar_utils.models.muon`
(tests compare), under `torch.autocast` where ours is in mixed bfloat16. Its images are augmented
beforehand and held in memory, while ours augments as it goes: that favours PyTorch.
"""

import time

import torch
from torch import nn

from cifar_utils.data.preprocessing import Preprocessing, scale_images
from cifar_utils.models.fast import BN_EPSILON, PATCH_SIZE, WHITENING_IMAGES
from cifar_utils.models.layers import compute_whitening
from cifar_utils.models.muon import NEWTON_SCHULZ
from cifar_utils.training import AugmentedBatches, build_optimizer, choose_precision

FORMAT = torch.channels_last  # faster than contiguous memory for every recipe and image size
HELD_BATCHES = 4  # augmented batches in memory; they come in turn


class FastNetwork(nn.Module):
    """`cifar_utils.models.fast.build_fast_network`, from images (n, 3, h, w) to logits (n, 10)."""

    def __init__(self, recipe):
        super().__init__()
        channels = 2 * PATCH_SIZE**2 * 3
        stack = [nn.Conv2d(3, channels, PATCH_SIZE).requires_grad_(False), nn.GELU()]
        for filters in recipe.widths:
            for place in (1, 2):
                convolution = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
                with torch.no_grad():  # starts as `layers.PartialIdentity` does
                    nn.init.dirac_(convolution.weight[: min(channels, filters)])
                norm = nn.BatchNorm2d(filters, BN_EPSILON, momentum=1 - recipe.bn_momentum)
                norm.weight.requires_grad_(False)  # ours has no scale: this one stays at one
                pool = [nn.MaxPool2d(2)] if place == 1 else []
                stack += [convolution, *pool, norm, nn.GELU()]
                channels = filters
        self.features = nn.Sequential(*stack, nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.logits = nn.Linear(channels, 10, bias=False)
        self.logit_scale = recipe.logit_scale

    def forward(self, images):
        """Compute the logits, in float32 as ours are."""
        features = self.features(images)
        with torch.autocast("cpu", enabled=False):
            return self.logits(features.float()) * self.logit_scale


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


@torch.no_grad()
def update(parameter, average, like, rate):
    """Take the step of `cifar_utils.models.muon.Muon` in PyTorch's layout of the kernels.

    Args:
        parameter: What is trained; its gradient is in `grad`.
        average: The running sum of its gradients, which is updated too.
        like: The `Muon` to take the settings from.
        rate: The learning rate of the convolution kernels.
    """
    momentum = like.momentum if parameter.ndim == 4 else like.sgd_momentum
    average.mul_(momentum).add_(parameter.grad)
    step = parameter.grad.add(average, alpha=momentum)
    if parameter.ndim == 4:
        step = orthogonalise(step.reshape(len(step), -1), like.ns_steps).view(parameter.shape)
        parameter.mul_(len(parameter) ** 0.5 / parameter.norm()).add_(step, alpha=-rate)
    else:
        ratio = like.dense_ratio if parameter.ndim == 2 else like.bias_ratio
        parameter.mul_(1 - like.sgd_decay * rate).add_(step, alpha=-rate * ratio)


def make_trainer(recipe, images):
    """Return a function of `(images, labels)` that takes one training step and returns the loss.

    Args:
        recipe: A `runs.Recipe` of the fast network.
        images: float32 (n, h, w, 3), to compute the whitening filters from.
    """
    network, like = FastNetwork(recipe), build_optimizer(recipe, 1)
    kernel, bias = map(torch.from_numpy, compute_whitening(images, PATCH_SIZE))
    with torch.no_grad():
        network.features[0].weight.copy_(kernel.permute(3, 2, 0, 1))
        network.features[0].bias.copy_(bias)
    network = network.to(memory_format=FORMAT).train()
    trained = [(p, torch.zeros_like(p)) for p in network.parameters() if p.requires_grad]
    mixed = choose_precision(recipe.precision) == "bfloat16"

    def take_step(images, labels):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            logits = network(images)
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        network.zero_grad()
        loss.backward()
        for parameter, average in trained:
            update(parameter, average, like, recipe.learning_rate)
        return loss.detach()

    return take_step


def time_recipe(recipe, images, labels, epochs, seconds):
    """Yield what `training_speed.time_recipe` does, from the same arguments."""
    torch.manual_seed(0)
    torch.set_flush_denormal(True)  # as TensorFlow does
    preprocessing = Preprocessing.from_recipe(recipe, seed=0)
    batches = AugmentedBatches(images, labels, recipe.batch_size, preprocessing)
    take_step = make_trainer(recipe, scale_images(images[:WHITENING_IMAGES]))
    for size, batches.epoch in epochs.items():
        held = []
        for step in range(min(HELD_BATCHES, len(images) // recipe.batch_size)):
            x, y = map(torch.from_numpy, batches[step])
            held.append((x.permute(0, 3, 1, 2).contiguous(memory_format=FORMAT), y.argmax(1)))
        take_step(*held[0])  # is not timed
        steps, start = 0, time.perf_counter()
        while steps < 2 or time.perf_counter() - start < seconds:
            take_step(*held[steps % len(held)])
            steps += 1
        taken = round(time.perf_counter() - start, 3)
        yield {"size": size, "images": steps * recipe.batch_size, "seconds": taken}
