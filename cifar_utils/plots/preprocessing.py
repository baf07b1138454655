"""Figures of what preprocessing does to the images (notebook 02)."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cifar_utils.plots.style import (
    BLUE,
    FONT,
    MUTED,
    ORANGE,
    RED,
    SMALL,
    draw_histograms,
    new_figure,
    new_mosaic,
    style_axes,
    to_uint8,
)


def plot_scaling(histograms: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Figure:
    """Draw the pixel distribution after scaling to [0, 1] and after standardisation.

    Args:
        histograms: Counts of the raw values, shape (3, 256).
        mean: Mean of each channel scaled to [0, 1], shape (3,).
        std: Standard deviation of each channel scaled to [0, 1], shape (3,).
    """
    figure = new_figure("Two ways to bring pixels to a common scale", 3.3)
    left, right = figure.subplots(1, 2)
    scaled = np.arange(256) / 255
    style_axes(left, "scaled: x / 255", "value", "density", "y")
    style_axes(right, "standardised: (x / 255 − mean) / std", "value", "density", "y")
    draw_histograms(left, histograms, scaled, density=True)
    standardised = (scaled - np.reshape(mean, (-1, 1))) / np.reshape(std, (-1, 1))
    draw_histograms(right, histograms, standardised, density=True)
    right.axvline(0, color=MUTED, linewidth=1)
    return figure


def plot_split(
    train_counts: np.ndarray, val_counts: np.ndarray, class_names: tuple[str, ...]
) -> Figure:
    """Draw how many images of each class go to training and to validation, as one bar each."""
    train_counts, val_counts = np.asarray(train_counts), np.asarray(val_counts)
    figure = new_figure(
        f"Stratified split: {train_counts.sum():,} train, {val_counts.sum():,} validation",
        0.34 * len(class_names) + 1.4,
    )
    axes = style_axes(figure.subplots(), "", "images", "")
    places = np.arange(len(class_names))
    train = axes.barh(places, train_counts, 0.74, color=BLUE, label="training")
    val = axes.barh(
        places, val_counts, 0.74, left=train_counts, color=ORANGE, hatch="///",
        edgecolor="white", label="validation",
    )  # fmt: skip
    axes.bar_label(
        train, [f"{c:,}" for c in train_counts], label_type="center", color="white", fontsize=SMALL
    )
    axes.bar_label(val, [f"{c:,}" for c in val_counts], padding=3, fontsize=SMALL)
    axes.set_yticks(places, class_names)
    axes.invert_yaxis()
    axes.set_xlim(0, max((train_counts + val_counts).max(), 1) * 1.1)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=FONT)
    return figure


def plot_augmentations(image: np.ndarray, variants: np.ndarray, title="One image, augmented"):
    """Draw an image in a frame, and then its augmented variants.

    Args:
        image: The original, uint8 or floats in [0, 1], shape (32, 32, 3).
        variants: The same type of images, shape (n, 32, 32, 3).
        title: Title of the figure.

    Returns:
        The `Figure`.
    """
    columns = 8
    tiles = np.stack([to_uint8(image), *[to_uint8(variant) for variant in variants]])
    figure, axes = new_mosaic(title, tiles, columns, scale=3, bottom=34)
    # The frame lies in the white gap between the images, so that it covers no pixel.
    height, width = image.shape[0] + 1, image.shape[1] + 1
    axes.add_patch(
        Rectangle((-1, -1), width, height, fill=False, edgecolor=RED, linewidth=1.4, clip_on=False)
    )
    axes.set_xlabel(
        f"framed: the original · the other {len(variants)}: variants",
        fontsize=SMALL, color=MUTED,
    )  # fmt: skip
    return figure
