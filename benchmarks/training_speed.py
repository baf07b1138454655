"""How fast does each recipe train, compared with the original script and with PyTorch?

    python benchmarks/training_speed.py [ROUNDS]       # 1 round, about 8 minutes on two cores

In each round, in turn and in processes of their own: the original script, two full epochs with
their validation pass; the training steps of each recipe at each of its image sizes, from uint8
images through augmentation to updated weights; where PyTorch is installed, the fast network's in
eager PyTorch, on images augmented beforehand (`benchmarks/torch_fast_network.py`); and a large
matrix product, the most that the processor gives. First steps, which compile, are not timed. Prints
a table and writes `benchmarks/training_speed.json`. Run it on an idle machine.
"""

import dataclasses
import datetime
import importlib.util
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

ORIGINAL, PEAK, TORCH = "original script", "matrix product", ", PyTorch"
SECONDS = 10.0  # for how long each contender is measured at each image size, two steps at least
SKIPPED_CALLS = 2  # at each size: the first ones compile and set up
MATRIX_SIDE = 4096  # 67 MB in float32: more than the caches hold
PACKAGES = ("tensorflow-cpu", "tensorflow", "keras", "numpy", "torch")

# ---------- what a process measures ---------------------------------------------------------------


def measure_peak():
    """Yield one dict per number format: `precision` and the fastest product's `gflops`."""
    from cifar_utils.backend import keras  # before TensorFlow: it switches oneDNN's kernels on
    from cifar_utils.runs.machine import detect_processor

    import tensorflow as tf  # isort: skip

    keras.utils.set_random_seed(0)
    for precision in ("float32", "bfloat16")[: 1 + detect_processor().bf16]:
        matrix = tf.cast(tf.random.normal((MATRIX_SIDE, MATRIX_SIDE)), precision)
        times = []
        for _ in range(6):  # the first one sets things up
            start = time.perf_counter()
            float(tf.matmul(matrix, matrix)[0, 0])  # waits for the result
            times.append(time.perf_counter() - start)
        gflops = 2 * MATRIX_SIDE**3 / min(times[1:]) / 1e9
        yield {"precision": precision, "gflops": round(gflops, 1)}


def time_recipe(recipe, images, labels, epochs, seconds):
    """Yield one dict per image size: `size`, `images` and the `seconds` that they took.

    Args:
        recipe: A `runs.Recipe`.
        images, labels: What is learnt from: uint8 (n, 32, 32, 3), and their classes.
        epochs: An epoch of each image size, from 0, by size.
        seconds: For how long to train each, two calls at least.
    """
    from short_training import prepare

    from cifar_utils.backend import keras
    from cifar_utils.training import FollowEpoch

    model, batches = prepare(recipe, images, labels)
    for size, epoch in epochs.items():
        marks = []  # images so far and the time, at the end of each call of one or more steps

        def mark(step, logs=None, marks=marks):
            done = min((step + 1) * recipe.batch_size, len(images))
            marks.append((done, time.perf_counter()))
            timed = marks[SKIPPED_CALLS - 1 :]
            if len(timed) > 2 and timed[-1][1] - timed[0][1] >= seconds:
                model.stop_training = True

        model.fit(
            batches.stream(),
            epochs=epoch + 1,
            initial_epoch=epoch,
            shuffle=False,
            verbose=0,
            callbacks=[
                FollowEpoch(batches),
                keras.callbacks.LambdaCallback(on_train_batch_end=mark),
            ],
        )
        (before, start), *_, (after, end) = marks[SKIPPED_CALLS - 1 :]
        yield {"size": size, "images": after - before, "seconds": round(end - start, 3)}


def measure_recipe(name):
    """Yield what `time_recipe` does for CIFAR-10, and `precision` and `epoch_images`."""
    from cifar_utils.data import load_dataset
    from cifar_utils.data.preprocessing import Preprocessing, spread_sizes
    from cifar_utils.runs import get_recipe
    from cifar_utils.training import choose_precision

    recipe, data = get_recipe(name.removesuffix(TORCH)), load_dataset("cifar10")
    # What "auto" is found out to be, once: another backend measures it.
    recipe = dataclasses.replace(recipe, precision=choose_precision(recipe.precision))
    part, _ = Preprocessing.from_recipe(recipe, seed=0).split(data.train_labels)
    sizes = spread_sizes(recipe.sizes, recipe.epochs)
    time_it = time_recipe
    if name.endswith(TORCH):
        from torch_fast_network import time_recipe as time_it
    common = {"precision": recipe.precision, "epoch_images": len(part)}
    epochs = {size: sizes.index(size) for size in sizes}
    for row in time_it(recipe, data.train_images[part], data.train_labels[part], epochs, SECONDS):
        yield row | common


