"""Small tables for notebooks, readable by people and by screen readers."""


def show_table(header, rows):
    """Render a table in a notebook.

    Args:
        header: Column names.
        rows: Sequences of cells; floats are shown with four digits, the rest as text.

    Returns:
        An `IPython.display.Markdown`.
    """
    from IPython.display import Markdown

    lines = [header, ["---"] * len(header), *rows]
    return Markdown("\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines))


def _cell(value):
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text.replace("|", r"\|")
