"""Figures of one photo: what the network receives, what it predicts, and why (notebook 05)."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cifar_utils.plots.style import (
    BLUE,
    FONT,
    SMALL,
    new_figure,
    percent,
    percent_axis,
    show_image,
    style_axes,
    to_uint8,
)

HEAT_COLOURS = "inferno"  # its brightness rises evenly: readable with any colour vision


def plot_images(images: list[np.ndarray], captions: list[str], title: str) -> Figure:
    """Draw images of any size in a row.

    Args:
        images: uint8 or floats in [0, 1], each (height, width, 3).
        captions: A text above each; may hold line breaks.
        title: Title of the figure.
    """
    figure = new_figure(title, 0.62 + 0.15 * captions[0].count("\n") + 7 / len(images))
    places = figure.subplots(1, len(images), squeeze=False)[0]
    for place, image, caption in zip(places, images, captions, strict=True):
        show_image(place, image, caption, SMALL if len(images) > 3 else FONT)
    return figure


def plot_prediction(
    photo: np.ndarray,
    view: np.ndarray,
    probs: np.ndarray,
    class_names: tuple[str, ...],
    box: tuple[int, int, int, int] | None = None,
    top: int = 5,
    unsure: bool = False,
) -> Figure:
    """Draw one photo, the pixels that the network received, and the most probable classes.

    Args:
        photo: As it came, uint8 or floats in [0, 1], shape (height, width, 3).
        view: The 32 x 32 pixels that the network received, uint8, shape (32, 32, 3).
        probs: Class probabilities, shape (classes,).
        class_names: The class names.
        box: Where the view is in the photo, (left, top, right, bottom), to be framed; or None.
        top: How many classes are drawn.
        unsure: Whether the prediction is called unsure.
    """
    probs = np.asarray(probs, float)
    order = np.argsort(-probs, kind="stable")[:top]
    best = order[0]
    told = f"{'unsure: ' if unsure else ''}{class_names[best]}, {percent(probs[best])}"
    figure = new_figure(f"Prediction: {told}", 2.9)
    framed = "the photo,\nits crop framed" if box else "the photo"
    images = [(photo, framed), (view, "what the\nnetwork receives")]
    if np.array_equal(photo, view):  # an image of 32 x 32 pixels is given as it is
        images = [(view, "the image, given as it is")]
    *places, right = figure.subplots(1, len(images) + 1, width_ratios=[1] * len(images) + [1.3])
    for place, (image, caption) in zip(places, images, strict=True):
        show_image(place, image, caption, FONT)
    if box and len(images) > 1:
        left, top_edge, right_edge, bottom = box
        size = (right_edge - left - 1, bottom - top_edge - 1)
        for colour, width in (("black", 4), ("white", 2)):  # seen on light and on dark photos
            places[0].add_patch(
                Rectangle((left, top_edge), *size, fill=False, edgecolor=colour, linewidth=width)
            )
    style_axes(right, "most probable classes", "probability")
    colours = [BLUE if class_id == best else "#9ecae1" for class_id in order]
    right.barh(np.arange(len(order)), probs[order], color=colours, height=0.7)
    names = [f"{class_names[i]}  {percent(probs[i])}" for i in order]
    right.set_yticks(np.arange(len(order)), names)
    right.invert_yaxis()
    right.set_xlim(0, 1)
    right.set_xticks([0, 0.5, 1])
    percent_axis(right.xaxis)
    return figure


def plot_heat_map(photo: np.ndarray, heat: np.ndarray, label: str) -> Figure:
    """Draw a photo beside its heat map, with the scale.

    Args:
        photo: As it came, uint8 or floats in [0, 1], shape (height, width, 3).
        heat: From `explain.compute_heat_map`: (height, width), in [0, 1].
        label: The class that the map is about.
    """
    figure = new_figure(f"Regions that the prediction {label} depends on", 2.7)
    left, right = figure.subplots(1, 2)
    show_image(left, photo, "the photo", FONT)
    grey = to_uint8(photo).mean(axis=2, keepdims=True).repeat(3, axis=2)
    # Light grey, so that the map is what stands out.
    show_image(right, (0.55 * grey / 255 + 0.45), "the same in grey, with the map over it", FONT)
    # The square root, else all but the peak would look the same; where there is none, no colour.
    shown = np.sqrt(heat)
    right.imshow(shown, cmap=HEAT_COLOURS, vmin=0, vmax=1, alpha=0.65 * np.clip(3 * shown, 0, 1))
    scale = figure.colorbar(
        ScalarMappable(cmap=HEAT_COLOURS), ax=right, ticks=np.sqrt([0, 0.1, 0.25, 0.5, 1]), pad=0.03
    )
    scale.ax.set_yticklabels(["0 %", "10 %", "25 %", "50 %", "100 %"], fontsize=SMALL)
    scale.set_label("loss when hidden, of the largest", fontsize=SMALL)
    scale.outline.set_visible(False)
    return figure
