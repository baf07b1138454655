"""What every figure shares: size, fonts, colours, and pictures laid out in one image."""

import io
import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

# Okabe and Ito, "Color Universal Design", 2008: told apart with any colour vision.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
INK, MUTED, FAINT = "#222222", "#595959", "#d9d9d9"
SERIES_STYLES = [(BLUE, "-", "o"), (RED, "--", "s"), (GREEN, "-.", "^"), (PURPLE, ":", "D")]
CHANNELS = [("red", RED, "-"), ("green", GREEN, "--"), ("blue", BLUE, ":")]

WIDTH = 7.2  # inches; with the resolution below 1,037 pixels
DPI = 144  # the one that runs are saved with: else a mosaic's pixels are not whole
FONT, SMALL = 10.5, 9  # points
TITLE_STYLE = {"fontsize": 12.5, "fontweight": "bold", "color": INK}


def new_figure(title: str, height: float, width: float = WIDTH) -> Figure:
    """Make an empty figure with its title; sizes in inches. No pyplot, so no global state."""
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


def percent_axis(axis, decimals=0):
    """Show shares from 0 to 1 as per cent."""
    axis.set_major_formatter(PercentFormatter(1, decimals=decimals, symbol=" %"))


def tile_images(images: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """Lay images out row by row in one white picture; one `imshow` instead of hundreds of axes.

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

    Whole pixels keep the pictures crisp, and their files at a third of the size of resampled ones.

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
    axes = figure.add_axes(
        (
            (left + margin) / total_width,
            (bottom + margin) / total_height,
            width / total_width,
            height / total_height,
        )
    )
    axes.imshow(mosaic, interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=FONT)
    return figure, axes


def draw_histograms(axes, histograms, values, density=False):
    """Draw one outline per channel; `values` is shared, or one array per channel.

    Black and white pixels can stand far above the rest; they are cut off, with a note.
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


def show_picture(axes, image, title="", size=SMALL):
    """Draw one picture without ticks, its pixels as they are, with a caption above."""
    axes.imshow(to_uint8(image), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    axes.set_title(title, fontsize=size, color=INK, pad=3)
    return axes


def to_uint8(image) -> np.ndarray:
    """Return a picture as uint8; floats are taken to lie in [0, 1] and clipped to it."""
    image = np.asarray(image)
    if image.dtype == np.uint8:
        return image
    return np.round(np.clip(np.nan_to_num(image.astype(np.float64)), 0, 1) * 255).astype(np.uint8)


def percent(share: float, decimals: int = 1) -> str:
    """Write a share as per cent: 0.8297 → "83.0 %"."""
    return f"{share:.{decimals}%}".replace("%", " %")


def show_figure(figure, alt, synthetic=False):
    """Draw a figure for a notebook, without saving it anywhere.

    Args:
        figure: A `matplotlib.figure.Figure` whose title is its `suptitle`.
        alt: What the figure shows, for people who cannot see it.
        synthetic: Whether it shows synthetic data; the title then says so.

    Returns:
        An `IPython.display.Image`, drawn at twice the resolution that it is shown at.
    """
    from IPython.display import Image

    if synthetic and not figure.get_suptitle().startswith("SYNTHETIC DATA"):
        # The text itself: calling `suptitle` again would reset its font and place.
        title = next(text for text in figure.texts if text.get_text() == figure.get_suptitle())
        title.set_text(f"SYNTHETIC DATA · {title.get_text()}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Description": alt})
    width = round(figure.get_size_inches()[0] * DPI / 2)
    return Image(data=buffer.getvalue(), width=width, alt=alt)
