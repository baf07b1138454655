"""What the fast network's tricks do, and what they are worth (notebook 06)."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from cifar_utils.plots.style import (
    BLACK,
    BLUE,
    FAINT,
    FONT,
    INK,
    MUTED,
    RED,
    SERIES_STYLES,
    SMALL,
    WIDTH,
    new_figure,
    percent_axis,
    say_missing,
    show_picture,
    style_axes,
)


def plot_whitening_filters(kernel: np.ndarray) -> Figure:
    """Draw whitening filters as the patches that they answer to, strongest direction first.

    Each is scaled to its own largest value, with zero as grey; below it stands its norm.

    Args:
        kernel: (height, width, 3, 2k), the negatives of the first k filters last.
    """
    half = kernel.shape[-1] // 2
    figure = new_figure("The whitening filters", 2.9)
    for i, axes in enumerate(figure.subplots(2, half).flat):
        patch = kernel[..., i]
        strength = np.linalg.norm(patch)
        patch = 0.5 + 0.5 * patch / np.abs(patch).max()
        name = f"{i + 1}" if i < half else f"−{i - half + 1}"
        show_picture(axes, patch, name, FONT)
        axes.set_xlabel(f"× {strength:.3g}", fontsize=SMALL, color=MUTED)
    return figure


def plot_correlations(before: np.ndarray, after: np.ndarray) -> Figure:
    """Draw two matrices of correlations side by side, on one scale.

    Args:
        before, after: (k, k), from -1 to 1.
    """
    figure = new_figure("How much one number tells about another", 3.9)
    pair = figure.subplots(1, 2)
    titles = ("the twelve numbers of a 2×2 patch", "the answers of the twelve filters")
    names = ("number", "filter")
    for axes, matrix, title, name in zip(pair, (before, after), titles, names, strict=True):
        drawn = axes.imshow(matrix, cmap="PuOr", vmin=-1, vmax=1)
        axes.set_title(title, fontsize=FONT, color=INK)
        axes.set_xlabel(name, fontsize=FONT)
        axes.set_ylabel(name, fontsize=FONT)
        axes.set_xticks(range(0, len(matrix), 3), range(1, len(matrix) + 1, 3))
        axes.set_yticks(range(0, len(matrix), 3), range(1, len(matrix) + 1, 3))
    bar = figure.colorbar(drawn, ax=list(pair), shrink=0.8)
    bar.set_label("correlation", fontsize=FONT)
    return figure


def plot_kernels(before: np.ndarray, after: np.ndarray, name: str) -> Figure:
    """Draw the centre of a convolution's kernels, at the start and when learnt.

    Args:
        before, after: (channels_in, filters), the weights between a pixel and the same place.
        name: Which layer's.
    """
    figure = new_figure(f"The centre of the kernels of {name}", 3.4)
    pair = figure.subplots(1, 2)
    for axes, matrix, title in zip(pair, (before, after), ("at the start", "learnt"), strict=True):
        limit = np.quantile(np.abs(matrix), 0.995) or 1.0
        drawn = axes.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
        axes.set_title(title, fontsize=FONT, color=INK)
        bar = figure.colorbar(drawn, ax=axes, shrink=0.6, extend="both")
        bar.set_label("weight", fontsize=FONT)
        axes.set_xlabel("filter", fontsize=FONT)
        axes.set_ylabel("input channel", fontsize=FONT)
    return figure


def plot_singular_values(series: dict) -> Figure:
    """Draw how strongly an update pulls in each of its directions, the strongest as one.

    Args:
        series: Name to singular values.
    """
    figure = new_figure("How far one step goes, direction by direction", 3.6)
    axes = style_axes(
        figure.subplots(), "", "direction, the strongest first", "step (strongest = 1)", "y"
    )
    styles = (SERIES_STYLES[1], SERIES_STYLES[0])
    for (name, values), style in zip(series.items(), styles, strict=True):
        values = np.sort(values)[::-1] / np.max(values)
        colour, dashes, _ = style
        axes.plot(range(1, len(values) + 1), values, dashes, color=colour, linewidth=2, label=name)
    axes.set_yscale("log")
    axes.set_xlim(left=1)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=FONT)
    return figure


def plot_ablation(rows: list | None, name: str = "quick") -> Figure:
    """Draw what a recipe reaches without each of its tricks: mean and range over the seeds.

    Args:
        rows: From `experiments.summarise_ablation`; None draws empty axes that say where they lie.
        name: The recipe's.
    """
    height = 4.4 if rows is None else 1.6 + 0.36 * len(rows)
    figure = new_figure(f"{name}, without each trick", height)
    axes = style_axes(figure.subplots(), "", "validation images right", grid="x")
    if rows is None:
        say_missing(axes)
        return figure
    whole = next(row for row in rows if row["trick"] == "nothing")
    axes.axvspan(whole["low"], whole["high"], color=FAINT, zorder=0)
    for y, row in enumerate(rows):
        clear = row["clear"]
        worse = RED if row["cost"] > 0 else BLUE
        colour = BLACK if row is whole else worse if clear else MUTED
        axes.plot((row["low"], row["high"]), (y, y), color=colour, linewidth=2)
        axes.plot(
            row["mean"], y, "s" if row is whole else "o", color=colour, markersize=7,
            markerfacecolor=colour if clear or row is whole else "white",
        )  # fmt: skip
        if row is not whole:
            text = f"{-100 * row['cost']:+.2f} points".replace("-", "−")
            axes.annotate(
                text, (1, y), (8, 0), xycoords=("axes fraction", "data"),
                textcoords="offset points", va="center", fontsize=SMALL, color=colour,
            )  # fmt: skip
    names = ["the whole recipe" if row is whole else f"without {row['trick']}" for row in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    percent_axis(axes.xaxis, 0)
    figure.legend(
        handles=[
            Line2D([], [], color=BLACK, marker="s", label="the whole recipe"),
            Patch(color=FAINT, label="its seeds"),
            Line2D([], [], color=RED, marker="o", label="clearly worse without"),
            Line2D([], [], color=BLUE, marker="o", label="clearly better without"),
            Line2D(
                [], [], color=MUTED, marker="o", markerfacecolor="white", label="within the spread"
            ),
        ],
        loc="outside lower center", ncols=3, frameon=False, fontsize=FONT,
    )  # fmt: skip
    return figure


def plot_losses(whole: list, others: dict, columns: int = 3) -> Figure:
    """Draw the training loss with and without each trick, one panel each.

    Args:
        whole: Pairs `(epochs, loss)` of the recipe as it stands.
        others: Name of what is missing, to such pairs. Without any, empty axes say where they lie.
        columns: Panels in a row.
    """
    if not others:
        figure = new_figure("Training loss, with and without", 2.6)
        say_missing(style_axes(figure.subplots(), "", "epoch", "cross-entropy"))
        return figure
    rows = -(-len(others) // columns)
    figure = new_figure("Training loss, with and without", 0.9 + 1.75 * rows, WIDTH)
    # Each panel with an axis of its own: without label smoothing, the loss is another one.
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axes, name in zip(grid.flat, [*others, *[None] * (grid.size - len(others))], strict=True):
        if name is None:
            axes.set_visible(False)
            continue
        style_axes(axes, name, grid="y")
        axes.title.set_fontsize(SMALL)
        axes.plot(*np.transpose(whole), color=BLUE, linewidth=1.8, label="the whole recipe")
        axes.plot(*np.transpose(others[name]), "--", color=RED, linewidth=1.8, label="without")
        # The first steps fall from far above everything that matters later.
        losses = [loss for pairs in (whole, others[name]) for _, loss in pairs]
        axes.set_ylim(min(losses) - 0.05, np.quantile(losses, 0.9) + 0.05)
    for axes in grid[-1]:
        axes.set_xlabel("epoch", fontsize=FONT)
        axes.set_xlim(0, np.ceil(max(epochs for epochs, _ in whole)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in grid[:, 0]:
        axes.set_ylabel("cross-entropy", fontsize=FONT)
    lines = grid[0][0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=2, frameon=False, fontsize=FONT)
    return figure


def plot_accuracy_against_time(series: dict | None, own: dict | None = None) -> Figure:
    """Draw accuracy against training time, one line per recipe, its epochs varied.

    Args:
        series: Recipe to triples `(seconds, accuracy, epochs)`. Without any, empty axes say where
            they lie.
        own: Recipe to the number of epochs that it has; these points get a ring and their number.
            Where there is none, the last point has its number.
    """
    figure = new_figure("What training time buys", 4.2)
    axes = style_axes(
        figure.subplots(), "", "training time in minutes", "validation images right", grid="both"
    )
    if not series:
        say_missing(axes)
        return figure
    styles = [*SERIES_STYLES, (BLACK, "-", "*")]
    ends = [max(points)[:2] for points in series.values()]
    for (name, points), (colour, dashes, marker) in zip(series.items(), styles, strict=False):
        seconds, accuracy, epochs = np.transpose(sorted(points))
        axes.plot(
            seconds / 60, accuracy, dashes, color=colour, marker=marker, markersize=6,
            markevery=max(1, len(points) // 12), linewidth=1.8, label=name,
        )  # fmt: skip
        ring = epochs == (own or {}).get(name)
        axes.plot(
            seconds[ring] / 60, accuracy[ring], "o", color=colour, markersize=13,
            markerfacecolor="none", markeredgewidth=1.5,
        )  # fmt: skip
        told = int(np.argmax(ring)) if ring.any() else -1
        # Below the line where another one ends beside it, a little earlier.
        below = any(
            seconds[told] / 3 < end < seconds[told] and abs(height - accuracy[told]) < 0.04
            for end, height in ends
        )
        axes.annotate(
            f"{epochs[told]:.0f} epochs", (seconds[told] / 60, accuracy[told]),
            (0, -19 if below else 10), textcoords="offset points", ha="right", fontsize=SMALL,
            color=colour,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
    axes.margins(y=0.1)
    percent_axis(axes.yaxis)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=FONT)
    return figure


def plot_time_scaling(measured: dict | None) -> Figure:
    """Draw how an epoch grows with the number of images, and with their size.

    Args:
        measured: What `benchmarks/scaling.py` wrote: dicts with "epoch_seconds" under "images",
            which have "images", and under "sizes", which have "size". None draws empty axes that
            say where it lies.
    """
    figure = new_figure("What makes an epoch of quick long", 3.4)
    if not measured:
        say_missing(
            style_axes(figure.subplots(), "", "images", "seconds for the steps of an epoch")
        )
        return figure
    left, right = figure.subplots(1, 2)
    style_axes(left, "images of 32 pixels", "images", "seconds for the steps of an epoch", "both")
    style_axes(
        right, "20,000 images", "side in pixels", "seconds for the steps of an epoch", "both"
    )
    images, sizes = (
        [(row[key], row["epoch_seconds"]) for row in measured[part]]
        for part, key in (("images", "images"), ("sizes", "size"))
    )
    count, seconds = np.transpose(images)
    left.plot(count, seconds, "o-", color=BLUE, linewidth=1.8)
    left.plot((0, count[-1]), (0, seconds[-1]), ":", color=BLACK, label="in proportion", zorder=3)
    left.xaxis.set_major_formatter(lambda value, place: f"{value:,.0f}")
    left.tick_params(axis="x", labelsize=SMALL)
    side, seconds = np.transpose(sizes)
    right.plot(side, seconds, "o-", color=BLUE, linewidth=1.8)
    right.plot(
        side, seconds[-1] * (side / side[-1]) ** 2, ":", color=BLACK, label="with the area"
    )  # fmt: skip
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=SMALL)
    return figure
