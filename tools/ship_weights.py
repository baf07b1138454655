"""Put the best of some finished runs into the package, with its model card.

    python tools/ship_weights.py RUN [RUN …]

Chooses by validation accuracy in the last epoch, fits temperature and threshold on the images that
the run held out, and writes into `inference/weights/`: `RECIPE.npz` (the weights in float16, for
Keras), `.tflite` (the same network exported, for the classifier), `.json` (the model card) and
`.md` (the same for people). The numbers of the card are those of the exported file: float32, with
the values that float16 kept. Refuses a run on the synthetic set, one with fewer than 2,000 images
held out, one whose accuracy float16 changes by more than 0.1 points, and one whose exported file
has 10 MB or more.
"""

import dataclasses
import hashlib
import sys
import tempfile
from pathlib import Path

import numpy as np

from cifar_utils.errors import CifarError, ModelError, RunError
from cifar_utils.evaluation import (
    VIEWS,
    apply_temperature,
    compute_ece,
    compute_metrics,
    measure_answers,
)
from cifar_utils.evaluation.calibration import ECE_BINS
from cifar_utils.inference import Classifier
from cifar_utils.inference.engines import LiteRTEngine
from cifar_utils.inference.pretrained import WEIGHTS_DIR, read_card
from cifar_utils.inference.sources import ModelSource
from cifar_utils.paths import atomic_path, relative_to_project, write_json, write_text
from cifar_utils.runs import find_run, read_history, read_preprocessing
from cifar_utils.runs.machine import count_cores

# One is made of each of so many held-out images, for the calibration of photographs. A temperature
# and a threshold need no more, either.
SCENES = 2000
MOST_BYTES = 10_000_000  # of an exported file that everyone who installs the package loads
LIMITS = (
    "Ten classes only: whatever the picture shows, the answer is one of them.",
    "Trained on 32x32 thumbnails with the object in the middle; photographs are harder.",
    "The data has a handful of wrong labels and few pictures of unusual kinds of each class.",
    "Not for decisions about people or for anything where a mistake does harm.",
)


def choose_run(runs):
    """Return the run with the highest validation accuracy in its last epoch."""
    for run in runs:
        info = run.info
        held_out = info.get("recipe", {}).get("val_fraction", 0) * 50_000
        done = info.get("status") == "done" and info["dataset"]["name"] == "cifar10"
        if not done or held_out < SCENES:
            raise RunError(
                f"Run {run.name!r} is not a finished run on CIFAR-10 with"
                f" {SCENES:,} images held out. Train one with -p val_fraction 0.04 or more."
            )
    return max(runs, key=lambda run: read_history(run)["val_accuracy"][-1])


def make_card(run, engine):
    """Evaluate a run's network by the engine of its exported file; returns the card."""
    from cifar_utils.inference.export import fit_calibrations

    data, info = run.dataset, run.info
    _, val = read_preprocessing(run).split(data.train_labels)
    card = {
        "name": info["recipe"]["name"],
        "data": {
            "name": data.title,
            "fingerprint": data.fingerprint,
            "official_archive": info["dataset"]["official"],
            "training_images": len(data.train_labels) - len(val),
            "held_out": len(val),
        },
        "run": run.name,
        "seed": info["seed"],
        "trained_on": f"{info['device']}, {info['threads']} threads, {info['precision']}",
        "train_seconds": info["seconds"]["training"],
        "versions": info["versions"],
        "recipe": info["recipe"],
        "licence": "MIT, as the package. CIFAR-10: Krizhevsky, 2009; no licence is stated for it.",
        "limits": list(LIMITS),
    }
    held_out = data.train_labels[val]
    fits = fit_calibrations(engine, data.train_images[val], held_out, SCENES)
    classifier = Classifier(engine, ModelSource(Path(), {}, "fitting", calibration=fits))
    card |= {"views": {}, "photo": dataclasses.asdict(fits["photo"])}
    for kind in VIEWS:
        probs_val = classifier.compute_probs(data.train_images[val], kind)
        probs = classifier.compute_probs(data.test_images, kind)
        fitted = fits[kind]
        calibrated = apply_temperature(probs, fitted.temperature)
        card["views"][kind] = {
            "validation_accuracy": float((probs_val.argmax(1) == held_out).mean()),
            "calibration": dataclasses.asdict(fitted),
            "test": compute_metrics(data.test_labels, probs, data.class_names),
            "test_ece_uncalibrated": round(compute_ece(data.test_labels, probs), 5),
            "test_ece": round(compute_ece(data.test_labels, calibrated), 5),
            "ece_bins": ECE_BINS,
            "test_answers": measure_answers(data.test_labels, calibrated, fitted.threshold),
        }
    return card


