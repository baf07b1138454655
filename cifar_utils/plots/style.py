"""What every figure shares: size, fonts, colours, and images laid out in one.

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
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
INK, MUTED, FAINT = "#222222", "#595959", "#d9d9d9"
SERIES_STYLES = [(BLUE, "-", "o"), (RED, "--", "s"), (GREEN, "-.", "^"), (PURPLE, ":", "D")]
CHANNELS = [("red", RED, "-"), ("green", GREEN, "--"), ("blue", BLUE, ":")]

WIDTH = 7.6  # inches
SHOWN_DPI = 100  # pixels of a page per inch: 760 for a whole figure, and text of 13 and more
DPI = 150  # pixels of the file per inch; also what a mosaic's whole pixels are counted in
FONT, SMALL = 10.5, 9  # points
TITLE_STYLE = {"fontsize": 12.5, "fontweight": "bold", "color": INK}


def new_figure(title: str, height: float, width: float = WIDTH) -> Figure:
    """Make an empty figure with its title; sizes in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06, hspace=0.04, wspace=0.04)
    figure.suptitle(title, **TITLE_STYLE)
    return figure


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


def percent(share: float, decimals: int = 1) -> str:
    """Write a share as per cent: 0.8297 → "83.0 %"."""
    return f"{share:.{decimals}%}".replace("%", " %")


def percent_axis(axis, decimals=0):
    """Show shares from 0 to 1 as per cent."""
    axis.set_major_formatter(PercentFormatter(1, decimals=decimals, symbol=" %"))


def say_missing(axes):
    """State on empty axes where the measurements are, on a machine that does not have them."""
    text = "these measurements are in the project's checkout\n(outputs/reference), not in its wheel"
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED,
        fontsize=FONT, bbox={"facecolor": "white", "edgecolor": "none"}, zorder=5,
    )  # fmt: skip


def show_image(axes, image, title="", size=SMALL):
    """Draw one image without ticks, its pixels as they are, with a caption above."""
    axes.imshow(to_uint8(image), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(FAINT)
    axes.set_title(title, fontsize=size, color=INK, pad=3)
    return axes


def to_uint8(image) -> np.ndarray:
    """Return an image as uint8; floats are taken to lie in [0, 1] and clipped to it."""
    image = np.asarray(image)
    if image.dtype == np.uint8:
        return image
    return np.round(np.clip(np.nan_to_num(image.astype(np.float64)), 0, 1) * 255).astype(np.uint8)


def tile_images(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Lay images out row by row in one white image; one `imshow` instead of hundreds of axes.

    Args:
        images: uint8, shape (n, height, width, 3).
        columns: Images per row.
        gap: White pixels between images.

    Returns:
        uint8 of shape (rows * (height + gap) - gap, columns * (width + gap) - gap, 3).
    """
    n, height, width, channels = images.shape
    rows = math.ceil(n / columns)
    canvas = np.full((rows * columns, height + gap, width + gap, channels), 255, images.dtype)
    canvas[:n, :height, :width] = images
    canvas = canvas.reshape(rows, columns, height + gap, width + gap, channels)
    canvas = canvas.transpose(0, 2, 1, 3, 4).reshape(rows * (height + gap), -1, channels)
    return canvas[: rows * (height + gap) - gap, : columns * (width + gap) - gap]


def new_mosaic(
    title: str, images: np.ndarray, columns: int, scale: int, left: int = 0, bottom: int = 0
) -> tuple:
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
    axes.imshow(mosaic, interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=FONT)
    return figure, axes


def draw_histograms(axes, histograms, values, density=False):
    """Draw one outline per channel; `values` is shared, or one array per channel.

    Black and white pixels can be far more frequent than the rest; these are cut off, with a note.
    """
    values = np.broadcast_to(values, (3, 256))
    shares = histograms / histograms.sum(axis=1, keepdims=True)
    heights = shares / np.diff(values)[:, :1] if density else shares
    for (name, colour, style), x, y in zip(CHANNELS, values, heights, strict=True):
        axes.plot(x, y, style, color=colour, label=name, linewidth=1.6)
    axes.legend(frameon=False, fontsize=SMALL, loc="upper left")
    inner, ends = heights[:, 1:-1].max(), shares[:, [0, -1]].max()
    axes.set_ylim(0, 1.4 * inner if inner else None)
    if heights[:, [0, -1]].max() > 1.4 * inner > 0:
        axes.text(
            0.92, 0.97, f"end cut off\n({percent(ends)} of pixels)", transform=axes.transAxes,
            ha="right", va="top", fontsize=SMALL, color=MUTED,
        )  # fmt: skip


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
