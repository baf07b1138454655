"""Import paths that version 0.7.0's README named. They go on working for one version."""

import importlib
import importlib.abc
import importlib.util
import warnings

MOVED = {
    "cifar_utils.widget": "cifar_utils.apps.widget.panel",
    "cifar_utils.pretrained": "cifar_utils.inference.pretrained",
    "cifar_utils.web": "cifar_utils.apps.web",
    "cifar_utils.web.app": "cifar_utils.apps.web.app",
}


class MovedFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers an import under an old name with the module at its new place."""

    def find_spec(self, fullname, path=None, target=None):
        """Return a spec for an old name, or None: then Python says that there is no such module."""
        if fullname not in MOVED:
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def create_module(self, spec):
        """Return the module at its new place, and say where that is."""
        new = MOVED[spec.name]
        warnings.warn(
            f"{spec.name} is now {new}; the old name goes with version 0.9.",
            DeprecationWarning,
            stacklevel=2,
        )
        module = importlib.import_module(new)
        # The import system writes the spec that it asked for into the module; keep the real one.
        self._spec = module.__spec__
        return module

    def exec_module(self, module):
        """Do nothing: the module has been loaded under its new name."""
        module.__spec__ = self._spec
