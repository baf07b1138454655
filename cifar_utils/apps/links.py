"""What every notebook has from one template: the set-up cell and the "Open in Colab" badge.

Both depend on the project's address, which pyproject.toml alone holds: `make links` writes them.
"""

import re

from cifar_utils.errors import CifarError
from cifar_utils.paths import notebooks_dir, read_project_table, write_text
from cifar_utils.runs.run import NOTEBOOKS

ADDRESS_KEY = "Repository"
BRANCH = "main"
BADGE = re.compile(r"\n*^\[!\[Open in Colab\].*$", re.MULTILINE)
# How the set-up cell is found: no other cell asks for the package before importing it.
SETUP_MARK = 'find_spec("cifar_utils")'
# Only pip can run before the package is there. It installs the package alone; `set_up_colab` then
# adds what Colab lacks, under constraints. IPython reads the text in braces as an expression.
SETUP_CELL = """\
import sys
from glob import glob
from importlib.util import find_spec

{sources} glob("/content/cifar-notebooks") + sorted(glob("/content/cifar_notebooks-*-any.whl"))
if "google.colab" in sys.modules and sources and not find_spec("cifar_utils"):
    %pip install --quiet --no-deps {{sources[-1]}}
if not find_spec("cifar_utils"):
    raise SystemExit(
{message}
    )
from cifar_utils.apps.colab import set_up_colab

set_up_colab()  # adds what Colab lacks; does nothing elsewhere
"""
WITHOUT_ADDRESS = """\
        "cifar_utils is missing: start `make lab`; or, in Colab, upload a wheel (`make wheel`),"
        " clone to /content/cifar-notebooks, or set an address in pyproject.toml and `make links`."\
"""
WITH_ADDRESS = """\
        "cifar_utils is missing: start `make lab`; or, in Colab, read above what pip says."\
"""


def read_address():
    """Read the project's address from pyproject.toml.

    Returns:
        `https://github.com/OWNER/NAME`, or "" while `[project.urls]` is empty.

    Raises:
        CifarError: If it is anything else: Colab opens notebooks from GitHub by owner and name.
    """
    urls = read_project_table().get("urls", {})
    if not urls:
        return ""
    found = re.fullmatch(
        r"(https://github\.com/[\w-]+/[\w.-]+?)(\.git)?/?", urls.get(ADDRESS_KEY, ""), re.ASCII
    )
    if not found:
        raise CifarError(
            f"[project.urls] in pyproject.toml holds {urls}; expected is one line, "
            f'{ADDRESS_KEY} = "https://github.com/OWNER/NAME", or none. Colab opens notebooks from '
            "GitHub only. Correct it, then run `make links` again."
        )
    return found[1]


def render_setup(address):
    """Return the source of the set-up cell, for an address or for none ("")."""
    first = f'sources = ["git+{address}"]  # the last that is there is taken\nsources +='
    return SETUP_CELL.format(
        sources=first if address else "sources =",
        message=WITH_ADDRESS if address else WITHOUT_ADDRESS,
    ).rstrip("\n")


def render_opening(source, stage, address):
    """Return the first cell's source with the badge for `address` as its end, or without one."""
    source = BADGE.sub("", source).rstrip()
    if not address:
        return source
    place = address.replace("https://github.com/", "github/")
    link = f"https://colab.research.google.com/{place}/blob/{BRANCH}/notebooks/{stage}.ipynb"
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"{source}\n\n[![Open in Colab]({image})]({link})"


def link_notebook(notebook, stage, address):
    """Write badge and set-up cell into a notebook.

    Args:
        notebook: An nbformat 4 notebook; changed in place.
        stage: Its name, one of `runs.NOTEBOOKS`.
        address: From `read_address`.

    Returns:
        The same notebook. Nothing else in it is touched.

    Raises:
        CifarError: If it has not exactly one set-up cell.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    setup = [cell for cell in code if SETUP_MARK in cell.source]
    if len(setup) != 1:
        raise CifarError(
            f"{stage}.ipynb has {len(setup)} code cells with {SETUP_MARK}; expected is one, the "
            "set-up cell. Restore the notebook from git, then run `make links` again."
        )
    setup[0].source = render_setup(address)
    notebook.cells[0].source = render_opening(notebook.cells[0].source, stage, address)
    return notebook


def write_links(check=False):
    """Bring badge and set-up cell of every notebook up to date with pyproject.toml.

    Args:
        check: Write nothing.

    Returns:
        The paths whose text changed, or would change.

    Raises:
        CifarError: If the address or a notebook is not what it should be; nothing was written.
    """
    import nbformat

    address = read_address()
    changed = {}
    for stage in NOTEBOOKS:
        path = notebooks_dir() / f"{stage}.ipynb"
        text = path.read_text(encoding="utf-8")
        notebook = link_notebook(nbformat.reads(text, as_version=4), stage, address)
        linked = nbformat.writes(notebook) + "\n"
        if linked != text:
            changed[path] = linked
    if not check:
        for path, linked in changed.items():
            write_text(path, linked)
    return list(changed)
