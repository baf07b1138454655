"""Helpers of the CIFAR-10 notebooks. `docs/api.md` lists what is meant to be imported.

Importing this package imports nothing else; the names below are loaded when first used.
"""

import importlib
import importlib.abc
import importlib.util
import sys
import warnings

__version__ = "0.8.0"

_HOMES = {
    "Classifier": "cifar_utils.inference.classifier",
    "load_dataset": "cifar_utils.data",
    "load_pretrained": "cifar_utils.inference.pretrained",
    "show_classifier": "cifar_utils.apps.widget.panel",
}
__all__ = ["Classifier", "__version__", "load_dataset", "load_pretrained", "show_classifier"]
# Import paths that version 0.7.0's README named. They go on working for one version.
_MOVED = {
    "cifar_utils.widget": "cifar_utils.apps.widget.panel",
    "cifar_utils.pretrained": "cifar_utils.inference.pretrained",
    "cifar_utils.web": "cifar_utils.apps.web",
    "cifar_utils.web.app": "cifar_utils.apps.web.app",
}


def __getattr__(name):
    """Load one of the public names (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__():
    return sorted({*globals(), *_HOMES})


class _MovedFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers an import under an old name with the module at its new place."""

    def find_spec(self, fullname, path=None, target=None):
        return importlib.util.spec_from_loader(fullname, self) if fullname in _MOVED else None

    def create_module(self, spec):
        told = f"{spec.name} is now {_MOVED[spec.name]}; the old name goes with version 0.9."
        warnings.warn(told, DeprecationWarning, stacklevel=2)
        module = importlib.import_module(_MOVED[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module):
        # The import system wrote the spec that it asked for into the module; the real one again.
        module.__spec__ = module.__spec__.loader_state


# Before Python's own finders: below a package that has moved they would load a second copy.
sys.meta_path.insert(0, _MovedFinder())
