"""How good a network is, from its probabilities alone; SciPy and scikit-learn come when needed."""

from cifar_utils.evaluation.calibration import (
    Calibration,
    apply_temperature,
    compute_ece,
    fit_calibration,
    measure_answers,
)
from cifar_utils.evaluation.metrics import (
    DOCUMENTED,
    compute_class_report,
    compute_confusion,
    compute_metrics,
    compute_metrics_without_label_errors,
    compute_wilson_interval,
    load_label_errors,
)
from cifar_utils.evaluation.scenes import make_scenes
from cifar_utils.evaluation.tta import VIEWS, average_views, make_views

__all__ = [
    "DOCUMENTED",
    "VIEWS",
    "Calibration",
    "apply_temperature",
    "average_views",
    "compute_class_report",
    "compute_confusion",
    "compute_ece",
    "compute_metrics",
    "compute_metrics_without_label_errors",
    "compute_wilson_interval",
    "fit_calibration",
    "load_label_errors",
    "make_scenes",
    "make_views",
    "measure_answers",
]
