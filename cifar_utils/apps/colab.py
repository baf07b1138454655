"""Makes Colab ready without replacing what it brings: called by each notebook's set-up cell.

At that point the package is there, but not all that it requires: this module uses the standard
library and packaging, which Keras and matplotlib bring.
"""

import importlib
import importlib.metadata
import subprocess
import sys

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cifar_utils.errors import CifarError
from cifar_utils.paths import APP_NAME, read_project_table

# Colab's builds of these fit its GPUs, its kernel and its widget front end, and each other.
KEPT = ("tensorflow", "keras", "numpy", "protobuf", "ipywidgets")
SHOWN_LINES = 15  # of what pip says last
# Distributions that moved under a running kernel: {name: (old, new)}. A restart empties it.
_moved = {}


def set_up_colab():
    """Install what the package requires and Colab lacks. Does nothing outside of Colab.

    Raises:
        SystemExit: If an imported package moved to another version, at each call until a restart.
        CifarError: If Colab's own versions are too old, or pip failed.
    """
    if "google.colab" not in sys.modules:
        return
    before = _list_versions()
    if missing := find_missing(before):
        print(f"Installing {', '.join(map(str, missing))} …")
        _install(missing, {name: before[name] for name in KEPT if name in before})
        _moved.update(find_moved(before, _list_versions()))
    if _moved:
        moves = ", ".join(f"{name} {old} to {new}" for name, (old, new) in _moved.items())
        raise SystemExit(
            f"Restart now: Runtime > Restart session, then run this cell again. Already imported, "
            f"but moved to another version: {moves}."
        )


def find_missing(versions):
    """Return the package's requirements that `versions` (by canonical name) do not meet."""
    try:
        lines = importlib.metadata.requires(APP_NAME) or []
    except importlib.metadata.PackageNotFoundError:  # imported from a clone, the current folder
        lines = read_project_table()["dependencies"]
    missing = []
    for requirement in map(Requirement, lines):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        there = versions.get(name)
        if there and requirement.specifier.contains(there, prereleases=True):
            continue
        if there and name in KEPT:
            raise CifarError(
                f"This Colab has {name} {there}, and cifar_utils needs {requirement}. "
                "Choose the latest version under Runtime > Change runtime type."
            )
        missing.append(requirement)
    return missing


def find_moved(before, after):
    """Return `{name: (old, new)}` of what moved between two `{name: version}`, and is imported."""
    return {
        name: (before[name], after[name])
        for name in before.keys() & after.keys()
        if before[name] != after[name] and _is_imported(name)
    }


def _list_versions():
    """Return the installed versions by canonical name; the first on `sys.path` counts."""
    importlib.invalidate_caches()
    versions = {}
    for distribution in importlib.metadata.distributions():
        if distribution.name:  # None where an interrupted installation left an empty folder
            versions.setdefault(canonicalize_name(distribution.name), distribution.version)
    return versions


def _is_imported(name):
    """Return whether a module of this distribution is in use."""
    # By its files, since a namespace such as `google` has many distributions.
    for path in importlib.metadata.files(name) or ():
        if path.suffix in (".py", ".so"):
            module = ".".join([*path.parts[:-1], path.name.partition(".")[0]])
            if module.removesuffix(".__init__") in sys.modules:
                return True
    return False


def _install(requirements, kept):
    """Let pip install, with the versions `kept` required as they are."""
    wanted, pins = map(str, requirements), [f"{name}=={kept[name]}" for name in kept]
    command = [sys.executable, "-m", "pip", "install", *wanted, *pins]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        # Not --quiet: that would hold back which requirements are at odds with each other.
        reason = "\n".join(done.stdout.strip().splitlines()[-SHOWN_LINES:])
        raise CifarError(
            f"pip could not install {', '.join(map(str, requirements))}:\n{reason}\n"
            "Run this cell again; if it says the same, try Runtime > Disconnect and delete runtime."
        )
