"""What a training runs on, in which number format: bfloat16 where the hardware has it."""

import contextlib
import time

from cifar_utils.errors import ParameterError, RunError
from cifar_utils.paths import read_variable
from cifar_utils.runs.machine import detect_processor, find_nvidia_gpus

FAST_BF16 = {"avx512_bf16", "amx_bf16"}  # x86 instructions: with them it is known to pay


def describe_device():
    """Return the name of the device that trains: the first GPU, or else the processor."""
    from cifar_utils.backend import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if gpus:
            return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    if keras.backend.backend() == "jax":
        import jax

        if jax.default_backend() != "cpu":
            return jax.devices()[0].device_kind
    return detect_processor().name


def check_precision(name):
    """Refuse a number format that this machine only emulates. No TensorFlow needed.

    Args:
        name: "auto", "float32" or "bfloat16"; None is the recipe's own.

    Raises:
        ParameterError: For bfloat16 without hardware for it.
    """
    processor = detect_processor()
    if name == "bfloat16" and not processor.bf16 and not find_nvidia_gpus():
        raise ParameterError(
            "precision bfloat16 needs a processor with AVX512-BF16 or AMX, or a GPU;"
            f" {processor.name} would emulate it, many times slower. Take float32, or auto."
        )


def choose_precision(name, run=None):
    """Decide what "auto" means on this machine.

    With TensorFlow, an x86 processor with AVX512-BF16 or AMX gets bfloat16. Other hardware that has
    it (a GPU, an ARM processor), or another backend, gets it if a short measurement is faster.

    Args:
        name: "auto", "float32" or "bfloat16".
        run: A `runs.Run`. If it has a checkpoint, "auto" goes on with what that began with.

    Returns:
        "float32" or "bfloat16".

    Raises:
        ParameterError: See `check_precision`.
        RunError: If the run began in a format that this machine only emulates.
    """
    check_precision(name)
    if name != "auto":
        return name
    began = run.info.get("precision") if run and run.path("checkpoint.npz").exists() else None
    processor, on_gpu = detect_processor(), bool(find_nvidia_gpus())
    if began == "bfloat16" and not processor.bf16 and not on_gpu:
        raise RunError(
            f"Run {run.name!r} began in {began}, which this machine only emulates. Continue it"
            " where it began, or train under another run_name."
        )
    if began:
        return began
    known = (read_variable("KERAS_BACKEND") or "tensorflow") == "tensorflow" and not on_gpu
    if known and FAST_BF16.intersection(processor.features):
        return "bfloat16"
    if not on_gpu and not processor.bf16:
        return "float32"
    return "bfloat16" if measure_bf16_speedup() > 1.1 else "float32"


def measure_bf16_speedup(repeats=5):
    """Return the time of a convolution in float32 over that in bfloat16; takes about a second."""
    from cifar_utils.backend import keras

    ops = keras.ops
    fastest = {}
    for dtype in ("float32", "bfloat16"):
        images = ops.ones((256, 16, 16, 64), dtype)
        kernel = ops.ones((3, 3, 64, 64), dtype)
        times = []
        for _ in range(repeats + 1):  # the first one sets things up
            start = time.perf_counter()
            maps = ops.conv(images, kernel, padding="same", data_format="channels_last")
            # Waits for the result; TensorFlow cannot turn a bfloat16 scalar into a NumPy one.
            ops.convert_to_numpy(ops.cast(ops.max(maps), "float32"))
            times.append(time.perf_counter() - start)
        fastest[dtype] = min(times[1:])
    return fastest["float32"] / fastest["bfloat16"]


@contextlib.contextmanager
def use_precision(name):
    """Build what is built inside in "float32" or "bfloat16" (with float32 weights)."""
    from cifar_utils.backend import keras, pinned_settings

    with pinned_settings():
        keras.config.set_dtype_policy("mixed_bfloat16" if name == "bfloat16" else "float32")
        yield
