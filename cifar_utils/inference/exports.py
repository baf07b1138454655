"""Trained networks as files for other programs, checked before they take their names.

What is written is read again in a process of its own, without TensorFlow where the format allows,
and compared with the network.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from cifar_utils.data import load_dataset
from cifar_utils.data.preprocessing import scale_images
from cifar_utils.errors import ModelError, ParameterError
from cifar_utils.inference.conversion import SUFFIXES, write_model
from cifar_utils.inference.pretrained import list_pretrained, load_pretrained
from cifar_utils.inference.run_models import load_model
from cifar_utils.paths import expand_home, relative_to_project, runs_dir
from cifar_utils.runs.run import Run
from cifar_utils.runs.store import find_run

TOLERANCE = 1e-3  # of a probability
CHECKED_IMAGES = 1000


def export_model(model, path, kind, images, half=False):
    """Write a network as a file for other programs, and check it before it takes its name.

    Args:
        model: A `keras.Model` from float32 images (n, 32, 32, 3) in [0, 1] to probabilities.
        path: Where to write; an older file or folder of that name is replaced at the end.
        kind: "keras", "h5", "tflite", "onnx" or "savedmodel".
        images: uint8 (n, 32, 32, 3), to compare the two on.
        half: See `write_model`.

    Returns:
        `{"format", "path", "bytes", "largest_difference", "images", "without_tensorflow"}`.

    Raises:
        ParameterError: If there is no such format.
        ModelError: If it cannot be written, or its answers differ by more than `TOLERANCE`.
    """
    if kind not in SUFFIXES:
        raise ParameterError(f"There is no format {kind!r}. Valid: {', '.join(SUFFIXES)}.")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    expected = _predict(model, images)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as folder:
        written = Path(folder, f"model{SUFFIXES[kind]}")
        write_model(model, written, kind, half)
        found = read_in_own_process(written, kind, images)
        difference = float(np.abs(found["probs"] - expected).max())
        if not difference <= TOLERANCE:
            raise ModelError(
                f"The exported {kind} file answers otherwise than the network, by up to"
                f" {difference:.2g} in probability; at most {TOLERANCE:g} was expected. Nothing was"
                " written. Try another format."
            )
        size = sum(part.stat().st_size for part in (written, *written.rglob("*")) if part.is_file())
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(written, path)
    return {
        "format": kind,
        "path": str(path),
        "bytes": size,
        "largest_difference": difference,
        "images": len(images),
        "without_tensorflow": not found["tensorflow"],
    }


def _predict(model, images):
    """Return a Keras network's own answers to uint8 images."""
    takes_bytes = str(model.inputs[0].dtype) == "uint8"
    parts = [images[i : i + 250] for i in range(0, len(images), 250)]
    return np.concatenate(
        [model.predict_on_batch(part if takes_bytes else scale_images(part)) for part in parts]
    )


def read_in_own_process(path, kind, images):
    """Read an exported file in a fresh process, and let it answer.

    Args:
        path: The file or folder.
        kind: A key of `SUFFIXES`.
        images: uint8 (n, 32, 32, 3).

    Returns:
        `{"probs": float32 (n, k), "tensorflow": whether the process imported TensorFlow}`.

    Raises:
        ModelError: If the process fails; its last words are in the message.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "images.npy"), Path(folder, "probs.npz")
        np.save(asked, images)
        command = [sys.executable, "-m", "cifar_utils.inference.export_check", str(path), kind]
        done = subprocess.run([*command, asked, answered], capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ModelError(
                f"The exported {kind} file cannot be read again: {last[:300]} Nothing was written;"
                " 'python -m cifar_utils doctor' says what this machine lacks."
            )
        with np.load(answered) as saved:
            return {"probs": saved["probs"], "tensorflow": bool(saved["tensorflow"])}


def find_network(name):
    """Find what is to be exported.

    Args:
        name: A run's name or folder, or the name of weights that ship with the package.

    Returns:
        A `runs.Run`, or the name of shipped weights.

    Raises:
        RunError: If there is neither.
    """
    folder = expand_home(name)
    if (folder / "run.json").is_file():
        return Run(folder)
    if name in list_pretrained() and not (runs_dir() / name / "run.json").exists():
        return name
    return find_run(name)


def export(network, kind, path=None):
    """Export a run's network, or shipped weights.

    Args:
        network: What `find_network` returned.
        kind: A key of `conversion.SUFFIXES`.
        path: Where to write; None takes `exports/` in the run's folder, or for shipped weights the
            current folder. Outside of a run's `exports/`, nothing of that name may exist yet.

    Returns:
        What `export_model` returns; for a run also written to its `exports/exports.json`.

    Raises:
        ParameterError: If there is no such format, or the named file exists.
        RunError: If the run has no weights.
    """
    if kind not in SUFFIXES:
        raise ParameterError(f"There is no format {kind!r}. Valid: {', '.join(SUFFIXES)}.")
    if isinstance(network, str):
        path = path or f"{network}{SUFFIXES[kind] or '-savedmodel'}"
    if path and Path(path).exists():
        raise ParameterError(
            f"{path} exists already. Take another name (--output), or remove it first."
        )
    if isinstance(network, str):
        path = Path(path)
        images = load_dataset().test_images[:CHECKED_IMAGES]
        return export_model(load_pretrained(network), path, kind, images)
    path = Path(path or network.path(f"exports/{network.name}{SUFFIXES[kind]}"))
    images = network.dataset.test_images[:CHECKED_IMAGES]
    report = export_model(load_model(network), path, kind, images)
    known = network.read_json("exports/exports.json")
    network.write_json(
        "exports/exports.json", known | {kind: report | {"path": relative_to_project(path)}}
    )
    return report


def describe_export(report):
    """Return one line on an export for a person."""
    alone = "without TensorFlow" if report["without_tensorflow"] else "with TensorFlow"
    return (
        f"{report['path']}: {report['bytes'] / 1e6:.1f} MB, read again {alone}; its answers to"
        f" {report['images']:,} images differ from the network's by at most"
        f" {report['largest_difference']:.1g}."
    )
