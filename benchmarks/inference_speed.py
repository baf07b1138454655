"""How fast is the classifier, and how large? By engine and views, against Keras's `model.predict`.

    python benchmarks/inference_speed.py        # about two minutes on two cores

Every row is a process of its own: from loading the model to the first answer; then the median time
of one picture that is decoded already (640x480, cropped and scaled by the classifier; and 32x32),
on one core; the memory that the process then holds. The pictures are noise, so that `mirrored`
looks twice. Last, a folder of 1,000 test images as PNG (of CIFAR-10, where it is at hand) through
what `python -m cifar_utils predict` does, on all cores. Writes `benchmarks/inference_speed.json`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
ROWS = [
    ("LiteRT", "one"),
    ("LiteRT", "mirrored"),
    ("LiteRT", "six"),
    ("ONNX Runtime", "one"),
    ("ONNX Runtime", "mirrored"),
    ("ONNX Runtime", "six"),
    ("Keras", "one"),
    ("model.predict", "one"),
]
REPEATS = 200
FOLDER_PICTURES = 1000


def measure_row(backend, views, model):
    """Measure one engine in this process; returns the row."""
    start = time.perf_counter()
    import numpy as np

    from cifar_utils.inference.classifier import Classifier

    imported = time.perf_counter()
    small = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    large = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    if backend == "model.predict":
        from cifar_utils.data.preprocessing import scale_images
        from cifar_utils.inference.pretrained import load_pretrained

        network = load_pretrained("fast")

        def ask(picture):
            return network.predict(scale_images(picture[None]), verbose=0)

    else:
        ask = Classifier.load(model or None, views, backend, threads=1).predict
    loaded = time.perf_counter()
    ask(small)
    first = time.perf_counter()
    row = {
        "engine": backend,
        "views": views,
        "import_seconds": round(imported - start, 3),
        "load_to_first_answer_seconds": round(first - imported, 3),
        "of_which_load_seconds": round(loaded - imported, 3),
        "small_ms": time_calls(ask, small),
    }
    if backend != "model.predict":
        row["large_ms"] = time_calls(ask, large)
    import psutil

    return row | {"memory_mb": round(psutil.Process().memory_info().rss / 1e6)}


def time_calls(ask, picture):
    """Return the median time of a call in milliseconds."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        ask(picture)
        seconds.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(seconds), 2)


def measure_folder(views):
    """Return pictures per second of a folder, reading included."""
    from PIL import Image

    from cifar_utils.apps.predict import classify, list_images
    from cifar_utils.data import load_dataset
    from cifar_utils.inference.classifier import Classifier

    images = load_dataset().test_images[:FOLDER_PICTURES]
    with tempfile.TemporaryDirectory() as folder:
        for number, image in enumerate(images):
            Image.fromarray(image).save(Path(folder, f"{number:04}.png"))
        classifier = Classifier.load(views=views)
        start = time.perf_counter()
        images, _ = list_images([folder])
        answered = sum(1 for _ in classify(classifier, images))
        return round(answered / (time.perf_counter() - start))


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    row = parser.parse_args().row
    if row:
        print(json.dumps(measure_row(*row)))
        return
    from cifar_utils.evaluation.tta import VIEWS
    from cifar_utils.inference.export import export
    from cifar_utils.paths import write_json
    from cifar_utils.runs.machine import detect_processor

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        onnx = export("fast", "onnx", Path(folder, "fast.onnx"))["path"]
        for backend, views in ROWS:
            model = onnx if backend == "ONNX Runtime" else ""
            command = [sys.executable, __file__, "--row", backend, views, model]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(rows[-1])
    processor = detect_processor()
    per_second = {views: measure_folder(views) for views in VIEWS}
    print("a folder, pictures per second:", per_second)
    report = {
        "machine": f"{processor.name}, {processor.cores} cores",
        "rows": rows,
        "folder_pictures": FOLDER_PICTURES,
        "folder_pictures_per_second": per_second,
    }
    print("wrote", write_json(FILE, report).name)


if __name__ == "__main__":
    main()
