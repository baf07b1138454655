"""What the tricks of the fast network do, and what each improves (notebook 06)."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator

from cifar_utils.plots import style
from cifar_utils.plots.style import BLACK, BLUE, FAINT, FONT, MUTED, RED, SERIES_STYLES, SMALL

WHOLE = "the whole recipe"  # of an ablation: the name of the training that lacks nothing


def plot_whitening_filters(kernel):
    """Draw whitening filters as the patches that they respond to most, strongest direction first.

    Each is scaled to its own largest value, with zero as grey; its norm is below it.

    Args:
        kernel: (height, width, 3, 2k), the negatives of the first k filters last.
    """
    half = kernel.shape[-1] // 2
    patches = np.moveaxis(kernel, -1, 0)
    images = [0.5 + 0.5 * patch / np.abs(patch).max() for patch in patches]
    names = [f"{sign}{i + 1}" for sign in ("", "−") for i in range(half)]
    title = "The whitening filters and their negatives"
    figure, axes = style.new_gallery(title, images, names, half, 1.1)
    for place, patch in zip(axes, patches, strict=True):
        place.set_xlabel(f"× {np.linalg.norm(patch):.3g}", fontsize=SMALL, color=MUTED)
    return figure


def plot_correlations(before, after):
    """Draw two matrices of correlations side by side, on one scale.

    Args:
        before, after: (k, k), from -1 to 1.
    """
    figure = style.new_figure("Correlations before and after whitening", 3.9)
    titles = ("the twelve numbers of a 2×2 patch", "the outputs of the twelve filters")
    panels = _draw_matrices(figure, (before, after), titles, 1, "correlation")
    for axes, name in zip(panels, ("number", "filter"), strict=True):
        axes.set_xlabel(name, fontsize=FONT)
        axes.set_ylabel(name, fontsize=FONT)
        ticks = range(0, len(before), 3)
        axes.set(xticks=ticks, yticks=ticks)
        axes.set_xticklabels([tick + 1 for tick in ticks])
        axes.set_yticklabels([tick + 1 for tick in ticks])
    return figure


def plot_kernels(before, after, name):
    """Draw the centre of a convolution's kernels, before and after training, on one scale.

    Args:
        before, after: (channels_in, filters), the weights between a pixel and the same place.
        name: Which layer's.
    """
    figure = style.new_figure(f"The centre of the kernels of {name}", 3.4)
    limit = np.quantile(np.abs(after), 0.999) or 1.0
    titles = ("at the start", "trained")
    for axes in _draw_matrices(figure, (before, after), titles, limit, "weight", extend="both"):
        axes.set_xlabel("filter", fontsize=FONT)
        axes.set_ylabel("input channel", fontsize=FONT)
    return figure


def _draw_matrices(figure, matrices, titles, limit, label, **scale):
    """Draw matrices side by side on one scale from -limit to limit; returns their axes."""
    panels = figure.subplots(1, len(matrices))
    for axes, matrix, title in zip(panels, matrices, titles, strict=True):
        drawn = axes.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
        axes.set_title(title, fontsize=FONT, color=style.INK)
    style.add_scale(figure, drawn, list(panels), label, shrink=0.8, **scale)
    return panels


def plot_singular_values(series):
    """Draw how far an update goes in each of its directions, relative to the strongest.

    Args:
        series: Name → singular values.
    """
    figure, axes = style.new_chart(
        "How far one step goes, direction by direction",
        3.6,
        "direction, the strongest first",
        "step (strongest = 1)",
    )
    falling = {name: np.sort(values)[::-1] / np.max(values) for name, values in series.items()}
    _draw_lines(axes, falling, SERIES_STYLES[1::-1])  # Muon in blue here too
    axes.set_yscale("log")
    axes.set_ylim(3e-3, 1.2)  # fixed, so that figures with other numbers of rounds compare
    axes.set_xlim(left=1)
    style.add_legend(figure, 2)
    return figure


def plot_losses(series):
    """Draw the training loss step by step, all trainings on one scale.

    Args:
        series: Name → one loss per step.
    """
    title, label = "Training loss, step by step", "loss, mean of the epoch"
    figure, axes = style.new_chart(title, 3.4, "step", label)
    _draw_lines(axes, series)
    # The first steps fall from far above what matters later.
    axes.set_ylim(top=max(np.quantile(losses, 0.95) for losses in series.values()) + 0.05)
    style.add_legend(figure, 2)
    return figure


def _draw_lines(axes, series, styles=SERIES_STYLES):
    """Draw one line per name over 1, 2, 3 …"""
    for (name, values), (colour, dashes, _) in zip(series.items(), styles, strict=False):
        axes.plot(range(1, len(values) + 1), values, dashes, color=colour, linewidth=2, label=name)


def is_clear(whole, without):
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


def plot_ablation(accuracy, name="quick"):
    """Draw what a recipe reaches without each of its tricks: mean and range over the seeds.

    Args:
        accuracy: "without …" → accuracies, one per seed; those of the recipe under `WHOLE`.
        name: The recipe's.
    """
    title, height = f"{name}, without each trick", 1.6 + 0.36 * len(accuracy)
    figure, axes = style.new_chart(title, height, "validation accuracy", grid="x")
    accuracy = {trick: np.array(values) for trick, values in accuracy.items()}
    whole = accuracy[WHOLE]
    axes.axvspan(whole.min(), whole.max(), color=FAINT, zorder=0)
    ordered = sorted(accuracy, key=lambda trick: accuracy[trick].mean())
    for y, trick in enumerate(ordered):
        values = accuracy[trick]
        gained, clear = values.mean() - whole.mean(), is_clear(whole, values)
        colour = MUTED if not clear else RED if gained < 0 else BLUE
        marker, face = "o", colour if clear else "white"
        if trick == WHOLE:
            colour, marker, face = BLACK, "s", BLACK
        else:
            axes.annotate(
                f"{100 * gained:+.1f} points".replace("-", "−"), (1, y), (8, 0), va="center",
                xycoords=("axes fraction", "data"), textcoords="offset points", fontsize=SMALL,
                color=colour,
            )  # fmt: skip
        axes.plot((values.min(), values.max()), (y, y), color=colour, linewidth=2)
        axes.plot(values.mean(), y, marker, color=colour, markersize=7, markerfacecolor=face)
    axes.set_yticks(range(len(ordered)), ordered)
    axes.set_ylim(len(ordered) - 0.4, -0.6)
    style.percent_axis(axes.xaxis)
    hollow = {"color": MUTED, "marker": "o", "markerfacecolor": "white"}
    handles = [
        Line2D([], [], color=BLACK, marker="s", label=WHOLE),
        Patch(color=FAINT, label="its seeds"),
        Line2D([], [], color=RED, marker="o", label="clearly worse without"),
        Line2D([], [], label="within the spread", **hollow),
    ]
    style.add_legend(figure, 4, handles=handles)
    return figure


def plot_accuracy_against_time(series, own=None):
    """Draw accuracy against training time, one line per recipe, its epochs varied.

    Args:
        series: Recipe → triples `(seconds, accuracy, epochs)`.
        own: Recipe → the number of epochs that it has; these points get a ring.
    """
    title, label = "What training time buys", "training time in minutes"
    figure, axes = style.new_chart(title, 4.2, label, "validation accuracy", "both")
    styles = [*SERIES_STYLES, (BLACK, "-", "*")]
    for (name, points), (colour, dashes, marker) in zip(series.items(), styles, strict=False):
        seconds, accuracy, epochs = np.transpose(sorted(points))
        minutes = seconds / 60
        axes.plot(
            minutes, accuracy, dashes, color=colour, marker=marker, markersize=6, linewidth=1.8,
            label=name,
        )  # fmt: skip
        ring = epochs == (own or {}).get(name)
        axes.plot(
            minutes[ring], accuracy[ring], "o", color=colour, markersize=13,
            markerfacecolor="none", markeredgewidth=1.5,
        )  # fmt: skip
        axes.annotate(
            f"{epochs[-1]:.0f} epochs", (minutes[-1], accuracy[-1]), (0, 9), ha="center",
            textcoords="offset points", fontsize=SMALL, color=colour,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
    axes.margins(x=0.07, y=0.1)
    style.percent_axis(axes.yaxis)
    style.add_legend(figure)
    return figure
