"""The shipped network in every export format: size, agreement, and whether TensorFlow is needed.

    python benchmarks/export_matrix.py        # about a minute; needs CIFAR-10

Each file is read again in a process of its own and compared with the Keras model, evaluated in
float32, on 1,000 test images of CIFAR-10. Writes `benchmarks/export_matrix.json`.
"""

import tempfile
from pathlib import Path

from cifar_utils.conversion import SUFFIXES
from cifar_utils.data import load_dataset
from cifar_utils.exports import CHECKED_IMAGES, export_model
from cifar_utils.files import write_json
from cifar_utils.pretrained import load_pretrained

FILE = Path(__file__).with_suffix(".json")


def main():
    """Export, print, write."""
    model = load_pretrained("fast")
    images = load_dataset("cifar10").test_images[:CHECKED_IMAGES]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, half in [(kind, False) for kind in SUFFIXES] + [("tflite", True)]:
            path = Path(folder, f"{'half' if half else 'fast'}{SUFFIXES[kind]}")
            row = export_model(model, path, kind, images, half)
            row |= {"format": f"{kind}, float16 weights" if half else kind, "path": path.name}
            rows.append(row)
            print(row)
    print("wrote", write_json(FILE, {"rows": rows}).name)


if __name__ == "__main__":
    main()
