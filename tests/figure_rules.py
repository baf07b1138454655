"""What every figure must be: a checker that names the rules one breaks."""

from matplotlib.text import Text

from cifar_utils import plots

SMALLEST_TEXT = 9  # points; 12 pixels of a page


def check_figure(figure):
    """Draw a figure as a notebook does, and list the rules that it breaks; empty for a good one."""
    problems = [] if figure.get_suptitle() else ["no title"]
    shown = plots.show_figure(figure, "What it shows", synthetic=True)
    if not figure.get_suptitle().startswith("SYNTHETIC DATA"):
        problems.append("synthetic data is not named in the title")
    if not 300 < shown.width <= 800:
        problems.append(f"{shown.width} pixels wide")
    if len(shown.data) > 400_000:
        problems.append(f"{len(shown.data):,} bytes")
    for axes in figure.axes:
        drawn = axes.axison and not axes.images and (axes.lines or axes.patches or axes.collections)
        ticks = [("x", axes.get_xticks(), axes.xaxis), ("y", axes.get_yticks(), axes.yaxis)]
        for name, places, axis in ticks if drawn else ():
            texts = [label.get_text() for label in axis.get_ticklabels() if label.get_text()]
            numbers = [text for text in texts if text[0] in "0123456789−"]
            shared = name == "x" and not axis.get_tick_params().get("labelbottom", True)
            shared |= name == "y" and not axis.get_tick_params().get("labelleft", True)
            if len(places) and numbers and not shared and not axis.get_label_text():
                problems.append(f"the {name} axis has numbers and no label")
    for text in figure.findobj(Text):
        if text.get_text() and text.get_visible() and text.get_fontsize() < SMALLEST_TEXT:
            problems.append(f"small text: {text.get_text()}")
    return problems


def read_texts(figure):
    """Return all text of a figure, one piece a line."""
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_text())
