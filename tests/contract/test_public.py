"""What the public meets beside the README: versions agree, commands exist, nobody is named."""

import re

import pytest
import yaml

import cifar_utils
from cifar_utils.paths import project_root

ROOT = project_root()
AUTHORS = "the cifar-notebooks authors"


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_citation_names_the_project_its_version_and_no_person():
    citation = yaml.safe_load(read("CITATION.cff"))
    assert citation["version"] == cifar_utils.__version__
    assert citation["authors"] == [{"name": AUTHORS}]
    assert citation["license"] == "MIT"


def test_licence_is_mit_and_names_the_authors():
    licence = read("LICENSE")
    assert licence.startswith("MIT License")
    assert AUTHORS in licence


def test_the_changelog_begins_with_this_version():
    versions = re.findall(r"^## (\S+) \(\d{4}-\d\d-\d\d\)$", read("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == cifar_utils.__version__
    numbers = [tuple(map(int, version.split("."))) for version in versions]
    assert numbers == sorted(numbers, reverse=True)


def test_the_workflow_runs_the_readmes_own_test_command():
    jobs = yaml.safe_load(read(".github/workflows/test.yml"))["jobs"]
    steps = [step.get("run") for step in jobs["test"]["steps"] if "run" in step]
    assert steps == ["make test"]
    tested = jobs["test"]["strategy"]["matrix"]["python"]
    lowest, highest = re.search(
        r'requires-python = ">=3\.(\d+),<3\.(\d+)"', read("pyproject.toml")
    ).groups()
    assert tested == [f"3.{minor}" for minor in range(int(lowest), int(highest))]


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CHANGELOG.md", "outputs/README.md"])
def test_links_files_and_make_targets_exist(name):
    text = read(name)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target
    makefile = read("Makefile")
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for path in re.findall(r"`((?:tests|benchmarks|cifar_utils)/[\w/]+\.py)", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"python (benchmarks/\w+\.py)", text):
        assert (ROOT / path).exists(), path
