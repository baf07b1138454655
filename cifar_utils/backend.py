"""Imports Keras and its backend, once and quietly. Importing this module imports TensorFlow.

Whatever needs Keras writes `from cifar_utils.backend import keras`; nothing else in the package
imports it or TensorFlow at module level, so that everything without a network starts at once.
"""

import importlib.util
import os
import re

from cifar_utils.errors import CifarError
from cifar_utils.stderr import hold_back

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


def _import_keras():
    """Import Keras with its backend, holding back the known noise on stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # no INFO lines; warnings stay
    # oneDNN's kernels train the documented network twice as fast on a processor without AVX-512,
    # where TensorFlow leaves them switched off. (On the others this changes nothing.)
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if os.environ["KERAS_BACKEND"] == "tensorflow" and not importlib.util.find_spec("tensorflow"):
        raise CifarError(INSTALL_HINT)
    with hold_back(IMPORT_NOISE):
        import keras
    return keras


keras = _import_keras()
