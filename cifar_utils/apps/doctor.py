"""What this machine has, what it lacks, and how long each recipe would take on it."""

import importlib.util
import math
import os
import platform
import shutil
import statistics
import sys
import time
from importlib import metadata

from cifar_utils.paths import cache_dir, read_variable, runs_dir
from cifar_utils.runs.machine import detect_processor, find_nvidia_gpus, measure_memory

TRAIN_IMAGES = 50_000
FORWARD_SHARE = 1 / 3  # a forward pass costs about a third of a training step
NEEDED_MEMORY, NEEDED_DISK = 2e9, 1e9  # bytes: TensorFlow and all of CIFAR-10 in memory; one run
PACKAGES = ("tensorflow", "tensorflow-cpu", "jax", "keras")
INSTALL_GPU = "pip uninstall tensorflow-cpu; pip install 'tensorflow[and-cuda]'; update the driver"


def run_doctor(report=print) -> list:
    """Check everything in turn; takes under 30 s, most of it the timing of the recipes.

    Args:
        report: Called with each line as soon as it is known.

    Returns:
        All findings as tuples: the level ("ok", "note" or "problem"), the text, and what to do
        where the level is not "ok". The machine is fit where there is no "problem".
    """
    findings = []

    def note(level, text, advice=""):
        findings.append((level, text, advice))
        report(f"  {level:8}{text}")
        if advice and level != "ok":
            report(f"{'':10}-> {advice}")

    for title, check in SECTIONS.items():
        report(title)
        try:
            for finding in check():
                note(*finding)
        except Exception as error:  # one broken check must not hide the others
            reason = (str(error) or type(error).__name__).strip()
            note("problem", reason, "Fix this, then run the doctor again.")
    return findings


def estimate_seconds(recipe, budget=3.0) -> float:
    """Estimate a recipe's training time on CIFAR-10 from a few steps on random images.

    Reading and augmenting are not counted, and a busy machine gives long times: a guide.
    `budget` is about how long to measure, in seconds, after a warm-up.
    """
    from cifar_utils import models
    from cifar_utils.data.preprocessing import spread_sizes
    from cifar_utils.training import choose_precision, compile_model, use_precision

    n_val = round(TRAIN_IMAGES * recipe.val_fraction)
    steps = math.ceil((TRAIN_IMAGES - n_val) / recipe.batch_size)
    with use_precision(choose_precision(recipe.precision)):
        model = compile_model(models.build(recipe), recipe, steps)
    sizes = spread_sizes(recipe.sizes, recipe.epochs)
    step = _time_step(model, recipe.batch_size, max(sizes), budget)
    validation = FORWARD_SHARE * n_val / recipe.batch_size * recipe.epochs
    # A convolution's cost grows with the square of the side.
    return step * (steps * sum((size / max(sizes)) ** 2 for size in sizes) + validation)


def _time_step(model, batch_size, size, budget):
    """Return the median seconds of a training step on random images of one size."""
    import numpy as np

    rng = np.random.default_rng(0)
    images = rng.random((batch_size, size, size, 3), dtype=np.float32)
    targets = np.eye(10, dtype=np.float32)[rng.integers(0, 10, batch_size)]
    times, end = [], None
    while len(times) < 6 or time.perf_counter() < end:
        start = time.perf_counter()
        model.train_on_batch(images, targets)
        times.append(time.perf_counter() - start)
        end = end or time.perf_counter() + budget  # the first step builds the graph
    return statistics.median(times[1:])


def _check_python():
    yield "ok", f"Python {platform.python_version()} on {platform.platform()}"


def _check_engines():
    from cifar_utils.inference.engines import describe_engines

    told = describe_engines()
    level = "ok" if told[0].endswith("installed") else "note"  # LiteRT, for what ships and runs
    yield level, "; ".join(told), "pip install ai-edge-litert, to classify without TensorFlow."


