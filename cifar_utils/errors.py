"""The errors that a user is meant to read: what was wrong, what was expected, what to do next."""


class CifarError(Exception):
    """Base of every error whose message is written for the user."""

    exit_code = 1  # of the command line


class DataError(CifarError):
    """CIFAR-10 is missing, damaged or not what it should be."""


class ParameterError(CifarError, ValueError):
    """A parameter is unknown, of the wrong type or out of range."""

    exit_code = 2


class RunError(CifarError):
    """A run folder is missing, busy, finished or belongs to other parameters."""


class ModelError(CifarError):
    """A file cannot be used as a model."""


class ImageError(CifarError, ValueError):
    """An image cannot be read."""
