"""The folder `Images`: what is in it, read anew each time, and nothing but what is in it."""

import os
import stat
import unicodedata
from pathlib import Path

from PIL import Image

from cifar_utils.apps.predict import is_picture_name
from cifar_utils.apps.web.answers import check_effort, decoding, encode
from cifar_utils.errors import ImageError
from cifar_utils.inference.images import MAX_BYTES, open_picture
from cifar_utils.paths import write_text

NOTE_NAME = "README.txt"
NOTE = """Put photos here (JPEG, PNG, WebP and others): the page lists them when it is loaded again.

Folders inside of this one, links, and files whose names begin with a dot are left out.
"""
THUMBNAIL_SIDE = 320  # pixels; twice what a card is wide, for sharp screens


class MissingError(ImageError):
    """The folder has no such photo."""

    status = 404


class ImagesFolder:
    """A folder of photos. Only what its listing names can be read, so no path leads out of it.

    Args:
        path: The folder; it need not exist.
    """

    def __init__(self, path):
        self.path = Path(path).absolute()

    def make(self):
        """Make the folder with a note inside, where there is none.

        What prevents it is told by `list`, at every request anew.
        """
        if not self.path.exists():
            try:
                self.path.mkdir(parents=True)
                write_text(self.path / NOTE_NAME, NOTE)
            except OSError:
                pass

    def list(self):
        """Read the folder.

        Returns:
            `(names, problem)`: the photos' names, sorted without regard to case; and where there
            is none, why, and what to do about it.
        """
        path, names = self.path, set()
        try:
            names = self._read_names()
            problem = f"The folder {path} holds no photo yet. Put one there."
        except FileNotFoundError:
            problem = f"There is no folder {path}. Make one with photos."
        except NotADirectoryError:
            problem = f"{path} is a file, not a folder. Rename one of them."
        except OSError as error:
            problem = f"The folder {path} cannot be read ({error.strerror or error}). Allow it."
        if not names:
            return [], f"{problem} The page looks again whenever it is loaded."
        return sorted(names, key=lambda name: (name.casefold(), name)), ""

    def _read_names(self):
        """Return the names of the photos in the folder, as the system gives them."""
        with os.scandir(self.path) as entries:
            return {entry.name for entry in entries if _is_wanted(entry)}

    def find_version(self, name) -> str:
        """Return a text that changes whenever a photo does, or nothing if it is gone."""
        try:
            return _version(os.stat(self.path / name, follow_symlinks=False))
        except (OSError, ValueError):
            return ""

    def read(self, name):
        """Read one of the photos.

        Args:
            name: A name of the listing, exactly.

        Returns:
            `(data, version)`: its bytes, and a text that changes whenever the file does.

        Raises:
            MissingError: If the folder has no such photo now.
            ImageError: If it cannot be read.
        """
        try:
            known = name in self._read_names()
        except OSError:
            known = False
        if not known:
            raise MissingError(
                f"The folder has no photo {name!r} (any more). Load the page again, and choose one"
                " that it shows. To send a file, use the field 'file'."
            )
        try:
            with _open_file(self.path / name) as file:
                # One byte more than is allowed: enough to tell that it is too large.
                return file.read(MAX_BYTES + 1), _version(os.fstat(file.fileno()))
        except OSError as error:
            reason = error.strerror or error
            raise ImageError(
                f"{name} cannot be read ({reason}). Check the file's permissions."
            ) from error

    def make_thumbnail(self, name):
        """Return `(jpeg, version)` of a photo as it is now; args and errors are those of `read`."""
        with decoding:
            data, version = self.read(name)
            check_effort(data)
            image = open_picture(data, THUMBNAIL_SIDE)
            image.thumbnail((THUMBNAIL_SIDE,) * 2, Image.Resampling.LANCZOS, reducing_gap=3.0)
        return encode(image, "JPEG"), version


def _open_file(path):
    """Open a regular file that is no link, also if it became one a moment ago."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ImageError(f"{path.name} is no file that can be read. Choose another.")
    return file


def _is_wanted(entry):
    """Return whether an entry of the folder is a photo by its name, a file, and no link."""
    # A form sends such names back changed, or cannot send them at all: control characters, and
    # bytes that are no Unicode.
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in entry.name):
        return False
    return is_picture_name(entry.name) and entry.is_file(follow_symlinks=False)


def _version(status):
    """Make a short text of a file's time and size."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"
