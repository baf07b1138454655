"""How good a network is, from its probabilities alone: NumPy, scikit-learn and SciPy, no Keras.

The names are loaded when first used, so that a classifier that starts imports no SciPy.
"""

import importlib

_HOMES = {
    "metrics": (
        *("DOCUMENTED", "LabelErrors", "check_predictions", "compute_class_report"),
        *("compute_confusion", "compute_metrics", "compute_metrics_without_label_errors"),
        *("compute_wilson_interval", "load_label_errors"),
    ),
    "calibration": (
        *("Calibration", "apply_temperature", "compute_ece", "fit_calibration"),
        *("fit_temperature", "fit_threshold", "measure_answers"),
    ),
    "tta": ("VIEWS", "average_views", "make_views"),
    "scenes": ("make_scenes",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name):
    """Load one of the public names (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
