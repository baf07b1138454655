"""Every figure: pure functions from arrays to a matplotlib `Figure`, gathered here.

None of them touches pyplot, a file or global state. Each sets its title with `suptitle`, and
uses shape, pattern or text beside colour, in colours that any colour vision can tell apart.
"""
# ruff: noqa: F401 (`__all__` is computed)

from cifar_utils.plots.data import (
    plot_augmentations,
    plot_brightness_and_colour,
    plot_channel_histograms,
    plot_class_balance,
    plot_class_grid,
    plot_duplicate_pairs,
    plot_mean_images,
    plot_scaling,
    plot_split,
)
from cifar_utils.plots.evaluation import (
    plot_class_scores,
    plot_confusion_matrix,
    plot_metrics,
    plot_mistakes,
    plot_reliability,
    plot_test_set_leak,
    plot_threshold,
)
from cifar_utils.plots.inference import plot_heat_map, plot_images, plot_prediction
from cifar_utils.plots.speed import (
    plot_ablation,
    plot_accuracy_against_time,
    plot_correlations,
    plot_kernels,
    plot_losses,
    plot_singular_values,
    plot_whitening_filters,
)
from cifar_utils.plots.style import show_figure, show_sliders, show_table
from cifar_utils.plots.training import (
    plot_descent,
    plot_kernel_steps,
    plot_learning_rates,
    plot_maps,
    plot_model_diagram,
    plot_training_curves,
)

__all__ = [name for name in dir() if name.startswith(("plot_", "show_"))]
