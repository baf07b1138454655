"""The report: complete, safe, self-contained, and readable whatever is missing from the run."""

import base64
import csv
import os
import re
import sys
from html.parser import HTMLParser

import nbformat
import pytest
from matplotlib.figure import Figure

from cifar_utils.apps.report import save_report
from cifar_utils.paths import project_root
from cifar_utils.runs import Run, get_recipe
from cifar_utils.runs.recipes import recipe_to_json

v4 = nbformat.v4
EVIL = "<script>alert(1)<&\"'>"
ACCURACY = {"value": 0.8404, "low": 0.8331, "high": 0.8474}


class Page(HTMLParser):
    """What a test asks about a page: its tags with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.lasttag != "style":
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    def words(self):
        return re.sub(r"\s+", " ", "".join(self.text))


def save_png(run, name, alt):
    path = run.path(f"figures/{name}.png")
    path.parent.mkdir(exist_ok=True)
    Figure(figsize=(2, 1)).savefig(path, dpi=50, metadata={"Description": alt})
    return path


def save_notebook(run, stage, *outputs, after=()):
    cells = [v4.new_markdown_cell(f"## Heading of {stage}"), v4.new_code_cell("the_code = 1")]
    cells[1].outputs = list(outputs)
    run.path("notebooks").mkdir(exist_ok=True)
    notebook = v4.new_notebook(cells=[*cells, *after], metadata={"widgets": {"a": 1}})
    nbformat.write(notebook, run.path(f"notebooks/{stage}.ipynb"))


def print_output(text):
    return v4.new_output("stream", name="stdout", text=text)


@pytest.fixture
def run(tmp_path):
    """A run as the pipeline leaves it, with a notebook of one figure."""
    run = Run(tmp_path / "my-run")
    run.dir.mkdir()
    run.write_json(
        "run.json",
        {
            "status": "done",
            "recipe": recipe_to_json(get_recipe("quick", epochs=2)),
            "dataset": {
                "name": "cifar10",
                "source": "/data/of/mine/cifar.tar.gz",
                "official": False,
            },
            "git_commit": "0123456789abcdef0123+changes",
            "differs_from_recipe": ["network"],
            "seed": 7,
            "versions": {"keras": "3.15.1"},
            "seconds": {"training": 71.9},
            "network": {"name": "fast_cnn", "parameters": 147_064},
        },
    )
    with run.path("history.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["epoch", "val_accuracy"], [1, 0.5], [2, 0.625]])
    run.write_json("metrics.json", {"accuracy": ACCURACY, "f1_weighted": ACCURACY, "n": 10_000})
    data = {"image/png": base64.b64encode(save_png(run, "curve", "x").read_bytes()).decode()}
    figure = v4.new_output("display_data", data, metadata={"image/png": {"alt": "30 % < “40 %”"}})
    exercise = v4.new_markdown_cell("An exercise", metadata={"tags": ["not-in-report"]})
    save_notebook(run, "04_evaluation", figure, after=[exercise])
    return run


def read(run):
    path = save_report(run)
    assert path == run.path("report.html")
    assert [p.name for p in run.dir.glob("*report*")] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_the_summary_states_what_was_reached_how_and_by_what(run):
    words = Page(read(run)).words()
    for part in (
        "84.04 % (95 % interval 83.31 % to 84.74 %)", "62.50 % after epoch 2", "1:12",
        "fast_cnn, 147,064 parameters", "network, epochs = 2",
        "from cifar.tar.gz, not the official archive",
        "0123456789ab with uncommitted changes", "keras 3.15.1", "Status: done",
    ):  # fmt: skip
        assert part.replace("\u00a0", " ") in words.replace("\u00a0", " ")
    assert "SYNTHETIC" not in words


def test_curves_and_notebook_follow_in_one_file_without_code_exercises_and_script(run):
    save_png(run, "training_curves", "Loss by epoch")
    text = read(run)
    page = Page(text)
    assert "Heading of 04_evaluation" in page.words()
    assert "the_code" not in page.words()
    assert "An exercise" not in page.words()
    assert [image["alt"] for image in page.all("img")] == ["Loss by epoch", "30 % < “40 %”"]
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert not page.all("script")
    assert not page.all("link")
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src 'none'" in text


def test_a_stopped_run_shows_what_was_executed_and_how_to_go_on(run):
    run.update(status="failed", error="the kernel died")
    save_notebook(run, "01_data_exploration", print_output("50,000 images"))
    words = Page(read(run)).words()
    assert "Status: failed." in words
    assert "the kernel died" in words
    assert "python -m cifar_utils run --name my-run --resume" in words
    assert words.index("50,000 images") < words.index("Heading of 04_evaluation")
    run.update(backend="jax")
    assert "KERAS_BACKEND=jax python -m" in Page(read(run)).words()


def test_an_evaluation_by_hand_shows_its_figures(run):
    notebook = run.path("notebooks/04_evaluation.ipynb")
    os.utime(notebook, (1e9, 1e9))  # of an earlier evaluation
    save_png(run, "confusion", "Ten by ten")
    run.path("figures/.half-x1y2.png").write_bytes(b"what a killed process leaves")
    page = Page(read(run))
    assert "Heading" not in page.words()
    assert [image["alt"] for image in page.all("img")] == ["Ten by ten", "x"]


def test_synthetic_data_cannot_be_missed_and_an_empty_folder_still_gives_a_page(run, tmp_path):
    run.update(dataset={"name": "synthetic"})
    text = read(run)
    assert "SYNTHETIC DATA, not CIFAR-10." in Page(text).words()
    assert "<title>SYNTHETIC DATA" in text
    (tmp_path / "empty").mkdir()
    assert "Status: unknown." in Page(read(Run(tmp_path / "empty"))).words()


def test_damaged_files_are_named(run):
    names = "metrics.json history.csv notebooks/04_evaluation.ipynb figures/curve.png".split()
    for name in names:
        run.path(name).write_bytes(b"\xff\xfe half")
    words = Page(read(run)).words()
    assert [name for name in names if f"{name} cannot be read" not in words] == []


def test_no_folder_of_this_machine_is_in_the_page(run, runs_folder):
    places = [project_root(), runs_folder, sys.prefix, os.path.expanduser("~"), "/opt/lib/x"]
    lines = [f"File \x1b[32m{place}/a.py, line {i}" for i, place in enumerate(places)]
    lines.append("https://example.org/a/b, epoch 1/3/4, 5 / 6 / 7")
    error = v4.new_output("error", ename="OSError", evalue=lines[0], traceback=lines)
    run.update(status="failed", error=lines[1])
    save_notebook(run, "02_preprocessing", print_output(lines[2]), error)
    text = read(run)
    assert "a.py, line 3" in text
    assert lines[-1] in text
    for place in map(str, places):
        assert place not in text


def test_hostile_names_and_values_stay_text(tmp_path, run):
    run = Run(run.dir.rename(tmp_path / "<img src=x onerror=alert(1)>"))
    run.update(status="failed", error=EVIL, device=EVIL, seed=EVIL, versions={EVIL: EVIL})
    html = v4.new_output("display_data", {"application/javascript": "alert(3)", "text/plain": EVIL})
    save_notebook(run, "03_training", print_output(EVIL), html)
    text = read(run)
    page = Page(text)
    assert "<script" not in text
    assert "alert(3)" not in text
    assert not any("onerror" in attrs for _, attrs in page.tags)
    assert page.words().count(EVIL) >= 5
    assert "<img src=x onerror=alert(1)>" in page.words()
