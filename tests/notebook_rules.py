"""What every committed notebook must be: a checker that says in words which rules one breaks."""

import ast
import re
from pathlib import Path

import nbformat
from papermill.translators import PythonTranslator

from cifar_utils.apps.notebooks import SETUP_METADATA, SOLUTION, read_address, render_setup
from cifar_utils.errors import ParameterError
from cifar_utils.runs.parameters import PARAMETERS, check_parameter
from cifar_utils.runs.recipes import RECIPE_FIELDS, RECIPES
from cifar_utils.runs.run import NOTEBOOKS

LARGEST_BYTES = 1_000_000
CHECK_TAG = "nbval-check-output"
DEFAULTS = {"run_name": "", "dataset": "auto", "recipe": "quick", "seed": 0}
TIMING_KEYS = {"papermill", "execution", "ExecuteTime", "widgets"}
WIDGET_TYPE = "application/vnd.jupyter.widget-view+json"
# A path from the root of a disk; not a URL, not a closing HTML tag, not "loss / accuracy".
ABSOLUTE_PATH = re.compile(r"(?<![\w/.<~])/[A-Za-z_][\w.-]*/[\w.-]+|\b[A-Z]:\\+\w+")
MACHINERY = re.compile(r"\b(find_spec|glob|hashlib|sha256|sys\.path)\b")
EMBEDDED = re.compile(r"base64,[A-Za-z0-9+/=\s]+")


def check_notebook(notebook, name=None):
    """List the rules that a notebook breaks, as sentences; `notebook` is a path or is read."""
    if isinstance(notebook, str | Path):
        name = Path(notebook).stem
        notebook = nbformat.read(notebook, as_version=4)
    rules = (
        _check_file,
        _check_links,
        _check_setup,
        _check_parameters,
        _check_code,
        _check_execution,
        _check_outputs,
        _check_figures,
        _check_exercises,
    )
    return [problem for rule in rules for problem in rule(notebook, name)]


def _code_cells(notebook):
    """Yield `(index, cell)` of the code cells."""
    return [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]


def _markdown(notebook):
    """Return all prose: markdown cells, and markdown that code cells rendered."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    for _, cell in _code_cells(notebook):
        texts += [output.get("data", {}).get("text/markdown", "") for output in cell.outputs]
    return "\n".join(texts)


def _check_file(notebook, name):
    size = len(nbformat.writes(notebook).encode())
    if size >= LARGEST_BYTES:
        yield f"It has {size:,} bytes; at most {LARGEST_BYTES:,}."
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "Its kernelspec is not python3."
    for key in sorted(TIMING_KEYS & set(notebook.metadata)):
        yield f"Its metadata holds {key!r}."
    for i, cell in enumerate(notebook.cells):
        for key in sorted(TIMING_KEYS & set(cell.metadata)):
            yield f"Cell {i}: its metadata holds {key!r}."


def _check_links(notebook, name):
    place, prose = NOTEBOOKS.index(name), _markdown(notebook)
    for step, word in ((-1, "previous"), (1, "next")):
        if 0 <= place + step < len(NOTEBOOKS):
            target = f"{NOTEBOOKS[place + step]}.ipynb"
            if f"]({target})" not in prose and f'href="{target}"' not in prose:
                yield f"It does not link the {word} notebook, {target}."


def _check_setup(notebook, name):
    second = (*notebook.cells, *[nbformat.v4.new_raw_cell()] * 2)[1]
    if second.cell_type != "code" or second.source != render_setup(read_address()):
        yield "The second cell is not the set-up cell that `make links` writes."
    if any(second.metadata.get(key) != value for key, value in SETUP_METADATA.items()):
        yield "The set-up cell is not folded away in Colab and Jupyter."


def _check_parameters(notebook, name):
    tagged = [
        cell for _, cell in _code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])
    ]
    if len(tagged) != 1:
        yield f"{len(tagged)} code cells are tagged 'parameters', not one."
        return
    read = {parameter.name: parameter for parameter in PythonTranslator.inspect(tagged[0])}
    for line in tagged[0].source.splitlines():
        written = re.match(r"(\w+): (\w+) = (.+?)  # (\S.*)$", line)
        if not written:
            yield f"Parameter line {line!r} is not `name: type = literal  # help`."
            continue
        seen = read.get(written[1])
        if seen is None or tuple(seen[1:]) != written.groups()[1:]:
            yield f"papermill reads {seen} from the parameter line {line!r}."
        yield from _check_parameter(*written.groups())


def _check_parameter(name, type_name, literal, text):
    """Compare one parameter line with the package's table and the recipes."""
    if name not in PARAMETERS:
        yield f"There is no parameter {name!r} in cifar_utils.runs.parameters."
        return
    if type_name != PARAMETERS[name].type.__name__:
        yield f"Parameter {name}: its type is {PARAMETERS[name].type.__name__}, not {type_name}."
    try:
        default = ast.literal_eval(literal)
        valid = default is None or type(check_parameter(name, default)) is type(default)
    except (ValueError, SyntaxError, ParameterError):
        default, valid = ..., False
    if not valid:
        yield f"Parameter {name}: the default {literal} is not a valid literal for it."
    expected = PARAMETERS[name].help
    if name in RECIPE_FIELDS:
        values = {recipe.name: getattr(recipe, name) for recipe in RECIPES.values()}
        if default is None:
            listed = ", ".join(f"{recipe} {value}" for recipe, value in values.items())
            expected += f" ({listed})"
        elif {default} != set(values.values()):
            yield f"Parameter {name}: {literal} overrides a recipe; its default must be None."
    elif default is None or DEFAULTS.get(name, default) != default:
        yield f"Parameter {name}: its default is {DEFAULTS.get(name, '')!r}, not {literal}."
    if text != expected:
        yield f"Parameter {name}: its help is {text!r}, not {expected!r}."


