"""Imports Keras and its backend, once and quietly, when `keras` is first asked for.

Whatever needs Keras writes `from cifar_utils.backend import keras`; nothing else in the package
imports it or TensorFlow at module level, so that everything without a network starts at once.
"""

import contextlib
import functools
import importlib.util
import os
import re
import sys
import tempfile
import threading

from cifar_utils.errors import CifarError
from cifar_utils.paths import read_variable

# What TensorFlow 2.21 writes to file descriptor 2 at import whatever TF_CPP_MIN_LOG_LEVEL says.
# These lines alone are held back: anything else may be a real warning.
IMPORT_NOISE = re.compile(
    rb"All log messages before absl::InitializeLog|oneDNN custom operations are on"
    rb"|This TensorFlow binary is optimized|To enable the following instructions"
    rb"|Could not find cuda drivers|computation_placer|Unable to register cu(FFT|DNN|BLAS) factory"
)
INSTALL_HINT = (
    "TensorFlow is not installed. `make run` installs the build that suits this machine; by hand:"
    " `pip install tensorflow-cpu` (x86-64 Linux without an NVIDIA GPU), `pip install tensorflow`"
    " (macOS, Linux on ARM), or `pip install 'tensorflow[and-cuda]'` (Linux with an NVIDIA GPU)."
    " To train without it: `pip install jax`, and KERAS_BACKEND=jax."
)


# A process has one file descriptor 2: two threads that exchanged it would lose it.
_LOCK = threading.RLock()


@contextlib.contextmanager
def hold_back(pattern):
    """Swallow the lines on file descriptor 2 that match a pattern; the others come afterwards."""
    with _LOCK:
        try:
            sys.stderr.flush()
            saved = os.dup(2)
        except (AttributeError, OSError, ValueError):  # there is no such file: nothing to hold back
            yield
            return
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(saved, 2)
                os.close(saved)
                held.seek(0)
                lines = [line for line in held if not re.search(pattern, line)]
                if b"".join(lines).strip():
                    os.write(2, b"".join(lines))


def pin_settings():
    """Make Keras's settings those that our networks need; returns a function that undoes it.

    `~/.keras/keras.json`, the environment or earlier code may have set others: images with their
    channels first, numbers of 16 bits, a limit on the epochs.
    """
    config = _import_keras().config
    wanted = {"image_data_format": "channels_last", "floatx": "float32", "epsilon": 1e-7}
    # A policy of our own choice stays; see `training.use_precision`.
    if config.dtype_policy().name != "mixed_bfloat16":
        wanted["dtype_policy"] = "float32"
    for limit in ("max_epochs", "max_steps_per_epoch"):
        if hasattr(config, limit):  # since Keras 3.11
            wanted[limit] = None
    before = {name: getattr(config, name)() for name in wanted}

    def apply(settings):
        for name, value in settings.items():
            getattr(config, f"set_{name}")(value)

    apply(wanted)
    return functools.partial(apply, before)


@contextlib.contextmanager
def pinned_settings():
    """Build, save or load one of our networks inside; see `pin_settings`."""
    undo = pin_settings()
    try:
        yield
    finally:
        undo()


def _import_keras():
    """Import Keras with its backend, holding back the known noise on stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # no INFO lines; warnings stay
    # oneDNN's kernels train the original network twice as fast on a processor without AVX-512,
    # where TensorFlow leaves them switched off. (On the others this changes nothing.)
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    backend = read_variable("KERAS_BACKEND", ("tensorflow", "jax", "torch")) or "tensorflow"
    os.environ["KERAS_BACKEND"] = backend
    if backend == "tensorflow" and not importlib.util.find_spec("tensorflow"):
        raise CifarError(INSTALL_HINT)
    with hold_back(IMPORT_NOISE):
        import keras
    return keras


def __getattr__(name):
    """Import Keras at the first `from cifar_utils.backend import keras` (PEP 562)."""
    if name != "keras":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["keras"] = keras = _import_keras()
    return keras
