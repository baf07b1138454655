"""Figures of the reference runs: the documented result reproduced, and the test set's leak."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cifar_utils.evaluation.uncertainty import METRIC_NAMES
from cifar_utils.plots.style import (
    BLACK,
    BLUE,
    FONT,
    GREEN,
    MUTED,
    RED,
    SERIES_STYLES,
    SMALL,
    new_figure,
    percent,
    percent_axis,
    style_axes,
)


def plot_reproduction(runs: dict, documented: dict) -> Figure:
    """Draw each metric of several runs, with its interval, beside the documented value.

    Args:
        runs: Name → the contents of its `metrics.json`. Without any, only the documented values
            are drawn, and a line says where the runs lie.
        documented: Metric → documented value, such as `evaluation.DOCUMENTED`.
    """
    figure = new_figure("The documented result, and ours", 1.5 + 0.34 * max(len(runs), 1) * 3)
    axes = style_axes(figure.subplots(), "", "test score, with its 95 % interval", grid="x")
    step = 0.7 / max(len(runs), 1)
    if not runs:
        say_missing(axes)
    for y, (metric, known) in enumerate(documented.items()):
        axes.plot(
            (known, known), (y - 0.42, y + 0.42), color=RED, linewidth=3,
            label="documented" if y == 0 else None,
        )  # fmt: skip
        for i, (name, metrics) in enumerate(runs.items()):
            value, low, high = (metrics[metric][key] for key in ("value", "low", "high"))
            colour, _, marker = [s for s in SERIES_STYLES if s[0] != RED][i % 3]
            place = y + (i - (len(runs) - 1) / 2) * step
            axes.errorbar(
                value, place, xerr=[[value - low], [high - value]], fmt=marker, color=colour,
                markersize=7, capsize=4, linewidth=2, label=name if y == 0 else None,
            )  # fmt: skip
            axes.annotate(
                percent(value, 2), (high, place), (7, 0), textcoords="offset points",
                va="center", fontsize=SMALL,
            )  # fmt: skip
    axes.margins(x=0.16)
    axes.set_yticks(range(len(documented)), [METRIC_NAMES.get(name, name) for name in documented])
    axes.set_ylim(len(documented) - 0.45, -0.55)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    percent_axis(axes.xaxis, 1)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=FONT)
    return figure


def say_missing(axes):
    """Say where the measurements are, on a machine that does not have them."""
    text = "the measurements lie in the project's folder\n(outputs/reference), which is not here"
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED,
        fontsize=FONT, bbox={"facecolor": "white", "edgecolor": "none"}, zorder=5,
    )  # fmt: skip


def plot_test_set_leak(leak: dict | None) -> Figure:
    """Draw validation and test accuracy of every epoch, and which epoch each would choose.

    Args:
        leak: What `benchmarks/test_set_leak.py` wrote. Its test accuracies are drawn to show what
            choosing by them is worth; no result of this project was chosen by them. None draws
            empty axes that say where it lies.
    """
    if leak is None:
        figure = new_figure("What watching the test set is worth", 3.6)
        say_missing(style_axes(figure.subplots(), "", "epoch", "share of images right"))
        return figure
    series = {
        "validation images": (leak["by_epoch"]["validation"], BLUE, "-"),
        "test images": (leak["by_epoch"]["test"], GREEN, "--"),
    }
    figure = new_figure("What watching the test set is worth", 3.6)
    axes = style_axes(figure.subplots(), "", "epoch", "share of images right", "y")
    for name, (values, colour, dashes) in series.items():
        epochs = np.arange(1, len(values) + 1)
        axes.plot(epochs, values, dashes, color=colour, linewidth=1.6, label=name)
    markers = ("s", "o", "*")
    for (name, choice), marker in zip(leak["choices"].items(), markers, strict=True):
        axes.plot(
            choice["epoch"], choice["value"], marker, color=BLACK, markersize=9, zorder=4,
            markerfacecolor="none" if marker != "*" else BLACK, linestyle="none", clip_on=False,
            label=f"{name}: {percent(choice['value'], 2)}",
        )  # fmt: skip
    # The first epochs are far below; what is decided is decided at the top.
    top = max(max(values) for values, _, _ in series.values())
    axes.set_ylim(top - 0.16, top + 0.015)
    axes.set_xlim(left=1)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    percent_axis(axes.yaxis)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL)
    return figure