def _check_tensorflow():
    from cifar_utils.backend import keras  # its error says what to install

    installed = {d.metadata["Name"].lower().replace("_", "-") for d in metadata.distributions()}
    found = [f"{name} {metadata.version(name)}" for name in PACKAGES if name in installed]
    yield "ok", f"{', '.join(found)}; Keras runs on {keras.backend.backend()}"


def _check_processor():
    cpu = detect_processor()
    features = ", ".join(cpu.features) or "none known"
    yield "ok", f"{cpu.name}; {cpu.cores} of {os.cpu_count()} cores usable; {features}"
    yield "ok", f"bfloat16 is {'native' if cpu.bf16 else 'not native: float32 is used'}"


def _check_gpu():
    names, hidden = ", ".join(find_nvidia_gpus()), os.environ.get("CUDA_VISIBLE_DEVICES")
    if sys.platform == "darwin":
        yield "note", "TensorFlow from PyPI uses a Mac's processor, not its GPU"
        return
    if not names:
        text = "none used: this machine has no NVIDIA driver (nvidia-smi)"
        yield "note", text, "With an NVIDIA GPU: install its driver."
        return
    if not importlib.util.find_spec("tensorflow"):
        yield "note", f"{names}; without TensorFlow nothing more is known"
        return
    import tensorflow as tf

    if seen := tf.config.list_physical_devices("GPU"):
        yield "ok", f"{names}; TensorFlow sees {len(seen)}"
        return
    why, advice = "TensorFlow finds no CUDA libraries that fit the driver", INSTALL_GPU
    if not tf.test.is_built_with_cuda():
        why = "this TensorFlow is CPU-only"
    elif hidden is not None:
        why, advice = f"CUDA_VISIBLE_DEVICES is {hidden!r}", "Unset it, if a GPU should be used."
    yield "problem", f"{names} unused: {why}", advice


def _check_memory():
    free, total = measure_memory()
    text = f"{free / 1e9:.1f} GB memory free of {total / 1e9:.1f}"
    level = "ok" if free >= NEEDED_MEMORY else "problem"
    yield level, text, "Close other programs and notebook kernels."
    for folder, variable in ((runs_dir(), "CIFAR_RUNS_DIR"), (cache_dir(), "CIFAR_CACHE_DIR")):
        existing = next(p for p in (folder, *folder.parents) if p.exists())
        free, writable = shutil.disk_usage(existing).free, os.access(existing, os.W_OK)
        text = f"{free / 1e9:.1f} GB disk free in {folder}"
        text += "" if writable else ", where this user may not write"
        advice = f"Free space or get the rights there, or set {variable} to another folder."
        yield "ok" if free >= NEEDED_DISK and writable else "problem", text, advice


def _check_data():
    from cifar_utils.data import GET_CIFAR10, find_dataset

    found = find_dataset()
    named = read_variable("CIFAR10_PATH")
    for copy in found:
        kind = "the official archive" if copy.official else "not the official archive"
        if copy.size:
            yield "ok", f"CIFAR-10 ({kind}), {copy.size / 1e6:.0f} MB: {copy.path}"
        elif copy.path.exists() or (named and copy is found[0]):
            advice = "Correct CIFAR10_PATH, or remove it." if named else "Remove or replace it."
            yield "problem", f"{copy.path} ({copy.place}): {copy.problem}", advice
    if not named and not any(copy.size for copy in found):
        none = "no CIFAR-10 here; a run would download it (170 MB), or take the synthetic set"
        yield "note", none, GET_CIFAR10


def _check_recipes():
    from cifar_utils.runs.recipes import RECIPES

    for name, recipe in RECIPES.items():
        seconds = estimate_seconds(recipe)
        about = f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
        plan = f"{recipe.epochs} epochs at batch {recipe.batch_size}"
        yield "ok", f"{name}: about {about} on all of CIFAR-10 ({plan})"


SECTIONS = {
    "Python": _check_python,
    "TensorFlow": _check_tensorflow,
    "Classifying": _check_engines,
    "Processor": _check_processor,
    "GPU": _check_gpu,
    "Memory and disk": _check_memory,
    "Data": _check_data,
    "Recipes": _check_recipes,
}
