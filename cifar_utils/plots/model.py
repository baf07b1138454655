"""A network drawn from the list of its layers, and the outputs of its layers (notebook 03)."""

import math

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from cifar_utils.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    RED,
    SMALL,
    new_figure,
    show_image,
)

# Red below zero, white at zero, blue above: told apart with any colour vision.
SIGNED = LinearSegmentedColormap.from_list("signed", [RED, "white", BLUE])
BLUES = LinearSegmentedColormap.from_list("blues", ["white", BLUE, "#002b45"])
# Kind of layer, found by how its name begins → the word under the block, colour.
BLOCKS = {
    "Input": ("image", "#bdbdbd"),
    "Conv": ("conv", BLUE),
    "Depthwise": ("conv", BLUE),
    "Separable": ("conv", BLUE),
    "Max": ("max pool", ORANGE),
    "Average": ("avg pool", ORANGE),
    "Global": ("global pool", ORANGE),
    "Flatten": ("flatten", "#bdbdbd"),
    "Dense": ("dense", GREEN),
}
# Layers that change no shape are named under the block they follow.
SHORT = {"BatchNormalization": "BN", "FusedBatchNormalization": "BN", "LayerNormalization": "LN"}
ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU"}
SLOTS_PER_ROW = 11
ROW_HEIGHT = 3.6  # inches

# Heights of the table's rows under the drawing, in slots; the drawing's middle line; rules.
LAYER, OUTPUT, CHANNELS, THEN, PARAMETERS = -0.42, -1.0, -1.32, -1.95, -2.52
MIDDLE, RULES = 1.25, (-0.72, -1.6, -2.29)


def plot_model_diagram(
    layers: list, input_shape=(32, 32, 3), title="The network, block by block"
) -> Figure:
    """Draw a network as blocks from left to right, with shapes and parameters under each.

    A feature map is a box as high and deep as its picture is large and as wide as the logarithm of
    its channels; a vector is a bar as high as the logarithm of its units.

    Args:
        layers: Rows `(name, kind, output shape, parameters, activation)`, as from
            `models.describe_layers`.
        input_shape: Shape of one image; drawn first unless the rows begin with an input.
        title: Title of the figure.

    Returns:
        The `Figure`.
    """
    slots = _group_layers(layers, input_shape)
    columns = math.ceil(len(slots) / math.ceil(len(slots) / SLOTS_PER_ROW))
    rows = [slots[i : i + columns] for i in range(0, len(slots), columns)]
    figure = new_figure(title, ROW_HEIGHT * len(rows) + 0.8)
    largest = max(max(slot["shape"][:2]) for slot in slots if len(slot["shape"]) == 3)
    total = sum(slot["params"] for slot in slots)
    for axes, row in zip(figure.subplots(len(rows), 1, squeeze=False).ravel(), rows, strict=True):
        # One slot is one unit wide.
        axes.set_xlim(-1.4, columns)
        axes.set_ylim(-2.8, 2.5)
        axes.set_axis_off()
        _draw_row_names(axes, columns)
        for place, slot in enumerate(row):
            _draw_slot(axes, place, slot, largest)
    figure.supxlabel(f"{total:,} parameters in all", fontsize=SMALL + 1, color=INK)
    return figure


def _group_layers(layers, input_shape):
    """Turn layers into slots; what changes no shape joins the slot before it."""
    layers = [
        (kind, _clean_shape(shape), int(params), ACTIVATIONS.get(activation, activation))
        for _, kind, shape, params, activation in layers
    ]
    if not layers or not layers[0][0].startswith("Input"):
        layers.insert(0, ("InputLayer", tuple(input_shape), 0, ""))
    slots = []
    for kind, shape, params, activation in layers:
        block = next((value for key, value in BLOCKS.items() if kind.startswith(key)), None)
        if block is None and slots and slots[-1]["shape"] == shape:
            slots[-1]["params"] += params
            slots[-1]["then"].append(activation or SHORT.get(kind, kind.lower()))
            continue
        word, colour = block or (kind[:9].lower(), PURPLE)
        then = [activation] if activation else []
        slots.append(
            {"word": word, "colour": colour, "shape": shape, "params": params, "then": then}
        )
    return slots


def _clean_shape(shape):
    shape = tuple(int(side) for side in shape if side is not None)
    return shape if len(shape) in (1, 3) else (math.prod(shape),)


def _draw_row_names(axes, columns):
    names = {LAYER: "layer", OUTPUT: "output", THEN: "then", PARAMETERS: "parameters"}
    for y, name in names.items():
        axes.text(-1.4, y, name, fontsize=SMALL, color=MUTED, va="center")
    for y in RULES:
        axes.plot((-1.4, columns), (y, y), color=FAINT, linewidth=0.8)


def _draw_slot(axes, place, slot, largest):
    x = place + 0.5
    shape, params = slot["shape"], slot["params"]
    if len(shape) == 3:
        half = _draw_box(axes, x, shape, largest, slot["colour"])
        texts = {OUTPUT: f"{shape[0]}×{shape[1]}", CHANNELS: f"× {shape[2]}"}
    else:
        height, half = 0.24 * math.log2(max(shape[0], 2)), 0.11
        axes.add_patch(
            Rectangle(
                (x - half, MIDDLE - height / 2), 2 * half, height,
                facecolor=slot["colour"], edgecolor=INK, linewidth=0.8,
            )
        )  # fmt: skip
        texts = {OUTPUT: f"{shape[0]:,}"}
    if place:
        axes.annotate(
            "", (x - half - 0.04, MIDDLE), (x - 0.62, MIDDLE), zorder=0,
            arrowprops={"arrowstyle": "-|>", "color": MUTED, "linewidth": 0.9, "shrinkA": 0,
                        "shrinkB": 0, "mutation_scale": 7},
        )  # fmt: skip
    texts[LAYER] = slot["word"].replace(" ", "\n")
    texts[THEN] = "\n".join(slot["then"]) or "–"
    texts[PARAMETERS] = (
        "–" if not params else f"{params:,}" if params < 1e6 else f"{params / 1e6:.2f} M"
    )
    for y, text in texts.items():
        axes.text(x, y, text, fontsize=SMALL, color=INK, ha="center", va="center")


