"""The report: complete, safe, self-contained, and readable whatever is missing from the run."""

import csv
import itertools
import json
import re
import shlex
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from cifar_utils.apps import report
from cifar_utils.apps.report_rows import format_seconds
from cifar_utils.data import CLASS_NAMES
from cifar_utils.evaluation import metrics as evaluation
from cifar_utils.runs.run import Run

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """What a test asks about a page: tags, attributes, text, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.faults = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    def words(self):
        return re.sub(r"\s+", " ", "".join(self.text))


def make_run(folder, dataset="cifar10", status="done", **changes):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 400)
    logits = rng.normal(size=(400, 10)) + 3 * np.eye(10)[labels]
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    metrics = evaluation.compute_metrics(labels, probs, n_resamples=100)
    metrics |= {
        "split": "test",
        "dataset": dataset,
        "documented": evaluation.DOCUMENTED,
        "per_class": evaluation.compute_class_report(labels, probs, n_resamples=100),
        "confusion": evaluation.compute_confusion(labels, probs).tolist(),
        "without_label_errors": {"accuracy": metrics["accuracy"], "n": 346, "excluded": 54},
    }
    info = {
        "name": folder.name,
        "status": status,
        "recipe": "quick",
        "parameters": {"recipe": "quick", "dataset": "auto", "seed": 1, "epochs": 2, "flip": True},
        "dataset": {"name": dataset, "n_train": 45000, "official": False},
        "versions": {"python": "3.12.0", "keras": "3.15.1"},
        "device": "CPU",
        "stages": {"03_training": {"status": "done", "seconds": 75.2}},
        "seconds": {"03_training": 75.2, "training": 71.9},
        **changes,
    }
    run = Run(folder)
    run.write_json("run.json", info)
    run.write_json("metrics.json", metrics)
    with run.path("history.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"],
                [1, 0.004, 1.512345, 0.45, 1.4, 0.5],
                [2, 0.0004, 1.1, 0.6, "nan", 0.625],
            ]
        )
    for name in [*report.FIGURE_SECTIONS, "zebra", "class_examples"]:
        save_png(run, name, f"Alt text of {name} “30 % < 40 %”.")
    return run


def save_png(run, name, alt):
    path = run.path(f"figures/{name}.png")
    path.parent.mkdir(exist_ok=True)
    Figure(figsize=(2, 1)).savefig(path, dpi=50, metadata={"Description": alt} if alt else None)


def read(run):
    path = report.save_report(run)
    assert path == run.path("report.html")
    return path.read_text(encoding="utf-8")


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "my-run")


def test_page_is_well_formed_and_accessible(run):
    page = Page(read(run))
    assert page.faults == []
    assert page.open == []
    assert page.all("html") == [{"lang": "en"}]
    assert any(attrs.get("name") == "viewport" for attrs in page.all("meta"))
    assert len(page.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for attrs in page.all("a"):
        assert attrs["href"].removeprefix("#") in ids
    for _, attrs in page.tags:
        assert attrs.get("aria-labelledby", ids[0]) in ids
    assert len(page.all("caption")) == len(page.all("table")) == 8
    assert all(attrs.get("scope") in ("row", "col") for attrs in page.all("th"))
    regions = [a for a in page.all("div") if a.get("class") == "scroll"]
    assert all(attrs["tabindex"] == "0" for attrs in regions)


def test_page_needs_no_network_and_no_script(run):
    text = read(run)
    page = Page(text)
    assert not page.all("script")
    assert not page.all("link")
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert "default-src 'none'" in text


def test_figures_come_in_order_with_their_stored_alt_text(run):
    images = Page(read(run)).all("img")
    names = [re.match(r"Alt text of (\w+)", image["alt"]).group(1) for image in images]
    assert names == [
        "metrics_vs_documented", "training_curves", "per_class", "confusion_matrix",
        "confident_mistakes", "class_examples", "zebra",
    ]  # fmt: skip
    assert images[0]["alt"] == "Alt text of metrics_vs_documented “30 % < 40 %”."
    assert (images[0]["width"], images[0]["height"]) == ("100", "50")


def test_figure_without_description_says_so(run):
    save_png(run, "zebra", None)
    assert Page(read(run)).all("img")[-1]["alt"].startswith("Zebra; no description")


def test_headline_states_accuracy_interval_and_documented(run):
    accuracy = run.read_json("metrics.json")["accuracy"]
    words = Page(read(run)).words()
    expected = "Test accuracy {value:.2f} % (95 % interval {low:.2f} % to {high:.2f} %)".format(
        **{key: 100 * value for key, value in accuracy.items()}
    )
    assert f"{expected} on 400 test images of CIFAR-10; the documented system" in words
    assert "reached 82.97 %" in words
    assert "SYNTHETIC" not in words


def test_tables_hold_parameters_history_classes_confusion_and_times(run):
    words = Page(read(run)).words()
    for part in ("epochs2", "Training images45,000", "Official archiveno", "keras3.15.1",
                 "03_trainingdone1 min 15 s", "training" + "measured inside its stage1 min 12 s",
                 "20.00041.10000.6000nan0.6250", "Accuracy without disputed labels"):  # fmt: skip
        assert part in words
    confusion = run.read_json("metrics.json")["confusion"]
    for name, counts in zip(CLASS_NAMES, confusion, strict=True):
        assert name + "".join(map(str, counts)) in words


def test_synthetic_data_cannot_be_missed(tmp_path):
    text = read(make_run(tmp_path / "drawn", dataset="synthetic"))
    words = Page(text).words()
    assert "SYNTHETIC DATA, not CIFAR-10." in words
    assert "not comparable with any result on CIFAR-10" in words
    assert "82.97" not in words
    assert "<title>SYNTHETIC DATA" in text


@pytest.mark.parametrize("status", ["failed", "interrupted", "running", "open"])
def test_unfinished_run_says_so_and_how_to_continue(tmp_path, status):
    run = make_run(tmp_path / "half", status=status, error="the kernel died")
    words = Page(read(run)).words()
    assert f"Status: {status}." in words
    assert "the kernel died" in words
    assert "python -m cifar_utils run --name half --resume" in words


def test_empty_folder_still_gives_a_page_that_says_what_is_missing(tmp_path):
    (tmp_path / "empty").mkdir()
    page = Page(read(Run(tmp_path / "empty")))
    words = page.words()
    assert page.faults == []
    assert "This run has no test result yet." in words
    for name in ("metrics.json", "history.csv", "figures/confident_mistakes.png", "run.json"):
        assert name in words
    assert "Status: unknown." in words


def test_missing_figure_names_the_command_that_makes_it(run):
    run.path("figures/confusion_matrix.png").unlink()
    words = Page(read(run)).words()
    assert "(figures/confusion_matrix.png)" in words
    assert "python -m cifar_utils run --name my-run --only 04" in words


def test_damaged_files_are_named(run):
    run.path("metrics.json").write_text("{ half")
    run.path("figures/zebra.png").write_bytes(b"not a picture")
    run.path("history.csv").write_bytes(b"\xff\xfe\x00")
    words = Page(read(run)).words()
    for name in ("metrics.json", "figures/zebra.png", "history.csv"):
        assert f"{name} cannot be read" in words


def test_hostile_names_and_values_stay_text(tmp_path):
    evil = "<script>alert(1)<&\"'>"
    run = make_run(
        tmp_path / "<img src=x onerror=alert(1)>",
        parameters={"recipe": evil, evil: evil},
        error=evil,
        device=evil,
    )
    save_png(run, "zebra", '"><script>alert(2)</script>')
    save_png(run, '"><b>', "x")
    text = read(run)
    page = Page(text)
    assert "<script" not in text
    assert not page.all("script")
    assert not page.all("b")
    assert len(page.all("img")) == 8
    assert not any("onerror" in attrs for _, attrs in page.tags)
    assert evil in page.words()
    assert "<img src=x onerror=alert(1)>" in page.words()


def test_reproduce_command_repeats_the_run(run):
    info = run.read_json("run.json")
    info["parameters"] |= {"run_name": "my-run", "image_path": "", "model_path": "a b;rm -rf $HOME"}
    words = shlex.split(report.build_command(info).replace("\\\n", " "))
    expected = (
        "python -m cifar_utils run --recipe quick -p dataset cifar10 -p seed 1 -p epochs 2"
        " -p flip true -p model_path"
    )
    assert words == [*expected.split(), "a b;rm -rf $HOME"]


@pytest.mark.parametrize(
    ("changes", "begin"),
    [
        ({"recipe": {"name": "fast", "epochs": 2}}, "python -m cifar_utils run --recipe fast -p"),
        ({"versions": {"jax": "1"}}, "KERAS_BACKEND=jax python -m cifar_utils run --recipe quick"),
        ({"backend": "jax"}, "KERAS_BACKEND=jax python -m cifar_utils run --recipe quick"),
        ({"backend": "tensorflow"}, "python -m cifar_utils run --recipe quick -p"),
        ({"parameters": {}, "recipe": "fast"}, "python -m cifar_utils run --recipe fast -p"),
    ],
)
def test_reproduce_command_names_recipe_and_backend_of_a_trained_run(run, changes, begin):
    info = run.read_json("run.json")
    if isinstance(changes.get("recipe"), dict):
        info["parameters"]["recipe"] = "fast"
    words = " ".join(report.build_command(info | changes).replace("\\\n", " ").split())
    assert words.startswith(begin)


def test_a_figure_that_a_killed_process_left_unfinished_is_not_shown(run):
    before = read(run)
    run.path("figures/.class_grid-x1y2.png").write_bytes(b"half a picture")
    assert read(run) == before


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.417, "0.42 s"), (9.996, "10.0 s"), (59.97, "1 min 00 s"), (245, "4 min 05 s"),
     (3599.7, "1 h 00 min"), (4330, "1 h 12 min")],
)  # fmt: skip
def test_durations_are_written_for_people(seconds, text):
    assert format_seconds(seconds) == text


def test_report_is_replaced_whole(run):
    first = read(run)
    assert read(run) == first
    info = json.loads(run.path("run.json").read_text())
    run.write_json("run.json", info | {"status": "failed"})
    assert "Status: failed." in Page(read(run)).words()
    assert [p.name for p in run.dir.glob("*report*")] == ["report.html"]
