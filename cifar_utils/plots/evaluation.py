"""Figures of what a trained network gets right and wrong (notebooks 04 and 05)."""

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cifar_utils.evaluation.uncertainty import METRIC_NAMES
from cifar_utils.plots.style import (
    BLUE,
    FAINT,
    FONT,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    RED,
    SMALL,
    new_figure,
    percent,
    percent_axis,
    show_picture,
    style_axes,
)


def plot_metrics_vs_documented(metrics: dict, documented: dict, without_errors=None) -> Figure:
    """Draw each metric with its interval beside the documented value.

    Args:
        metrics: From `evaluation.compute_metrics`.
        documented: Metric → documented value, such as `evaluation.DOCUMENTED`.
        without_errors: From `evaluation.compute_metrics_without_label_errors`, or None; its
            accuracy gets a row of its own.
    """
    rows = [(METRIC_NAMES.get(name, name), metrics[name], documented[name]) for name in documented]
    if without_errors:
        name = f"accuracy without\n{without_errors['excluded']} disputed labels"
        rows.append((name, without_errors["accuracy"], None))
    figure = new_figure("This run and the documented system", 0.62 * len(rows) + 1.35)
    axes = style_axes(figure.subplots(), "", "test score, with its 95 % interval", grid="x")
    for y, (_, entry, known) in enumerate(rows):
        value, low, high = entry["value"], entry["low"], entry["high"]
        axes.errorbar(
            value, y, xerr=[[value - low], [high - value]], fmt="o", color=BLUE, markersize=8,
            capsize=5, linewidth=2, label="this run" if y == 0 else None,
        )  # fmt: skip
        text = f"{percent(value, 2)}  ({100 * low:.2f} to {100 * high:.2f})"
        axes.annotate(
            text, (value, y), (0, 9), textcoords="offset points", ha="center", fontsize=SMALL
        )
        if known is not None:
            label = "documented" if y == 0 else None
            axes.plot((known, known), (y - 0.3, y + 0.3), color=RED, linewidth=3, label=label)
    ends = [v for _, entry, known in rows for v in (entry["low"], entry["high"], known)]
    ends = [v for v in ends if v is not None]
    # Room on both sides for the numbers above the points.
    margin = 0.3 * max(max(ends) - min(ends), 0.02)
    axes.set_xlim(min(ends) - margin, max(ends) + margin)
    labels = [
        name if known is None else f"{name}\n(documented {percent(known, 2)})"
        for name, _, known in rows
    ]
    axes.set_yticks(range(len(rows)), labels, fontsize=SMALL + 0.5)
    axes.set_ylim(len(rows) - 0.55, -0.65)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    percent_axis(axes.xaxis, 1)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=FONT)
    return figure


def plot_confusion_matrix(confusion: np.ndarray, class_names: tuple[str, ...]) -> Figure:
    """Draw the confusion matrix: counts as numbers, shares of each given class as colour.

    Args:
        confusion: Counts by given (rows) and predicted class (columns), shape (k, k).
        class_names: The k class names.
    """
    confusion = np.asarray(confusion)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = new_figure("Confusion matrix (images)", 6.3)
    axes = figure.subplots()
    # A square root, so that a class confused in 5 % of cases differs visibly from one in 0 %.
    # One hue from white on: zero must look empty, and lightness alone carries the value.
    picture = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), aspect="auto")
    places = np.arange(len(class_names))
    axes.set_xticks(places, class_names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, class_names)
    axes.tick_params(length=0, labelsize=FONT)
    axes.set_xlabel("predicted class", fontsize=FONT)
    axes.set_ylabel("given class", fontsize=FONT)
    axes.spines[:].set_visible(False)
    for (row, column), count in np.ndenumerate(confusion):
        axes.text(
            column, row, f"{count:,}" if count else "·", ha="center", va="center",
            color="white" if shares[row, column] > 0.3 else INK, fontsize=FONT,
            fontweight="bold" if row == column else "normal",
        )  # fmt: skip
    bar = figure.colorbar(picture, ax=axes, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1], pad=0.02, aspect=30)
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
    axes = style_axes(figure.subplots(), "", "score, with its 95 % interval", grid="x")
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
    figure = new_figure(title, 1.83 * rows + 0.8)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, image, label, row, flag in zip(axes, images, labels, probs, disputed, strict=False):
        predicted = int(row.argmax())
        # Whole percents: with more, the longest name would run out of the last column.
        caption = f"{class_names[predicted]} {row[predicted]:.0%}".replace("%", " %")
        show_picture(place, image, f"given: {class_names[label]}")
        place.set_xlabel(f"→ {caption}", fontsize=SMALL, fontweight="bold", labelpad=3)
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


def plot_prediction(
    picture: np.ndarray,
    view: np.ndarray,
    probs: np.ndarray,
    class_names: tuple[str, ...],
    top: int = 5,
    unsure: bool = False,
) -> Figure:
    """Draw one picture, what the network saw of it, and the most probable classes.

    Args:
        picture: The picture as it came, uint8 or floats in [0, 1], shape (height, width, 3).
        view: The 32 x 32 pixels that the network saw, uint8, shape (32, 32, 3).
        probs: Class probabilities, shape (classes,).
        class_names: The class names.
        top: How many classes are drawn.
        unsure: Whether the answer is called unsure.
    """
    probs = np.asarray(probs, float)
    order = np.argsort(-probs, kind="stable")[:top]
    best = order[0]
    answer = f"{'unsure: ' if unsure else ''}{class_names[best]}, {percent(probs[best])}"
    figure = new_figure(f"Prediction: {answer}", 2.9)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.25))
    show_picture(left, picture, "the picture", FONT)
    show_picture(middle, view, "what the network sees", FONT)
    style_axes(right, "most probable classes", "probability")
    colours = [BLUE if class_id == best else "#9ecae1" for class_id in order]
    bars = right.barh(np.arange(len(order)), probs[order], color=colours, height=0.7)
    right.bar_label(bars, [percent(probs[i]) for i in order], padding=3, fontsize=SMALL)
    right.set_yticks(np.arange(len(order)), [class_names[i] for i in order])
    right.invert_yaxis()
    right.set_xlim(0, 1.3)
    right.set_xticks([0, 0.5, 1])
    percent_axis(right.xaxis)
    return figure


def plot_heat_map(picture: np.ndarray, drawn: np.ndarray, label: str) -> Figure:
    """Draw a picture beside its heat map.

    Args:
        picture: The picture as it came, uint8, shape (height, width, 3).
        drawn: What `explain.draw_heat_map` made of it, as an array.
        label: The class that the map is about.
    """
    figure = new_figure(f"What spoke for {label}", 2.9)
    left, right = figure.subplots(1, 2)
    show_picture(left, picture, "the picture", FONT)
    show_picture(right, drawn, "bright: hiding it costs the answer", FONT)
    return figure
