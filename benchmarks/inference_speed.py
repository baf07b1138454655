"""How fast is the classifier, and how large? By engine and views, against Keras; and the exports.

    python benchmarks/inference_speed.py        # about three minutes on two cores

Every row is a process of its own: from loading the model to the first prediction; then the median
time of a decoded image (640x480, cropped and scaled by the classifier; and 32x32), on one core; the
memory that the process then holds. The images are noise, so that `mirrored` predicts twice. Then a
folder of 1,000 test images as PNG (of CIFAR-10, where it is at hand), on all cores, reading
included. Last, the shipped network in every export format: each file is read again in a process of
its own and compared with the Keras model on 1,000 test images. Writes
`benchmarks/inference_speed.json`.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
ROWS = [
    *(("LiteRT", views) for views in ("one", "mirrored", "six")),
    *(("ONNX Runtime", views) for views in ("one", "mirrored", "six")),
    ("Keras", "one"),
    ("model.predict", "one"),
]
REPEATS = 200
IMAGES = 1000


def measure_row(engine, views, model):
    """Measure one engine in this process; returns the row."""
    start = time.perf_counter()
    import numpy as np

    from cifar_utils.inference import Classifier

    imported = time.perf_counter()
    small = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    large = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    if engine == "model.predict":
        from cifar_utils.data.preprocessing import scale_images
        from cifar_utils.inference import load_pretrained

        network = load_pretrained("fast")

        def predict(image):
            return network.predict(scale_images(image[None]), verbose=0)

    else:
        predict = Classifier.load(model or None, views, engine, threads=1).predict
    loaded = time.perf_counter()
    predict(small)
    first = time.perf_counter()
    row = {
        "engine": engine,
        "views": views,
        "import_seconds": round(imported - start, 3),
        "load_to_first_answer_seconds": round(first - imported, 3),
        "of_which_load_seconds": round(loaded - imported, 3),
        "small_ms": time_calls(predict, small),
    }
    if engine != "model.predict":
        row["large_ms"] = time_calls(predict, large)
    import psutil

    return row | {"memory_mb": round(psutil.Process().memory_info().rss / 1e6)}


def time_calls(predict, image):
    """Return the median time of a call in milliseconds."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        predict(image)
        seconds.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(seconds), 2)


def measure_folder(views, images):
    """Return images per second of a folder, reading included."""
    from PIL import Image

    from cifar_utils.inference import Classifier

    with tempfile.TemporaryDirectory() as folder:
        for number, image in enumerate(images):
            Image.fromarray(image).save(Path(folder, f"{number:04}.png"))
        classifier = Classifier.load(views=views)
        start = time.perf_counter()
        count = sum(1 for _ in classifier.predict_many(sorted(Path(folder).iterdir())))
        return round(count / (time.perf_counter() - start))


def measure_exports(images, folder):
    """Export the shipped network in every format, and compare each with the Keras model."""
    import numpy as np

    from cifar_utils.inference import find_model, load_pretrained
    from cifar_utils.inference.export import SUFFIXES, export, read_in_own_process
    from cifar_utils.training import predict_probs

    rows = []
    for kind, suffix in SUFFIXES.items():
        row = export("fast", kind, str(Path(folder, f"fast{suffix}")))
        rows.append(row | {"path": Path(row["path"]).name})
    path = find_model("fast").files[".tflite"]
    probs, tensorflow = read_in_own_process(path, images)
    own = predict_probs(load_pretrained("fast"), images)
    shipped = {
        "format": "tflite, as it ships: float16 weights",
        "path": path.name,
        "bytes": path.stat().st_size,
        "largest_difference": float(np.abs(probs - own).max()),
        "images": len(images),
        "without_tensorflow": not tensorflow,
    }
    return [*rows, shipped]


def main():
    """Measure, print, write."""
    if len(sys.argv) == 4:
        print(json.dumps(measure_row(*sys.argv[1:])))
        return
    from cifar_utils.data import load_dataset
    from cifar_utils.evaluation import VIEWS
    from cifar_utils.paths import write_json
    from cifar_utils.runs.machine import detect_processor

    images, rows = load_dataset().test_images[:IMAGES], []
    with tempfile.TemporaryDirectory() as folder:
        exports = measure_exports(images, folder)
        for engine, views in ROWS:
            model = str(Path(folder, "fast.onnx")) if engine == "ONNX Runtime" else ""
            command = [sys.executable, __file__, engine, views, model]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(rows[-1], flush=True)
    processor = detect_processor()
    report = {
        "machine": f"{processor.name}, {processor.cores} cores",
        "rows": rows,
        "folder_pictures": len(images),
        "folder_pictures_per_second": {views: measure_folder(views, images) for views in VIEWS},
        "exports": exports,
    }
    print("wrote", write_json(FILE, report).name)


if __name__ == "__main__":
    main()
