"""What a saved notebook should not hold."""


def clean_notebook(notebook):
    """Remove what a saved notebook should not hold: widget state, timings, papermill's notes.

    Widget state makes GitHub refuse to render the page, and can carry a person's uploaded picture.

    Args:
        notebook: An nbformat 4 notebook; changed in place.

    Returns:
        The same notebook.
    """
    kept = {"kernelspec", "language_info"}
    notebook.metadata = {k: v for k, v in notebook.metadata.items() if k in kept}
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags} if tags else {}
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if data.pop("application/vnd.jupyter.widget-view+json", None):
                data["text/plain"] = "(interactive: run this notebook to use it)"
    return notebook
