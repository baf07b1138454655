"""Every figure: pure functions from arrays to a matplotlib `Figure`, gathered here.

None of them touches pyplot, a file or global state. Each sets its title with `suptitle`, and
uses shape, pattern or text beside colour, in colours that any colour vision can tell apart.
"""

from cifar_utils.plots.evaluation import (
    plot_class_scores,
    plot_confusion_matrix,
    plot_metrics,
    plot_mistakes,
    plot_reliability,
    plot_test_set_leak,
    plot_threshold,
)
from cifar_utils.plots.exploration import (
    plot_brightness_and_colour,
    plot_channel_histograms,
    plot_class_balance,
    plot_class_grid,
    plot_duplicate_pairs,
    plot_mean_images,
)
from cifar_utils.plots.inference import plot_heat_map, plot_images, plot_prediction
from cifar_utils.plots.model import plot_kernel_steps, plot_maps, plot_model_diagram
from cifar_utils.plots.preprocessing import plot_augmentations, plot_scaling, plot_split
from cifar_utils.plots.sliders import show_sliders
from cifar_utils.plots.speed import (
    plot_ablation,
    plot_accuracy_against_time,
    plot_correlations,
    plot_image_row,
    plot_kernels,
    plot_losses,
    plot_singular_values,
    plot_whitening_filters,
)
from cifar_utils.plots.style import show_figure
from cifar_utils.plots.tables import show_table
from cifar_utils.plots.training import plot_descent, plot_learning_rates, plot_training_curves

__all__ = [
    "plot_ablation",
    "plot_accuracy_against_time",
    "plot_augmentations",
    "plot_brightness_and_colour",
    "plot_channel_histograms",
    "plot_class_balance",
    "plot_class_grid",
    "plot_class_scores",
    "plot_confusion_matrix",
    "plot_correlations",
    "plot_descent",
    "plot_duplicate_pairs",
    "plot_heat_map",
    "plot_image_row",
    "plot_images",
    "plot_kernel_steps",
    "plot_kernels",
    "plot_learning_rates",
    "plot_losses",
    "plot_maps",
    "plot_mean_images",
    "plot_metrics",
    "plot_mistakes",
    "plot_model_diagram",
    "plot_prediction",
    "plot_reliability",
    "plot_scaling",
    "plot_singular_values",
    "plot_split",
    "plot_test_set_leak",
    "plot_threshold",
    "plot_training_curves",
    "plot_whitening_filters",
    "show_figure",
    "show_sliders",
    "show_table",
]
