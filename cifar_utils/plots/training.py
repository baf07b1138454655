"""Figures of the training: how the learning rate falls, how loss and accuracy go (notebook 03)."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cifar_utils.plots.style import (
    BLUE,
    FONT,
    INK,
    MUTED,
    RED,
    SERIES_STYLES,
    new_figure,
    percent,
    percent_axis,
    style_axes,
)

LEVELS = 10  # different rates; a schedule with as many or more is drawn as a smooth curve


def plot_learning_rates(schedules: dict, used: str | None = None) -> Figure:
    """Draw learning-rate schedules over the epochs, the one in use with emphasis.

    Args:
        schedules: Name → rates, one per epoch; or name → `(epochs, rates)`, with epochs from 0.
        used: Name of the schedule that this run uses, or None.

    Raises:
        ValueError: If there is no schedule, or `used` is not among them.
    """
    if not schedules or (used is not None and used not in schedules):
        raise ValueError(f"used = {used!r} is not among the schedules {list(schedules)}.")
    figure = new_figure("Learning rate by epoch", 3.4)
    axes = style_axes(figure.subplots(), "", "epochs finished", "learning rate", "y")
    lows, highs, plotted = [], [], []
    for i, (name, series) in enumerate(schedules.items()):
        epochs, rates = series if isinstance(series, tuple) else (range(len(series)), series)
        epochs, rates = np.asarray(epochs, float), np.asarray(rates, float)
        colour, dashes, _ = SERIES_STYLES[i % len(SERIES_STYLES)]
        emphasised = name == used
        if len(np.unique(rates)) < LEVELS:  # holds each rate for an epoch or more
            epochs, rates = np.append(epochs, epochs[-1] + 1), np.append(rates, rates[-1])
            epochs, rates = np.repeat(epochs, 2)[1:], np.repeat(rates, 2)[:-1]
        axes.plot(
            epochs, rates, solid_joinstyle="miter", dash_joinstyle="miter",
            color=colour, linestyle="-" if emphasised else dashes if dashes != "-" else (0, (5, 1)),
            linewidth=3.2 if emphasised else 1.8, alpha=1 if emphasised or not used else 0.85,
            label=f"{name} (used)" if emphasised else name, zorder=2 if emphasised else 3,
        )  # fmt: skip
        lows.append(rates[rates > 0].min(initial=np.inf))
        highs.append(rates.max())
        plotted.append(rates)
    # Powers of ten need a log scale; a curve that falls to zero would lose its shape on it.
    levels = max(len(np.unique(rates)) for rates in plotted)
    if max(highs) > 20 * min(lows) and levels < LEVELS:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(
        loc="outside lower center", ncols=min(3, len(schedules)), frameon=False, fontsize=FONT
    )
    return figure


def plot_descent(paths: dict) -> Figure:
    """Draw the steps of gradient descent in the valley of the loss w².

    Args:
        paths: Label to the weights, one after each step.
    """
    figure = new_figure("Five steps in the valley w²", 2.7)
    reach = max(1.2, *(1.1 * np.abs(weights).max() for weights in paths.values()))
    valley = np.linspace(-reach, reach, 200)  # one scale for all: they are to be compared
    for axes, (label, weights), (colour, _, marker) in zip(
        figure.subplots(1, len(paths), sharey=True, squeeze=False)[0],
        paths.items(),
        SERIES_STYLES,
        strict=False,
    ):
        weights = np.asarray(weights, float)
        style_axes(axes, label, "weight w", "loss w²", "y")
        axes.plot(valley, valley**2, color=MUTED, linewidth=1.2)
        axes.plot(weights, weights**2, "-", color=colour, marker=marker, linewidth=1.2)
        axes.annotate("start", (weights[0], weights[0] ** 2), (6, -2), textcoords="offset points",
                      fontsize=FONT - 1, color=INK)  # fmt: skip
        axes.label_outer()
    return figure


def plot_training_curves(
    history: dict, total_epochs: int | None = None, title="Training curves"
) -> Figure:
    """Draw loss and accuracy by epoch, for training and, where there is one, validation.

    Made to be drawn again after every epoch: it takes a history of no epoch or one as well.

    Args:
        history: Column → values, as in `history.csv`: "loss", "accuracy" and perhaps "epoch"
            (from 1), "val_loss" and "val_accuracy".
        total_epochs: Epochs that the training will have; fixes the x axis while it runs.
        title: Title of the figure.
    """
    columns = {name: np.asarray(values, float) for name, values in history.items()}
    n = len(columns.get("loss", ()))
    epochs = columns.get("epoch", np.arange(1, n + 1))
    figure = new_figure(title, 3.5)
    left, right = figure.subplots(1, 2)
    style_axes(left, "loss (lower is better)", "epoch", "cross-entropy per image", "y")
    style_axes(right, "accuracy (higher is better)", "epoch", "share of images", "y")
    for axes, name in ((left, "loss"), (right, "accuracy")):
        _draw_pair(axes, epochs, columns.get(name), columns.get(f"val_{name}"))
        last = max(n, total_epochs or 1)
        axes.set_xlim(0.5, last + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    percent_axis(right.yaxis)
    if not n:
        for axes in (left, right):
            axes.text(
                0.5, 0.45, "waiting for\nthe first epoch", transform=axes.transAxes,
                ha="center", color=MUTED, fontsize=FONT,
            )  # fmt: skip
        return figure
    labels = [f"{h.get_label()}, last {percent(h.get_ydata()[-1])}" for h in right.lines]
    figure.legend(
        right.lines, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=FONT
    )
    return figure


def _draw_pair(axes, epochs, train, val):
    marker_step = max(1, len(epochs) // 15)
    for values, name, colour, dashes, marker in (
        (train, "training", BLUE, "-", "o"),
        (val, "validation", RED, "--", "s"),
    ):
        if values is not None and len(values) and np.isfinite(values).any():
            axes.plot(
                epochs, values, linestyle=dashes, color=colour, marker=marker, markersize=5,
                markevery=marker_step, linewidth=1.8, label=name, clip_on=False,
            )  # fmt: skip
