"""What every figure shares: size, fonts, colours, and the layouts that several figures have.

Plain functions that take axes or arrays; no pyplot, hence no global state.
"""

import io
import math

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

# Okabe and Ito, "Color Universal Design", 2008: told apart with any colour vision.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#000000"
INK, MUTED, FAINT = "#222222", "#595959", "#d9d9d9"
SERIES_STYLES = [(BLUE, "-", "o"), (RED, "--", "s"), (GREEN, "-.", "^"), (PURPLE, ":", "D")]

WIDTH = 7.6  # inches
SHOWN_DPI = 100  # pixels of a page per inch: 760 for a whole figure, and text of 13 and more
DPI = 150  # pixels of the file per inch; also what a mosaic's whole pixels are counted in
FONT, SMALL = 10.5, 9  # points
TITLE_STYLE = {"fontsize": 12.5, "fontweight": "bold", "color": INK}


# Charts


def new_figure(title, height, width=WIDTH):
    """Make an empty figure with its title; sizes in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06, hspace=0.04, wspace=0.04)
    figure.suptitle(title, **TITLE_STYLE)
    return figure


def new_chart(title, height, xlabel, ylabel="", grid="y"):
    """Make a figure of one chart; returns `(figure, axes)`."""
    figure = new_figure(title, height)
    return figure, style_axes(figure.subplots(), "", xlabel, ylabel, grid)


def style_axes(axes, title="", xlabel="", ylabel="", grid=None):
    """Label axes; draw only the left and bottom line; `grid` is "x", "y", "both" or None."""
    axes.set_title(title, fontsize=FONT, color=INK)
    axes.set_xlabel(xlabel, fontsize=FONT)
    axes.set_ylabel(ylabel, fontsize=FONT)
    axes.tick_params(labelsize=FONT - 0.5, colors=INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=FAINT, linewidth=0.8)
    return axes


def name_rows(axes, names):
    """Name the rows of a chart, the first one on top."""
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()


def draw_intervals(axes, rows, places, **options):
    """Draw values with their intervals, each row a dict of "value", "low" and "high"."""
    value, low, high = (np.array([row[key] for row in rows]) for key in ("value", "low", "high"))
    axes.errorbar(
        value, places, xerr=[value - low, high - value], linestyle="none", markersize=6.5,
        capsize=3, elinewidth=1.8, **options,
    )  # fmt: skip


def add_legend(figure, ncols=3, **options):
    """Put the legend under a chart."""
    options = {"fontsize": FONT} | options
    figure.legend(loc="outside lower center", ncols=ncols, frameon=False, **options)


def add_note(figure, text):
    """Put a line of small text under a figure."""
    figure.supxlabel(text, fontsize=SMALL, color=MUTED)


def add_scale(figure, drawn, axes, label, ticks=None, **options):
    """Put the scale of a coloured matrix beside it; `ticks` are places to their names."""
    bar = figure.colorbar(drawn, ax=axes, ticks=list(ticks) if ticks else None, **options)
    if ticks:
        bar.set_ticklabels(list(ticks.values()))
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label(label, fontsize=SMALL)
    bar.outline.set_visible(False)


def percent(share, decimals=1):
    """Write a share as per cent: 0.8297 → "83.0 %"."""
    return f"{share:.{decimals}%}".replace("%", " %")


def percent_axis(axis, decimals=0):
    """Show shares from 0 to 1 as per cent."""
    axis.set_major_formatter(PercentFormatter(1, decimals=decimals, symbol=" %"))


def write_inside(axes, x, y, text, **options):
    """Write text within axes, at shares of their width and height."""
    options = {"ha": "center", "va": "center", "color": MUTED, "fontsize": FONT} | options
    axes.text(x, y, text, transform=axes.transAxes, **options)


def say_missing(axes):
    """State on empty axes where the measurements are, on a machine that does not have them."""
    text = "these measurements are in the project's checkout\n(outputs/reference), not in its wheel"
    write_inside(axes, 0.5, 0.5, text, bbox={"facecolor": "white", "edgecolor": "none"}, zorder=5)


# Images


def show_image(axes, image, title="", size=SMALL, **options):
    """Draw an image or a map of numbers, its pixels as they are, with a caption above."""
    image = np.asarray(image)
    shown = axes.imshow(
        to_uint8(image) if image.ndim == 3 else image, interpolation="nearest", **options
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(FAINT)
    axes.set_title(title, fontsize=size, color=INK, pad=3)
    return shown


def new_gallery(title, images, captions, columns, row_height, size=SMALL, empty=""):
    """Make a figure of images in rows, a caption above each.

    Args:
        title: Title of the figure.
        images: uint8 or floats in [0, 1], each (height, width, 3); of any size.
        captions: One per image.
        columns: Images per row.
        row_height: Inches; what the title takes comes on top.
        size: Of the captions, in points.
        empty: What to write where there is no image.

    Returns:
        `(figure, axes)`, the axes of the images in their order.
    """
    rows = math.ceil(len(images) / columns)
    figure = new_figure(title, 0.7 + row_height * max(rows, 0.5))
    if not rows:
        figure.text(0.5, 0.4, empty, ha="center", fontsize=FONT, color=MUTED)
        return figure, []
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place in axes[len(images) :]:
        place.set_axis_off()
    for place, image, caption in zip(axes, images, captions, strict=False):
        show_image(place, image, caption, size)
    return figure, axes[: len(images)]


def to_uint8(image):
    """Return an image as uint8; floats are taken to lie in [0, 1] and clipped to it."""
    image = np.asarray(image)
    if image.dtype == np.uint8:
        return image
    return np.round(np.clip(np.nan_to_num(image.astype(np.float64)), 0, 1) * 255).astype(np.uint8)


def tile_images(images, columns, gap=2):
    """Lay uint8 images (n, height, width, 3) out row by row in one white image."""
    n, height, width, channels = images.shape
    rows = math.ceil(n / columns)
    canvas = np.full((rows * columns, height + gap, width + gap, channels), 255, images.dtype)
    canvas[:n, :height, :width] = images
    canvas = canvas.reshape(rows, columns, height + gap, width + gap, channels)
    canvas = canvas.transpose(0, 2, 1, 3, 4).reshape(rows * (height + gap), -1, channels)
    return canvas[: rows * (height + gap) - gap, : columns * (width + gap) - gap]


def new_mosaic(title, images, columns, scale, left=0, bottom=0):
    """Make a figure of images in rows, each image pixel drawn as `scale` x `scale` whole pixels.

    Whole pixels keep the images crisp, and their files at a third of the size of resampled ones.

    Args:
        title: Title of the figure.
        images: uint8, shape (n, side, side, 3).
        columns: Images per row.
        scale: Figure pixels per image pixel.
        left: Room for row labels, in figure pixels.
        bottom: Room for a caption, in figure pixels.

    Returns:
        `(figure, axes)`; the axes' units are pixels of the mosaic, with 2 between images.
    """
    mosaic = tile_images(images, columns)
    height, width = scale * mosaic.shape[0], scale * mosaic.shape[1]
    top, margin = 58, 14
    total_width, total_height = width + left + 2 * margin, height + top + bottom + margin
    figure = new_figure(title, total_height / DPI, total_width / DPI)
    figure.set_layout_engine("none")
    figure.suptitle(title, y=1 - 27 / total_height, va="center", **TITLE_STYLE)
    place = np.array([left + margin, bottom + margin, width, height], float)
    place /= [total_width, total_height, total_width, total_height]
    axes = figure.add_axes(tuple(place))
    show_image(axes, mosaic, aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=FONT)
    return figure, axes


# What a notebook shows


def show_figure(figure, alt, synthetic=False):
    """Draw a figure for a notebook, without saving it anywhere.

    Args:
        figure: A `matplotlib.figure.Figure` whose title is its `suptitle`.
        alt: What the figure shows, for people who cannot see it.
        synthetic: Whether it shows synthetic data; the title then states so.

    Returns:
        An `IPython.display.Image`, 760 pixels wide for a figure of full width.
    """
    from IPython.display import Image
    from PIL import Image as PillowImage
    from PIL.PngImagePlugin import PngInfo

    if synthetic and not figure.get_suptitle().startswith("SYNTHETIC DATA"):
        # The text itself: calling `suptitle` again would reset its font and place.
        title = next(text for text in figure.texts if text.get_text() == figure.get_suptitle())
        title.set_text(f"SYNTHETIC DATA · {title.get_text()}")
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = PillowImage.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    photos = any(np.ndim(shown.get_array()) == 3 for ax in figure.axes for shown in ax.images)
    if not photos:  # 256 colours are exact to 3 levels of 255 here, and save half of the file
        drawn = drawn.quantize(256, PillowImage.Quantize.MAXCOVERAGE, dither=0)
    description, buffer = PngInfo(), io.BytesIO()
    description.add_itxt("Description", alt)
    drawn.save(buffer, "png", pnginfo=description)
    width = round(figure.get_size_inches()[0] * SHOWN_DPI)
    # Not `alt=`: the IPython 7 of Colab does not know it.
    return Image(data=buffer.getvalue(), width=width, metadata={"alt": alt})


def show_sliders(draw, **sliders):
    """Show sliders, and below them the figure for their values.

    An image widget, and not `ipywidgets.interact`: its Output widget now and then makes a notebook
    that is executed without a browser wait for ever, and fails in Colab.

    Args:
        draw: A function of the sliders' values, by name, that returns what `show_figure` does.
        **sliders: `ipywidgets.FloatSlider` or another widget with a value, by name.

    Returns:
        A widget. As the last line of a cell it is shown.
    """
    import ipywidgets

    shown = ipywidgets.Image(format="png")

    def redraw(_=None):
        figure = draw(**{name: slider.value for name, slider in sliders.items()})
        shown.value, shown.width = figure.data, str(figure.width)

    for name, slider in sliders.items():
        slider.description = slider.description or name
        slider.continuous_update = False  # one figure when the slider is let go
        slider.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([*sliders.values(), shown])


def show_table(header, rows):
    """Render a table in a notebook, for people and for screen readers.

    Args:
        header: Column names.
        rows: Sequences of cells; floats are shown with four digits, the rest as text.

    Returns:
        An `IPython.display.Markdown`.
    """
    from IPython.display import Markdown

    def write(value):
        text = f"{value:.4f}" if isinstance(value, float) else str(value)
        return text.replace("|", r"\|")

    lines = [header, ["---"] * len(header), *rows]
    return Markdown("\n".join("| " + " | ".join(map(write, line)) + " |" for line in lines))