def save_pretrained(name, weights, card, folder=WEIGHTS_DIR):
    """Write weights, in the order of `model.get_weights()`, and their card; returns the paths.

    Raises:
        ModelError: If a value does not survive float16.
    """
    with np.errstate(over="ignore"):  # told below
        halves = [np.asarray(array).astype(np.float16) for array in weights]
    if not all(np.isfinite(half).all() for half in halves):
        raise ModelError("A weight is NaN or too large for float16 (65,504): nothing was written.")
    path = Path(folder) / f"{name}.npz"
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **{f"w{i}": half for i, half in enumerate(halves)})
    content = path.read_bytes()
    added = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return path, write_json(path.with_suffix(".json"), card | added)


def describe_file(name, content):
    """Return name, size and SHA-256 of a file."""
    return {"file": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def render_card(card):
    """Return the model card as Markdown."""
    data = card["data"]
    official = data["official_archive"]
    kind = "the" if official else "a copy that is not byte-identical to the"
    lines = [
        f"# Model card: `{card['name']}`",
        "",
        f"`load_pretrained({card['name']!r})` of `cifar_utils.inference.pretrained`. Written by"
        " `tools/ship_weights.py`.",
        "",
        f"- **Data:** {data['name']}, {kind} official archive (`{data['fingerprint']}`);"
        f" {data['training_images']:,} training images, {data['held_out']:,} held out.",
        f"- **Training:** recipe `{card['name']}`, seed {card['seed']},"
        f" {card['train_seconds']:,.0f} s on {card['trained_on']}."
        f" The best of {card['chosen_among']} by validation accuracy.",
        f"- **Files:** `{card['name']}.npz`, {card['bytes']:,} bytes, float16, SHA-256"
        f" `{card['sha256']}`; `{card['exported']['file']}`, the same network exported,"
        f" {card['exported']['bytes']:,} bytes, SHA-256 `{card['exported']['sha256']}`.",
        f"- **Licence:** {card['licence']}",
        "",
        "| views | test accuracy (95 % interval) | calibration error, before and after |"
        " temperature | confident from | confident | of these correct |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, part in card["views"].items():
        accuracy, answers = part["test"]["accuracy"], part["test_answers"]
        fitted = part["calibration"]
        lines.append(
            f"| {kind} | {accuracy['value']:.2%} ({accuracy['low']:.2%} to {accuracy['high']:.2%})"
            f" | {part['test_ece_uncalibrated']:.2%}, {part['test_ece']:.2%}"
            f" | {fitted['temperature']:.3f} | {fitted['threshold']:.1%}"
            f" | {answers['coverage']:.1%} | {answers['accuracy']:.2%} |"
        )
    one, photo = card["views"]["one"], card["photo"]
    lines += [
        "",
        f"n = {one['test']['n']:,} test images; nothing was chosen by them. Temperature and"
        " threshold (the probability from which on a prediction is called confident) were fitted on"
        f" the {one['calibration']['n']:,} images held out; calibration error with"
        f" {one['ece_bins']} bins. The classifier's default is `mirrored`: the image and, where"
        " that leaves doubt, its mirror image. Photographs get a further temperature of"
        f" {photo['temperature']:.2f} on the surest of five crops, and are confident from"
        f" {photo['threshold']:.1%}: fitted on {photo['n']:,} scenes made of the images held out,"
        f" of which {photo['coverage']:.0%} are confident and {photo['accuracy']:.1%} of these"
        " correct.",
        "",
        "**Limits**",
        "",
        *(f"- {limit}" for limit in card["limits"]),
        "",
    ]
    return "\n".join(lines)


def main(names):
    """Choose, evaluate, write."""
    from cifar_utils.inference.export import write_model
    from cifar_utils.inference.sources import load_keras_model

    if not names:
        raise RunError("Name the runs to choose from: python tools/ship_weights.py RUN …")
    run = choose_run([find_run(name) for name in names])
    print(f"best on validation: {run.name}")
    model = load_keras_model(run.path("model.keras"))
    model.set_weights([np.float32(np.float16(weight)) for weight in model.get_weights()])
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder, f"{run.info['recipe']['name']}.tflite")
        write_model(model, exported, "tflite", half=True)
        content = exported.read_bytes()
        if len(content) >= MOST_BYTES:
            raise RunError(f"{exported.name} has {len(content):,} bytes: too many to ship.")
        card = make_card(run, LiteRTEngine(exported, count_cores()))
    card |= {"chosen_among": len(names), "exported": describe_file(exported.name, content)}
    before = run.read_json("metrics.json")["accuracy"]["value"]
    after = card["views"]["one"]["test"]["accuracy"]["value"]
    if abs(after - before) > 1e-3:
        raise RunError(
            f"float16 takes the test accuracy from {before:.2%} to {after:.2%}, more than 0.1"
            " points: nothing was written."
        )
    with atomic_path(WEIGHTS_DIR / exported.name) as temporary:
        temporary.write_bytes(content)
    path, _ = save_pretrained(card["name"], model.get_weights(), card)
    written = write_text(WEIGHTS_DIR / f"{path.stem}.md", render_card(read_card(path.stem)))
    print("wrote", relative_to_project(path), "and", relative_to_project(written))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CifarError as error:
        sys.exit(f"Error: {error}")
