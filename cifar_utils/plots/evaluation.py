"""Figures of what a trained network gets right and wrong (notebooks 04 and 05)."""

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cifar_utils.plots.style import (
    BLACK,
    BLUE,
    FAINT,
    FONT,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    RED,
    SMALL,
    new_figure,
    percent,
    percent_axis,
    say_missing,
    show_image,
    style_axes,
)

METRIC_NAMES = {
    "accuracy": "accuracy",
    "f1_weighted": "weighted F1",
    "recall_weighted": "weighted recall",
}


def plot_metrics(results: dict, documented: dict, title: str) -> Figure:
    """Draw the metrics of one or several results, with their intervals, and the original's.

    Args:
        results: Name → metrics as in `metrics.json`. Without any, only the original's values are
            drawn, and a line states where the results are.
        documented: Metric → value of the original system, such as `evaluation.DOCUMENTED`; None
            as a value draws none.
        title: Title of the figure.
    """
    n = max(len(results), 1)
    figure = new_figure(title, 1.5 + 0.3 * n * len(documented))
    axes = style_axes(figure.subplots(), "", "score on the test set, 95 % interval", grid="x")
    if not results:
        say_missing(axes)
    styles = [(BLUE, "o"), (GREEN, "s"), (PURPLE, "^"), (ORANGE, "D")]
    for y, (metric, known) in enumerate(documented.items()):
        if known is not None:
            label = "original system" if y == 0 else None
            axes.plot((known, known), (y - 0.42, y + 0.42), color=RED, linewidth=3, label=label)
        for i, (name, metrics) in enumerate(results.items()):
            value, low, high = (metrics[metric][key] for key in ("value", "low", "high"))
            colour, marker = styles[i % len(styles)]
            place = y + (i - (n - 1) / 2) * 0.75 / n
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


def plot_test_set_leak(leak: dict | None) -> Figure:
    """Draw the test accuracy of every epoch, and what it does not share with the validation's.

    Args:
        leak: What `benchmarks/test_set_leak.py` wrote; None draws empty axes that state where it
            is. No result of this project was chosen by these test accuracies.
    """
    figure = new_figure("Choosing the epoch by the test set", 4.6)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    style_axes(upper, "test accuracy", "", "accuracy", "y")
    style_axes(lower, "test minus validation accuracy", "epoch", "points", "y")
    if leak is None:
        say_missing(upper)
        return figure
    validation, test = (np.asarray(leak["by_epoch"][name]) for name in ("validation", "test"))
    epochs = np.arange(1, len(test) + 1)
    upper.plot(epochs, test, color=BLUE, linewidth=1.2)
    for (name, choice), marker in zip(leak["choices"].items(), ("s", "o", "*"), strict=True):
        upper.plot(
            choice["epoch"], choice["value"], marker, color=BLACK, markersize=9, zorder=4,
            markerfacecolor=BLACK if marker == "*" else "none", linestyle="none", clip_on=False,
            label=f"{name}: {percent(choice['value'], 2)}",
        )  # fmt: skip
    # The first epochs are far below; what is chosen is chosen at the top.
    upper.set_ylim(test.max() - 0.1, test.max() + 0.01)
    upper.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    percent_axis(upper.yaxis)
    lower.bar(epochs, 100 * (test - validation), color=MUTED, width=0.8)
    lower.axhline(0, color=INK, linewidth=0.8)
    lower.set_xlim(0.4, len(test) + 0.6)
    lower.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    figure.legend(loc="outside lower center", ncols=1, frameon=False, fontsize=SMALL)
    return figure


def plot_confusion_matrix(confusion: np.ndarray, class_names: tuple[str, ...]) -> Figure:
    """Draw the confusion matrix: counts as numbers, shares of each given class as colour.

    Args:
        confusion: Counts by given (rows) and predicted class (columns), shape (k, k).
        class_names: The k class names.
    """
    confusion = np.asarray(confusion)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = new_figure("Confusion matrix (number of images)", 6.3)
    axes = style_axes(figure.subplots(), "", "predicted class", "given class")
    # A square root, so that a class confused in 5 % of cases differs visibly from one in 0 %.
    # One hue from white on: zero must look empty, and lightness alone carries the value.
    drawn = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), aspect="auto")
    places = np.arange(len(class_names))
    axes.set_xticks(places, class_names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, class_names)
    axes.tick_params(length=0, labelsize=FONT)
    axes.spines[:].set_visible(False)
    for (row, column), count in np.ndenumerate(confusion):
        axes.text(
            column, row, f"{count:,}" if count else "·", ha="center", va="center",
            color="white" if shares[row, column] > 0.3 else INK, fontsize=FONT,
            fontweight="bold" if row == column else "normal",
        )  # fmt: skip
    bar = figure.colorbar(drawn, ax=axes, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1], pad=0.02, aspect=30)
    bar.ax.set_yticklabels(["0 %", "1 %", "5 %", "20 %", "50 %", "100 %"], fontsize=SMALL)
    bar.set_label("share of the given class", fontsize=SMALL)
    bar.outline.set_visible(False)
    return figure


