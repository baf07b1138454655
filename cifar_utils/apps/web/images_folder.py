"""The folder `Images`: what is in it, read anew each time, and nothing but what is in it."""

import contextlib
import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from cifar_utils.apps.web.bounds import Gate
from cifar_utils.errors import ImageError
from cifar_utils.inference.images import MAX_BYTES
from cifar_utils.paths import write_text

SUFFIXES = (".jpeg", ".jpg", ".png")
NOTE_NAME = "README.txt"
NOTE = """Put pictures here (.jpeg, .jpg or .png): the page lists them when it is loaded again.

Folders inside of this one, links, and files whose names begin with a dot are left out.
"""


_reading = Gate(MAX_BYTES)  # bytes of pictures that are being looked at


class MissingError(ImageError):
    """The folder has no such picture."""


@dataclass(frozen=True)
class Listing:
    """What the folder holds at this moment.

    Attributes:
        names: The pictures' names, sorted without regard to case.
        problem: Why there is none, and what to do: a sentence or two; empty where there are some.
    """

    names: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True)
class Stored:
    """A picture of the folder: its bytes, and a text that changes whenever the file does."""

    data: bytes
    version: str


class ImagesFolder:
    """A folder of pictures. Only what its listing names can be read, so no path leads out of it.

    Args:
        path: The folder; it need not exist.
    """

    def __init__(self, path):
        self.path = Path(path).absolute()

    def make(self):
        """Make the folder with a note inside, where there is none.

        What stands in the way is told by `list`, at every request anew.
        """
        if not self.path.exists():
            try:
                self.path.mkdir(parents=True)
                write_text(self.path / NOTE_NAME, NOTE)
            except OSError:
                pass

    def list(self) -> Listing:
        """Read the folder."""
        again = "The page looks again whenever it is loaded."
        try:
            names = self._read_names()
        except FileNotFoundError:
            return Listing((), f"There is no folder {self.path}. Make one with pictures. {again}")
        except NotADirectoryError:
            return Listing((), f"{self.path} is a file, not a folder. Rename one of them. {again}")
        except OSError as error:
            reason = error.strerror or error
            return Listing(
                (), f"The folder {self.path} cannot be read ({reason}). Allow it. {again}"
            )
        if not names:
            return Listing(
                (),
                f"The folder {self.path} holds no picture ({', '.join(SUFFIXES)}) yet. Put some"
                f" there. {again}",
            )
        return Listing(tuple(sorted(names, key=lambda name: (name.casefold(), name))))

    def _read_names(self):
        """Return the names of the pictures in the folder, as the system gives them."""
        with os.scandir(self.path) as entries:
            return {entry.name for entry in entries if _is_wanted(entry)}

    def find_version(self, name) -> str:
        """Return a text that changes whenever a picture does, or nothing if it is gone."""
        try:
            return _version(os.stat(self.path / name, follow_symlinks=False))
        except (OSError, ValueError):
            return ""

    @contextlib.contextmanager
    def open(self, name):
        """Read one of the pictures, for the length of the block; others wait for the memory.

        Args:
            name: A name of the listing, exactly.

        Yields:
            A `Stored`.

        Raises:
            MissingError: If the folder has no such picture now.
            ImageError: If it cannot be read.
        """
        try:
            known = name in self._read_names()
        except OSError:
            known = False
        if not known:
            raise MissingError(
                f"The folder has no picture {name!r} (any more). Load the page again, and choose "
                "one that it shows."
            )
        with contextlib.ExitStack() as stack:
            try:
                file, status = _open_file(self.path / name)
                stack.enter_context(file)
                stack.enter_context(_reading.hold(status.st_size))
                # One byte more than is allowed: enough to tell that it is too large.
                stored = Stored(file.read(MAX_BYTES + 1), _version(status))
            except OSError as error:
                reason = error.strerror or error
                raise ImageError(
                    f"{name} cannot be read ({reason}). Check the file's permissions."
                ) from error
            yield stored


def _open_file(path):
    """Open a regular file that is no link, also if it became one a moment ago."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    file = os.fdopen(handle, "rb")
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        file.close()
        raise ImageError(f"{path.name} is no file that can be read. Choose another.")
    return file, status


def _is_wanted(entry):
    """Return whether an entry of the folder is a picture by its name, a file, and no link."""
    name = entry.name
    if name.startswith(".") or not name.lower().endswith(SUFFIXES):
        return False
    # A form sends such names back changed, or cannot send them at all: control characters, and
    # bytes that are no Unicode.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return False
    return entry.is_file(follow_symlinks=False)


def _version(status):
    """Make a short text of a file's time and size."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"
