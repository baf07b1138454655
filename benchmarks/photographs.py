"""Which parts of a photograph should the network be shown? And how many photographs does it get?

    python benchmarks/photo_crops.py                        # validation images; about four minutes
    python benchmarks/photo_crops.py --photos FOLDER        # and photographs: FOLDER/CLASS/*.jpg
    python benchmarks/photo_crops.py --test                 # once, after the choice

Photographs are not thumbnails: the object lies anywhere, and is one part of a larger scene. So
images that the shipped network never learnt from are enlarged, and laid at a random place and size
into scenes of usual proportions, whose ground is a blur of the image itself or of another one. All
ways of cutting are tried on the same scenes. The choice is made on the validation images; `--test`
reports the chosen one, and those that the documented system's users would try, on scenes made of
test images. Writes `benchmarks/photo_crops.json`; the shipped weights must be CIFAR-10's.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from cifar_utils.data import CLASS_NAMES, load_dataset
from cifar_utils.data.preprocessing import split_train_val
from cifar_utils.evaluation.calibration import fit_calibration, measure_answers
from cifar_utils.evaluation.scenes import make_scenes
from cifar_utils.evaluation.uncertainty import compute_wilson_interval
from cifar_utils.inference.classifier import Classifier
from cifar_utils.inference.crops import cut_out, letterbox, square_at, whole
from cifar_utils.inference.images import open_picture
from cifar_utils.inference.pretrained import read_card
from cifar_utils.paths import write_json
from cifar_utils.runs.machine import detect_processor

FILE = Path(__file__).with_suffix(".json")
SCENES = 2000
COMPARED_AT = 0.95  # of confident answers; most ways of cutting have none at what ships
ENDS = [(0.0, 0.0), (1.0, 1.0)]
CORNERS = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]


def list_boxes(width, height):
    """Return every box that some way of cutting uses, by name."""
    middle = (0.5, 0.5)
    boxes = {"squash": whole(width, height), "letterbox": letterbox(width, height)}
    boxes["centre"] = square_at(width, height, middle)
    boxes |= {f"end{i}": square_at(width, height, end) for i, end in enumerate(ENDS)}
    boxes |= {f"zoom{z}": square_at(width, height, middle, z / 100) for z in (85, 70, 55)}
    boxes |= {f"corner{i}": square_at(width, height, at, 0.7) for i, at in enumerate(CORNERS)}
    boxes |= {f"large{i}": square_at(width, height, at, 0.85) for i, at in enumerate(CORNERS)}
    return boxes


WAYS = {
    "squash": ["squash"],
    "centre": ["centre"],
    "letterbox": ["letterbox"],
    "squash, centre": ["squash", "centre"],
    "squash, zoom85": ["squash", "zoom85"],
    "squash, zoom70": ["squash", "zoom70"],
    "ends, centre": ["end0", "centre", "end1"],
    "squash, ends": ["squash", "end0", "end1"],
    "squash, ends, zoom70": ["squash", "end0", "end1", "zoom70"],
    "squash, corners": ["squash", "corner0", "corner1", "corner2", "corner3"],
    "squash, large corners": ["squash", "large0", "large1", "large2", "large3"],
    "centre, large corners": ["centre", "large0", "large1", "large2", "large3"],
    "squash, centre, zoom70": ["squash", "centre", "zoom70"],
    "squash, centre, corners": ["squash", "centre", *(f"corner{i}" for i in range(4))],
    "squash, zooms": ["squash", "zoom85", "zoom70", "zoom55"],
    "squash, zoom70, corners": ["squash", "zoom70", *(f"corner{i}" for i in range(4))],
    "all": list(list_boxes(4, 3)),
}
CHOSEN = ("centre, large corners", "surest")  # see README; what `crops` does
# How the crops' probabilities become one answer.
AVERAGES = {
    "mean": lambda probs: probs.mean(axis=1),
    "logits": lambda probs: _softmax(np.log(np.maximum(probs, 1e-9)).mean(axis=1)),
    "surest": lambda probs: probs[np.arange(len(probs)), probs.max(axis=2).argmax(axis=1)],
    "by sureness": lambda probs: _normalise((probs * probs.max(axis=2, keepdims=True) ** 4).sum(1)),
}


def _softmax(logits):
    return _normalise(np.exp(logits - logits.max(axis=1, keepdims=True)))


def _normalise(odds):
    return odds / odds.sum(axis=1, keepdims=True)


def ask(classifier, pictures):
    """Return probabilities (n, boxes, 10) for every box of `list_boxes`."""
    answers = []
    for picture in pictures:
        boxes = list_boxes(*picture.size)
        answers.append(classifier.predict_batch(cut_out(picture, list(boxes.values()))))
    return np.stack(answers)


def compare(probs, labels):
    """Measure all ways of cutting and averaging on the same pictures."""
    names = list(list_boxes(4, 3))
    rows = []
    for way, parts in WAYS.items():
        chosen = probs[:, [names.index(part) for part in parts]]
        for average, function in AVERAGES.items():
            if len(parts) > 1 or average == "mean":
                answer = function(chosen)
                rows.append({"crops": way, "average": average} | measure(answer, labels))
    return rows


def count_right(probs, labels):
    """Return accuracy with its interval."""
    right = int((probs.argmax(axis=1) == labels).sum())
    interval = [round(edge, 4) for edge in compute_wilson_interval(right, len(labels))]
    return {"accuracy": right / len(labels), "interval": interval}


def measure(probs, labels):
    """Return accuracy with its interval, and what a threshold fitted on these pictures does."""
    fitted = fit_calibration(labels, probs, COMPARED_AT)
    return count_right(probs, labels) | {
        "temperature": round(fitted.temperature, 4),
        "threshold": round(fitted.threshold, 4),
        "coverage": fitted.coverage,
    }


def in_class_order(prediction):
    """Return a prediction's probabilities in the order of `CLASS_NAMES`."""
    by_name = dict(zip(prediction.class_names, prediction.probs, strict=True))
    return [by_name[name] for name in CLASS_NAMES]


