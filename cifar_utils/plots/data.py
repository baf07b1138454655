"""Figures of the images and of what preprocessing does to them (notebooks 01 and 02)."""

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from cifar_utils.plots import style
from cifar_utils.plots.style import BLUE, FONT, GREEN, INK, MUTED, ORANGE, RED, SMALL, percent_axis

CHANNELS = [("red", RED, "-"), ("green", GREEN, "--"), ("blue", BLUE, ":")]


def plot_class_balance(train_counts, test_counts, class_names):
    """Draw the number of images per class as bars, training and test in two panels."""
    figure = style.new_figure("Images per class", 0.38 * len(class_names) + 1.3)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, counts, name, colour, hatch in (
        (panels[0], np.asarray(train_counts), "training", BLUE, ""),
        (panels[1], np.asarray(test_counts), "test", ORANGE, "///"),
    ):
        style.style_axes(axes, f"{name}: {counts.sum():,} images", "images", grid="x")
        bars = axes.barh(
            range(len(counts)), counts, 0.72, color=colour, hatch=hatch, edgecolor="white"
        )
        axes.bar_label(bars, [f"{c:,}" for c in counts], padding=3, fontsize=SMALL, color=INK)
        axes.set_xlim(0, max(counts.max(), 1) * 1.2)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")
    style.name_rows(panels[0], class_names)
    return figure


def plot_class_grid(rows, class_names):
    """Draw one row of images for every class.

    Args:
        rows: uint8, shape (classes, columns, 32, 32, 3).
        class_names: One for each row.
    """
    columns, height = rows.shape[1:3]
    tiles = rows.reshape(-1, *rows.shape[2:])
    figure, axes = style.new_mosaic("Examples of each class", tiles, columns, scale=3, left=146)
    step = height + 2
    axes.set_yticks(step * np.arange(len(class_names)) + step / 2 - 1.5, class_names)
    return figure


def plot_channel_histograms(histograms):
    """Draw how often each pixel value occurs in each channel.

    Args:
        histograms: Counts of each value in each channel, shape (3, 256).
    """
    figure, axes = style.new_chart(
        "Pixel values by channel", 3.4, "pixel value (0 to 255)", "share of pixels"
    )
    _draw_histograms(axes, histograms, np.arange(256))
    axes.set_xlim(0, 255)
    axes.set_xticks([0, 64, 128, 192, 255])
    percent_axis(axes.yaxis, 1)
    return figure


def plot_scaling(histograms, mean, std):
    """Draw the pixel distribution after scaling to [0, 1] and after standardisation.

    Args:
        histograms: Counts of the raw values, shape (3, 256).
        mean: Mean of each channel scaled to [0, 1], shape (3,).
        std: Standard deviation of each channel scaled to [0, 1], shape (3,).
    """
    figure = style.new_figure("Two ways to bring pixels to a common scale", 3.3)
    left, right = figure.subplots(1, 2)
    scaled = np.arange(256) / 255
    standardised = (scaled - np.reshape(mean, (-1, 1))) / np.reshape(std, (-1, 1))
    style.style_axes(left, "scaled: x / 255", "value", "density", "y")
    style.style_axes(right, "standardised: (x / 255 − mean) / std", "value", "density", "y")
    _draw_histograms(left, histograms, scaled, density=True)
    _draw_histograms(right, histograms, standardised, density=True)
    right.axvline(0, color=MUTED, linewidth=1)
    return figure


def _draw_histograms(axes, histograms, values, density=False):
    """Draw one outline per channel; `values` is shared, or one array per channel.

    Black and white pixels can be far more frequent than the rest; these are cut off, with a note.
    """
    values = np.broadcast_to(values, (3, 256))
    shares = histograms / histograms.sum(axis=1, keepdims=True)
    heights = shares / np.diff(values)[:, :1] if density else shares
    for (name, colour, dashes), x, y in zip(CHANNELS, values, heights, strict=True):
        axes.plot(x, y, dashes, color=colour, label=name, linewidth=1.6)
    axes.legend(frameon=False, fontsize=SMALL, loc="upper left")
    inner, ends = heights[:, 1:-1].max(), shares[:, [0, -1]].max()
    axes.set_ylim(0, 1.4 * inner if inner else None)
    if heights[:, [0, -1]].max() > 1.4 * inner > 0:
        text = f"end cut off\n({style.percent(ends)} of pixels)"
        style.write_inside(axes, 0.92, 0.97, text, ha="right", va="top", fontsize=SMALL)


def plot_mean_images(mean_images, class_names, contrast=2):
    """Draw the average of all images of each class.

    Args:
        mean_images: Shape (classes, 32, 32, 3), in [0, 1].
        class_names: Their names.
        contrast: Differences from mid-grey are drawn so many times as large.
    """
    grey = np.nanmean(mean_images)
    images = grey + contrast * (mean_images - grey)
    figure, _ = style.new_gallery("Mean image of each class", images, class_names, 5, 1.65, FONT)
    style.add_note(figure, f"contrast × {contrast:g}")
    return figure


