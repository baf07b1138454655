"""Writes docs/api.md: what notebooks and users import, one line of purpose each.

`python tools/api_page.py`. The names come from the notebooks and from the surface below, the
purposes from the docstrings. Nothing is imported: the sources are parsed.
"""

import ast
import json
import re

from cifar_utils.paths import project_root, write_text

ROOT = project_root()
PAGE = ROOT / "docs" / "api.md"
TOP = {
    "Classifier": "cifar_utils.inference",
    "load_dataset": "cifar_utils.data",
    "load_pretrained": "cifar_utils.inference",
    "show_classifier": "cifar_utils.apps.widget.panel",
}
FOR_USERS = {  # besides what notebooks import
    "cifar_utils.inference": ("Classifier", "Prediction", "load_pretrained"),
    "cifar_utils.data": ("Dataset", "load_dataset", "load_local_dataset", "CLASS_NAMES"),
    "cifar_utils.apps.web.app": ("create_app",),
    "cifar_utils.errors": (
        "CifarError",
        "DataError",
        "ImageError",
        "ModelError",
        "ParameterError",
        "RunError",
    ),
}
INTRODUCTION = """\
# What is meant to be imported

What notebooks and users import, with one line of purpose each. Everything that is not listed may
change without notice. Importing `cifar_utils` loads nothing else; the names at its top are loaded
when they are first used. This page is written by `python tools/api_page.py` from the docstrings.
"""


def render_page() -> str:
    """Return the text of the page."""
    surface = {module: set(names) for module, names in FOR_USERS.items()}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for module, name in find_imports(read_code(path)):
            # The package's own names are those of `TOP`, and a module has its own section.
            if module != "cifar_utils" and not find_source(f"{module}.{name}"):
                surface.setdefault(module, set()).add(name)
    parts = [INTRODUCTION, _render_table("cifar_utils", TOP)]
    for module in sorted(surface):
        parts.append(_render_table(module, dict.fromkeys(sorted(surface[module]), module)))
    return "\n".join(parts)


def _render_table(module, homes):
    """Return the section of one module, from a dict of its names and where each is defined."""
    rows = [f"| `{name}` | {find_purpose(home, name)} |" for name, home in homes.items()]
    return "\n".join([f"## {module}\n", "| name | purpose |", "|---|---|", *rows, ""])


def read_code(path) -> ast.Module:
    """Parse all code cells of a notebook; lines that only IPython understands become `pass`."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", "\n".join(code), flags=re.MULTILINE))


def find_imports(tree):
    """Yield `(module, name)` for all that code takes from the package.

    Of a module that is imported whole, such as `plots`, these are the attributes that are used.
    """
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cifar_utils"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if find_source(whole):
                    modules[alias.asname or alias.name] = whole
                elif (node.module, alias.name) != ("cifar_utils.backend", "keras"):
                    yield node.module, alias.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in modules:
                yield modules[node.value.id], node.attr


def find_source(module):
    """Return the file of a module or package, or None if there is no such module."""
    base = ROOT.joinpath(*module.split("."))
    files = (base.with_suffix(".py"), base / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def find_purpose(module, name) -> str:
    """Return the first sentence of a name's docstring, or of the comment above a constant.

    Raises:
        LookupError: If the module has no such name.
    """
    source = find_source(module)
    # A room's face loads its names when they are first used: they are in one of its modules.
    files = sorted(source.parent.glob("*.py")) if source.name == "__init__.py" else []
    for file in (source, *files):
        purpose = _read_purpose(file.read_text(encoding="utf-8"), name)
        if purpose:
            return purpose
    raise LookupError(f"{module} has no {name}.")


def _read_purpose(text, name):
    """Return the purpose of a name that a source defines or imports; None if it does neither."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return find_purpose(node.module, name)
        if isinstance(node, ast.Assign):
            leaves = [leaf for target in node.targets for leaf in ast.walk(target)]
            if name in {leaf.id for leaf in leaves if isinstance(leaf, ast.Name)}:
                above = text.splitlines()[node.lineno - 2]
                return above.removeprefix("# ") if above.startswith("# ") else "A constant."
    return None


if __name__ == "__main__":
    print(f"wrote {write_text(PAGE, render_page()).relative_to(ROOT)}")
