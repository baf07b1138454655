"""One page per run: `report.html`, its evaluation notebook without code, headed by a summary.

A single file that needs no network and no script.
"""

import base64
import contextlib
import csv
import os
import re
import shlex
from pathlib import Path

import nbformat
from nbformat import v4
from PIL import Image

from cifar_utils.paths import project_root, write_text
from cifar_utils.runs.recipes import RECIPES
from cifar_utils.runs.run import STAGES, backend_prefix, find_changes
from cifar_utils.text import first_line, format_clock

TEMPLATE = Path(__file__).with_name("report.html.jinja")
# All but the last part of a path from the root of a disk; not a URL, a fraction or a closing tag.
ABSOLUTE_PATH = re.compile(r"(?<![\w/.<~…])/(?:[\w.+-]+/)+(?=[\w.+-])")
LEFT_OUT = "not-in-report"  # tag of cells for people who step through: links, prompts, exercises
STATUS_TEXT = {
    "done": "All stages are done.",
    "open": "Some stages have not been executed yet.",
    "running": "The run was still at work when this page was written.",
    "failed": "The run failed. This page shows what it had finished.",
    "interrupted": "The run was interrupted. This page shows what it had finished.",
}


def save_report(run) -> Path:
    """Write `report.html` into a run's folder from whatever the run has written so far.

    An evaluated run shows its training curves and notebook 04, or all its figures where that
    notebook was executed by hand and is not kept with the run. Any other run shows its notebooks
    as far as they were executed.

    Args:
        run: A `runs.Run`.

    Returns:
        The path of the page.
    """
    from nbconvert import HTMLExporter  # takes a second, and only the end of a run needs it
    from traitlets.config import Config

    problems = []
    report = _summarise(run, problems)
    notebook = _collect_cells(run, problems)
    # "basic" is markup alone: the other templates name scripts on CDNs, and "lab" ignores a
    # figure's text alternative.
    tags = Config({"TagRemovePreprocessor": {"enabled": True, "remove_cell_tags": {LEFT_OUT}}})
    exporter = HTMLExporter(
        template_name="basic", exclude_input=True, exclude_anchor_links=True, config=tags
    )
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    exporter.raw_template = TEMPLATE.read_text(encoding="utf-8")
    report["problems"] = [_shorten_paths(problem) for problem in problems]
    page, _ = exporter.from_notebook_node(notebook, resources={"report": report})
    return write_text(run.path("report.html"), page)


def _summarise(run, problems) -> dict:
    """Gather what heads the page, as text; what cannot be read is added to `problems`."""
    info, metrics = (_read_json(run, name, problems) for name in ("run.json", "metrics.json"))
    dataset, recipe = info.get("dataset") or {}, info.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {"name": recipe}  # before training, a name
    known = "the official archive" if dataset.get("official") else "not the official archive"
    source = f"CIFAR-10 from {Path(str(dataset.get('source'))).name}, {known}"
    commit = str(info.get("git_commit") or "").replace("+changes", " with uncommitted changes")
    network, seconds = info.get("network") or {}, (info.get("seconds") or {}).get("training")
    changes = find_changes(info) if len(recipe) > 1 and recipe["name"] in RECIPES else {}
    edited = {name: name for name in info.get("differs_from_recipe") or []}  # in notebook 03
    differs = edited | {name: f"{name} = {value}" for name, value in changes.items()}
    versions = [f"{name} {value}" for name, value in (info.get("versions") or {}).items()]
    rows = {
        "test accuracy": _describe(metrics.get("accuracy")),
        "with six views": _describe((metrics.get("tta") or {}).get("accuracy")),
        "weighted F1": _describe(metrics.get("f1_weighted")),
        "validation accuracy": _read_validation(run, problems),
        "training time": format_clock(seconds) if seconds else "",
        "network": "{name}, {parameters:,} parameters".format(**network) if network else "",
        "recipe": recipe["name"],
        "differs from the recipe in": ", ".join(differs.values()),
        "data set": source if dataset.get("name") == "cifar10" else dataset.get("name"),
        "seed": info.get("seed"),
        "commit": re.sub(r"^(\w{12})\w+", r"\1", commit),
        "device": ", ".join(str(info[k]) for k in ("device", "precision", "backend") if k in info),
        "versions": ", ".join(versions),
        "time": " to ".join(str(info[k]) for k in ("start", "end") if info.get(k)),
    }
    command = f"{backend_prefix(info)}python -m cifar_utils run --name {shlex.quote(run.name)}"
    status = info.get("status") or "unknown"
    return {
        "name": run.name,
        "status": status,
        "status_text": STATUS_TEXT.get(status, "run.json does not state how far the run came."),
        "error": _shorten_paths(str(info.get("error") or "")),
        "continue": f"{command} --resume",
        "synthetic": dataset.get("name") == "synthetic",
        "rows": {key: str(value) for key, value in rows.items() if value not in (None, "")},
    }


