"""Figures of a network and of its training (notebook 03)."""

import math

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import MaxNLocator

from cifar_utils.plots import style
from cifar_utils.plots.style import BLUE, INK, MUTED, ORANGE, RED, SERIES_STYLES, SMALL, show_image

# Red below zero, white at zero, blue above: told apart with any colour vision.
SIGNED = LinearSegmentedColormap.from_list("signed", [RED, "white", BLUE])
BLUES = LinearSegmentedColormap.from_list("blues", ["white", BLUE, "#002b45"])
# Kind of layer, found by how its name begins → the word under the block, colour.
BLOCKS = {
    "Conv": ("conv", BLUE),
    "Max": ("max pool", ORANGE),
    "Average": ("avg pool", ORANGE),
    "Global": ("global pool", ORANGE),
    "Flatten": ("flatten", "#bdbdbd"),
    "Dense": ("dense", style.GREEN),
}
# Layers that change no shape are named under the block they follow.
SHORT = {"BatchNormalization": "BN", "FusedBatchNormalization": "BN", "LayerNormalization": "LN"}
ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU"}
SLOTS_PER_ROW = 11
# Heights of the rows of text under the drawing, in slots; the drawing's middle line.
LAYER, OUTPUT, CHANNELS, THEN, PARAMETERS = -0.42, -1.0, -1.32, -1.95, -2.52
MIDDLE = 1.25
LEVELS = 10  # different rates; a schedule with as many or more is drawn as a smooth curve


def plot_model_diagram(layers, title="The network, block by block"):
    """Draw a network as blocks from left to right, with shapes and parameters under each.

    A feature map is a box as high and deep as its image is large and as wide as the logarithm of
    its channels; a vector is a bar as high as the logarithm of its units.

    Args:
        layers: Rows of `models.describe_layers`.
        title: Title of the figure.
    """
    slots = _group_layers(layers)
    columns = math.ceil(len(slots) / math.ceil(len(slots) / SLOTS_PER_ROW))
    rows = [slots[i : i + columns] for i in range(0, len(slots), columns)]
    figure = style.new_figure(title, 3.6 * len(rows) + 0.8)
    names = {LAYER: "layer", OUTPUT: "output", THEN: "then", PARAMETERS: "parameters"}
    for axes, row in zip(figure.subplots(len(rows), 1, squeeze=False).ravel(), rows, strict=True):
        axes.set(xlim=(-1.4, columns), ylim=(-2.8, 2.5))  # one slot is one unit wide
        axes.set_axis_off()
        axes.hlines((-0.72, -1.6, -2.29), -1.4, columns, color=style.FAINT, linewidth=0.8)
        for y, name in names.items():
            axes.text(-1.4, y, name, fontsize=SMALL, color=MUTED, va="center")
        for place, slot in enumerate(row):
            _draw_slot(axes, place, **slot)
    total = sum(slot["params"] for slot in slots)
    figure.supxlabel(f"{total:,} parameters in all", fontsize=SMALL + 1, color=INK)
    return figure


def _group_layers(layers):
    """Turn layers into slots; what changes no shape joins the slot before it."""
    image = {"word": "image", "colour": "#bdbdbd", "shape": (32, 32, 3), "params": 0, "then": []}
    slots = [image]
    for _, kind, shape, params, activation in layers:
        shape = tuple(side for side in shape if side is not None)
        shape = shape if len(shape) in (1, 3) else (math.prod(shape),)
        then = [ACTIVATIONS.get(activation, activation)] if activation else []
        block = next((value for key, value in BLOCKS.items() if kind.startswith(key)), None)
        if block is None and slots[-1]["shape"] == shape:
            slots[-1]["params"] += params
            slots[-1]["then"] += then or [SHORT.get(kind, kind.lower())] * (kind != "InputLayer")
            continue
        word, colour = block or (kind[:9].lower(), style.PURPLE)
        slots.append(
            {"word": word, "colour": colour, "shape": shape, "params": params, "then": then}
        )
    return slots


