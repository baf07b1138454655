"""Which parts of a photograph should the network be given, and how many does it get right?

    python benchmarks/photographs.py                        # validation images; about four minutes
    python benchmarks/photographs.py --test                 # once, after the choice
    python benchmarks/photographs.py --photos FOLDER        # FOLDER/CLASS/*.jpg and FOLDER/none/*
    python benchmarks/photographs.py --others               # images of none of the ten classes

In photographs the object is anywhere, and one part of a larger scene. So images that the shipped
network was not trained on are enlarged and laid at a random place and size into scenes of usual
proportions, whose ground is a blur of the image itself or of another one. All ways to crop are
tried on the same scenes. The choice is made on the validation images; `--test` reports the chosen
one, and those that users of the original system would try, on scenes made of test images.
`--others` counts confident predictions of images that show no class: pieces of scikit-image's own
photographs and textures, handwritten digits, rendered text, patterns (needs `pip install
scikit-image`). Writes `benchmarks/photographs.json`; the shipped weights must be CIFAR-10's.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cifar_utils.data import CLASS_NAMES, load_dataset
from cifar_utils.data.preprocessing import split_train_val
from cifar_utils.evaluation import (
    compute_wilson_interval,
    fit_calibration,
    make_scenes,
    measure_answers,
)
from cifar_utils.inference import Classifier
from cifar_utils.inference.crops import cut_out, square_at
from cifar_utils.inference.pretrained import read_card
from cifar_utils.paths import write_json
from cifar_utils.runs.machine import detect_processor

FILE = Path(__file__).with_suffix(".json")
SCENES = 2000
COMPARED_AT = 0.95  # of confident predictions; most ways have none at what ships
CORNERS = [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
# Of scikit-image: photographs of things, surfaces and people. Its cat is one of the classes.
PHOTOGRAPHS = "astronaut coffee coins hubble_deep_field ihc moon retina rocket motorcycle_left page"
TEXTURES = "brick grass gravel"
PIECE = 128  # pixels
WORDS = "the quick brown fox jumps over the lazy dog 0123456789 Lorem ipsum dolor sit amet".split()


def list_boxes(width, height):
    """Return every box that some way to crop uses, by name."""
    side = max(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    boxes = {"squash": (0, 0, width, height), "letterbox": (left, top, left + side, top + side)}
    boxes["centre"] = square_at(width, height, (0.5, 0.5))
    for name, zoom in (("corner", 0.7), ("large", 0.85)):
        for i, place in enumerate(CORNERS):
            boxes[f"{name}{i}"] = square_at(width, height, place, zoom)
    return boxes


BOXES = list(list_boxes(4, 3))
WAYS = {
    **{name: [name] for name in ("squash", "centre", "letterbox")},
    "squash, centre": ["squash", "centre"],
    "squash, corners": ["squash", *BOXES[3:7]],
    "squash, large corners": ["squash", *BOXES[7:]],
    "centre, large corners": ["centre", *BOXES[7:]],
}
# How the crops' probabilities (n, crops, 10) become one prediction.
AVERAGES = {
    "mean": lambda probs: probs.mean(axis=1),
    "surest": lambda probs: probs[np.arange(len(probs)), probs.max(axis=2).argmax(axis=1)],
}
CHOSEN = ("centre, large corners", "surest")  # what `crops` does
SIMPLE = ("squash", "centre", "letterbox")


def predict_boxes(classifier, photos):
    """Return probabilities (n, boxes, 10) for every box of `list_boxes`."""
    found = [
        classifier.predict_batch(cut_out(photo, list(list_boxes(*photo.size).values())))
        for photo in photos
    ]
    return np.stack(found)


def count_correct(probs, labels):
    """Return accuracy with its interval."""
    correct = int((probs.argmax(axis=1) == labels).sum())
    interval = [round(edge, 4) for edge in compute_wilson_interval(correct, len(labels))]
    return {"accuracy": correct / len(labels), "interval": interval}


def compare(probs, labels):
    """Measure all ways to crop and to average on the same photos, the best first."""
    rows = []
    for way, parts in WAYS.items():
        for average, function in AVERAGES.items():
            if len(parts) > 1 or average == "mean":
                averaged = function(probs[:, [BOXES.index(part) for part in parts]])
                fitted = fit_calibration(labels, averaged, COMPARED_AT)
                row = {"crops": way, "average": average} | count_correct(averaged, labels)
                rows.append(row | {"coverage": fitted.coverage})
    return sorted(rows, key=lambda row: -row["accuracy"])


def measure_validation(classifier, data, count):
    """Compare all ways on scenes made of the images that the shipped network was not given."""
    card = read_card()
    _, held_out = split_train_val(data.train_labels, card["recipe"]["val_fraction"], card["seed"])
    held_out = np.random.default_rng(0).permutation(held_out)[:count]
    scenes = make_scenes(data.train_images[held_out], len(held_out), seed=0)
    return compare(predict_boxes(classifier, scenes), data.train_labels[held_out])


def measure_test(classifier, data, count):
    """Measure the chosen way and the simple ones on scenes made of test images."""
    scenes = list(make_scenes(data.test_images, count, seed=1))
    labels, boxes = data.test_labels[: len(scenes)], predict_boxes(classifier, scenes)
    probs = [
        [dict(zip(one.class_names, one.probs, strict=True))[name] for name in CLASS_NAMES]
        for one in classifier.predict_many(scenes)
    ]
    threshold = classifier.photo_calibration.threshold
    return {
        "chosen": count_correct(np.array(probs), labels),
        "answers": measure_answers(labels, np.array(probs), threshold),
    } | {name: count_correct(boxes[:, BOXES.index(name)], labels) for name in SIMPLE}


def measure_photos(classifier, folder):
    """Classify photographs; one row per folder, which names their class."""
    rows = []
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        found = list(
            classifier.predict_many(sorted(p for p in kind.iterdir() if p.suffix != ".md"))
        )
        confident = [one for one in found if not one.unsure]
        row = {"kind": kind.name, "n": len(found), "answered": len(confident)}
        if kind.name in CLASS_NAMES:
            row["right"] = sum(one.label == kind.name for one in found)
            row["right_of_answered"] = sum(one.label == kind.name for one in confident)
        rows.append(row)
    return rows


# ---------- images of none of the ten classes -----------------------------------------------------


def cut_pieces(names):
    """Cut scikit-image's own images into squares that do not overlap."""
    import skimage.data

    for name in names.split():
        image = Image.open(next(Path(skimage.data.__file__).parent.glob(f"{name}.*")))
        for top in range(0, image.height - PIECE + 1, PIECE):
            for left in range(0, image.width - PIECE + 1, PIECE):
                yield image.convert("RGB").crop((left, top, left + PIECE, top + PIECE))