def _describe(entry):
    """Write a metric with its interval; "" where there is none."""
    if not isinstance(entry, dict):
        return ""
    value, low, high = (f"{100 * entry[key]:.2f}\u00a0%" for key in ("value", "low", "high"))
    return f"{value} (95\u00a0% interval {low} to {high})"


@contextlib.contextmanager
def _reading(name, problems):
    """Note in `problems` that a file is damaged, in whatever way: the rest is still shown."""
    try:
        yield
    except FileNotFoundError:
        pass
    except Exception as error:
        problems.append(f"{name} cannot be read: {first_line(error)}")


def _read_json(run, name, problems):
    with _reading(name, problems):
        value = run.read_json(name)
        return value if isinstance(value, dict) else {}
    return {}


def _read_validation(run, problems):
    """Return the validation accuracy of the last epoch as text; "" without validation images."""
    with _reading("history.csv", problems), open(run.path("history.csv"), encoding="utf-8") as file:
        for last in list(csv.DictReader(file))[-1:]:
            if "val_accuracy" in last:
                accuracy = 100 * float(last["val_accuracy"])
                return f"{accuracy:.2f}\u00a0% after epoch {last['epoch']}"
    return ""


def _collect_cells(run, problems):
    """Return one notebook of all cells that the page shows."""
    paths = [run.path(f"notebooks/{stage}.ipynb") for stage in STAGES]
    paths = [path for path in paths if path.exists()]
    stopped = _read_json(run, "run.json", []).get("status") in ("failed", "interrupted")
    evaluated = not stopped and run.path("metrics.json").exists()
    if evaluated:
        # A notebook is saved after its last cell; an older one shows an earlier evaluation.
        written = run.path("metrics.json").stat().st_mtime
        paths = [p for p in paths if p.stem.startswith("04") and p.stat().st_mtime >= written]
    cells = []
    for path in paths:
        with _reading(f"notebooks/{path.name}", problems):
            found = nbformat.read(path, as_version=4).cells
            cells += found if evaluated else [v4.new_markdown_cell(f"# {path.stem}"), *found]
    for cell in cells:
        for output in cell.get("outputs", []):
            _clean_output(output)
    if evaluated:
        # A name that begins with a dot is what a killed process had not finished.
        cells = [*_read_figures(run, "training_curves" if cells else "[!.]*", problems), *cells]
    return v4.new_notebook(cells=cells)


def _clean_output(output):
    """Shorten the paths in one output's text; drop what would need a script."""
    if "text" in output:
        output["text"] = _shorten_paths(output["text"])
    if "traceback" in output:
        output["traceback"] = [_shorten_paths(line) for line in output["traceback"]]
    for kind, content in list(output.get("data", {}).items()):
        if kind.startswith("text/"):
            output["data"][kind] = _shorten_paths(content)
        elif not kind.startswith("image/"):
            del output["data"][kind]


def _read_figures(run, name, problems):
    """Yield a cell for each of the run's saved figures, with its stored text alternative."""
    for path in sorted(run.path("figures").glob(f"{name}.png")):
        with _reading(f"figures/{path.name}", problems):
            with Image.open(path) as image:
                image.load()  # the text chunks may follow the pixels
                alt = getattr(image, "text", {}).get("Description") or path.stem
            data = {"image/png": base64.b64encode(path.read_bytes()).decode("ascii")}
            metadata = {"image/png": {"alt": alt}}
            output = v4.new_output("display_data", data, metadata=metadata)
            yield v4.new_code_cell(outputs=[output])


def _shorten_paths(text: str) -> str:
    """Take this machine's folders out of a text, so that a report can be passed on."""
    # First those that may hold spaces; the project is often inside the home folder.
    for folder, short in ((f"{project_root()}/", ""), (os.path.expanduser("~/"), "~/")):
        text = text.replace(folder, short) if len(folder) > 2 else text
    return ABSOLUTE_PATH.sub("…/", re.sub(r"\x1b\[[\d;]*m", "", text))  # and colours of a terminal