def _draw_slot(axes, place, word, colour, shape, params, then):
    """Draw one block, the arrow to it, and its column of text."""
    x = place + 0.5
    texts = {LAYER: word.replace(" ", "\n"), THEN: "\n".join(then) or "–"}
    texts[PARAMETERS] = f"{params:,}" if params < 1e6 else f"{params / 1e6:.2f} M"
    texts[PARAMETERS] = texts[PARAMETERS] if params else "–"
    if len(shape) == 3:
        half = _draw_box(axes, x, shape, colour)
        texts |= {OUTPUT: f"{shape[0]}×{shape[1]}", CHANNELS: f"× {shape[2]}"}
    else:
        height, half = 0.24 * math.log2(max(shape[0], 2)), 0.11
        corner = (x - half, MIDDLE - height / 2)
        axes.add_patch(
            Rectangle(corner, 2 * half, height, facecolor=colour, edgecolor=INK, linewidth=0.8)
        )
        texts[OUTPUT] = f"{shape[0]:,}"
    if place:
        axes.annotate(
            "", (x - half - 0.04, MIDDLE), (x - 0.62, MIDDLE), zorder=0,
            arrowprops={"arrowstyle": "-|>", "color": MUTED, "linewidth": 0.9, "shrinkA": 0,
                        "shrinkB": 0, "mutation_scale": 7},
        )  # fmt: skip
    for y, text in texts.items():
        axes.text(x, y, text, fontsize=SMALL, color=INK, ha="center", va="center")


def _draw_box(axes, x, shape, colour):
    """Draw a box in oblique projection, its faces in three shades; return half its width."""
    height, depth = 1.75 * shape[0] / 32, 0.32 * shape[1] / 32
    width, lift = 0.05 * math.log2(shape[2] + 1) + 0.02, 1.5 * depth
    left, low = x - (width + depth) / 2, MIDDLE - (height + lift) / 2
    across, up, back = np.array([width, 0]), np.array([0, height]), np.array([depth, lift])
    front = np.array([left, low])
    for corner, one, other, shade in (
        (front, across, up, 1.0),
        (front + up, across, back, 0.55),
        (front + across, back, up, 0.78),
    ):
        corners = [corner, corner + one, corner + one + other, corner + other]
        face = [1 - shade * (1 - part) for part in to_rgb(colour)]
        axes.add_patch(Polygon(corners, facecolor=face, edgecolor=INK, linewidth=0.8))
    return (width + depth) / 2


def plot_kernel_steps(image, kernel, steps, title="One kernel, step by step"):
    """Draw an image, a kernel of nine numbers, and what is computed with it.

    Args:
        image: uint8 (height, width, 3).
        kernel: (3, 3).
        steps: Name to map, two-dimensional; all maps share one scale, whose middle is 0.
        title: Title of the figure.
    """
    figure, kernel = style.new_figure(title, 2.5), np.asarray(kernel)
    places = figure.subplots(1, 2 + len(steps), width_ratios=[1, 0.75, *[1] * len(steps)])
    show_image(places[0], image, "image")
    most = max(np.abs(kernel).max(), 1e-9)
    show_image(places[1], kernel, "kernel, 3×3", cmap=SIGNED, vmin=-most, vmax=most)
    for (row, column), value in np.ndenumerate(kernel):
        places[1].text(
            column, row, f"{value:g}", ha="center", va="center", fontsize=SMALL + 2,
            fontweight="bold", color="white" if abs(value) > 0.6 * most else INK,
        )  # fmt: skip
    most = max(np.abs(values).max() for values in steps.values())
    for place, (name, values) in zip(places[2:], steps.items(), strict=True):
        caption = f"{name}, {len(values)}×{len(values[0])}"
        shown = show_image(place, values, caption, cmap=SIGNED, vmin=-most, vmax=most)
    label = "output: blue above 0, red below, white 0"
    style.add_scale(figure, shown, places[2:], label, orientation="horizontal", aspect=50, pad=0.04)
    return figure


def plot_maps(rows, title, shared=True):
    """Draw rows of images and feature maps.

    Args:
        rows: Label to a list of `(caption, image or map)`, all equally long: an image is uint8 of
            shape (height, width, 3); a map has two dimensions and any values.
        title: Title of the figure.
        shared: Whether the maps of a row share one scale, drawn beside it, white at its low end.
            Else each has its own from dark to bright, and its ends stand under it.
    """
    columns = max(len(row) for row in rows.values())
    figure = style.new_figure(title, min(6.4 / columns + 0.45, 2.1) * len(rows) + 0.6)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for places, (label, row) in zip(axes, rows.items(), strict=True):
        maps = [values for _, values in row if np.ndim(values) == 2]
        limits = {"vmin": np.min(maps), "vmax": np.max(maps), "cmap": BLUES}
        for place, (caption, values) in zip(places, row, strict=True):
            shown = show_image(place, values, caption, **limits if shared else {"cmap": "cividis"})
            if not shared and np.ndim(values) == 2:
                ends = f"{np.min(values):.2g} to {np.max(values):.2g}"
                place.set_xlabel(ends, fontsize=SMALL, color=MUTED, labelpad=2)
        places[0].set_ylabel(label, fontsize=SMALL + 1, color=INK)
        if shared:
            style.add_scale(figure, shown, list(places), "", aspect=12, pad=0.02)
    return figure


