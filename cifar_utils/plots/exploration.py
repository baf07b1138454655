"""Figures of the images themselves (notebook 01)."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cifar_utils.plots.style import (
    BLUE,
    FONT,
    INK,
    MUTED,
    ORANGE,
    SKY,
    SMALL,
    draw_histograms,
    new_figure,
    new_mosaic,
    percent_axis,
    show_image,
    style_axes,
    tile_images,
)


def plot_class_balance(
    train_counts: np.ndarray, test_counts: np.ndarray, class_names: tuple[str, ...]
) -> Figure:
    """Draw the number of images per class as bars, training and test in two panels."""
    figure = new_figure("Images per class", 0.38 * len(class_names) + 1.3)
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(class_names))
    for axes, counts, name, colour, hatch in (
        (left, train_counts, "training", BLUE, ""),
        (right, test_counts, "test", ORANGE, "///"),
    ):
        counts = np.asarray(counts)
        title = f"{name}: {counts.sum():,} images"
        style_axes(axes, title, "images", grid="x")
        bars = axes.barh(places, counts, color=colour, hatch=hatch, edgecolor="white", height=0.72)
        axes.bar_label(bars, [f"{c:,}" for c in counts], padding=3, fontsize=SMALL, color=INK)
        axes.set_xlim(0, max(counts.max(), 1) * 1.2)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")
    left.set_yticks(places, class_names)
    left.invert_yaxis()
    return figure


def plot_class_grid(rows: np.ndarray, class_names: tuple[str, ...]) -> Figure:
    """Draw one row of images for every class.

    Args:
        rows: uint8, shape (classes, columns, 32, 32, 3).
        class_names: One for each row.
    """
    columns, height = rows.shape[1:3]
    tiles = rows.reshape(-1, *rows.shape[2:])
    figure, axes = new_mosaic("Examples of each class", tiles, columns, scale=3, left=146)
    step = height + 2
    axes.set_yticks(step * np.arange(len(class_names)) + step / 2 - 1.5, class_names)
    return figure


def plot_channel_histograms(histograms: np.ndarray) -> Figure:
    """Draw how often each pixel value occurs in each channel.

    Args:
        histograms: Counts of each value in each channel, shape (3, 256).
    """
    figure = new_figure("Pixel values by channel", 3.4)
    axes = style_axes(figure.subplots(), "", "pixel value (0 to 255)", "share of pixels", "y")
    draw_histograms(axes, histograms, np.arange(256))
    axes.set_xlim(0, 255)
    axes.set_xticks([0, 64, 128, 192, 255])
    percent_axis(axes.yaxis, 1)
    return figure


def plot_mean_images(
    mean_images: np.ndarray, class_names: tuple[str, ...], contrast: float = 2
) -> Figure:
    """Draw the average of all images of each class.

    Args:
        mean_images: Shape (classes, 32, 32, 3), in [0, 1].
        class_names: Their names.
        contrast: Differences from mid-grey are drawn so many times as large.
    """
    columns = 5
    rows = -(-len(class_names) // columns)
    figure = new_figure("Mean image of each class", 1.65 * rows + 0.7)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    grey = np.nanmean(mean_images)
    for place, image, name in zip(axes, mean_images, class_names, strict=False):
        show_image(place, grey + contrast * (image - grey), name, FONT)
    for place in axes[len(class_names) :]:
        place.set_axis_off()
    if contrast != 1:
        figure.supxlabel(f"contrast × {contrast:g}", fontsize=SMALL, color=MUTED)
    return figure


def plot_brightness_and_colour(
    brightness: np.ndarray, saturation: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]
) -> Figure:
    """Draw the spread of brightness and saturation within each class as box plots.

    Args:
        brightness: Mean luma of each image, in [0, 1], shape (n,).
        saturation: Mean saturation of each image, in [0, 1], shape (n,).
        labels: Integer class ids, shape (n,).
        class_names: One row each.
    """
    figure = new_figure("Brightness and colour by class", 0.36 * len(class_names) + 1.5)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, values, title, xlabel, colour in (
        (left, brightness, "brightness", "mean luma (0 black, 1 white)", SKY),
        (right, saturation, "colour", "mean saturation (0 grey, 1 pure)", ORANGE),
    ):
        style_axes(axes, title, xlabel, grid="x")
        # Not `boxplot`: the name of its argument for lying boxes differs between versions.
        by_class = [values[labels == i] for i in range(len(class_names))]
        marks = [np.quantile(v, (0.05, 0.25, 0.5, 0.75, 0.95)) for v in by_class if len(v)]
        places = [place for place, v in enumerate(by_class) if len(v)]
        low, start, middle, end, high = np.transpose(marks)
        axes.hlines(places, low, high, color=INK, linewidth=1.2)
        axes.barh(places, end - start, 0.62, left=start, color=colour, edgecolor=INK, zorder=2)
        axes.plot(middle, places, "|", color=INK, markersize=15, markeredgewidth=2.2, zorder=3)
        axes.set_xlim(0, 1)
    left.set_yticks(np.arange(len(class_names)), class_names)
    left.invert_yaxis()
    figure.supxlabel(
        "line: median · box: middle half · whiskers: 5th to 95th percentile",
        fontsize=SMALL, color=MUTED,
    )  # fmt: skip
    return figure


def plot_duplicate_pairs(
    test_images: np.ndarray,
    train_images: np.ndarray,
    pairs: np.ndarray,
    distances=None,
    k=8,
    title="Nearest pairs: test (left), training (right)",
) -> Figure:
    """Draw the first `k` pairs, the test image to the left of its training image.

    Args:
        test_images: uint8, shape (m, 32, 32, 3).
        train_images: uint8, shape (n, 32, 32, 3).
        pairs: Rows `(test index, train index)`.
        distances: Distance of each pair, shape (pairs,), or None.
        k: Largest number of pairs drawn.
        title: Title of the figure.
    """
    shown, columns = np.asarray(pairs)[:k], 4
    if not len(shown):
        figure = new_figure(title, 1.4)
        figure.text(0.5, 0.4, "no pair was found", ha="center", fontsize=FONT, color=MUTED)
        return figure
    rows = -(-len(shown) // columns)
    figure = new_figure(title, 1.3 * rows + 0.45)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for i, (test_index, train_index) in enumerate(shown):
        both = np.stack([test_images[test_index], train_images[train_index]])
        caption = f"{test_index:,} | {train_index:,}"
        if distances is not None:
            caption += f" · {distances[i]:.3f}"
        show_image(axes[i], tile_images(both, 2), caption)
    for place in axes[len(shown) :]:
        place.set_axis_off()
    figure.supxlabel(
        "caption: test index | training index" + (" · distance" if distances is not None else ""),
        fontsize=SMALL, color=MUTED,
    )  # fmt: skip
    return figure
