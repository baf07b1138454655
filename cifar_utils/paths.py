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
    given = os.environ.get(name)
    if given is None:
        return ""
    value = given.strip()
    while len(value) > 1 and value[0] in QUOTES and value[-1] in QUOTES:
        value = value[1:-1].strip()
    if choices:
        value = value.lower()
    if value != given.strip() and value.lower() != given.strip().lower():
        print(f"Note: {name} is {given}; the quotes were removed.", file=sys.stderr)
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
    if path.parts[:1] != ("~",):
        return path
    try:
        return path.expanduser()
    except RuntimeError:  # no home folder is known
        return path


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
    moved = read_variable("CIFAR_RUNS_DIR")
    if moved:
        return _check_folder(moved, "CIFAR_RUNS_DIR")
    folder = project_root() / "outputs" / "runs"
    return _or_temporary(folder, "runs", "CIFAR_RUNS_DIR")


def cache_dir():
    """Return the user's cache folder for this project; `CIFAR_CACHE_DIR` moves it.

    Without a home folder that can be written it is a temporary folder, which is said on stderr.
    """
    moved = read_variable("CIFAR_CACHE_DIR")
    if moved:
        return _check_folder(moved, "CIFAR_CACHE_DIR")
    import pooch

    try:
        folder = Path(pooch.os_cache(APP_NAME))
    except RuntimeError:  # no home folder is known
        folder = Path("~/.cache") / APP_NAME
    if (folder / "arrays").is_dir() and os.access(folder / "arrays", os.R_OK | os.X_OK):
        return folder  # a filled cache is of use even where it cannot be written
    return _or_temporary(folder, "cache", "CIFAR_CACHE_DIR")


def provide_home():
    """Set `HOME` to a temporary folder where there is no home folder that can be written.

    Containers often run under a user id that has none. Jupyter, IPython, Keras and matplotlib all
    write below the home folder, and the kernels that this process starts inherit the variable.
    """
    if not _is_writable(Path(os.path.expanduser("~"))):
        os.environ["HOME"] = str(_temporary_folder() / "home")
        Path(os.environ["HOME"]).mkdir(exist_ok=True)


def _check_folder(path, variable):
    """Return the absolute path of a folder that a variable names; it need not exist yet."""
    folder = expand_home(path).resolve()
    if folder.exists() and not folder.is_dir():
        raise ParameterError(f"{variable} is {path!r}, which is a file. Set it to a folder.")
    return folder


def _or_temporary(folder, purpose, variable):
    """Return a folder, or one below the system's temporary folder if it cannot be written."""
    if _is_writable(folder):
        return folder
    fallback = _temporary_folder() / purpose
    if fallback not in _announced:
        _announced.add(fallback)
        print(
            f"Note: {folder} cannot be written; {fallback} is used instead. Set {variable} to"
            " another folder to keep what is saved there.",
            file=sys.stderr,
        )
    return fallback


_announced = set()


def _is_writable(folder):
    """Return whether a folder, which need not exist yet, can be made and written."""
    # Without a home folder, "~" is left in the path as it is.
    if not folder.is_absolute():
        return False
    try:
        existing = next(p for p in (folder, *folder.parents) if p.exists())
    except OSError:  # a parent that may not even be looked into
        return False
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _temporary_folder():
    """Return this user's own folder below the system's temporary folder."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    folder = Path(tempfile.gettempdir()) / f"{APP_NAME}-{user}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    # Anybody may make a folder of this name there: only one that is ours alone is used.
    found = folder.lstat()
    ours = not hasattr(os, "getuid") or (found.st_uid == user and not found.st_mode & 0o022)
    if stat.S_ISDIR(found.st_mode) and ours:
        return folder
    raise CifarError(
        f"{folder} belongs to somebody else. Set CIFAR_CACHE_DIR and CIFAR_RUNS_DIR to folders of"
        " your own."
    )


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
        os.chmod(temporary, 0o666 & ~_umask())
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())  # or a power cut could keep the new name and lose the bytes
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask():
    """Return the process's umask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path, text):
    """Write UTF-8 text atomically and return the path."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path, value):
    """Write JSON atomically, readable by a person, and return the path."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