def plot_learning_rates(schedules, used=None):
    """Draw learning-rate schedules over the epochs, the one in use with emphasis.

    Args:
        schedules: Name → `(epochs, rates)`, with epochs from 0.
        used: Name of the schedule that this run uses, or None.
    """
    figure, axes = style.new_chart(
        "Learning rate by epoch", 3.4, "epochs finished", "learning rate"
    )
    for (name, (epochs, rates)), (colour, dashes, _) in zip(
        schedules.items(), SERIES_STYLES, strict=False
    ):
        used_style = {"linewidth": 3.2, "linestyle": "-", "label": f"{name} (used)", "zorder": 2}
        other_style = {"linewidth": 1.8, "linestyle": dashes, "label": name, "zorder": 3}
        # A schedule of few rates holds each for an epoch or more.
        steps = "steps-post" if len(np.unique(rates)) < LEVELS else "default"
        axes.plot(
            epochs, rates, color=colour, drawstyle=steps,
            **used_style if name == used else other_style,
        )  # fmt: skip
    rates = np.concatenate([rates for _, rates in schedules.values()])
    # Powers of ten need a log scale; a curve that falls to zero would lose its shape on it.
    if rates.max() > 20 * rates[rates > 0].min() and len(np.unique(rates)) < LEVELS:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.add_legend(figure, min(3, len(schedules)))
    return figure


def plot_descent(paths):
    """Draw the steps of gradient descent in the valley of the loss w².

    Args:
        paths: Label to the weights, one after each step.
    """
    figure = style.new_figure("Five steps in the valley w²", 2.7)
    reach = max(1.2, *(1.1 * np.abs(weights).max() for weights in paths.values()))
    valley = np.linspace(-reach, reach, 200)  # one scale for all: they are to be compared
    panels = figure.subplots(1, len(paths), sharey=True, squeeze=False)[0]
    for axes, (label, weights), (colour, _, marker) in zip(
        panels, paths.items(), SERIES_STYLES, strict=False
    ):
        weights = np.asarray(weights, float)
        style.style_axes(axes, label, "weight w", "loss w²", "y")
        axes.plot(valley, valley**2, color=MUTED, linewidth=1.2)
        axes.plot(weights, weights**2, "-", color=colour, marker=marker, linewidth=1.2)
        axes.annotate("start", (weights[0], weights[0] ** 2), (6, -2), textcoords="offset points",
                      fontsize=style.FONT - 1, color=INK)  # fmt: skip
        axes.label_outer()
    return figure


def plot_training_curves(history, total_epochs=None, title="Training curves"):
    """Draw loss and accuracy by epoch, for training and, where there is one, validation.

    Made to be drawn again after every epoch: it takes a history of no epoch or one as well.

    Args:
        history: Column → values, as in `history.csv`: "loss", "accuracy" and perhaps "epoch"
            (from 1), "val_loss" and "val_accuracy".
        total_epochs: Epochs that the training will have; fixes the x axis while it runs.
        title: Title of the figure.
    """
    n = len(history.get("loss", ()))
    epochs = history.get("epoch", np.arange(1, n + 1))
    figure = style.new_figure(title, 3.5)
    left, right = figure.subplots(1, 2)
    style.style_axes(left, "loss (lower is better)", "epoch", "cross-entropy per image", "y")
    style.style_axes(right, "accuracy (higher is better)", "epoch", "share of images", "y")
    for axes, column in ((left, "loss"), (right, "accuracy")):
        for name, values, (colour, dashes, marker) in zip(
            ("training", "validation"),
            (history.get(column, ()), history.get(f"val_{column}", ())),
            SERIES_STYLES,
            strict=False,
        ):
            if len(values):
                axes.plot(
                    epochs, values, dashes, color=colour, marker=marker, markersize=5,
                    markevery=max(1, n // 15), linewidth=1.8, label=name, clip_on=False,
                )  # fmt: skip
        axes.set_xlim(0.5, max(n, total_epochs or 1) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        if not n:
            style.write_inside(axes, 0.5, 0.5, "waiting for\nthe first epoch")
    style.percent_axis(right.yaxis)
    lines = right.lines
    labels = [f"{h.get_label()}, last {style.percent(h.get_ydata()[-1])}" for h in lines]
    if n:
        style.add_legend(figure, 2, handles=lines, labels=labels)
    return figure
