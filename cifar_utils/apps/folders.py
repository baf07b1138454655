"""Which entries of a folder are photos: one rule for the command `predict` and the page."""

from pathlib import Path

# The formats that `inference.images` reads. A file that is named itself is tried whatever its name.
PICTURE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .avif .heic .heif .gif .bmp .tif .tiff .ppm .pgm .pbm".split()
)
SYSTEM_FOLDERS = ("__macosx", "@eadir", "$recycle.bin")


def is_picture_name(name, suffixes=PICTURE_SUFFIXES) -> bool:
    """Return whether a file is a photo to list, by its name.

    Args:
        name: The file's name, without its folder.
        suffixes: The endings that count, in lower case and with their dots.
    """
    return not is_hidden_name(name) and Path(name).suffix.lower() in suffixes


def is_hidden_name(name) -> bool:
    """Return whether a file or folder is one that its system or an editor keeps out of sight.

    Names that begin with a dot are: `.ipynb_checkpoints`, `.git`, and the `._x.jpg` that macOS
    writes beside each `x.jpg` on other file systems (AppleDouble: metadata, no pixels). Archives
    made on macOS hold the latter in a folder `__MACOSX`; Synology's servers keep thumbnails of each
    photo in `@eaDir`, and Windows keeps what was deleted in `$RECYCLE.BIN`.

    Args:
        name: The name of a file or of one folder, not a path.
    """
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS
