"""Figures: each has a title and readable text that does not collide, and shows its data."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from cifar_utils import plots
from cifar_utils.data import CLASS_NAMES
from cifar_utils.evaluation import metrics as evaluation
from cifar_utils.plots import style as plots_base
from cifar_utils.plots.style import DPI as FIGURE_DPI
from cifar_utils.training import experiments

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (120, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(120) % 10
ROWS = np.stack([IMAGES[LABELS == c][:8] for c in range(10)])
HISTOGRAMS = np.stack([np.bincount(IMAGES[..., c].ravel(), minlength=256) for c in range(3)])
BRIGHTNESS = IMAGES.mean(axis=(1, 2, 3)) / 255
LOGITS = RNG.normal(size=(120, 10)) + 3 * np.eye(10)[LABELS]
PROBS = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
COUNTS = np.full(10, 4500)
METRICS = evaluation.compute_metrics(LABELS, PROBS)
WITHOUT = {**METRICS, "excluded": 54}
HISTORY = {
    "epoch": np.arange(1, 101),
    "loss": 1.6 * np.exp(-np.arange(100) / 30),
    "accuracy": 0.9 - 0.5 * np.exp(-np.arange(100) / 30),
    "val_loss": 0.3 + 1.3 * np.exp(-np.arange(100) / 30),
    "val_accuracy": 0.8 - 0.4 * np.exp(-np.arange(100) / 30),
}
SCHEDULES = {
    "code": [1e-3] * 31 + [1e-4] * 30 + [1e-5] * 30 + [1e-6] * 9,
    "prose": [1e-3] * 30 + [1e-4] * 30 + [1e-5] * 40,
}
LAYERS = [
    ("conv1", "Conv2D", (None, 30, 30, 32), 896),
    ("conv1_bn", "BatchNormalization", (30, 30, 32), 128),
    ("pool1", "MaxPooling2D", (15, 15, 32), 0),
    ("conv2", "Conv2D", (13, 13, 64), 18496),
    ("conv2_bn", "BatchNormalization", (13, 13, 64), 256),
    ("pool2", "MaxPooling2D", (6, 6, 64), 0),
    ("conv3", "Conv2D", (4, 4, 128), 73856),
    ("conv3_bn", "BatchNormalization", (4, 4, 128), 512),
    ("pool3", "MaxPooling2D", (2, 2, 128), 0),
    ("flatten", "Flatten", (512,), 0),
    ("dense1", "Dense", (256,), 131328),
    ("dense1_bn", "BatchNormalization", (256,), 1024),
    ("dropout1", "Dropout", (256,), 0),
    ("dense2", "Dense", (128,), 32896),
    ("dense2_bn", "BatchNormalization", (128,), 512),
    ("dropout2", "Dropout", (128,), 0),
    ("probs", "Dense", (10,), 1290),
]
LEAK = {
    "by_epoch": {"validation": HISTORY["val_accuracy"], "test": HISTORY["val_accuracy"] + 0.01},
    "choices": {
        "last epoch": {"epoch": 100, "value": 0.79},
        "best on the validation images": {"epoch": 90, "value": 0.8},
        "best on the test images (the leak)": {"epoch": 95, "value": 0.81},
    },
}
CURVE = [(0.1, 30.0), (0.5, 1.9), (1.0, 1.6), (2.9, 1.2)]
ABLATION = experiments.summarise_ablation(
    [
        {
            "trick": trick,
            "seed": seed,
            "accuracy": 0.84,
            "accuracy_tta": 0.86 - i / 200 + seed / 900,
        }
        for i, trick in enumerate((experiments.NOTHING, *experiments.ABLATIONS))
        for seed in range(3)
    ]
)
TIMES = {
    "quick": [(10, 0.75, 1), (30, 0.84, 3)],
    "fast": [(80, 0.86, 2), (560, 0.935, 14)],
    "accurate": [(2400, 0.945, 20)],
    "baseline": [(10, 0.5, 1), (1000, 0.82, 100)],
    "documented script": [(24, 0.5, 1), (2400, 0.82, 100)],
}
SCALING = {
    "images": [{"images": 5000, "epoch_seconds": 1.1}, {"images": 45_000, "epoch_seconds": 9.0}],
    "sizes": [{"size": 16, "epoch_seconds": 1.5}, {"size": 32, "epoch_seconds": 4.0}],
}
PAIRS = np.column_stack([np.arange(9), np.arange(9) + 1])


def first_epochs(n, *names):
    return {name: HISTORY[name][:n] for name in names or HISTORY}


FIGURES = {
    "class_balance": lambda: plots.plot_class_balance(COUNTS, COUNTS // 5, CLASS_NAMES),
    "class_grid": lambda: plots.plot_class_grid(ROWS, CLASS_NAMES),
    "histograms": lambda: plots.plot_channel_histograms(HISTOGRAMS),
    "mean_images": lambda: plots.plot_mean_images(IMAGES[:10] / 255, CLASS_NAMES),
    "brightness": lambda: plots.plot_brightness_and_colour(
        BRIGHTNESS, BRIGHTNESS, LABELS, CLASS_NAMES
    ),
    "pairs": lambda: plots.plot_duplicate_pairs(IMAGES, IMAGES, PAIRS, np.arange(9) / 100),
    "no_pairs": lambda: plots.plot_duplicate_pairs(IMAGES, IMAGES, PAIRS[:0]),
    "scaling": lambda: plots.plot_scaling(
        HISTOGRAMS,
        [0.5] * 3,
        [0.25] * 3,
    ),
    "split": lambda: plots.plot_split(COUNTS, COUNTS // 9, CLASS_NAMES),
    "augmentations": lambda: plots.plot_augmentations(IMAGES[0], IMAGES[1:32] / 255),
    "model": lambda: plots.plot_model_diagram(LAYERS),
    "deep_model": lambda: plots.plot_model_diagram(LAYERS[:9] + LAYERS[6:9] * 3 + LAYERS[9:]),
    "learning_rates": lambda: plots.plot_learning_rates(SCHEDULES, "code"),
    "curves": lambda: plots.plot_training_curves(HISTORY),
    "curves_no_epoch": lambda: plots.plot_training_curves({}, 8),
    "curves_one_epoch": lambda: plots.plot_training_curves(first_epochs(1), 8),
    "curves_no_val": lambda: plots.plot_training_curves(first_epochs(5, "loss", "accuracy")),
    "confusion": lambda: plots.plot_confusion_matrix(
        100 * evaluation.compute_confusion(LABELS, PROBS), CLASS_NAMES
    ),
    "metrics": lambda: plots.plot_metrics_vs_documented(METRICS, evaluation.DOCUMENTED, WITHOUT),
    "reproduction": lambda: plots.plot_reproduction(
        {"seed 0": METRICS, "seed 0, val_fraction 0.1": METRICS}, evaluation.DOCUMENTED
    ),
    "one_reproduction": lambda: plots.plot_reproduction({"a": METRICS}, evaluation.DOCUMENTED),
    "no_reproduction": lambda: plots.plot_reproduction({}, evaluation.DOCUMENTED),
    "leak": lambda: plots.plot_test_set_leak(LEAK),
    "no_leak": lambda: plots.plot_test_set_leak(None),
    "maps": lambda: plots.plot_maps(
        [[("picture", IMAGES[0]), *((f"conv1, map {i}", IMAGES[i, ..., 0]) for i in range(5))]] * 3,
        "What the trained layers answer",
    ),
    "class_scores": lambda: plots.plot_class_scores(evaluation.compute_class_report(LABELS, PROBS)),
    "mistakes": lambda: plots.plot_mistakes(
        IMAGES[:12], LABELS[:12], PROBS[:12], CLASS_NAMES, np.arange(12) == 3
    ),
    "no_mistakes": lambda: plots.plot_mistakes(IMAGES[:0], LABELS[:0], PROBS[:0], CLASS_NAMES),
    "prediction": lambda: plots.plot_prediction(
        np.zeros((300, 200, 3), np.uint8), IMAGES[0], PROBS[0], CLASS_NAMES
    ),
    "whitening_filters": lambda: plots.plot_whitening_filters(RNG.normal(size=(2, 2, 3, 24))),
    "correlations": lambda: plots.plot_correlations(np.ones((12, 12)), np.eye(12)),
    "kernels": lambda: plots.plot_kernels(np.eye(64), RNG.normal(size=(64, 64)), "conv1_2"),
    "singular_values": lambda: plots.plot_singular_values(
        {"gradient descent": np.geomspace(1, 1e-3, 64), "Muon": np.ones(64)}
    ),
    "ablation": lambda: plots.plot_ablation(ABLATION),
    "no_ablation": lambda: plots.plot_ablation(None),
    "losses": lambda: plots.plot_losses(CURVE, dict.fromkeys(experiments.ABLATIONS, CURVE)),
    "losses_reversed": lambda: plots.plot_losses(
        CURVE, dict.fromkeys([*experiments.ABLATIONS][::-1], CURVE)
    ),
    "no_losses": lambda: plots.plot_losses([], {}),
    "one_loss": lambda: plots.plot_losses(CURVE, {"Muon (SGD instead)": CURVE}, columns=1),
    "accuracy_against_time": lambda: plots.plot_accuracy_against_time(TIMES),
    "own_epochs": lambda: plots.plot_accuracy_against_time(TIMES, {"quick": 3, "fast": 2}),
    "no_accuracy_against_time": lambda: plots.plot_accuracy_against_time({}),
    "time_scaling": lambda: plots.plot_time_scaling(SCALING),
    "no_time_scaling": lambda: plots.plot_time_scaling(None),
    "heat_map": lambda: plots.plot_heat_map(IMAGES[0], IMAGES[1], "cat"),
}


def read_texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text()]


def find_undrawn(figure):
    """Find texts that exist but are not drawn: ticks beyond the limits, names of hidden axes."""
    undrawn = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not (axes.axison and low <= tick.get_loc() <= high):
                    undrawn |= {tick.label1, tick.label2}
    return undrawn


def joined(figure):
    return "\n".join(text.get_text() for text in read_texts(figure))


def find_faults(figure):
    """List texts that are too small, leave the figure or lie on another text."""
    figure.draw_without_rendering()
    faults, boxes, undrawn = [], [], find_undrawn(figure)
    for text in read_texts(figure):
        if not text.get_visible() or text in undrawn:
            continue
        words, box = text.get_text(), text.get_window_extent()
        if text.get_fontsize() < 9:
            faults.append(("small", words))
        if box.x0 < -1 or box.y0 < -1 or box.x1 > figure.bbox.x1 + 1 or box.y1 > figure.bbox.y1 + 1:
            faults.append(("outside", words))
        if text.get_rotation() in (0, 90):  # the box of a slanted text is mostly empty
            boxes.append((words, box.padded(-1.5)))
    pairs = itertools.combinations(boxes, 2)
    return faults + [("collision", a, b) for (a, x), (b, y) in pairs if x.overlaps(y)]


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.filterwarnings("error")
def test_text_is_inside_the_figure_readable_and_does_not_collide(name):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    assert figure.get_suptitle()
    # What a run of the synthetic set puts in front must fit as well.
    title = next(t for t in figure.texts if t.get_text() == figure.get_suptitle())
    title.set_text(f"SYNTHETIC DATA · {title.get_text()}")
    assert find_faults(figure) == []


@pytest.mark.parametrize(
    ("fault", "place", "words", "size"),
    [
        ("small", (0.5, 0.2), "tiny", 6),
        ("outside", (0.99, 0.2), "over the edge", 10),
        ("collision", (0.5, 0.4), "on another", 10),
    ],
)
def test_the_check_of_texts_rejects_bad_figures(fault, place, words, size):
    figure = FIGURES["no_mistakes"]()
    figure.text(*place, words, size=size)
    assert [found[0] for found in find_faults(figure)] == [fault]


def test_every_figure_is_tested():
    made = {name.removeprefix("plot_") for name in plots.__all__}
    assert len(made) == 29
    assert len(FIGURES) >= len(made)


def test_plots_need_neither_pyplot_nor_tensorflow():
    code = (
        "import sys, cifar_utils.plots; "
        "print([m for m in ('matplotlib.pyplot', 'tensorflow', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_mosaic_pixels_are_whole():
    assert plots_base.DPI == FIGURE_DPI
    figure = FIGURES["class_grid"]()
    box = figure.axes[0].get_window_extent()
    assert (box.width, box.height) == pytest.approx((3 * (8 * 34 - 2), 3 * (10 * 34 - 2)))


def test_tiles_keep_every_image_in_order():
    tiled = plots_base.tile_images(IMAGES[:5], columns=3, gap=2)
    assert tiled.shape == (66, 100, 3)
    assert (tiled[34:, 34:66] == IMAGES[4]).all()
    assert (tiled[34:, 68:] == 255).all()


def test_diagram_names_every_block_and_counts_all_parameters():
    text = joined(FIGURES["model"]())
    assert "261,194 parameters in all" in text
    for part in ("30×30", "× 128", "conv", "dense", "BN\ndropout", "132,352"):
        assert part in text


def test_maps_of_one_row_share_a_scale_and_pictures_keep_their_colours():
    low, high = np.zeros((4, 4)), np.full((4, 4), 2.0)
    figure = plots.plot_maps([[("a", low), ("b", high), ("c", IMAGES[0])]], "Maps")
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert shown[0].max() == 0
    assert shown[1].min() == 255
    assert (shown[2] == IMAGES[0]).all()
    assert plots.plot_maps([[("flat", low)]], "Maps").axes[0].images[0].get_array().max() == 0


def test_schedule_in_use_is_named_and_rates_over_decades_are_logarithmic():
    figure = FIGURES["learning_rates"]()
    assert "code (used)" in joined(figure)
    assert figure.axes[0].get_yscale() == "log"
    assert plots.plot_learning_rates({"one": [0.1, 0.05]}).axes[0].get_yscale() == "linear"
    with pytest.raises(ValueError, match="'cosine' is not among"):
        plots.plot_learning_rates(SCHEDULES, "cosine")


def test_curves_without_validation_do_not_speak_of_it():
    assert "validation" not in joined(FIGURES["curves_no_val"]())
    assert "validation, last 78.5 %" in joined(FIGURES["curves"]())


def test_curves_survive_a_training_that_diverged():
    history = {"loss": [2.0, np.nan], "accuracy": [0.1, 0.1]}
    assert "training, last 10.0 %" in joined(plots.plot_training_curves(history))


def test_epochs_are_whole_numbers():
    figure = FIGURES["curves_one_epoch"]()
    figure.draw_without_rendering()
    assert all(float(tick).is_integer() for tick in figure.axes[0].get_xticks())


def test_confusion_shows_every_count():
    confusion = np.arange(100).reshape(10, 10)
    texts = [
        t.get_text() for t in plots.plot_confusion_matrix(confusion, CLASS_NAMES).axes[0].texts
    ]
    assert texts == ["·", *(str(i) for i in range(1, 100))]


def test_metrics_show_value_interval_and_documented():
    text = joined(FIGURES["metrics"]())
    assert "documented 82.97 %" in text
    assert f"{METRICS['accuracy']['value']:.2%}".replace("%", " %") in text
    assert "54 disputed labels" in text


def test_disputed_labels_are_marked_in_words():
    figure = FIGURES["mistakes"]()
    assert joined(figure).count("label disputed") == 1
    assert "given: cat" in joined(figure)
    assert "rejected" in joined(figure)


def test_an_unsure_prediction_says_so():
    names = CLASS_NAMES
    figure = plots.plot_prediction(IMAGES[0], IMAGES[0], PROBS[0], names, unsure=True)
    assert figure.get_suptitle().startswith("Prediction: unsure: ")
    assert "unsure" not in FIGURES["prediction"]().get_suptitle()


def test_prediction_names_the_top_classes():
    figure = FIGURES["prediction"]()
    assert CLASS_NAMES[PROBS[0].argmax()] in figure.get_suptitle()
    assert len(figure.axes[2].patches) == 5


def test_a_recipe_is_marked_where_it_has_its_own_number_of_epochs():
    axes = FIGURES["own_epochs"]().axes[0]
    rings = [line for line in axes.lines if line.get_markersize() == 13 and len(line.get_xdata())]
    assert [ring.get_xdata()[0] * 60 for ring in rings] == pytest.approx([30, 80])
    told = [text.get_text() for text in axes.texts]
    assert told == ["3 epochs", "2 epochs", "20 epochs", "100 epochs", "100 epochs"]
