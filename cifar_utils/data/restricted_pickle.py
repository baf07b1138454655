"""Read a pickle that somebody else wrote, without running anything that is in it.

A pickle can name any function and have it called. This reader knows arrays of numbers, plain
containers, numbers and text, and refuses the rest. What it lets a pickle name are the small classes
below, never NumPy's own: a forged dtype could make NumPy take numbers for addresses.
"""

import io
import pickle
import re

import numpy as np


def load_plain_pickle(content):
    """Read a pickle of arrays and plain values.

    Args:
        content: The bytes of a pickle, written by Python 2 or 3. Text that Python 2 wrote becomes
            bytes.

    Returns:
        The value; in a dictionary, arrays are read-only NumPy arrays.

    Raises:
        pickle.UnpicklingError: If it asks for anything else. Damaged bytes can raise nearly any
            other exception.
    """
    value = _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    if isinstance(value, dict):
        return {k: v.value if isinstance(v, _Array) else v for k, v in value.items()}
    return value


class _Array:
    """Stands in for `numpy.ndarray` and for the function that pickles call to make one."""

    def __init__(self, *_ignored):
        self.value = None

    def __setstate__(self, state):
        _version, shape, dtype, is_fortran, content = state
        order = "F" if is_fortran else "C"
        self.value = np.frombuffer(content, dtype.code).reshape(shape, order=order)


class _DType:
    """Stands in for `numpy.dtype`: plain numbers only, no objects, no records."""

    def __init__(self, code, *_ignored):
        self.code = _expect(code, r"[biuf][1248]")

    def __setstate__(self, state):
        self.code = _expect(state[1], r"[<>|=]") + self.code


def _expect(text, pattern):
    text = text.decode() if isinstance(text, bytes) else text
    if not re.fullmatch(pattern, text):
        raise pickle.UnpicklingError(f"array of type {text!r}")
    return text


_ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    # Python 3 writes bytes into old pickles as a call of this, with text and "latin1".
    ("_codecs", "encode"): str.encode,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]
