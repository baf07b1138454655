"""Any image in, class probabilities out; without TensorFlow.

The public names are loaded when first used.
"""

import importlib

_HOMES = {
    "Classifier": "cifar_utils.inference.classifier",
    "Prediction": "cifar_utils.inference.classifier",
    "compute_heat_map": "cifar_utils.inference.explain",
    "diagnose": "cifar_utils.inference.explain",
    "draw_heat_map": "cifar_utils.inference.explain",
    "find_model": "cifar_utils.inference.sources",
    "list_pretrained": "cifar_utils.inference.pretrained",
    "list_samples": "cifar_utils.inference.samples",
    "load_pretrained": "cifar_utils.inference.pretrained",
    "load_run_model": "cifar_utils.inference.sources",
    "open_picture": "cifar_utils.inference.images",
    "read_card": "cifar_utils.inference.pretrained",
    "save_for_classifier": "cifar_utils.inference.export",
}
__all__ = list(_HOMES)


def __getattr__(name):
    """Load one of the public names (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
