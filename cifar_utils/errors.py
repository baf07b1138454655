"""The errors that a user is meant to read.

Each message says what was wrong, what was expected and what to do next. The command line
prints it without a traceback; a notebook shows it as the last line of one.
"""

import difflib


class CifarError(Exception):
    """Base of every error whose message is written for the user."""


class DataError(CifarError):
    """CIFAR-10 is missing, damaged or not what it should be."""


class ParameterError(CifarError, ValueError):
    """A parameter is unknown, of the wrong type or out of range."""


class RunError(CifarError):
    """A run folder is missing, busy, finished or belongs to other parameters."""


class ModelError(CifarError):
    """A file is no model that can be used."""


class ImageError(CifarError, ValueError):
    """A picture cannot be read."""


def first_line(error, most=200):
    """Return the beginning of what a library says of a failure, for a message of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:most]


def suggest(word, known):
    """Say which known names are nearest to a mistyped one.

    Args:
        word: What the user wrote.
        known: The valid names, in the order in which they should be listed.

    Returns:
        A sentence such as "Did you mean 'epochs'?", or the list of valid names when none is near.
    """
    known = [str(name) for name in known]
    near = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    return "Valid: " + ", ".join(known) + "."
