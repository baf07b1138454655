"""What does the classifier say about pictures that show none of its ten classes?

    python benchmarks/none_of_the_classes.py --photos FOLDER     # FOLDER/*.jpg: of no class
    python benchmarks/none_of_the_classes.py --left-out cat truck   # trains; two minutes each

It can only answer with one of the ten, or call itself unsure. Counts how many of each kind get a
confident answer: photographs; pieces of scikit-image's own pictures (without its cat); handwritten
digits; rendered text; textures; noise and plain colours. `--left-out` trains `quick` on nine
classes, on CIFAR-10, and asks about the test images of the tenth. Writes
`benchmarks/none_of_the_classes.json`. Needs scikit-image (pip install scikit-image).
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cifar_utils.data import CLASS_NAMES, load_dataset
from cifar_utils.evaluation.metrics import compute_wilson_interval
from cifar_utils.inference.classifier import Classifier
from cifar_utils.paths import write_json

FILE = Path(__file__).with_suffix(".json")
# Of scikit-image's pictures: photographs of things, surfaces and people. Its cat is a class.
PHOTOGRAPHS = "astronaut coffee coins hubble_deep_field ihc moon retina rocket motorcycle_left page"
TEXTURES = "brick grass gravel"
PIECE = 128  # pixels
WORDS = "the quick brown fox jumps over the lazy dog 0123456789 Lorem ipsum dolor sit amet".split()


def load_skimage(name):
    """Return one of scikit-image's own pictures."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return Image.open(next(folder.glob(f"{name}.*"))).convert("RGB")


def cut_pieces(names):
    """Cut pictures into squares that do not overlap."""
    for picture in map(load_skimage, names.split()):
        for top in range(0, picture.height - PIECE + 1, PIECE):
            for left in range(0, picture.width - PIECE + 1, PIECE):
                yield picture.crop((left, top, left + PIECE, top + PIECE))


def draw_text(count, rng):
    """Draw words in two colours."""
    for _ in range(count):
        ground, ink = (tuple(int(v) for v in rng.integers(0, 256, 3)) for _ in range(2))
        picture = Image.new("RGB", (160, 160), ground)
        draw = ImageDraw.Draw(picture)
        for line in range(4):
            words = " ".join(rng.choice(WORDS, 3))
            draw.text((6, 8 + 38 * line), words, ink, font_size=int(rng.integers(14, 32)))
        yield picture


def draw_digits():
    """Return scikit-learn's handwritten digits, enlarged."""
    from sklearn.datasets import load_digits

    for digit in load_digits().images[::4]:
        picture = Image.fromarray(np.uint8(255 - digit * 15.9))
        yield picture.resize((96, 96), Image.Resampling.BICUBIC).convert("RGB")


def draw_patterns(count, rng):
    """Draw plain colours, gradients, stripes and noise in turn."""
    y, x = np.mgrid[:96, :96]
    for number in range(count):
        a, b = rng.integers(0, 256, (2, 3))
        share = (
            np.zeros((96, 96)),
            (x + y) / 190,
            ((x * np.cos(number) + y * np.sin(number)) // 8) % 2,
            rng.random((96, 96)),
        )[number % 4]
        yield Image.fromarray(np.uint8(a + (b - a) * share[..., None]))


def count_confident(classifier, pictures):
    """Return how many pictures there are and how many get a confident answer, and which."""
    found = list(classifier.predict_many(pictures))
    confident = [answer.label for answer in found if not answer.unsure]
    names, counts = np.unique(confident, return_counts=True)
    return {
        "n": len(found),
        "confident": len(confident),
        "share": round(len(confident) / len(found), 4),
        "interval": [round(v, 4) for v in compute_wilson_interval(len(confident), len(found))],
        "answers": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
    }


def leave_out(label):
    """Train `quick` on nine classes of CIFAR-10 and ask about the tenth."""
    from cifar_utils.runs.run import Run
    from cifar_utils.runs.store import create_run
    from cifar_utils.training.loop import train

    whole = load_dataset("cifar10")
    known = whole.train_labels != CLASS_NAMES.index(label)
    nine = dataclasses.replace(
        whole, train_images=whole.train_images[known], train_labels=whole.train_labels[known]
    )
    name = f"without-{label}"
    run = Run(create_run(name, {"recipe": "quick", "dataset": "cifar10", "seed": 0}).dir)
    run.dataset = nine
    run.start_stage("03_training")
    train(run)
    run.finish_stage()
    classifier = Classifier.load(run.dir)
    unknown = whole.test_labels == CLASS_NAMES.index(label)
    return {
        "unknown": count_confident(classifier, whole.test_images[unknown]),
        "known": count_confident(classifier, whole.test_images[~unknown][:2000]),
        "threshold": classifier.calibration.threshold,
    }


def main():
    """Count, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photographs of no class")
    parser.add_argument("--left-out", nargs="+", metavar="CLASS", choices=CLASS_NAMES)
    options = parser.parse_args()
    report = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    if options.left_out:
        for label in options.left_out:
            report.setdefault("left_out", {})[label] = leave_out(label)
            print(label, report["left_out"][label])
            write_json(FILE, report)  # each takes minutes
    else:
        rng, classifier = np.random.default_rng(0), Classifier.load()
        kinds = {
            "photographs, cut into pieces": cut_pieces(PHOTOGRAPHS),
            "textures, cut into pieces": cut_pieces(TEXTURES),
            "handwritten digits": draw_digits(),
            "rendered text": draw_text(200, rng),
            "colours, gradients, stripes, noise": draw_patterns(200, rng),
        }
        if options.photos:
            kinds = {"photographs": sorted(options.photos.glob("*.jpg"))} | kinds
        report["kinds"] = {k: count_confident(classifier, list(v)) for k, v in kinds.items()}
        report["threshold"] = classifier.calibration.threshold
        for kind, row in report["kinds"].items():
            print(f"{kind}: {row['confident']} of {row['n']} ({row['share']:.0%}) {row['answers']}")
    print("wrote", write_json(FILE, report).name)


if __name__ == "__main__":
    main()
