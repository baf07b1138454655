"""The shipped network in every export format: size, agreement, and whether TensorFlow is needed.

    python benchmarks/export_matrix.py        # about a minute; needs CIFAR-10

Each file is read again in a process of its own and compared with the Keras model, evaluated in
float32, on 1,000 test images of CIFAR-10. Writes `benchmarks/export_matrix.json`.
"""

import tempfile
from pathlib import Path

import numpy as np

from cifar_utils.data import load_dataset
from cifar_utils.inference.export import (
    CHECKED_IMAGES,
    SUFFIXES,
    export_model,
    read_in_own_process,
)
from cifar_utils.inference.pretrained import load_pretrained
from cifar_utils.inference.sources import find_shipped
from cifar_utils.paths import write_json
from cifar_utils.training.loop import predict_probs

FILE = Path(__file__).with_suffix(".json")


def measure_shipped(model, images):
    """Compare the exported file that ships, whose weights are rounded to float16 once more."""
    path = find_shipped().files[".tflite"]
    found = read_in_own_process(path, "tflite", images)
    return {
        "format": "tflite, as it ships: float16 weights",
        "path": path.name,
        "bytes": path.stat().st_size,
        "largest_difference": float(np.abs(found["probs"] - predict_probs(model, images)).max()),
        "images": len(images),
        "without_tensorflow": not found["tensorflow"],
    }


def main():
    """Export, print, write."""
    model = load_pretrained("fast")
    images = load_dataset("cifar10").test_images[:CHECKED_IMAGES]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in SUFFIXES:
            row = export_model(model, Path(folder, f"fast{SUFFIXES[kind]}"), kind, images)
            rows.append(row | {"path": Path(row["path"]).name})
            print(rows[-1])
    rows.append(measure_shipped(model, images))
    print(rows[-1])
    print("wrote", write_json(FILE, {"rows": rows}).name)


if __name__ == "__main__":
    main()
