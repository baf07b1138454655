"""The lists of dependencies agree: pyproject.toml, environment.yml, the files of constraints."""

import contextlib
import importlib.metadata
import os
import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement

from cifar_utils.paths import project_root

ROOT = project_root()


def read_pyproject():
    """Return every requirement of the package and its extras, by name.

    All but JAX's, which is another backend: it gets an environment of its own.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [lines for name, lines in project["optional-dependencies"].items() if name != "jax"]
    lines = project["dependencies"] + [line for extra in extras for line in extra]
    return {Requirement(line).name: Requirement(line) for line in lines}


def read_constraints(name="constraints.txt"):
    """Return the pinned versions by name."""
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def read_environment():
    """Return the names in environment.yml's pip section."""
    pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]
    return [line for line in pip if not line.startswith("--")]


def test_every_requirement_is_pinned_to_a_version_it_accepts():
    pins = read_constraints()
    for name, requirement in read_pyproject().items():
        assert name in pins, f"{name} is not in constraints.txt"
        assert requirement.specifier.contains(pins[name]), f"{name} {pins[name]}"


def test_jax_is_pinned_to_a_version_that_its_extra_accepts():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    pins, (line,) = read_constraints(), extras["jax"]
    assert Requirement(line).specifier.contains(pins["jax"])
    assert pins["jaxlib"] == pins["jax"]


def test_the_oldest_environment_has_the_oldest_versions_that_are_supported():
    pins = read_constraints("constraints-oldest.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, project["dependencies"]):
        (bound,) = (part.version for part in requirement.specifier if part.operator == ">=")
        oldest = pins[requirement.name]
        assert requirement.specifier.contains(oldest), f"{requirement}, but {oldest} is tested"
        assert f"{oldest}.".startswith(f"{bound}."), f"{requirement}, but {oldest} is tested"


def test_colab_has_what_it_brings_and_what_it_lacks_is_pinned_too():
    pins = read_constraints("constraints-colab.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, project["dependencies"]):
        assert requirement.specifier.contains(pins[requirement.name]), f"{requirement}"


@pytest.mark.skipif("CIFAR_CONSTRAINTS" not in os.environ, reason="make test-colab sets it")
def test_this_environment_holds_the_pinned_versions():
    pins = read_constraints(os.environ["CIFAR_CONSTRAINTS"])
    for name, pinned in pins.items():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            assert importlib.metadata.version(name) == pinned, name


def test_constraints_hold_names_and_versions_only():
    for path in ROOT.glob("constraints*.txt"):
        pins = read_constraints(path.name)
        for name, version in pins.items():
            assert re.fullmatch(r"[a-z0-9.-]+", name), name
            assert re.fullmatch(r"[A-Za-z0-9.+]+", version), version
        assert pins["tensorflow"] == pins["tensorflow-cpu"]


def test_environment_lists_the_requirements_and_tensorflow():
    assert set(read_environment()) == set(read_pyproject()) | {"tensorflow"}
    assert not {"tensorflow", "tensorflow-cpu", "jax"} & set(read_pyproject())  # the user's choice
