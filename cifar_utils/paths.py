"""Where things lie, and how to write a file so that a crash never leaves half of one."""

import contextlib
import json
import os
import shutil
import tempfile
import tomllib
from pathlib import Path

from cifar_utils.errors import CifarError

APP_NAME = "cifar-notebooks"


def expand_home(path):
    """Return a path with a leading `~/` replaced by the home folder.

    Nothing else that begins with a tilde: `~$letter.jpg` is what an editor leaves, not a person.
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
    """Return the folder of all runs; `CIFAR_RUNS_DIR` moves it."""
    moved = os.environ.get("CIFAR_RUNS_DIR")
    return Path(moved).expanduser().resolve() if moved else project_root() / "outputs" / "runs"


def cache_dir():
    """Return the user's cache folder for this project; `CIFAR_CACHE_DIR` moves it."""
    moved = os.environ.get("CIFAR_CACHE_DIR")
    if moved:
        return Path(moved).expanduser().resolve()
    import pooch

    return Path(pooch.os_cache(APP_NAME))


def relative_to_project(path):
    """Return `path` as text, relative to the project where it lies inside it."""
    path = Path(path)
    root = project_root()
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def check_free_space(folder, needed_bytes, purpose):
    """Refuse before the work starts if the disk cannot take its result.

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
    """Give a temporary name beside `path`, and rename it to `path` once the block succeeds.

    Args:
        path: The final file. Its folder is made if need be.

    Yields:
        A `Path` with the same suffix, unique to this process. If the block raises, it is removed
        and whatever was at `path` stays as it was.
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
