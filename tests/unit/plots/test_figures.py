"""Every figure keeps the rules of all, and shows its data."""

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
from cifar_utils.plots import speed, style

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (120, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(120) % 10
LOGITS = RNG.normal(size=(120, 10)) + 3 * np.eye(10)[LABELS]
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
CONFIDENCE, CORRECT = PROBS.max(1), PROBS.argmax(1) == LABELS
METRICS = compute_metrics(LABELS, PROBS)
FALLING = np.exp(-np.arange(100) / 30)
HISTORY = {
    "loss": 1.6 * FALLING,
    "accuracy": 0.9 - 0.5 * FALLING,
    "val_loss": 0.3 + 1.3 * FALLING,
    "val_accuracy": 0.8 - 0.4 * FALLING,
}
LEAK = {
    "by_epoch": {"validation": HISTORY["val_accuracy"], "test": HISTORY["val_accuracy"] + 0.01},
    "choices": {
        "last epoch": {"epoch": 100, "value": 0.79},
        "best on the validation images": {"epoch": 90, "value": 0.8},
        "best on the test images (the leak)": {"epoch": 95, "value": 0.81},
    },
}
COUNTS = np.full(10, 4500)
HISTOGRAMS = RNG.integers(1, 999, (3, 256))
SCHEDULES = {
    "code": (range(100), [1e-3] * 31 + [1e-4] * 30 + [1e-5] * 30 + [1e-6] * 9),
    "smooth": (range(100), 1e-3 * FALLING),
}
LAYERS = [
    ("conv1", "Conv2D", (None, 30, 30, 32), 896, "relu"),
    ("conv1_bn", "BatchNormalization", (30, 30, 32), 128, ""),
    ("pool1", "MaxPooling2D", (15, 15, 32), 0, ""),
    ("flatten", "Flatten", (7200,), 0, ""),
    ("dense1", "Dense", (256,), 131328, "relu"),
    ("dropout1", "Dropout", (256,), 0, ""),
    ("probs", "Dense", (10,), 1290, "softmax"),
]
ABLATION = {speed.WHOLE: [0.86, 0.861, 0.862], "without Muon": [0.82, 0.821, 0.823]}
TIMES = {"quick": [(10, 0.75, 1), (30, 0.84, 3)], "fast": [(80, 0.86, 2), (560, 0.935, 14)]}
PAIRS = np.column_stack([np.arange(9), np.arange(9) + 1])
MAPS = {"conv1": [("image", IMAGES[0]), *((f"map {i}", IMAGES[i, ..., 0]) for i in range(5))]}
STEPS = {"sum": IMAGES[0, ..., 0] / 255 - 0.5}
LARGE = np.zeros((300, 200, 3), np.uint8)
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
    "reliability": lambda: plots.plot_reliability(CONFIDENCE, CORRECT, bins=15),
    "threshold": lambda: plots.plot_threshold(CONFIDENCE, CORRECT, 0.8),
    "images": lambda: plots.plot_images([LARGE, IMAGES[0]], ["a\nb", "c"], "Two images"),
    "prediction": lambda: plots.plot_prediction(
        LARGE, IMAGES[0], PROBS[0], CLASS_NAMES, box=(0, 50, 200, 250)
    ),
    "heat_map": lambda: plots.plot_heat_map(IMAGES[0], np.eye(32), "cat"),
    "class_balance": lambda: plots.plot_class_balance(COUNTS, COUNTS // 5, CLASS_NAMES),
    "class_grid": lambda: plots.plot_class_grid(IMAGES[:80].reshape(10, 8, 32, 32, 3), CLASS_NAMES),
    "histograms": lambda: plots.plot_channel_histograms(HISTOGRAMS),
    "mean_images": lambda: plots.plot_mean_images(IMAGES[:10] / 255, CLASS_NAMES),
    "brightness": lambda: plots.plot_brightness_and_colour(
        RNG.random(120), RNG.random(120), LABELS, CLASS_NAMES
    ),
    "pairs": lambda: plots.plot_duplicate_pairs(IMAGES, IMAGES, PAIRS, np.arange(9) / 100),
    "no_pairs": lambda: plots.plot_duplicate_pairs(IMAGES, IMAGES, PAIRS[:0]),
    "scaling": lambda: plots.plot_scaling(HISTOGRAMS, np.full(3, 0.5), np.full(3, 0.25)),
    "split": lambda: plots.plot_split(COUNTS, COUNTS // 9, CLASS_NAMES),
    "augmentations": lambda: plots.plot_augmentations(IMAGES[0], IMAGES[1:32] / 255),
    "model": lambda: plots.plot_model_diagram(LAYERS),
    "kernel": lambda: plots.plot_kernel_steps(IMAGES[0], np.eye(3), STEPS),
    "maps": lambda: plots.plot_maps(MAPS, "Outputs of the trained layers"),
    "own_scales": lambda: plots.plot_maps(MAPS, "Outputs of the trained layers", shared=False),
    "learning_rates": lambda: plots.plot_learning_rates(SCHEDULES, "code"),
    "descent": lambda: plots.plot_descent({"rate 0.1": [1, 0.8, 0.6], "rate 1.1": [1, -1.2, 1.4]}),
    "curves": lambda: plots.plot_training_curves(HISTORY),
    "curves_no_epoch": lambda: plots.plot_training_curves({}, 8),
    "curves_one_epoch": lambda: plots.plot_training_curves({"loss": [1], "accuracy": [0.5]}, 8),
    "whitening_filters": lambda: plots.plot_whitening_filters(RNG.normal(size=(2, 2, 3, 24))),
    "correlations": lambda: plots.plot_correlations(np.ones((12, 12)), np.eye(12)),
    "kernels": lambda: plots.plot_kernels(np.eye(64), RNG.normal(size=(64, 64)), "conv1_2"),
    "singular_values": lambda: plots.plot_singular_values(
        {"gradient descent": np.geomspace(1, 1e-3, 64), "Muon": np.ones(64)}
    ),
    "ablation": lambda: plots.plot_ablation(ABLATION),
    "losses": lambda: plots.plot_losses({"Muon": 3 * FALLING, "SGD": 4 * FALLING}),
    "accuracy_against_time": lambda: plots.plot_accuracy_against_time(TIMES, {"fast": 2}),
}


@pytest.mark.parametrize("name", FIGURES)
# A missing glyph, a layout that fails; not what old libraries deprecate in each other.
@pytest.mark.filterwarnings("error::UserWarning", "ignore::DeprecationWarning")
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


def test_mosaics_keep_every_image_in_order_in_whole_pixels():
    _, axes = style.new_mosaic("Images", IMAGES[:80], columns=8, scale=3)
    box = axes.get_window_extent()
    assert (box.width, box.height) == pytest.approx((3 * (8 * 34 - 2), 3 * (10 * 34 - 2)))
    np.testing.assert_array_equal(axes.images[0].get_array()[34:66, 34:66], IMAGES[9])


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


def test_reliability_shows_the_calibration_error():
    upper, lower = FIGURES["reliability"]().axes
    counts = np.array([bar.get_height() for bar in lower.patches])
    probability, accuracy = upper.lines[1].get_data()
    gaps = np.abs(accuracy - probability) * counts[counts > 0]
    assert gaps.sum() / 120 == pytest.approx(compute_ece(LABELS, PROBS))


def test_threshold_shows_coverage_and_accuracy():
    axes = FIGURES["threshold"]().axes[0]
    kept, accuracy = axes.lines[:2]
    series = (kept.get_xdata(), kept.get_ydata(), accuracy.get_ydata())
    for threshold, share, right in list(zip(*series, strict=True))[::20]:
        told = measure_answers(LABELS, PROBS, threshold)
        assert (share, right) == pytest.approx((told["coverage"], told["accuracy"]))


def test_a_prediction_names_the_top_classes_and_whether_it_is_unsure():
    figure = FIGURES["prediction"]()
    best = CLASS_NAMES[PROBS[0].argmax()]
    assert figure.get_suptitle().startswith(f"Prediction: {best}, ")
    assert len(figure.axes[2].patches) == 5
    unsure = plots.plot_prediction(IMAGES[0], IMAGES[0], PROBS[0], CLASS_NAMES, unsure=True)
    assert unsure.get_suptitle().startswith("Prediction: unsure: ")
    assert [len(axes.images) for axes in unsure.axes] == [1, 0]  # the same image, once


def test_a_table_escapes_its_separator():
    table = plots.show_table(["a", "b"], [["x|y", 0.5]]).data
    assert table.splitlines()[2] == r"| x\|y | 0.5000 |"


def test_the_diagram_names_every_block_and_counts_all_parameters():
    text = read_texts(FIGURES["model"]())
    for part in ("133,642", "30×30", "× 32", "BN", "conv", "dense", "ReLU", "softmax"):
        assert part in text


def test_maps_share_a_scale_unless_each_has_its_own():
    low, high = np.zeros((4, 4)), np.full((4, 4), 2.0)
    row = {"a": [("low", low), ("high", high)]}
    shared = [axes.images[0].get_clim() for axes in plots.plot_maps(row, "Maps").axes[:2]]
    assert shared == [(0, 2), (0, 2)]
    assert "2 to 2" in read_texts(plots.plot_maps(row, "Maps", shared=False))


def test_the_schedule_in_use_is_named_and_rates_over_decades_are_logarithmic():
    assert "code (used)" in read_texts(FIGURES["learning_rates"]())
    charts = [plots.plot_learning_rates({name: curve}) for name, curve in SCHEDULES.items()]
    assert [chart.axes[0].get_yscale() for chart in charts] == ["log", "linear"]


def test_curves_name_the_last_values_and_survive_a_training_that_diverged():
    assert "validation, last 78.5 %" in read_texts(FIGURES["curves"]())
    assert "validation" not in read_texts(FIGURES["curves_one_epoch"]())
    diverged = {"loss": [2.0, np.nan], "accuracy": [0.1, 0.1]}
    assert "training, last 10.0 %" in read_texts(plots.plot_training_curves(diverged))


def test_a_recipe_is_marked_where_it_has_its_own_number_of_epochs():
    axes = FIGURES["accuracy_against_time"]().axes[0]
    rings = [line for line in axes.lines if line.get_markersize() == 13 and len(line.get_xdata())]
    assert [ring.get_xdata()[0] * 60 for ring in rings] == pytest.approx([80])


def test_every_figure_is_tested():
    made = {name for name in plots.__all__ if name.startswith("plot_")}
    named = {name for make in FIGURES.values() for name in make.__code__.co_names}
    assert made
    assert made - named == set()
