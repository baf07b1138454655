"""Figures of notebooks 04 and 05 show their data, and every figure keeps the rules of all."""

import io
import subprocess
import sys

import numpy as np
import pytest
from figure_rules import check_figure, read_texts
from PIL import Image

from cifar_utils import plots
from cifar_utils.data import CLASS_NAMES
from cifar_utils.evaluation import (
    DOCUMENTED,
    compute_class_report,
    compute_confusion,
    compute_ece,
    compute_metrics,
    measure_answers,
)
from cifar_utils.plots import style

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (120, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(120) % 10
LOGITS = RNG.normal(size=(120, 10)) + 3 * np.eye(10)[LABELS]
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
CONFIDENCE, CORRECT = PROBS.max(1), PROBS.argmax(1) == LABELS
METRICS = compute_metrics(LABELS, PROBS)
ACCURACY = 0.8 - 0.4 * np.exp(-np.arange(100) / 30)
LEAK = {
    "by_epoch": {"validation": ACCURACY, "test": ACCURACY + 0.01},
    "choices": {
        "last epoch": {"epoch": 100, "value": 0.79},
        "best on the validation images": {"epoch": 90, "value": 0.8},
        "best on the test images (the leak)": {"epoch": 95, "value": 0.81},
    },
}
FIGURES = {
    "metrics": lambda: plots.plot_metrics({"this run": METRICS}, DOCUMENTED, "Metrics"),
    "four_metrics": lambda: plots.plot_metrics(
        dict.fromkeys("abcd", METRICS), dict.fromkeys(DOCUMENTED), "Metrics"
    ),
    "no_metrics": lambda: plots.plot_metrics({}, DOCUMENTED, "Metrics"),
    "leak": lambda: plots.plot_test_set_leak(LEAK),
    "no_leak": lambda: plots.plot_test_set_leak(None),
    "confusion": lambda: plots.plot_confusion_matrix(
        100 * compute_confusion(LABELS, PROBS), CLASS_NAMES
    ),
    "class_scores": lambda: plots.plot_class_scores(compute_class_report(LABELS, PROBS)),
    "mistakes": lambda: plots.plot_mistakes(
        IMAGES[:12], LABELS[:12], PROBS[:12], CLASS_NAMES, np.arange(12) == 3
    ),
    "no_mistakes": lambda: plots.plot_mistakes(IMAGES[:0], LABELS[:0], PROBS[:0], CLASS_NAMES),
    "reliability": lambda: plots.plot_reliability(CONFIDENCE, CORRECT),
    "threshold": lambda: plots.plot_threshold(CONFIDENCE, CORRECT, 0.8),
    "no_threshold": lambda: plots.plot_threshold(CONFIDENCE, CORRECT),
    "prediction": lambda: plots.plot_prediction(
        np.zeros((300, 200, 3), np.uint8), IMAGES[0], PROBS[0], CLASS_NAMES
    ),
    "heat_map": lambda: plots.plot_heat_map(IMAGES[0], np.eye(32), "cat"),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.filterwarnings("error")
def test_figure_keeps_the_rules(name):
    assert check_figure(FIGURES[name]()) == []


def test_the_rules_reject_a_bad_figure():
    figure = style.new_figure("", 2, width=9)
    axes = figure.subplots()
    axes.plot([1, 2], [1, 2])
    axes.set_xlabel("epoch")
    figure.text(0.5, 0.5, "tiny", size=6)
    problems = " ".join(check_figure(figure))
    for part in ("no title", "900 pixels", "y axis has numbers", "small text: tiny"):
        assert part in problems
    assert "x axis" not in problems


def test_plots_need_neither_pyplot_nor_tensorflow_nor_the_other_rooms():
    code = (
        "import sys, cifar_utils.plots; print([m for m in ('matplotlib.pyplot', 'keras', 'sklearn',"
        " 'tensorflow', 'cifar_utils.data', 'cifar_utils.evaluation') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["mistakes", "threshold"])
def test_a_shown_figure_is_a_png_with_its_text_alternative(name):
    figure = FIGURES[name]()
    shown = plots.show_figure(figure, "Äpfel “30 %”")
    image = Image.open(io.BytesIO(shown.data))
    image.load()
    assert image.text["Description"] == "Äpfel “30 %”"
    assert image.width == 1.5 * shown.width == 1140
    # The colours of a chart are reduced, those of photos not; neither can be seen.
    figure.canvas.draw()
    exact = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    difference = np.abs(np.asarray(image.convert("RGB")) - exact).max()
    assert difference == 0 if name == "mistakes" else difference < 8


def test_tiles_keep_every_image_in_order():
    tiled = style.tile_images(IMAGES[:5], columns=3, gap=2)
    assert tiled.shape == (66, 100, 3)
    assert (tiled[34:, 34:66] == IMAGES[4]).all()
    assert (tiled[34:, 68:] == 255).all()


def test_pixels_of_a_mosaic_are_whole():
    _, axes = style.new_mosaic("Images", IMAGES[:80], columns=8, scale=3)
    box = axes.get_window_extent()
    assert (box.width, box.height) == pytest.approx((3 * (8 * 34 - 2), 3 * (10 * 34 - 2)))


def test_confusion_shows_every_count():
    confusion = np.arange(100).reshape(10, 10)
    axes = plots.plot_confusion_matrix(confusion, CLASS_NAMES).axes[0]
    assert [text.get_text() for text in axes.texts] == ["·", *(str(i) for i in range(1, 100))]


def test_metrics_show_each_value_and_the_original_where_there_is_one():
    text = read_texts(FIGURES["metrics"]())
    assert f"{METRICS['accuracy']['value']:.2%}".replace("%", " %") in text
    assert "original" in text
    assert "original" not in read_texts(FIGURES["four_metrics"]())
    assert "checkout" in read_texts(FIGURES["no_metrics"]())


def test_the_leak_is_drawn_as_a_difference():
    upper, lower = FIGURES["leak"]().axes
    assert [bar.get_height() for bar in lower.patches] == pytest.approx([1.0] * 100)
    assert [line.get_xdata()[0] for line in upper.lines[1:]] == [100, 90, 95]


def test_disputed_labels_are_marked_in_words():
    text = read_texts(FIGURES["mistakes"]())
    assert text.count("label disputed") == 1
    assert "given: cat" in text
    assert "rejected" in text


def test_reliability_shows_the_calibration_error():
    upper, lower = plots.plot_reliability(CONFIDENCE, CORRECT, bins=15).axes
    counts = np.array([bar.get_height() for bar in lower.patches])
    probability, accuracy = upper.lines[1].get_data()
    gaps = np.abs(accuracy - probability) * counts[counts > 0]
    assert gaps.sum() / 120 == pytest.approx(compute_ece(LABELS, PROBS))


def test_threshold_shows_coverage_and_accuracy():
    axes = FIGURES["threshold"]().axes[0]
    kept, accuracy = axes.lines[:2]
    series = (kept.get_xdata(), kept.get_ydata(), accuracy.get_ydata())
    for threshold, share, right in zip(*series, strict=True):
        told = measure_answers(LABELS, PROBS, threshold)
        assert (share, right) == pytest.approx((told["coverage"], told["accuracy"]))


def test_a_prediction_names_the_top_classes_and_whether_it_is_unsure():
    figure = FIGURES["prediction"]()
    best = CLASS_NAMES[PROBS[0].argmax()]
    assert figure.get_suptitle().startswith(f"Prediction: {best}, ")
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 0]
    assert len(figure.axes[2].patches) == 5
    unsure = plots.plot_prediction(IMAGES[0], IMAGES[0], PROBS[0], CLASS_NAMES, unsure=True)
    assert unsure.get_suptitle().startswith("Prediction: unsure: ")
    assert [len(axes.images) for axes in unsure.axes] == [1, 0]  # the same image, once


def test_a_table_escapes_its_separator():
    table = plots.show_table(["a", "b"], [["x|y", 0.5]]).data
    assert table.splitlines()[2] == r"| x\|y | 0.5000 |"
