"""Is `baseline` faster than the documented script, and why? Both side by side on this machine.

    python benchmarks/against_documented.py [ROUNDS]       # 1 round, about a quarter of an hour

In each round, in turn and in processes of their own: the documented script as it stands; the same
with oneDNN's kernels on (TensorFlow's default depends on the processor); `baseline`; and that
without each of what makes it faster. All train on the 50,000 training images, augmented, at batch
32; only epochs that saw every image count. (`baseline` has `deterministic` on, the script has not.)
Prints a table and writes `benchmarks/against_documented.json`. `documented_seconds` in it is 100
full epochs of the script with its validation pass, although under Keras 3 every second of its
epochs is nearly empty. Run it on an idle machine.
"""

import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
DOCUMENTED = "documented script"
BASELINE = "baseline"
# Name to the part that is taken out of `baseline`, and the environment that the process gets.
CONTENDERS = {
    DOCUMENTED: ("", {}),
    f"{DOCUMENTED}, oneDNN on": ("", {"TF_ENABLE_ONEDNN_OPTS": "1"}),
    BASELINE: ("", {}),
    f"{BASELINE} with the documented generator": ("generator", {}),
    f"{BASELINE} without oneDNN": ("", {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    f"{BASELINE} without fused batch normalisation": ("fused", {}),
    f"{BASELINE} with tf.data's autotuner": ("autotune", {}),
    f"{BASELINE} with one step per call": ("steps", {}),
}


def make_documented_generator():
    """Return the documented augmentation: SciPy, one image at a time."""
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    return ImageDataGenerator(
        rotation_range=15, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True
    )


def train_baseline(without):
    """Train `baseline` for two epochs, print each, and leave something out if asked to."""
    import dataclasses
    from contextlib import nullcontext
    from unittest import mock

    import numpy as np

    from cifar_utils.data import load_dataset
    from cifar_utils.data.preprocessing import Preprocessing
    from cifar_utils.models import documented as models
    from cifar_utils.runs.recipes import get_recipe
    from cifar_utils.training import batches
    from cifar_utils.training import loop as training

    recipe = get_recipe("baseline")
    if without == "steps":
        recipe = dataclasses.replace(recipe, steps_per_execution=1)
    plain = models.keras.layers.BatchNormalization
    patches = {
        "": nullcontext(),
        "steps": nullcontext(),
        "generator": nullcontext(),
        "fused": mock.patch.object(models, "FusedBatchNormalization", plain),
        "autotune": mock.patch.object(batches, "without_autotune", lambda dataset: dataset),
    }
    data = load_dataset("cifar10")
    with patches[without]:
        training.seed_everything(0, recipe.deterministic)
        source, stream = batches.make_source(
            data.train_images,
            np.asarray(data.train_labels),
            recipe.batch_size,
            Preprocessing.from_recipe(recipe, seed=0),
        )
        if without == "generator":
            stream = make_documented_generator().flow(
                data.train_images.astype("float32") / 255, source.targets, recipe.batch_size
            )
        model = training.compile_model(recipe, len(source))
        for epoch in range(2):
            start = time.perf_counter()
            model.fit(
                stream,
                epochs=epoch + 1,
                initial_epoch=epoch,
                shuffle=False,
                verbose=0,
                callbacks=[batches.FollowEpoch(source)],
            )
            seconds = round(time.perf_counter() - start, 2)
            images = int(model.optimizer.iterations) - epoch * len(source)
            images = min(images * recipe.batch_size, len(source.images))
            print(json.dumps({"images": images, "train_seconds": seconds}), flush=True)


def measure(name):
    """Run one contender in a process of its own; returns one dict per epoch."""
    without, changes = CONTENDERS[name]
    if name.startswith(DOCUMENTED):
        return run_script(name, "documented_script.py", changes=changes)
    return run_script(name, Path(__file__).name, ["train", without], changes)


def run_script(name, script, words=(), changes=None):
    """Run a script of this folder in a process of its own, or exit with what it said.

    Args:
        name: What is measured, for the message.
        script: The file's name.
        words: Its arguments.
        changes: Environment variables that the process gets, by name.

    Returns:
        One dict per line of JSON that it printed.
    """
    environment = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *words],
        env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3", **(changes or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def describe_machine():
    """Return the processor's name, its cores and its features, as text."""
    from cifar_utils.runs.machine import detect_processor

    processor = detect_processor()
    return f"{processor.name}, {processor.cores} cores, {', '.join(processor.features)}"


def describe_trainer():
    """Return the same of what Keras trains on: with the GPU and the backend, if not the usual."""
    from cifar_utils.backend import keras
    from cifar_utils.runs.machine import detect_processor
    from cifar_utils.training.loop import describe_device

    device, backend = describe_device(), keras.backend.backend()
    unusual = [device] if device != detect_processor().name else []
    unusual += [backend] if backend != "tensorflow" else []
    return ", ".join([describe_machine(), *unusual])


def summarise(rounds):
    """Return per contender its medians over the epochs that saw every image, and the ratios."""
    summary = {}
    for name, measured in rounds.items():
        epochs = [epoch for one in measured for epoch in one]
        most = max(epoch["images"] for epoch in epochs)
        full = [epoch for epoch in epochs if epoch["images"] == most]
        seconds = statistics.median(epoch["train_seconds"] for epoch in full)
        row = {"images_per_second": round(most / seconds), "n": len(full), "images": most}
        whole = [epoch["epoch_seconds"] for epoch in full if "epoch_seconds" in epoch]
        if whole:
            row["epoch_seconds"] = round(statistics.median(whole), 2)
        summary[name] = row
    reference = summary[DOCUMENTED]["images_per_second"]
    for row in summary.values():
        row["ratio_to_documented"] = round(row["images_per_second"] / reference, 2)
    return summary


def main():
    """Measure all contenders in turn, and write the file."""
    if sys.argv[1:2] == ["train"]:
        train_baseline(sys.argv[2])
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    rounds = {name: [] for name in CONTENDERS}
    for number in range(1, count + 1):
        for name, measured in rounds.items():
            measured.append(measure(name))
            print(f"round {number}: {name}: {measured[-1]}", flush=True)
    summary = summarise(rounds)
    for name, row in summary.items():
        print(
            f"{name:52} {row['images_per_second']:6,} images/s  {row['ratio_to_documented']:.2f} x"
        )
    from cifar_utils.paths import write_json

    result = {
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(),
        "versions": {name: metadata.version(name) for name in ("tensorflow-cpu", "keras")},
        "documented_seconds": round(100 * summary[DOCUMENTED]["epoch_seconds"]),
        "summary": summary,
        "rounds": rounds,
    }
    write_json(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()