def ask_photos(classifier, folder):
    """Classify photographs as the classifier does; rows by folder."""
    rows = []
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        paths = sorted(path for path in kind.iterdir() if path.suffix.lower() != ".md")
        found = [classifier.predict(path) for path in paths]
        answered = [answer for answer in found if not answer.unsure]
        row = {"kind": kind.name, "n": len(found), "answered": len(answered)}
        if kind.name in CLASS_NAMES:
            row["right"] = sum(answer.label == kind.name for answer in found)
            row["right_of_answered"] = sum(answer.label == kind.name for answer in answered)
            pictures = [open_picture(path) for path in paths]
            label = CLASS_NAMES.index(kind.name)
            probs = ask(classifier, pictures)
            names = list(list_boxes(4, 3))
            row["right_by_crop"] = {
                name: int((probs[:, names.index(name)].argmax(axis=1) == label).sum())
                for name in ("squash", "centre", "letterbox")
            }
        rows.append(row)
    return rows


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder with one folder per class")
    parser.add_argument("--test", action="store_true", help="report on scenes of test images")
    parser.add_argument("--scenes", type=int, default=SCENES)
    options = parser.parse_args()
    data, classifier, card = load_dataset("cifar10"), Classifier.load(), read_card()
    report = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    report |= {"machine": detect_processor().name, "weights": card["sha256"][:12]}
    if options.photos:
        report["photos"] = ask_photos(classifier, options.photos)
        print(*report["photos"], sep="\n")
    elif options.test:
        scenes = list(make_scenes(data.test_images, options.scenes, seed=1))
        labels = data.test_labels[: len(scenes)]
        chosen = list(classifier.predict_many(scenes))
        probs = np.array([in_class_order(prediction) for prediction in chosen])
        names = list(list_boxes(4, 3))
        others = ask(classifier, scenes)
        report["test"] = {
            "chosen": count_right(probs, labels),
            "answers": measure_answers(labels, probs, classifier.photo_calibration.threshold),
        } | {
            name: count_right(others[:, names.index(name)], labels)
            for name in ("squash", "centre", "letterbox")
        }
        print(json.dumps(report["test"], indent=2))
    else:
        _, held_out = split_train_val(
            data.train_labels, card["recipe"]["val_fraction"], card["seed"]
        )
        rng = np.random.default_rng(0)
        held_out = rng.permutation(held_out)[: options.scenes]
        scenes = make_scenes(data.train_images[held_out], len(held_out), seed=0)
        rows = compare(ask(classifier, scenes), data.train_labels[held_out])
        report["validation"] = sorted(rows, key=lambda row: -row["accuracy"])
        for row in report["validation"]:
            print(
                f"{row['accuracy']:.2%} cov {row['coverage']:.1%} {row['crops']} ({row['average']})"
            )
    print("wrote", write_json(FILE, report).name)


if __name__ == "__main__":
    main()