# ---------- what the numbers mean -----------------------------------------------------------------


def count_flops(recipe, size):
    """Count what one training image costs in a recipe's convolutions and dense layers.

    Forward, the gradient of the weights where they are trained, and that of the inputs where
    something before them is trained: three times the forward pass, less what is never computed.
    Normalisation, activations, pooling and the optimizer are left out: a few percent. A
    multiplication and an addition are two operations.
    """
    from cifar_utils import models

    total, trained_before, shape = 0, False, (1, size, size, 3)
    for layer in models.build(recipe).layers:
        shape = layer.compute_output_shape(shape)
        trained = bool(layer.trainable_weights)
        if hasattr(layer, "kernel"):
            places = math.prod(shape[1:-1])  # of a map; 1 for a dense layer
            passes = 1 + trained + trained_before
            total += passes * 2 * math.prod(layer.kernel.shape) * places
        trained_before |= trained
    return total


def summarise(rounds):
    """Return `(peak, rows)`: GFLOP/s by number format, and one row per contender and image size."""
    import original_script

    from cifar_utils.runs import get_recipe

    peak, rows = {}, []
    for row in itertools.chain.from_iterable(rounds[PEAK]):
        peak[row["precision"]] = max(row["gflops"], peak.get(row["precision"], 0))
    for name in [ORIGINAL, *(name for name in rounds if name not in (PEAK, ORIGINAL))]:
        found = list(itertools.chain.from_iterable(rounds[name]))
        if name == ORIGINAL:
            row = {"contender": name, "size": 32, "precision": "float32"}
            row |= original_script.summarise(found)
            del row["documented_seconds"]
            rows.append(row)
            continue
        for size in dict.fromkeys(row["size"] for row in found):
            own = [row for row in found if row["size"] == size]
            speed = statistics.median(row["images"] / row["seconds"] for row in own)
            row = {"contender": name, "size": size}
            row |= {key: own[0][key] for key in ("precision", "epoch_images")}
            row["images_per_second"] = round(speed, 1)
            row["epoch_seconds"] = round(row["epoch_images"] / speed, 2)
            rows.append(row | {"n": len(own)})
    for row in rows:
        name = "baseline" if row["contender"] == ORIGINAL else row["contender"].removesuffix(TORCH)
        speed, flops = row["images_per_second"], count_flops(get_recipe(name), row["size"])
        row["ratio_to_documented"] = round(speed / rows[0]["images_per_second"], 2)
        row["flops_per_image"] = flops
        row["share_of_peak"] = round(speed * flops / 1e9 / peak[row["precision"]], 3)
    return peak, rows


# ---------- the whole -----------------------------------------------------------------------------


def list_contenders():
    """Return all contenders, in turn; PyTorch's only where it is installed."""
    from cifar_utils.runs import RECIPES

    names = [PEAK, ORIGINAL, *RECIPES]
    if importlib.util.find_spec("torch"):
        names += [f"{name}{TORCH}" for name, own in RECIPES.items() if own.network == "fast"]
    return names


def measure(name):
    """Measure one contender in a process of its own; returns one dict per line that it prints."""
    # PyTorch's process imports our package without TensorFlow.
    backend = "torch" if name.endswith(TORCH) else "tensorflow"
    script, word = ("original_script", "print") if name == ORIGINAL else ("training_speed", name)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(f"{script}.py")), word],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main(word="1"):
    """Measure all contenders in turn, and write the file; or one alone, by its name."""
    if not word.isdigit():
        for row in measure_peak() if word == PEAK else measure_recipe(word):
            print(json.dumps(row), flush=True)
        return
    from original_script import describe_machine

    from cifar_utils.paths import write_json

    rounds, load = {name: [] for name in list_contenders()}, round(os.getloadavg()[0], 2)
    for number in range(int(word)):
        for name, measured in rounds.items():
            measured.append(measure(name))
            print(f"round {number + 1}: {name}: {measured[-1]}", flush=True)
    peak, rows = summarise(rounds)
    for row in rows:
        print(
            f"{row['contender']:28}{row['size']:4}{row['images_per_second']:10,.0f} images/s"
            f"{row['ratio_to_documented']:7.2f} x{row['share_of_peak']:7.0%} of the peak"
        )
    installed = [name for name in PACKAGES if any(metadata.distributions(name=name))]
    result = {
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(),
        "versions": {name: metadata.version(name) for name in installed},
        "load_before": load,
        "documented_seconds": round(100 * rows[0]["epoch_seconds"]),
        "peak": peak,
        "summary": rows,
        "rounds": rounds,
    }
    write_json(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main(*sys.argv[1:])
