"""README and docs tell the truth: their links, commands and numbers."""

import re
import shlex

import pytest
import references
import results
from click.testing import CliRunner

from cifar_utils.apps.cli import main
from cifar_utils.paths import project_root
from cifar_utils.runs import PARAMETERS

ROOT = project_root()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}
CODE = "\n".join(
    block for text in TEXTS.values() for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
)
COMMANDS = sorted({line.partition("#")[0].strip() for line in CODE.splitlines() if line.strip()})


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_link_file_and_make_target_exists(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("http") or (path.parent / target).exists(), target
    for script in re.findall(r"python ((?:benchmarks|tools)/\w+\.py)", text):
        assert (ROOT / script).exists(), script
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


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
    source = (ROOT / shlex.split(command)[1]).read_text(encoding="utf-8")
    for name in re.findall(r"-p (\w+)", command):
        assert f'"{name}: ' in source, f"{command}: {name}"


def test_the_results_are_those_of_the_files():
    page = results.PAGE.read_text(encoding="utf-8")
    assert page == results.render(), "run `python tools/results.py`"
    # A number typed by hand would be noticed.
    assert page.replace("84.18 %", "84.19 %", 1) != page
    summary = (results.ROOT / "outputs/reference/summary.csv").read_text(encoding="utf-8")
    assert summary == references.summarise_references(), "run `python tools/references.py`"


def test_the_recipes_say_what_was_measured():
    text = results.RECIPES_FILE.read_text(encoding="utf-8")
    assert text == results.render_docstrings(text), "run `python tools/results.py`"
    forged = text.replace("    Measured: ", "    Measured: at least ")
    assert results.render_docstrings(forged) == text != forged