def _check_code(notebook, name):
    for i, cell in _code_cells(notebook):
        if cell.source == render_setup(read_address()):
            continue
        if re.search(r"^\s*[!%]\s*pip", cell.source, re.MULTILINE):
            yield f"Cell {i}: pip outside the set-up cell."
        for found in (MACHINERY.search(cell.source), ABSOLUTE_PATH.search(cell.source)):
            if found:
                yield f"Cell {i}: {found[0]} belongs into the package."


def _check_execution(notebook, name):
    counts = [cell.execution_count for _, cell in _code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"Not executed in order: execution counts {counts}."
    checked = [(i, c) for i, c in _code_cells(notebook) if CHECK_TAG in c.metadata.get("tags", [])]
    if len(checked) < 2:
        yield f"{len(checked)} cells are tagged {CHECK_TAG}; at least 2."
    for i, cell in checked:
        if not cell.outputs:
            yield f"Cell {i}: tagged {CHECK_TAG}, but without an output to compare."


def _check_outputs(notebook, name):
    for i, cell in _code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"Cell {i}: ended in {output.ename}."
            if output.get("name") == "stderr":
                yield f"Cell {i}: wrote to stderr: {output.text.strip()[:80]!r}."
            data = output.get("data", {})
            if WIDGET_TYPE in data:
                yield f"Cell {i}: its output holds a widget, which shows nothing when saved."
            texts = [text for kind, text in data.items() if not kind.startswith("image/p")]
            for text in (output.get("text", ""), *texts):
                found = ABSOLUTE_PATH.search(EMBEDDED.sub("", str(text)))
                if found:
                    yield f"Cell {i}: its output holds a machine's path: {found[0]}."


def _check_figures(notebook, name):
    for i, cell in _code_cells(notebook):
        for output in cell.outputs:
            kind = output.get("metadata", {}).get("image/png", {})
            if "image/png" in output.get("data", {}) and not kind.get("alt", "").strip():
                yield f"Cell {i}: a figure without a text alternative (metadata alt)."


def _check_exercises(notebook, name):
    solutions = len(SOLUTION.findall(_markdown(notebook)))
    if not 3 <= solutions <= 5:
        yield f"{solutions} folded solutions, not 3 to 5."
