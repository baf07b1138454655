"""Put the best of some finished runs into the package, with its model card.

    python benchmarks/ship_weights.py RUN [RUN …]

Chooses by validation accuracy in the last epoch, fits the temperature on the images that the run
held out, and writes `cifar_utils/weights/RECIPE.npz` (float16), `.json` (the model card) and
`.md` (the same for people). The numbers of the card are those of the file that ships: evaluated in
float32, with the values that float16 kept. Refuses a run on the synthetic set, one without at least
5,000 images held out, and one whose accuracy float16 changes by more than 0.1 points.
"""

import sys

import numpy as np

from cifar_utils.calibration import ECE_BINS, apply_temperature, compute_ece, fit_temperature
from cifar_utils.checkpoints import read_history
from cifar_utils.errors import CifarError, RunError
from cifar_utils.evaluation import compute_metrics
from cifar_utils.files import relative_to_project, write_text
from cifar_utils.pretrained import WEIGHTS_DIR, read_card, save_pretrained
from cifar_utils.runs import find_run

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
        if info.get("status") != "done" or info["dataset"]["name"] != "cifar10" or held_out < 5_000:
            raise RunError(
                f"Run {run.name!r} is not a finished run on CIFAR-10 with 5,000 images held out."
            )
    return max(runs, key=lambda run: read_history(run)["val_accuracy"][-1])


def describe_calibration(labels, probs, temperature):
    """Return the calibration error of some predictions, before and after the temperature."""
    return {
        "ece_uncalibrated": round(compute_ece(labels, probs), 5),
        "ece": round(compute_ece(labels, apply_temperature(probs, temperature)), 5),
        "bins": ECE_BINS,
        "n": len(labels),
    }


def make_card(run, model):
    """Evaluate a model on the held-out and the test images, and describe it.

    Args:
        run: The run that it comes from.
        model: With the weights that will ship.

    Returns:
        The card, JSON-ready.
    """
    from cifar_utils.training import get_preprocessing, predict_probs
    from cifar_utils.tta import add_test_time_augmentation

    data, info = run.dataset, run.info
    _, val = get_preprocessing(run).split(data.train_labels)
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
    for key, network in (("plain", model), ("tta", add_test_time_augmentation(model))):
        probs_val = predict_probs(network, data.train_images[val])
        probs = predict_probs(network, data.test_images)
        temperature = fit_temperature(data.train_labels[val], probs_val)
        metrics = compute_metrics(data.test_labels, probs, data.class_names)
        card[key] = {
            "validation_accuracy": float((probs_val.argmax(1) == data.train_labels[val]).mean()),
            "test": metrics,
            "temperature": round(temperature, 4),
            "calibration": describe_calibration(data.test_labels, probs, temperature),
        }
    return card


def render_card(card):
    """Return the model card as Markdown."""
    data = card["data"]
    kind = (
        "the official archive"
        if data["official_archive"]
        else ("a copy that is not byte-identical to the official archive")
    )
    lines = [
        f"# Model card: `{card['name']}`",
        "",
        f"`load_pretrained({card['name']!r})` of `cifar_utils.pretrained`. Written by"
        " `benchmarks/ship_weights.py`.",
        "",
        f"- **Data:** {data['name']}, {kind} (`{data['fingerprint']}`);"
        f" {data['training_images']:,} images to learn from, {data['held_out']:,} held out.",
        f"- **Training:** recipe `{card['name']}`, seed {card['seed']},"
        f" {card['train_seconds']:,.0f} s on {card['trained_on']}."
        f" The best of {card['chosen_among']} by validation accuracy.",
        f"- **File:** {card['bytes']:,} bytes, float16, SHA-256 `{card['sha256']}`.",
        f"- **Licence:** {card['licence']}",
        "",
        "| | test accuracy (95 % interval) | temperature | calibration error, before and after |",
        "| --- | --- | --- | --- |",
    ]
    for key, title in (("plain", "one view"), ("tta", "six views")):
        part, accuracy = card[key], card[key]["test"]["accuracy"]
        calibration = part["calibration"]
        lines.append(
            f"| {title} | {accuracy['value']:.2%} ({accuracy['low']:.2%} to {accuracy['high']:.2%})"
            f" | {part['temperature']:.3f} | {calibration['ece_uncalibrated']:.2%},"
            f" {calibration['ece']:.2%} |"
        )
    lines += [
        "",
        f"n = {card['plain']['test']['n']:,} test images, which nothing was chosen by. The"
        " temperature was fitted on the held-out images; calibration error:"
        f" {card['plain']['calibration']['bins']} bins.",
        "",
        "**Limits**",
        "",
        *(f"- {limit}" for limit in card["limits"]),
        "",
    ]
    return "\n".join(lines)


def main(names):
    """Choose, evaluate, write."""
    from cifar_utils.training import load_model

    if not names:
        raise RunError("Name the runs to choose from: python benchmarks/ship_weights.py RUN …")
    run = choose_run([find_run(name) for name in names])
    print(f"best on validation: {run.name}")
    model = load_model(run)
    model.set_weights([np.float32(np.float16(weight)) for weight in model.get_weights()])
    card = make_card(run, model) | {"chosen_among": len(names)}
    before = run.read_json("metrics.json")["accuracy"]["value"]
    after = card["plain"]["test"]["accuracy"]["value"]
    if abs(after - before) > 1e-3:
        raise RunError(
            f"float16 takes the test accuracy from {before:.2%} to {after:.2%}, more than 0.1"
            " points: nothing was written."
        )
    path, _ = save_pretrained(card["name"], model.get_weights(), card)
    written = write_text(WEIGHTS_DIR / f"{path.stem}.md", render_card(read_card(path.stem)))
    print("wrote", relative_to_project(path), "and", relative_to_project(written))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CifarError as error:
        sys.exit(f"Error: {error}")