def plot_class_scores(rows: list[dict]) -> Figure:
    """Draw precision, recall and F1 of each class with intervals, the best class on top.

    Args:
        rows: From `evaluation.compute_class_report`.
    """
    rows = sorted(rows, key=lambda row: -row["f1"]["value"])
    figure = new_figure("Precision, recall and F1 by class", 0.5 * len(rows) + 1.4)
    axes = style_axes(figure.subplots(), "", "score on the test set, 95 % interval", grid="x")
    places = np.arange(len(rows))
    axes.hlines(places[1:] - 0.5, 0, 1, color=FAINT, linewidth=0.8)
    for name, label, colour, marker, shift in (
        ("precision", "precision", ORANGE, "^", -0.24),
        ("recall", "recall", BLUE, "s", 0),
        ("f1", "F1", GREEN, "o", 0.24),
    ):
        value, low, high = (
            np.array([row[name][key] for row in rows]) for key in ("value", "low", "high")
        )
        axes.errorbar(
            value, places + shift, xerr=[value - low, high - value], fmt=marker, color=colour,
            markersize=6, capsize=2.5, linewidth=1.5, label=label,
        )  # fmt: skip
    axes.set_yticks(places, [row["class"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    lowest = min(row[name]["low"] for row in rows for name in ("precision", "recall", "f1"))
    axes.set_xlim(max(0, np.floor(lowest * 10) / 10 - 0.02), 1.005)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    percent_axis(axes.xaxis)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=FONT)
    return figure


def plot_mistakes(
    images: np.ndarray,
    labels: np.ndarray,
    probs: np.ndarray,
    class_names: tuple[str, ...],
    disputed: np.ndarray | None = None,
) -> Figure:
    """Draw wrongly classified images with the given label, the prediction and its probability.

    Args:
        images: uint8, shape (k, 32, 32, 3), in the order in which they are drawn.
        labels: Given class ids, shape (k,).
        probs: Class probabilities, shape (k, classes).
        class_names: The class names.
        disputed: Whether most human raters rejected the given label, bool of shape (k,): a thick
            frame and the words "label disputed" mark these.
    """
    columns, title = 5, "The most confident mistakes"
    if not len(images):
        figure = new_figure(title, 1.4)
        figure.text(0.5, 0.4, "there is no mistake to show", ha="center", color=MUTED)
        return figure
    disputed = np.zeros(len(images), bool) if disputed is None else np.asarray(disputed)
    rows = -(-len(images) // columns)
    figure = new_figure(title, 1.9 * rows + 0.8)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, image, label, row, flag in zip(axes, images, labels, probs, disputed, strict=False):
        predicted = int(row.argmax())
        show_image(place, image, f"given: {class_names[label]}")
        # Whole percents: with more, the longest name would run out of the last column.
        caption = f"→ {class_names[predicted]} {percent(row[predicted], 0)}"
        place.set_xlabel(caption, fontsize=SMALL, fontweight="bold", labelpad=3)
        if flag:
            _mark_disputed(place)
    for place in axes[len(images) :]:
        place.set_axis_off()
    note = "→ prediction and its probability"
    if disputed.any():
        note += " · framed: most human raters rejected the given label"
    figure.supxlabel(note, fontsize=SMALL, color=MUTED)
    return figure


def _mark_disputed(axes):
    axes.spines[:].set_color(RED)
    axes.spines[:].set_linewidth(4)
    axes.text(
        0.5, 0.015, "label disputed", transform=axes.transAxes, ha="center", va="bottom",
        fontsize=SMALL, color="white", fontweight="bold",
        bbox={"boxstyle": "square,pad=0.25", "facecolor": RED, "edgecolor": "none"},
    )  # fmt: skip


def plot_reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = 10) -> Figure:
    """Draw the accuracy of predictions against the probability that the network gave them.

    Args:
        confidence: Probability of the predicted class, shape (n,).
        correct: Whether the prediction is correct, bool of shape (n,).
        bins: Number of bins of equal width between 0 and 1.
    """
    edges = np.linspace(0, 1, bins + 1)
    counts, _ = np.histogram(confidence, edges)
    sums = np.histogram(confidence, edges, weights=np.asarray(correct, float))[0]
    means = np.histogram(confidence, edges, weights=confidence)[0]
    filled = counts > 0
    figure = new_figure("Reliability: does a probability mean what it states?", 5.2)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    style_axes(upper, "", "", "accuracy in the bin", "both")
    style_axes(lower, "", "probability of the predicted class", "images", "y")
    upper.plot((0, 1), (0, 1), "--", color=MUTED, linewidth=1.5, label="accuracy = probability")
    x, y = (values[filled] / counts[filled] for values in (means, sums))
    upper.vlines(x, x, y, color=RED, linewidth=3, alpha=0.5, label="gap")
    upper.plot(x, y, "o-", color=BLUE, markersize=7, label="this network")
    upper.set(xlim=(0, 1), ylim=(0, 1.03))
    upper.legend(frameon=False, fontsize=FONT, loc="lower right")
    lower.bar(edges[:-1], counts, width=0.92 / bins, align="edge", color=BLUE)
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    lower.yaxis.set_major_formatter("{x:,.0f}")
    for axis in (upper.yaxis, lower.xaxis):
        percent_axis(axis)
    return figure


def plot_threshold(
    confidence: np.ndarray, correct: np.ndarray, threshold: float | None = None
) -> Figure:
    """Draw which share of the images is kept, and its accuracy, for every threshold.

    Args:
        confidence: Probability of the predicted class, shape (n,).
        correct: Whether the prediction is correct, bool of shape (n,).
        threshold: One to mark, or None.
    """
    order = np.argsort(confidence, kind="stable")[::-1]
    kept = np.arange(1, len(order) + 1)
    accuracy, thresholds = np.cumsum(np.asarray(correct)[order]) / kept, confidence[order]
    figure = new_figure("Keep only the predictions above a threshold", 3.6)
    axes = style_axes(figure.subplots(), "", "threshold (probability)", "share", "both")
    axes.plot(thresholds, kept / len(order), color=BLUE, linewidth=2, label="images kept")
    axes.plot(thresholds, accuracy, "--", color=RED, linewidth=2, label="accuracy of these")
    if threshold is not None and threshold <= 1:
        label = f"threshold {percent(threshold, 0)}"
        axes.axvline(threshold, color=BLACK, linestyle=":", linewidth=2, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.03))
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=FONT)
    return figure
