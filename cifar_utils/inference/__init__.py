"""Any picture in, class probabilities out; without TensorFlow.

`Classifier` and `load_pretrained` are loaded when first used.
"""

import importlib

_HOMES = {
    "Classifier": "cifar_utils.inference.classifier",
    "Prediction": "cifar_utils.inference.classifier",
    "load_pretrained": "cifar_utils.inference.pretrained",
}
__all__ = ["Classifier", "Prediction", "load_pretrained"]


def __getattr__(name):
    """Load one of the public names (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
