"""Helpers of the CIFAR-10 notebooks. `docs/api.md` lists what is meant to be imported.

Importing this package imports nothing else; the names below are loaded when first used.
"""

import importlib
import sys

from cifar_utils.moved import MovedFinder

__version__ = "0.8.0"

_HOMES = {
    "Classifier": "cifar_utils.inference.classifier",
    "load_dataset": "cifar_utils.data",
    "load_pretrained": "cifar_utils.inference.pretrained",
    "show_classifier": "cifar_utils.apps.widget.panel",
}
__all__ = ["Classifier", "__version__", "load_dataset", "load_pretrained", "show_classifier"]


def __getattr__(name):
    """Load one of the public names (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
    return sorted({*globals(), *_HOMES})


if not any(isinstance(finder, MovedFinder) for finder in sys.meta_path):
    # Before Python's own finders: below a package that has moved they would load a second copy.
    sys.meta_path.insert(0, MovedFinder())