def draw_text(count, rng):
    """Draw words in two colours."""
    for _ in range(count):
        ground, ink = (tuple(int(v) for v in rng.integers(0, 256, 3)) for _ in range(2))
        image = Image.new("RGB", (160, 160), ground)
        draw = ImageDraw.Draw(image)
        for line in range(4):
            words = " ".join(rng.choice(WORDS, 3))
            draw.text((6, 8 + 38 * line), words, ink, font_size=int(rng.integers(14, 32)))
        yield image


def draw_digits():
    """Return scikit-learn's handwritten digits, enlarged."""
    from sklearn.datasets import load_digits

    for digit in load_digits().images[::4]:
        image = Image.fromarray(np.uint8(255 - digit * 15.9))
        yield image.resize((96, 96), Image.Resampling.BICUBIC).convert("RGB")


def draw_patterns(count, rng):
    """Draw plain colours, gradients, stripes and noise in turn."""
    y, x = np.mgrid[:96, :96]
    for number in range(count):
        a, b = rng.integers(0, 256, (2, 3))
        stripes = ((x * np.cos(number) + y * np.sin(number)) // 8) % 2
        share = (np.zeros((96, 96)), (x + y) / 190, stripes, rng.random((96, 96)))[number % 4]
        yield Image.fromarray(np.uint8(a + (b - a) * share[..., None]))


def measure_others(classifier):
    """Count the confident predictions of images of none of the classes, by kind."""
    rng = np.random.default_rng(0)
    kinds = {
        "photographs, cut into pieces": cut_pieces(PHOTOGRAPHS),
        "textures, cut into pieces": cut_pieces(TEXTURES),
        "handwritten digits": draw_digits(),
        "rendered text": draw_text(200, rng),
        "colours, gradients, stripes, noise": draw_patterns(200, rng),
    }
    return {kind: count_confident(classifier, images) for kind, images in kinds.items()}


def count_confident(classifier, images):
    """Return how many images there are, how many get a confident prediction, and which."""
    found = list(classifier.predict_many(images))
    labels = [one.label for one in found if not one.unsure]
    return {
        "n": len(found),
        "confident": len(labels),
        "interval": [round(v, 4) for v in compute_wilson_interval(len(labels), len(found))],
        "answers": {name: labels.count(name) for name in sorted(set(labels))},
    }


def main():
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder with one folder per class, and none")
    parser.add_argument("--test", action="store_true", help="report on scenes of test images")
    parser.add_argument("--others", action="store_true", help="images of none of the ten classes")
    parser.add_argument("--scenes", type=int, default=SCENES)
    options = parser.parse_args()
    classifier = Classifier.load()
    report = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    report |= {"machine": detect_processor().name, "weights": read_card()["sha256"][:12]}
    if options.photos:
        part, found = "photos", measure_photos(classifier, options.photos)
    elif options.others:
        part, found = "others", measure_others(classifier)
    elif options.test:
        part, found = "test", measure_test(classifier, load_dataset("cifar10"), options.scenes)
    else:
        data = load_dataset("cifar10")
        part, found = "validation", measure_validation(classifier, data, options.scenes)
    print(json.dumps(found, indent=2))
    print("wrote", write_json(FILE, report | {part: found}).name)


if __name__ == "__main__":
    main()
