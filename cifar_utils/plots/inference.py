"""Figures of one photo: what the network receives, what it predicts, and why (notebook 05)."""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.patches import Rectangle

from cifar_utils.plots import style
from cifar_utils.plots.style import BLUE, FONT, SMALL, percent, show_image

HEAT_COLOURS = "inferno"  # its brightness rises evenly: readable with any colour vision


def plot_images(images, captions, title):
    """Draw images of any size in a row.

    Args:
        images: uint8 or floats in [0, 1], each (height, width, 3).
        captions: A text above each; may hold line breaks.
        title: Title of the figure.
    """
    n, lines = len(images), captions[0].count("\n")
    size = SMALL if n > 3 else FONT
    figure, axes = style.new_gallery(title, images, captions, n, 0.15 * lines + 7 / n, size)
    for place in axes:
        place.spines[:].set_visible(False)  # a frame would cover half of the outer pixels
    return figure


def plot_prediction(photo, view, probs, class_names, box=None, top=5, unsure=False):
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
    names = [f"{class_names[i]}  {percent(probs[i])}" for i in order]
    told = names[0].replace("  ", ", ")
    figure = style.new_figure(f"Prediction: {'unsure: ' if unsure else ''}{told}", 2.9)
    framed = "the photo,\nits crop framed" if box else "the photo"
    images = [(photo, framed), (view, "what the\nnetwork receives")]
    if np.array_equal(photo, view):  # an image of 32 x 32 pixels is given as it is
        images, box = [(view, "the image, given as it is")], None
    *places, right = figure.subplots(1, len(images) + 1, width_ratios=[1] * len(images) + [1.3])
    for place, (image, caption) in zip(places, images, strict=True):
        show_image(place, image, caption, FONT)
    if box:
        left, upper, end, lower = box
        size = (end - left - 1, lower - upper - 1)
        for colour, width in (("black", 4), ("white", 2)):  # seen on light and on dark photos
            frame = Rectangle((left, upper), *size, fill=False, edgecolor=colour, linewidth=width)
            places[0].add_patch(frame)
    style.style_axes(right, "most probable classes", "probability")
    right.barh(range(len(order)), probs[order], 0.7, color=[BLUE, *["#9ecae1"] * (len(order) - 1)])
    style.name_rows(right, names)
    right.set(xlim=(0, 1), xticks=[0, 0.5, 1])
    style.percent_axis(right.xaxis)
    return figure


def plot_heat_map(photo, heat, label):
    """Draw a photo beside its heat map, with the scale.

    Args:
        photo: As it came, uint8 or floats in [0, 1], shape (height, width, 3).
        heat: From `explain.compute_heat_map`: (height, width), in [0, 1].
        label: The class that the map is about.
    """
    figure = style.new_figure(f"Regions that the prediction {label} depends on", 2.7)
    left, right = figure.subplots(1, 2)
    show_image(left, photo, "the photo", FONT)
    grey = style.to_uint8(photo).mean(axis=2, keepdims=True).repeat(3, axis=2)
    # Light grey, so that the map is what stands out.
    show_image(right, (0.55 * grey / 255 + 0.45), "the same in grey, with the map over it", FONT)
    # The square root, else all but the peak would look the same; where there is none, no colour.
    shown = np.sqrt(heat)
    right.imshow(shown, cmap=HEAT_COLOURS, vmin=0, vmax=1, alpha=0.65 * np.clip(3 * shown, 0, 1))
    ticks = {np.sqrt(share): percent(share, 0) for share in (0, 0.1, 0.25, 0.5, 1)}
    bar = ScalarMappable(cmap=HEAT_COLOURS)
    style.add_scale(figure, bar, right, "loss when hidden, of the largest", ticks, pad=0.03)
    return figure
