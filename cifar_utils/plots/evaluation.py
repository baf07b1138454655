"""Figures of what a trained network gets right and wrong (notebook 04)."""

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.ticker import MaxNLocator

from cifar_utils.plots import style
from cifar_utils.plots.style import BLACK, BLUE, GREEN, INK, MUTED, ORANGE, RED, SMALL, percent

METRIC_NAMES = {"f1_weighted": "weighted F1", "recall_weighted": "weighted recall"}
SCORE = "score on the test set, 95 % interval"


def plot_metrics(results, documented, title):
    """Draw the metrics of one or several results, with their intervals, and the original's.

    Args:
        results: Name → metrics as in `metrics.json`. Without any, only the original's values are
            drawn, and a line states where the results are.
        documented: Metric → value of the original system, such as `evaluation.DOCUMENTED`; None
            as a value draws none.
        title: Title of the figure.
    """
    n = max(len(results), 1)
    figure, axes = style.new_chart(title, 1.5 + 0.3 * n * len(documented), SCORE, grid="x")
    if not results:
        style.say_missing(axes)
    known = [(y, value) for y, value in enumerate(documented.values()) if value is not None]
    if known:
        y, values = np.transpose(known)
        axes.vlines(values, y - 0.42, y + 0.42, color=RED, linewidth=3, label="original system")
    styles = [(BLUE, "o"), (GREEN, "s"), (style.PURPLE, "^"), (ORANGE, "D")] * n
    for i, ((name, metrics), (colour, marker)) in enumerate(
        zip(results.items(), styles, strict=False)
    ):
        rows = [metrics[metric] for metric in documented]
        places = np.arange(len(rows)) + (i - (n - 1) / 2) * 0.75 / n
        style.draw_intervals(axes, rows, places, color=colour, marker=marker, label=name)
        for row, place in zip(rows, places, strict=True):
            axes.annotate(
                percent(row["value"], 2), (row["high"], place), (7, 0), va="center",
                textcoords="offset points", fontsize=SMALL,
            )  # fmt: skip
    axes.margins(x=0.16)
    axes.set_yticks(range(len(documented)), [METRIC_NAMES.get(name, name) for name in documented])
    axes.set_ylim(len(documented) - 0.45, -0.55)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    style.percent_axis(axes.xaxis, 1)
    style.add_legend(figure)
    return figure


def plot_test_set_leak(leak):
    """Draw the test accuracy of every epoch, and what it does not share with the validation's.

    Args:
        leak: What `benchmarks/test_set_leak.py` wrote; None draws empty axes that state where it
            is. No result of this project was chosen by these test accuracies.
    """
    figure = style.new_figure("Choosing the epoch by the test set", 4.6)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    style.style_axes(upper, "test accuracy", "", "accuracy", "y")
    style.style_axes(lower, "test minus validation accuracy", "epoch", "points", "y")
    if leak is None:
        style.say_missing(upper)
        return figure
    validation, test = (np.asarray(leak["by_epoch"][name]) for name in ("validation", "test"))
    epochs = np.arange(1, len(test) + 1)
    upper.plot(epochs, test, color=BLUE, linewidth=1.2)
    for (name, choice), marker in zip(leak["choices"].items(), ("s", "o", "*"), strict=True):
        upper.plot(
            choice["epoch"], choice["value"], marker, color=BLACK, markersize=9, zorder=4,
            markerfacecolor=BLACK if marker == "*" else "none", clip_on=False,
            label=f"{name}: {percent(choice['value'], 2)}",
        )  # fmt: skip
    # The first epochs are far below; what is chosen is chosen at the top.
    upper.set_ylim(test.max() - 0.1, test.max() + 0.01)
    upper.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    style.percent_axis(upper.yaxis)
    lower.bar(epochs, 100 * (test - validation), color=MUTED, width=0.8)
    lower.axhline(0, color=INK, linewidth=0.8)
    lower.set_xlim(0.4, len(test) + 0.6)
    lower.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    style.add_legend(figure, 1, fontsize=SMALL)
    return figure


def plot_confusion_matrix(confusion, class_names):
    """Draw the confusion matrix: counts as numbers, shares of each given class as colour.

    Args:
        confusion: Counts by given (rows) and predicted class (columns), shape (k, k).
        class_names: The k class names.
    """
    confusion = np.asarray(confusion)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure, axes = style.new_chart(
        "Confusion matrix (number of images)", 6.3, "predicted class", "given class", None
    )
    # A square root, so that a class confused in 5 % of cases differs visibly from one in 0 %.
    # One hue from white on: zero must look empty, and lightness alone carries the value.
    drawn = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), aspect="auto")
    places = np.arange(len(class_names))
    axes.set_xticks(places, class_names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, class_names)
    axes.tick_params(length=0, labelsize=style.FONT)
    axes.spines[:].set_visible(False)
    for (row, column), count in np.ndenumerate(confusion):
        axes.text(
            column, row, f"{count:,}" if count else "·", ha="center", va="center",
            color="white" if shares[row, column] > 0.3 else INK, fontsize=style.FONT,
            fontweight="bold" if row == column else "normal",
        )  # fmt: skip
    ticks = {share: percent(share, 0) for share in (0, 0.01, 0.05, 0.2, 0.5, 1)}
    style.add_scale(figure, drawn, axes, "share of the given class", ticks, pad=0.02, aspect=30)
    return figure