def _draw_box(axes, x, shape, largest, colour):
    """Draw a box in oblique projection, its faces in three shades; return half its width."""
    height = 1.75 * shape[0] / largest
    width = 0.05 * math.log2(shape[2] + 1) + 0.02
    depth = 0.32 * shape[1] / largest
    lift = 1.5 * depth
    left, right = x - (width + depth) / 2, x + (width - depth) / 2
    low = MIDDLE - (height + lift) / 2
    high = low + height
    front = [(left, low), (right, low), (right, high), (left, high)]
    top = [(left, high), (right, high), (right + depth, high + lift), (left + depth, high + lift)]
    side = [
        (right, low), (right + depth, low + lift), (right + depth, high + lift), (right, high)
    ]  # fmt: skip
    for corners, shade in ((front, 1.0), (top, 0.55), (side, 0.78)):
        axes.add_patch(
            Polygon(corners, facecolor=_tint(colour, shade), edgecolor=INK, linewidth=0.8)
        )
    return (width + depth) / 2


def _tint(colour, strength):
    return tuple(1 - strength * (1 - part) for part in to_rgb(colour))


def plot_kernel_steps(image, kernel, steps: dict, title="One kernel, step by step") -> Figure:
    """Draw an image, a kernel of nine numbers, and what is computed with it.

    Args:
        image: uint8 (height, width, 3).
        kernel: (3, 3).
        steps: Name to map, two-dimensional; all maps share one scale, whose middle is 0.
        title: Title of the figure.

    Returns:
        The `Figure`.
    """
    figure = new_figure(title, 2.5)
    places = figure.subplots(1, 2 + len(steps), width_ratios=[1, 0.75, *[1] * len(steps)])
    show_image(places[0], image, "image")
    _draw_kernel(places[1], np.asarray(kernel))
    most = max(np.abs(values).max() for values in steps.values())
    for place, (name, values) in zip(places[2:], steps.items(), strict=True):
        shown = place.imshow(values, cmap=SIGNED, vmin=-most, vmax=most, interpolation="nearest")
        _frame(place, f"{name}, {len(values)}×{len(values[0])}")
    bar = figure.colorbar(shown, ax=places[2:], orientation="horizontal", aspect=50, pad=0.04)
    bar.set_label("output: blue above 0, red below, white 0", fontsize=SMALL, color=INK)
    bar.ax.tick_params(labelsize=SMALL)
    return figure


def _draw_kernel(place, kernel):
    """Draw the nine numbers of a kernel on their colours."""
    most = max(np.abs(kernel).max(), 1e-9)
    place.imshow(kernel, cmap=SIGNED, vmin=-most, vmax=most)
    for row, column in np.ndindex(kernel.shape):
        strong = abs(kernel[row, column]) > 0.6 * most
        place.text(
            column, row, f"{kernel[row, column]:g}", ha="center", va="center",
            color="white" if strong else INK, fontsize=SMALL + 2, fontweight="bold",
        )  # fmt: skip
    _frame(place, "kernel, 3×3")


def _frame(place, caption):
    """Take the ticks from a map and put its caption above."""
    place.set(xticks=[], yticks=[])
    place.spines[:].set_color(FAINT)
    place.set_title(caption, fontsize=SMALL, color=INK, pad=3)


def plot_maps(rows: dict, title: str, shared=True) -> Figure:
    """Draw rows of images and feature maps.

    Args:
        rows: Label to a list of `(caption, image or map)`, all equally long: an image is uint8 of
            shape (height, width, 3); a map has two dimensions and any values.
        title: Title of the figure.
        shared: Whether the maps of a row share one scale, drawn beside it, white at its low end.
            Else each has its own from dark to bright, and its ends stand under it.

    Returns:
        The `Figure`.
    """
    columns = max(len(row) for row in rows.values())
    figure = new_figure(title, min(6.4 / columns + 0.45, 2.1) * len(rows) + 0.6)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for places, (label, row) in zip(axes, rows.items(), strict=True):
        maps = [np.asarray(values) for _, values in row if np.ndim(values) == 2]
        low, high = min(m.min() for m in maps), max(m.max() for m in maps)
        for place, (caption, values) in zip(places, row, strict=True):
            if np.ndim(values) != 2:
                show_image(place, values, caption)
                continue
            limits = {"vmin": low, "vmax": high, "cmap": BLUES} if shared else {"cmap": "cividis"}
            shown = place.imshow(values, interpolation="nearest", **limits)
            _frame(place, caption)
            if not shared:
                ends = f"{np.min(values):.2g} to {np.max(values):.2g}"
                place.set_xlabel(ends, fontsize=SMALL, color=MUTED, labelpad=2)
        places[0].set_ylabel(label, fontsize=SMALL + 1, color=INK)
        if shared:
            bar = figure.colorbar(shown, ax=list(places), aspect=12, pad=0.02)
            bar.ax.tick_params(labelsize=SMALL)
    return figure
