"""The README tells the truth: its commands, links, parameters and numbers."""

import json
import re
import runpy
import shlex
import subprocess
from datetime import datetime

import pytest
from click.testing import CliRunner

from cifar_utils.apps.cli import main
from cifar_utils.paths import project_root
from cifar_utils.runs.parameters import PARAMETERS
from cifar_utils.runs.recipes import RECIPES
from cifar_utils.runs.run import STAGES

ROOT = project_root()
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
COMMANDS = [line.partition("#")[0].strip() for line in CODE.splitlines() if line.strip()]
TABLES = runpy.run_path(str(ROOT / "benchmarks" / "readme_tables.py"))
RECIPES_FILE = ROOT / "cifar_utils" / "recipes.py"
QUICK = ROOT / "outputs" / "reference" / "quick" / "seed-0"


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_make_target_exists():
    told = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True).stdout
    targets = set(re.findall(r"make ([a-z]+)", told))
    for target in re.findall(r"`?make ([a-z]+)", README):
        assert target in targets, f"make {target}"


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python -m")])
def test_every_command_parses(command):
    words = shlex.split(command)[3:]
    result = CliRunner().invoke(main, [words[0], "--help"])
    assert result.exit_code == 0
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"(^|\s){re.escape(option)}[\s,]", result.output), f"{command}: {option}"
    for name in re.findall(r"-p (\w+)", command):
        assert name in PARAMETERS


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("papermill")])
def test_every_papermill_command_names_a_notebook_and_its_parameters(command):
    words = shlex.split(command)
    source = (ROOT / words[1]).read_text(encoding="utf-8")
    for name in re.findall(r"-p (\w+)", command):
        assert f'"{name}: ' in source, f"{command}: {name}"


def test_every_parameter_is_listed_with_what_it_accepts():
    for name, parameter in PARAMETERS.items():
        assert f"| `{name}` | {parameter.describe()} | {parameter.help} |" in README


def test_tables_are_those_of_the_files():
    assert TABLES["render"](README) == README, "run `python benchmarks/readme_tables.py`"
    assert set(re.findall(r"<!-- table: (\w+) -->", README)) == set(TABLES["TABLES"])


def test_a_number_typed_by_hand_would_be_noticed():
    """A negative sample: one digit changed in one table."""
    table = re.search(r"<!-- table: results -->.*?<!-- end -->", README, re.DOTALL)[0]
    digit = re.search(r"\d\.\d\d%", table)[0]
    forged = README.replace(digit, digit[:-2] + str((int(digit[-2]) + 1) % 10) + "%")
    assert forged != README
    assert TABLES["render"](forged) != forged


def test_what_a_recipes_docstring_says_is_what_was_measured():
    text = RECIPES_FILE.read_text(encoding="utf-8")
    assert TABLES["render_docstrings"](text) == text, "run `python benchmarks/readme_tables.py`"
    for recipe in RECIPES.values():
        told = " ".join(type(recipe).__doc__.split())
        assert TABLES["describe_measured"](recipe.name) in told
        assert "python -m cifar_utils run" in told


def test_a_docstring_changed_by_hand_would_be_noticed():
    text = RECIPES_FILE.read_text(encoding="utf-8")
    forged = text.replace("    Measured: ", "    Measured: at least ")
    assert forged != text
    assert TABLES["render_docstrings"](forged) == text


def test_times_are_those_of_the_reference_run():
    info = json.loads((QUICK / "run.json").read_text())
    whole = datetime.fromisoformat(info["end"]) - datetime.fromisoformat(info["start"])
    rest = whole.total_seconds() - info["seconds"]["training"]
    assert f"installation and training takes about {rest:.0f} s" in README
    for stage in STAGES:
        row = next(line for line in README.splitlines() if line.startswith(f"| [{stage}]"))
        seconds = info["seconds"][stage]
        assert row.endswith(f"| {seconds:.0f} s |" if seconds >= 0.5 else "| under a second |")


def test_the_tree_names_every_module():
    tree = re.search(r"```text\nnotebooks/.*?```", README, re.DOTALL)[0]
    named = set(re.findall(r"[a-z_]+(?=[/, \n])", tree))
    for path in (ROOT / "cifar_utils").rglob("*.py"):
        if not path.stem.startswith("__"):
            assert path.stem in named, f"{path.stem} is not in the README's tree"
    for folder in ("data", "front", "plots", "samples", "web"):
        assert f"{folder}/" in tree


def test_the_tree_names_nothing_that_is_not_there():
    tree = re.search(r"```text\nnotebooks/.*?```", README, re.DOTALL)[0]
    modules = {path.stem for path in (ROOT / "cifar_utils").rglob("*.py")}
    for line in tree.splitlines():
        if line.startswith("  "):
            for name in re.findall(r"[a-z_]+", re.split(r"\s{2,}", line.strip())[0]):
                assert name in modules | {"data", "front", "plots", "weights", "samples", "web"}, (
                    name
                )