def plot_class_scores(rows):
    """Draw precision, recall and F1 of each class with intervals, the best class on top.

    Args:
        rows: From `evaluation.compute_class_report`.
    """
    rows = sorted(rows, key=lambda row: -row["f1"]["value"])
    title = "Precision, recall and F1 by class"
    figure, axes = style.new_chart(title, 0.5 * len(rows) + 1.4, SCORE, grid="x")
    places = np.arange(len(rows))
    axes.hlines(places[1:] - 0.5, 0, 1, color=style.FAINT, linewidth=0.8)
    marks = {"precision": (ORANGE, "^"), "recall": (BLUE, "s"), "f1": (GREEN, "o")}
    for shift, (name, (colour, marker)) in zip((-0.24, 0, 0.24), marks.items(), strict=True):
        scores, label = [row[name] for row in rows], name.replace("f1", "F1")
        style.draw_intervals(axes, scores, places + shift, color=colour, marker=marker, label=label)
    axes.set_yticks(places, [row["class"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    lowest = min(row[name]["low"] for row in rows for name in marks)
    axes.set_xlim(max(0, np.floor(lowest * 10) / 10 - 0.02), 1.005)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    style.percent_axis(axes.xaxis)
    style.add_legend(figure)
    return figure


def plot_mistakes(images, labels, probs, class_names, disputed=None):
    """Draw wrongly classified images with the given label, the prediction and its probability.

    Args:
        images: uint8, shape (k, 32, 32, 3), in the order in which they are drawn.
        labels: Given class ids, shape (k,).
        probs: Class probabilities, shape (k, classes).
        class_names: The class names.
        disputed: Whether most human raters rejected the given label, bool of shape (k,): a thick
            frame and the words "label disputed" mark these.
    """
    disputed = np.zeros(len(images), bool) if disputed is None else np.asarray(disputed)
    figure, axes = style.new_gallery(
        "The most confident mistakes", images, [f"given: {class_names[label]}" for label in labels],
        columns=5, row_height=1.9, empty="there is no mistake to show",
    )  # fmt: skip
    for place, row, flag in zip(axes, probs, disputed, strict=True):
        predicted = int(row.argmax())
        # Whole percents: with more, the longest name would run out of the last column.
        caption = f"→ {class_names[predicted]} {percent(row[predicted], 0)}"
        place.set_xlabel(caption, fontsize=SMALL, fontweight="bold", labelpad=3)
        if flag:
            place.spines[:].set(color=RED, linewidth=4)
            style.write_inside(
                place, 0.5, 0.015, "label disputed", va="bottom", fontsize=SMALL, color="white",
                fontweight="bold",
                bbox={"boxstyle": "square,pad=0.25", "facecolor": RED, "edgecolor": "none"},
            )  # fmt: skip
    framed = " · framed: most human raters rejected the given label" if disputed.any() else ""
    if len(images):
        style.add_note(figure, f"→ prediction and its probability{framed}")
    return figure


def plot_reliability(confidence, correct, bins=10):
    """Draw the accuracy of predictions against the probability that the network gave them.

    Args:
        confidence: Probability of the predicted class, shape (n,).
        correct: Whether the prediction is correct, bool of shape (n,).
        bins: Number of bins of equal width between 0 and 1.
    """
    edges = np.linspace(0, 1, bins + 1)
    counts, hits, total = (
        np.histogram(confidence, edges, weights=weights)[0]
        for weights in (None, np.asarray(correct, float), confidence)
    )
    filled = counts > 0
    x, y = total[filled] / counts[filled], hits[filled] / counts[filled]
    figure = style.new_figure("Reliability: does a probability mean what it states?", 5.2)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    style.style_axes(upper, "", "", "accuracy in the bin", "both")
    style.style_axes(lower, "", "probability of the predicted class", "images", "y")
    upper.plot((0, 1), (0, 1), "--", color=MUTED, linewidth=1.5, label="accuracy = probability")
    upper.vlines(x, x, y, color=RED, linewidth=3, alpha=0.5, label="gap")
    upper.plot(x, y, "o-", color=BLUE, markersize=7, label="this network")
    upper.set(xlim=(0, 1), ylim=(0, 1.03))
    upper.legend(frameon=False, fontsize=style.FONT, loc="lower right")
    lower.bar(edges[:-1], counts, width=0.92 / bins, align="edge", color=BLUE)
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    lower.yaxis.set_major_formatter("{x:,.0f}")
    style.percent_axis(upper.yaxis)
    style.percent_axis(lower.xaxis)
    return figure


def plot_threshold(confidence, correct, threshold=None):
    """Draw which share of the images is kept, and its accuracy, for every threshold.

    Args:
        confidence: Probability of the predicted class, shape (n,).
        correct: Whether the prediction is correct, bool of shape (n,).
        threshold: One to mark, or None.
    """
    order = np.argsort(confidence, kind="stable")[::-1]
    kept = np.arange(1, len(order) + 1)
    accuracy, thresholds = np.cumsum(np.asarray(correct)[order]) / kept, confidence[order]
    title = "Keep only the predictions above a threshold"
    figure, axes = style.new_chart(title, 3.6, "threshold (probability)", "share", "both")
    axes.plot(thresholds, kept / len(order), color=BLUE, linewidth=2, label="images kept")
    axes.plot(thresholds, accuracy, "--", color=RED, linewidth=2, label="accuracy of these")
    if threshold is not None and threshold <= 1:
        label = f"threshold {percent(threshold, 0)}"
        axes.axvline(threshold, color=BLACK, linestyle=":", linewidth=2, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.03))
    style.percent_axis(axes.xaxis)
    style.percent_axis(axes.yaxis)
    style.add_legend(figure)
    return figure
