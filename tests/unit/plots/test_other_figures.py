"""Figures of notebooks 01, 02, 03 and 06 keep the rules of all, and show their data."""

import numpy as np
import pytest
from figure_rules import check_figure, read_texts

from cifar_utils import plots
from cifar_utils.data import CLASS_NAMES
from cifar_utils.plots import speed

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (120, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(120) % 10
COUNTS = np.full(10, 4500)
HISTOGRAMS = RNG.integers(1, 999, (3, 256))
FALLING = np.exp(-np.arange(100) / 30)
HISTORY = {
    "epoch": np.arange(1, 101),
    "loss": 1.6 * FALLING,
    "accuracy": 0.9 - 0.5 * FALLING,
    "val_loss": 0.3 + 1.3 * FALLING,
    "val_accuracy": 0.8 - 0.4 * FALLING,
}
SCHEDULES = {
    "code": [1e-3] * 31 + [1e-4] * 30 + [1e-5] * 30 + [1e-6] * 9,
    "prose": [1e-3] * 30 + [1e-4] * 30 + [1e-5] * 40,
}
LAYERS = [
    ("conv1", "Conv2D", (None, 30, 30, 32), 896, "relu"),
    ("conv1_bn", "BatchNormalization", (30, 30, 32), 128, ""),
    ("pool1", "MaxPooling2D", (15, 15, 32), 0, ""),
    ("conv2", "Conv2D", (13, 13, 64), 18496, "relu"),
    ("pool2", "MaxPooling2D", (6, 6, 64), 0, ""),
    ("flatten", "Flatten", (2304,), 0, ""),
    ("dense1", "Dense", (256,), 131328, "relu"),
    ("dropout1", "Dropout", (256,), 0, ""),
    ("probs", "Dense", (10,), 1290, "softmax"),
]
ABLATION = {speed.WHOLE: [0.86, 0.861, 0.862], "without Muon": [0.82, 0.821, 0.823]}
TIMES = {"quick": [(10, 0.75, 1), (30, 0.84, 3)], "fast": [(80, 0.86, 2), (560, 0.935, 14)]}
PAIRS = np.column_stack([np.arange(9), np.arange(9) + 1])
MAPS = {"conv1": [("image", IMAGES[0]), *((f"map {i}", IMAGES[i, ..., 0]) for i in range(5))]}
FIGURES = {
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
    "kernel": lambda: plots.plot_kernel_steps(
        IMAGES[0], np.eye(3), {"sum": IMAGES[0, ..., 0] / 255 - 0.5}
    ),
    "maps": lambda: plots.plot_maps(MAPS, "Outputs of the trained layers"),
    "own_scales": lambda: plots.plot_maps(MAPS, "Outputs of the trained layers", shared=False),
    "learning_rates": lambda: plots.plot_learning_rates(SCHEDULES, "code"),
    "descent": lambda: plots.plot_descent({"rate 0.1": [1, 0.8, 0.6], "rate 1.1": [1, -1.2, 1.4]}),
    "curves": lambda: plots.plot_training_curves(HISTORY),
    "curves_no_epoch": lambda: plots.plot_training_curves({}, 8),
    "curves_one_epoch": lambda: plots.plot_training_curves(
        {name: values[:1] for name, values in HISTORY.items()}, 8
    ),
    "curves_no_val": lambda: plots.plot_training_curves(
        {name: HISTORY[name] for name in ("loss", "accuracy")}
    ),
    "image_row": lambda: plots.plot_image_row(IMAGES[:6], list("abcdef"), "Six images"),
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
@pytest.mark.filterwarnings("error")
def test_figure_keeps_the_rules(name):
    assert check_figure(FIGURES[name]()) == []


def test_a_row_of_the_grid_is_one_class():
    rows = np.broadcast_to(
        np.arange(10, dtype=np.uint8)[:, None, None, None, None], (10, 8, 32, 32, 3)
    )
    drawn = plots.plot_class_grid(rows, CLASS_NAMES).axes[0].images[0].get_array()
    for class_id in range(10):
        assert (drawn[class_id * 34 : class_id * 34 + 32, :32] == class_id).all()


def test_the_diagram_names_every_block_and_counts_all_parameters():
    text = read_texts(FIGURES["model"]())
    for part in ("152,138", "30×30", "× 64", "conv", "dense", "ReLU", "softmax"):
        assert part in text


def test_maps_share_a_scale_unless_each_has_its_own():
    low, high = np.zeros((4, 4)), np.full((4, 4), 2.0)
    row = {"a": [("low", low), ("high", high)]}
    shared = [axes.images[0].get_clim() for axes in plots.plot_maps(row, "Maps").axes[:2]]
    assert shared == [(0, 2), (0, 2)]
    assert "2 to 2" in read_texts(plots.plot_maps(row, "Maps", shared=False))


def test_the_schedule_in_use_is_named_and_rates_over_decades_are_logarithmic():
    figure = FIGURES["learning_rates"]()
    assert "code (used)" in read_texts(figure)
    assert figure.axes[0].get_yscale() == "log"
    assert plots.plot_learning_rates({"one": [0.1, 0.05]}).axes[0].get_yscale() == "linear"
    with pytest.raises(ValueError, match="cosine"):
        plots.plot_learning_rates(SCHEDULES, "cosine")


def test_curves_name_the_last_values_and_survive_a_training_that_diverged():
    assert "validation, last 78.5 %" in read_texts(FIGURES["curves"]())
    assert "validation" not in read_texts(FIGURES["curves_no_val"]())
    diverged = {"loss": [2.0, np.nan], "accuracy": [0.1, 0.1]}
    assert "training, last 10.0 %" in read_texts(plots.plot_training_curves(diverged))


def test_epochs_are_whole_numbers():
    figure = FIGURES["curves_one_epoch"]()
    figure.draw_without_rendering()
    assert all(float(tick).is_integer() for tick in figure.axes[0].get_xticks())


def test_a_recipe_is_marked_where_it_has_its_own_number_of_epochs():
    axes = FIGURES["accuracy_against_time"]().axes[0]
    rings = [line for line in axes.lines if line.get_markersize() == 13 and len(line.get_xdata())]
    assert [ring.get_xdata()[0] * 60 for ring in rings] == pytest.approx([80])


def test_every_figure_is_tested():
    from test_evaluation import FIGURES as OTHERS

    made = {name for name in plots.__all__ if name.startswith("plot_")}
    named = {name for make in (FIGURES | OTHERS).values() for name in make.__code__.co_names}
    assert made - named == set()
