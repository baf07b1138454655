"""What the tricks of the fast network do, and what each improves (notebook 06)."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator

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
    new_figure,
    percent_axis,
    style_axes,
    to_uint8,
)

WHOLE = "the whole recipe"  # of an ablation: the name of the training that lacks nothing


def plot_image_row(images: np.ndarray, captions: list[str], title: str) -> Figure:
    """Draw images in one row, a caption above each and nothing drawn over their pixels.

    Args:
        images: uint8, or float in [0, 1]; shape (n, height, width, 3).
        captions: One per image.
        title: Title of the figure.
    """
    figure = new_figure(title, 2.0)
    row = figure.subplots(1, len(images), squeeze=False)[0]
    for axes, image, caption in zip(row, images, captions, strict=True):
        _draw_image(axes, image, caption)
    return figure


def _draw_image(axes, image, caption):
    axes.imshow(to_uint8(image), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)  # a frame would cover half of the outer pixels
    axes.set_title(caption, fontsize=SMALL, color=INK, pad=4)


def plot_whitening_filters(kernel: np.ndarray) -> Figure:
    """Draw whitening filters as the patches that they respond to most, strongest direction first.

    Each is scaled to its own largest value, with zero as grey; its norm is below it.

    Args:
        kernel: (height, width, 3, 2k), the negatives of the first k filters last.
    """
    half = kernel.shape[-1] // 2
    figure = new_figure("The whitening filters and their negatives", 2.9)
    for i, axes in enumerate(figure.subplots(2, half).flat):
        patch = kernel[..., i]
        name = f"{i + 1}" if i < half else f"−{i - half + 1}"
        _draw_image(axes, 0.5 + 0.5 * patch / np.abs(patch).max(), name)
        axes.set_xlabel(f"× {np.linalg.norm(patch):.3g}", fontsize=SMALL, color=MUTED)
    return figure


def plot_correlations(before: np.ndarray, after: np.ndarray) -> Figure:
    """Draw two matrices of correlations side by side, on one scale.

    Args:
        before, after: (k, k), from -1 to 1.
    """
    figure = new_figure("Correlations before and after whitening", 3.9)
    pair = figure.subplots(1, 2)
    titles = ("the twelve numbers of a 2×2 patch", "the outputs of the twelve filters")
    for axes, matrix, title, name in zip(
        pair, (before, after), titles, ("number", "filter"), strict=True
    ):
        drawn = axes.imshow(matrix, cmap="PuOr", vmin=-1, vmax=1)
        axes.set_title(title, fontsize=FONT, color=INK)
        axes.set_xlabel(name, fontsize=FONT)
        axes.set_ylabel(name, fontsize=FONT)
        ticks = range(0, len(matrix), 3)
        axes.set_xticks(ticks, [tick + 1 for tick in ticks])
        axes.set_yticks(ticks, [tick + 1 for tick in ticks])
    bar = figure.colorbar(drawn, ax=list(pair), shrink=0.8)
    bar.set_label("correlation", fontsize=FONT)
    return figure


def plot_kernels(before: np.ndarray, after: np.ndarray, name: str) -> Figure:
    """Draw the centre of a convolution's kernels, before and after training, on one scale.

    Args:
        before, after: (channels_in, filters), the weights between a pixel and the same place.
        name: Which layer's.
    """
    figure = new_figure(f"The centre of the kernels of {name}", 3.4)
    pair = figure.subplots(1, 2)
    limit = np.quantile(np.abs(after), 0.999) or 1.0
    for axes, matrix, title in zip(pair, (before, after), ("at the start", "trained"), strict=True):
        drawn = axes.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
        axes.set_title(title, fontsize=FONT, color=INK)
        axes.set_xlabel("filter", fontsize=FONT)
        axes.set_ylabel("input channel", fontsize=FONT)
    bar = figure.colorbar(drawn, ax=list(pair), shrink=0.7, extend="both")
    bar.set_label("weight", fontsize=FONT)
    return figure


def plot_singular_values(series: dict) -> Figure:
    """Draw how far an update goes in each of its directions, relative to the strongest.

    Args:
        series: Name → singular values.
    """
    figure = new_figure("How far one step goes, direction by direction", 3.6)
    axes = style_axes(
        figure.subplots(), "", "direction, the strongest first", "step (strongest = 1)", "y"
    )
    for (name, values), (colour, dashes, _) in zip(
        series.items(), SERIES_STYLES[1::-1], strict=True
    ):
        values = np.sort(values)[::-1] / np.max(values)
        axes.plot(range(1, len(values) + 1), values, dashes, color=colour, linewidth=2, label=name)
    axes.set_yscale("log")
    axes.set_ylim(3e-3, 1.2)  # fixed, so that figures with other numbers of rounds compare
    axes.set_xlim(left=1)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=FONT)
    return figure


def is_clear(whole: np.ndarray, without: np.ndarray) -> bool:
    """Return whether a trick makes a clear difference over some seeds.

    Args:
        whole, without: Accuracies with and without the trick, one per seed in the same order.

    Returns:
        Whether all seeds agree on the sign, and the mean difference exceeds the range over the
        seeds both with the trick and without.
    """
    cost = np.subtract(whole, without)
    agree = len(cost) > 1 and (cost.min() > 0 or cost.max() < 0)
    return bool(agree and abs(cost.mean()) > max(np.ptp(whole), np.ptp(without)))


def plot_ablation(accuracy: dict, name: str = "quick") -> Figure:
    """Draw what a recipe reaches without each of its tricks: mean and range over the seeds.

    Args:
        accuracy: "without …" → accuracies, one per seed; those of the recipe under `WHOLE`.
        name: The recipe's.
    """
    figure = new_figure(f"{name}, without each trick", 1.6 + 0.36 * len(accuracy))
    axes = style_axes(figure.subplots(), "", "validation accuracy", grid="x")
    accuracy = {trick: np.array(values) for trick, values in accuracy.items()}
    whole = accuracy[WHOLE]
    axes.axvspan(whole.min(), whole.max(), color=FAINT, zorder=0)
    ordered = sorted(accuracy, key=lambda trick: accuracy[trick].mean())
    for y, trick in enumerate(ordered):
        values = accuracy[trick]
        gained, clear = values.mean() - whole.mean(), is_clear(whole, values)
        colour = BLACK if trick == WHOLE else MUTED if not clear else RED if gained < 0 else BLUE
        axes.plot((values.min(), values.max()), (y, y), color=colour, linewidth=2)
        axes.plot(
            values.mean(), y, "s" if trick == WHOLE else "o", color=colour, markersize=7,
            markerfacecolor=colour if clear or trick == WHOLE else "white",
        )  # fmt: skip
        if trick != WHOLE:
            axes.annotate(
                f"{100 * gained:+.1f} points".replace("-", "−"), (1, y), (8, 0), va="center",
                xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=SMALL,
                color=colour,
            )  # fmt: skip
    axes.set_yticks(range(len(ordered)), ordered)
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    percent_axis(axes.xaxis, 0)
    hollow = {"color": MUTED, "marker": "o", "markerfacecolor": "white"}
    figure.legend(
        handles=[
            Line2D([], [], color=BLACK, marker="s", label=WHOLE),
            Patch(color=FAINT, label="its seeds"),
            Line2D([], [], color=RED, marker="o", label="clearly worse without"),
            Line2D([], [], label="within the spread", **hollow),
        ],
        loc="outside lower center", ncols=4, frameon=False, fontsize=FONT,
    )  # fmt: skip
    return figure


def plot_losses(series: dict) -> Figure:
    """Draw the training loss step by step, all trainings on one scale.

    Args:
        series: Name → one loss per step.
    """
    figure = new_figure("Training loss, step by step", 3.4)
    axes = style_axes(figure.subplots(), "", "step", "loss, mean of the epoch", "y")
    for (name, losses), (colour, dashes, _) in zip(series.items(), SERIES_STYLES, strict=False):
        axes.plot(range(1, len(losses) + 1), losses, dashes, color=colour, linewidth=2, label=name)
    # The first steps fall from far above what matters later.
    axes.set_ylim(top=max(np.quantile(losses, 0.95) for losses in series.values()) + 0.05)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=FONT)
    return figure


def plot_accuracy_against_time(series: dict, own: dict | None = None) -> Figure:
    """Draw accuracy against training time, one line per recipe, its epochs varied.

    Args:
        series: Recipe → triples `(seconds, accuracy, epochs)`.
        own: Recipe → the number of epochs that it has; these points get a ring.
    """
    figure = new_figure("What training time buys", 4.2)
    axes = style_axes(
        figure.subplots(), "", "training time in minutes", "validation accuracy", grid="both"
    )
    styles = [*SERIES_STYLES, (BLACK, "-", "*")]
    for (name, points), (colour, dashes, marker) in zip(series.items(), styles, strict=False):
        seconds, accuracy, epochs = np.transpose(sorted(points))
        axes.plot(
            seconds / 60, accuracy, dashes, color=colour, marker=marker, markersize=6,
            linewidth=1.8, label=name,
        )  # fmt: skip
        ring = epochs == (own or {}).get(name)
        axes.plot(
            seconds[ring] / 60, accuracy[ring], "o", color=colour, markersize=13,
            markerfacecolor="none", markeredgewidth=1.5,
        )  # fmt: skip
        axes.annotate(
            f"{epochs[-1]:.0f} epochs", (seconds[-1] / 60, accuracy[-1]), (0, 9), ha="center",
            textcoords="offset points", fontsize=SMALL, color=colour,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
    axes.margins(x=0.07, y=0.1)
    percent_axis(axes.yaxis)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=FONT)
    return figure
