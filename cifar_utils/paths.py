"""Environment variables, folders, and files that a crash never leaves half written."""

import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
import tomllib
from pathlib import Path

from cifar_utils.errors import CifarError, ParameterError
from cifar_utils.text import suggest

APP_NAME = "cifar-notebooks"
QUOTES = "\"'“”‘’"
_announced = set()  # temporary folders that the user has been told of


def read_variable(name, choices=None):
    """Read an environment variable. Every variable of this package is read here.

    Blanks and quotes around the value are removed: Jupyter's `%env NAME="value"` and Docker's
    `--env-file` keep them. Quotes are mentioned on stderr. The cleaned value is put back into the
    environment, for the libraries and the kernels that read the variable too.

    Args:
        name: The variable, such as "CIFAR10_PATH".
        choices: The only values accepted, in lower case, or None for any text.

    Returns:
        The value, in lower case if there are choices; "" if the variable is not set or empty.

    Raises:
        ParameterError: If the value is none of the choices; names the variable and the nearest.
    """
    given = os.environ.get(name, "")
    value = given.strip()
    while len(value) > 1 and value[0] in QUOTES and value[-1] in QUOTES:
        value = value[1:-1].strip()
    if value != given.strip():
        print(f"Note: {name} is {given}; the quotes were removed.", file=sys.stderr)
    if choices:
        value = value.lower()
    if choices and value and value not in choices:
        raise ParameterError(f"{name} is {given!r}. {suggest(value, choices)}")
    if value != given:
        os.environ[name] = value
    return value


def expand_home(path):
    """Return a path with a leading `~/` replaced by the home folder.

    No other name that begins with a tilde: `~$letter.jpg` is a file that an editor leaves.
    """
    path = Path(path)
    return Path(os.path.expanduser(path)) if path.parts[:1] == ("~",) else path


def project_root():
    """Find the folder that holds `notebooks/` and `outputs/`.

    Returns:
        The checkout if the package is installed from one in editable mode, else the nearest parent
        of the current folder with a `notebooks/` in it, else the current folder. Absolute.
    """
    here = Path.cwd()
    for folder in (Path(__file__).resolve().parent.parent, here, *here.parents):
        if (folder / "notebooks").is_dir():
            return folder
    return here


def notebooks_dir():
    """Return the folder of the numbered notebooks."""
    return project_root() / "notebooks"


def read_project_table():
    """Return the table `[project]` of the checkout's pyproject.toml.

    Raises:
        CifarError: If there is none here: the package was not imported from a checkout.
    """
    path = project_root() / "pyproject.toml"
    if not path.is_file():
        raise CifarError(f"There is no {path}. Run this in a checkout of the project.")
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]


def runs_dir():
    """Return the folder of all runs; `CIFAR_RUNS_DIR` moves it.

    In a read-only checkout it is a temporary folder, which is said on stderr.
    """
    return _choose_folder("CIFAR_RUNS_DIR", project_root() / "outputs" / "runs")


def cache_dir():
    """Return the user's cache folder for this project; `CIFAR_CACHE_DIR` moves it.

    Without a home folder that can be written it is a temporary folder, which is said on stderr.
    """
    import pooch

    try:
        folder = Path(pooch.os_cache(APP_NAME))
    except RuntimeError:  # no home folder is known
        folder = Path("~") / APP_NAME
    if not read_variable("CIFAR_CACHE_DIR") and os.access(folder / "arrays", os.R_OK | os.X_OK):
        return folder  # a filled cache is of use even where it cannot be written
    return _choose_folder("CIFAR_CACHE_DIR", folder)


def provide_home():
    """Set `HOME` to a temporary folder where there is no home folder that can be written.

    Containers often run under a user id that has none. Jupyter, IPython, Keras and matplotlib all
    write below the home folder, and the kernels that this process starts inherit the variable.
    """
    os.environ["HOME"] = str(_find_writable("HOME", expand_home("~")))


def _choose_folder(variable, folder):
    """Return the folder that a variable names, which need not exist, else a writable one."""
    moved = read_variable(variable)
    if not moved:
        return _find_writable(variable, folder)
    folder = expand_home(moved).resolve()
    if folder.is_file():
        raise ParameterError(f"{variable} is {moved!r}, which is a file. Set it to a folder.")
    return folder


def _find_writable(variable, folder):
    """Return a folder if it can be made and written, else a temporary one; says so on stderr."""
    # Without a home folder, "~" is left in the path as it is.
    existing = next((p for p in (folder, *folder.parents) if os.path.exists(p)), folder)
    if folder.is_absolute() and existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return folder
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    own = Path(tempfile.gettempdir()) / f"{APP_NAME}-{user}"
    with contextlib.suppress(FileExistsError):
        own.mkdir(mode=0o700)
    # Anybody may make a folder of this name there: only one that is ours alone is used.
    found = own.lstat()
    ours = not hasattr(os, "getuid") or (found.st_uid == user and not found.st_mode & 0o022)
    if not (stat.S_ISDIR(found.st_mode) and ours):
        raise CifarError(f"{own} belongs to somebody else. Set {variable} to a folder of your own.")
    fallback = own / variable.lower()
    fallback.mkdir(exist_ok=True)
    if fallback not in _announced:
        _announced.add(fallback)
        print(
            f"Note: {folder} cannot be written; {fallback} is used instead. Set {variable} to"
            " another folder to keep what is saved there.",
            file=sys.stderr,
        )
    return fallback


def relative_to_project(path):
    """Return `path` as text, relative to the project if it is inside it."""
    path = Path(path)
    root = project_root()
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def check_free_space(folder, needed_bytes, purpose):
    """Refuse, before the work starts, if its result does not fit on the disk.

    Args:
        folder: Where the files will be written; need not exist yet.
        needed_bytes: What they take, in bytes.
        purpose: What they are, for the message ("the array cache of CIFAR-10").

    Raises:
        CifarError: If less than `needed_bytes` is free.
    """
    folder = Path(folder).absolute()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise CifarError(
            f"{folder} has {free / 1e6:.0f} MB free, and {purpose} needs {needed_bytes / 1e6:.0f}"
            " MB. Free some space there, or move the folder (CIFAR_RUNS_DIR, CIFAR_CACHE_DIR)."
        )


@contextlib.contextmanager
def atomic_path(path):
    """Give a temporary name in the folder of `path`, and rename it once the block succeeds.

    Args:
        path: The final file. Its folder is made if need be.

    Yields:
        A `Path` with the same suffix, unique to this process. If the block raises, it is removed
        and the file at `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The final suffix is kept: Keras, NumPy and matplotlib choose the format by it.
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)  # it can only be read by setting it
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())  # or a power cut could keep the new name and lose the bytes
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Write UTF-8 text atomically and return the path."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path, value):
    """Write JSON atomically, readable by a person, and return the path."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