def plot_brightness_and_colour(brightness, saturation, labels, class_names):
    """Draw the spread of brightness and saturation within each class as box plots.

    Args:
        brightness: Mean luma of each image, in [0, 1], shape (n,).
        saturation: Mean saturation of each image, in [0, 1], shape (n,).
        labels: Integer class ids, shape (n,).
        class_names: One row each.
    """
    figure = style.new_figure("Brightness and colour by class", 0.36 * len(class_names) + 1.5)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, values, title, xlabel, colour in (
        (left, brightness, "brightness", "mean luma (0 black, 1 white)", style.SKY),
        (right, saturation, "colour", "mean saturation (0 grey, 1 pure)", ORANGE),
    ):
        style.style_axes(axes, title, xlabel, grid="x")
        # Not `boxplot`: the name of its argument for lying boxes differs between versions.
        places = np.unique(labels)
        marks = [np.quantile(values[labels == i], (0.05, 0.25, 0.5, 0.75, 0.95)) for i in places]
        low, start, middle, end, high = np.transpose(marks)
        axes.hlines(places, low, high, color=INK, linewidth=1.2)
        axes.barh(places, end - start, 0.62, left=start, color=colour, edgecolor=INK, zorder=2)
        axes.plot(middle, places, "|", color=INK, markersize=15, markeredgewidth=2.2, zorder=3)
        axes.set_xlim(0, 1)
    style.name_rows(left, class_names)
    style.add_note(figure, "line: median · box: middle half · whiskers: 5th to 95th percentile")
    return figure


def plot_duplicate_pairs(
    test_images,
    train_images,
    pairs,
    distances=None,
    k=8,
    title="Nearest pairs: test (left), training (right)",
):
    """Draw the first `k` pairs, the test image to the left of its training image.

    Args:
        test_images: uint8, shape (m, 32, 32, 3).
        train_images: uint8, shape (n, 32, 32, 3).
        pairs: Rows `(test index, train index)`.
        distances: Distance of each pair, shape (pairs,), or None.
        k: Largest number of pairs drawn.
        title: Title of the figure.
    """
    pairs, images = np.asarray(pairs)[:k], []
    captions = [f"{test:,} | {train:,}" for test, train in pairs]
    if distances is not None:
        captions = [f"{text} · {far:.3f}" for text, far in zip(captions, distances, strict=False)]
    for test, train in pairs:
        images.append(style.tile_images(np.stack([test_images[test], train_images[train]]), 2))
    figure, _ = style.new_gallery(title, images, captions, 4, 1.3, empty="no pair was found")
    if images:
        last = "" if distances is None else " · distance"
        style.add_note(figure, f"caption: test index | training index{last}")
    return figure


def plot_split(train_counts, val_counts, class_names):
    """Draw how many images of each class go to training and to validation, as one bar each."""
    train_counts, val_counts = np.asarray(train_counts), np.asarray(val_counts)
    title = f"Stratified split: {train_counts.sum():,} train, {val_counts.sum():,} validation"
    figure, axes = style.new_chart(title, 0.34 * len(class_names) + 1.4, "images", grid=None)
    places = range(len(class_names))
    train = axes.barh(places, train_counts, 0.74, color=BLUE, label="training")
    val = axes.barh(
        places, val_counts, 0.74, left=train_counts, color=ORANGE, hatch="///",
        edgecolor="white", label="validation",
    )  # fmt: skip
    inside = {"label_type": "center", "color": "white"}
    axes.bar_label(train, [f"{c:,}" for c in train_counts], fontsize=SMALL, **inside)
    axes.bar_label(val, [f"{c:,}" for c in val_counts], fontsize=SMALL, padding=3)
    style.name_rows(axes, class_names)
    axes.set_xlim(0, max((train_counts + val_counts).max(), 1) * 1.1)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    style.add_legend(figure, 2)
    return figure


def plot_augmentations(image, variants, title="One image, augmented"):
    """Draw an image in a frame, and then its augmented variants.

    Args:
        image: The original, uint8 or floats in [0, 1], shape (32, 32, 3).
        variants: The same type of images, shape (n, 32, 32, 3).
        title: Title of the figure.
    """
    tiles = np.stack([style.to_uint8(image), *map(style.to_uint8, variants)])
    figure, axes = style.new_mosaic(title, tiles, columns=8, scale=3, bottom=34)
    # The frame lies in the white gap between the images, so that it covers no pixel.
    height, width = image.shape[0] + 1, image.shape[1] + 1
    axes.add_patch(
        Rectangle((-1, -1), width, height, fill=False, edgecolor=RED, linewidth=1.4, clip_on=False)
    )
    note = f"framed: the original · the other {len(variants)}: variants"
    axes.set_xlabel(note, fontsize=SMALL, color=MUTED)
    return figure
