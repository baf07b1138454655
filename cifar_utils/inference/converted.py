"""Keras's model files, converted once for an engine without TensorFlow, and kept in the cache.

Importing this module, and finding what was converted before, imports no TensorFlow.
"""

import hashlib
import importlib.util
import os
import sys
from pathlib import Path

from cifar_utils.errors import ModelError
from cifar_utils.inference.engines import LiteRTEngine, OnnxEngine, is_installed
from cifar_utils.inference.sources import check_shapes, find_shapes, load_keras_model
from cifar_utils.paths import atomic_path, cache_dir, relative_to_project


def find_converted(path, backend=None):
    """Find a converted `.keras` or `.h5` file in the user's cache, or convert it with TensorFlow.

    Args:
        path: The file.
        backend: The name of the engine that is wanted, or None.

    Returns:
        A dict from suffix to the converted file; empty where only Keras is installed, or runs on
        another backend than TensorFlow, whose converters these are: it runs the file itself.

    Raises:
        ModelError: If the file cannot be read, or does not fit the classifier, or the cache cannot
            be written.
    """
    kinds = ((LiteRTEngine, "tflite"), (OnnxEngine, "onnx"))
    wanted = [(e, kind) for e, kind in kinds if backend in (None, e.name) and is_installed(e)]
    if not wanted or not _has_converters():
        return {}
    engine, kind = wanted[0]
    try:
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        kept = cache_dir() / "converted" / f"{digest[:32]}{engine.suffix}"
        if not kept.is_file():
            _convert(Path(path), kept, kind)
    except OSError as error:
        raise ModelError(
            f"{path} cannot be converted into {cache_dir()} ({error.strerror or error}). Take"
            " another folder for the cache (CIFAR_CACHE_DIR), or backend='Keras'."
        ) from error
    return {engine.suffix: kept}


def _has_converters():
    """Return whether Keras runs on TensorFlow here, without importing either."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    return backend == "tensorflow" and importlib.util.find_spec("tensorflow") is not None


def _convert(path, kept, kind):
    """Convert a file, and say so."""
    from cifar_utils.inference.conversion import write_model

    told = f"Converting {relative_to_project(path)} once, with TensorFlow, into {kept} …"
    print(told, file=sys.stderr)  # not among what a command prints for another program
    model = load_keras_model(path)
    check_shapes(find_shapes(model), path, 10)
    with atomic_path(kept) as temporary:
        write_model(model, temporary, kind)
