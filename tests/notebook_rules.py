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
LONGEST_CELL = 20  # lines of code
LONGEST_TEXT = 120  # words of a markdown cell
FEWEST_CHECKED = 2
FEWEST_SOLUTIONS, MOST_SOLUTIONS = 3, 5
FEWEST_QUESTIONS, MOST_QUESTIONS = 5, 10
CHECK_TAG = "nbval-check-output"
DEFAULTS = {"run_name": "", "dataset": "auto", "recipe": "quick", "seed": 0}
TIMING_KEYS = {"papermill", "execution", "ExecuteTime", "widgets"}
WIDGET_TYPE = "application/vnd.jupyter.widget-view+json"
# A path from the root of a disk; not a URL, not a closing HTML tag, not "loss / accuracy".
ABSOLUTE_PATH = re.compile(r"(?<![\w/.<~])/[A-Za-z_][\w.-]*/[\w.-]+|\b[A-Z]:\\+\w+")
MACHINERY = re.compile(r"\b(find_spec|glob|hashlib|sha256|sys\.path)\b")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LISTS = ("## Exercises", "## Questions")  # may be longer than a text
EMBEDDED = re.compile(r"base64,[A-Za-z0-9+/=\s]+")


def check_notebook(notebook, name=None):
    """List the rules that a notebook breaks, as sentences; `notebook` is a path or is read."""
    if isinstance(notebook, str | Path):
        name = Path(notebook).stem
        notebook = nbformat.read(notebook, as_version=4)
    rules = (
        _check_file,
        _check_opening,
        _check_links,
        _check_setup,
        _check_parameters,
        _check_code,
        _check_prose,
        _check_execution,
        _check_outputs,
        _check_figures,
        _check_exercises,
        _check_end,
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


def _check_opening(notebook, name):
    first = (*notebook.cells, nbformat.v4.new_raw_cell())[0]
    if first.cell_type != "markdown" or not re.match(rf"# {int(name[:2])} · \S", first.source):
        yield f"The first cell is not markdown that begins with '# {int(name[:2])} · Title'."
    if not re.search(r"\byou (can|will be able to)\b", first.source, re.IGNORECASE):
        yield "The first cell does not say what 'you will be able to' do."
    if not re.search(r"\d+ (s|min)\w*\b.*\b2 CPU cores", first.source):
        yield "The first cell does not say how long it takes on 2 CPU cores."


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
        lines = cell.source.splitlines()
        if len(lines) > LONGEST_CELL:
            yield f"Cell {i}: {len(lines)} lines of code, at most {LONGEST_CELL}."
        plain = re.sub(r"^(\s*)[!%].*$", r"\1pass", cell.source, flags=re.MULTILINE)
        try:
            ast.parse(plain)
        except SyntaxError as error:
            yield f"Cell {i}: not Python ({error.msg})."
        if cell.source == render_setup(read_address()):
            continue
        if re.search(r"^\s*%matplotlib", cell.source, re.MULTILINE):
            yield f"Cell {i}: %matplotlib."
        if re.search(r"^\s*[!%]\s*pip", cell.source, re.MULTILINE):
            yield f"Cell {i}: pip outside the set-up cell."
        for found in (MACHINERY.search(cell.source), ABSOLUTE_PATH.search(cell.source)):
            if found:
                yield f"Cell {i}: {found[0]} belongs into the package."


def _check_prose(notebook, name):
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and not cell.source.startswith(LISTS):
            words = len(FENCE.sub("", SOLUTION.sub("", cell.source)).split())
            if words > LONGEST_TEXT:
                yield f"Cell {i}: {words} words, at most {LONGEST_TEXT}."
    if not re.search(r"\b(predict|guess)", _markdown(notebook), re.IGNORECASE):
        yield "It never asks the reader to predict a result."


def _check_execution(notebook, name):
    counts = [cell.execution_count for _, cell in _code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"Not executed in order: execution counts {counts}."
    checked = [(i, c) for i, c in _code_cells(notebook) if CHECK_TAG in c.metadata.get("tags", [])]
    if len(checked) < FEWEST_CHECKED:
        yield f"{len(checked)} cells are tagged {CHECK_TAG}; at least {FEWEST_CHECKED}."
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
    figures = [
        i
        for i, cell in _code_cells(notebook)
        if any("image/png" in output.get("data", {}) for output in cell.outputs)
    ]
    for i, end in zip(figures, [*figures, len(notebook.cells)][1:], strict=True):
        read = (c for c in notebook.cells[i + 1 : end] if c.cell_type == "markdown")
        # A cell that begins with a heading opens the next section.
        if not any(cell.source.strip() and not cell.source.startswith("#") for cell in read):
            yield f"Cell {i}: no markdown cell after its figure says what it shows."
        for output in notebook.cells[i].outputs:
            kind = output.get("metadata", {}).get("image/png", {})
            if "image/png" in output.get("data", {}) and not kind.get("alt", "").strip():
                yield f"Cell {i}: a figure without a text alternative (metadata alt)."


def _find_list(notebook, heading):
    """Return the source of the markdown cell that begins with a heading, or ""."""
    cells = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return next((source for source in cells if source.startswith(heading)), "")


def _check_exercises(notebook, name):
    solutions = len(SOLUTION.findall(_markdown(notebook)))
    if not re.search(r"^## Exercises\b", _markdown(notebook), re.MULTILINE):
        yield "It has no '## Exercises'."
    if not FEWEST_SOLUTIONS <= solutions <= MOST_SOLUTIONS:
        yield f"{solutions} folded solutions, not {FEWEST_SOLUTIONS} to {MOST_SOLUTIONS}."
    asked = len(re.findall(r"\?\s*$", _find_list(notebook, "## Questions"), re.MULTILINE))
    if not FEWEST_QUESTIONS <= asked <= MOST_QUESTIONS:
        yield f"'## Questions' has {asked}, not {FEWEST_QUESTIONS} to {MOST_QUESTIONS}."


def _check_end(notebook, name):
    last = [cell for _, cell in _code_cells(notebook)][-1:]
    if not re.search(r"^## Summary\b", _markdown(nbformat.v4.new_notebook(cells=last)), re.M):
        yield "Its last code cell does not show a '## Summary'."
