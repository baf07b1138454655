"""One page per run: `report.html`, a single file that needs no network and no script."""

import base64
import csv
import shlex
from pathlib import Path

import jinja2
from PIL import Image

from cifar_utils.apps.report_rows import (
    class_rows,
    dataset_rows,
    headline,
    machine_rows,
    metric_rows,
    plain,
    short,
    time_rows,
)
from cifar_utils.errors import CifarError
from cifar_utils.paths import write_text
from cifar_utils.runs.run import backend_prefix

TEMPLATE = "report.html.jinja"
FIGURE_SECTIONS = {
    "metrics_vs_documented": "Metrics beside the documented ones",
    "training_curves": "Loss and accuracy by epoch",
    "confusion_matrix": "Confusion matrix",
    "per_class": "Precision, recall and F1 by class",
    "confident_mistakes": "The most confident mistakes",
}
STATUS_TEXT = {
    "done": "All stages are done.",
    "open": "Some stages have not been run yet.",
    "running": "The run was still at work when this page was written.",
    "failed": "The run failed. What is below is what it had finished.",
    "interrupted": "The run was interrupted. What is below is what it had finished.",
}


def save_report(run) -> Path:
    """Write `report.html` into a run's folder from whatever the run has written so far.

    A file that is missing or unreadable does not stop it: its section says what is missing and
    which command makes it.

    Args:
        run: A `runs.Run`, or anything with its `name`, `dir`, `path` and `read_json`.

    Returns:
        The path of the page.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names, parameters and error texts come from outside
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template(TEMPLATE).render(collect_report(run))
    return write_text(run.path("report.html"), page)


def collect_report(run) -> dict:
    """Gather everything the page shows, already in words and formatted numbers."""
    problems = []
    info = _read_json(run, "run.json", problems)
    metrics = _read_json(run, "metrics.json", problems)
    figures = _read_figures(run, problems)
    dataset = info.get("dataset") or {}
    class_names = [row["class"] for row in metrics.get("per_class") or []]
    synthetic = dataset.get("name") == "synthetic"
    if synthetic:  # a comparison of the two would mean nothing
        metrics = {**metrics, "documented": {}}
    status = info.get("status") or "unknown"
    history_columns, history = _read_history(run, problems)
    command = f"{backend_prefix(info)}python -m cifar_utils run --name {shlex.quote(run.name)}"
    return {
        "name": run.name,
        "status": status,
        "status_text": STATUS_TEXT.get(status, "run.json does not say how far the run came."),
        "error": info.get("error"),
        "problems": problems,
        "synthetic": synthetic,
        "headline": headline(metrics, dataset),
        "metrics": metric_rows(metrics),
        "classes": class_rows(metrics.get("per_class") or []),
        "class_names": class_names,
        "confusion": [
            [name, *counts]
            for name, counts in zip(class_names, metrics.get("confusion") or [], strict=False)
        ],
        "history": history,
        "history_columns": history_columns,
        "figures": {name: figures.pop(name, None) for name in FIGURE_SECTIONS},
        "figure_titles": FIGURE_SECTIONS,
        "more_figures": figures,
        "dataset": dataset_rows(dataset),
        "parameters": [
            (key, plain(value)) for key, value in (info.get("parameters") or {}).items()
        ],
        "machine": machine_rows(info),
        "times": time_rows(info),
        "finish_command": f"{command} --resume",
        "evaluate_command": f"{command} --only 04",
        "reproduce_command": build_command(info),
        "when": " to ".join(
            str(info[key]).replace("T", " ") for key in ("start", "end") if info.get(key)
        ),
    }


def build_command(info: dict) -> str:
    """Build the command that runs the same thing again, as a new run.

    Args:
        info: The contents of `run.json`.
    """
    parameters = dict(info.get("parameters") or {})
    # Before the training it is a parameter, after it what was trained, field by field.
    trained = info.get("recipe")
    trained = trained.get("name") if isinstance(trained, dict) else trained
    recipe = parameters.get("recipe") or trained
    dataset = (info.get("dataset") or {}).get("name")
    if dataset:
        parameters["dataset"] = dataset  # what "auto" found, not "auto"
    words = [f"{backend_prefix(info)}python -m cifar_utils run"]
    if recipe:
        words.append(f"--recipe {shlex.quote(str(recipe))}")
    for key, value in parameters.items():
        if key not in ("recipe", "run_name") and value is not None and value != "":
            words.append(f"-p {shlex.quote(str(key))} {shlex.quote(plain(value))}")
    return " \\\n    ".join(words)


def _read_json(run, name, problems):
    try:
        value = run.read_json(name)
    except (OSError, ValueError, CifarError) as error:
        problems.append(f"{name} cannot be read: {error}")
        return {}
    return value if isinstance(value, dict) else {}


def _read_history(run, problems):
    path = run.path("history.csv")
    if not path.exists():
        return [], []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            columns, *rows = list(csv.reader(file)) or [[]]
        rows = [[short(cell) for cell in row] for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        problems.append(f"history.csv cannot be read: {error}")
        return [], []
    return [column.replace("_", " ") for column in columns], rows


def _read_figures(run, problems):
    figures = {}
    # A name that begins with a dot is what a killed process had not finished.
    for path in sorted(run.path("figures").glob("[!.]*.png")):
        title = FIGURE_SECTIONS.get(path.stem, path.stem.replace("_", " ").capitalize())
        try:
            with Image.open(path) as image:
                image.load()  # the text chunks may stand behind the pixels
                alt, (width, height) = getattr(image, "text", {}).get("Description"), image.size
            data = base64.b64encode(path.read_bytes()).decode("ascii")
        except (OSError, ValueError, SyntaxError) as error:
            problems.append(f"figures/{path.name} cannot be read: {error}")
            continue
        figures[path.stem] = {
            "title": title,
            "alt": alt or f"{title}; no description was stored with this figure.",
            "width": width,
            "height": height,
            "data": data,
        }
    return figures
