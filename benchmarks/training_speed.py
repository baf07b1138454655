"""How fast does each recipe train, beside the documented script and the same in PyTorch?

    python benchmarks/time_to_accuracy.py [ROUNDS]       # 1 round, about 8 minutes on two cores

In each round, in turn and in processes of their own: the documented script, two full epochs with
their validation pass; the training steps of each recipe at each of its image sizes, from uint8
images through augmentation to updated weights; where PyTorch is installed, the fast network's in
eager PyTorch, on images augmented beforehand (`benchmarks/torch_fast_network.py`), in both of its
memory formats, of which the faster one is kept; and a large matrix product, the most that the
processor gives. First steps, which compile, do not count. Of these each contender's epochs are
computed; its accuracy stands in `outputs/reference`. Prints a table and writes
`benchmarks/time_to_accuracy.json`. Run it on an idle machine.

`documented_seconds` in it is 100 full epochs of the script with its validation pass.
`training_seconds` is a recipe's epochs of steps alone: no start, compilation or validation.
"""

import datetime
import importlib.util
import itertools
import json
import math
import os
import runpy
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
AGAINST = runpy.run_path(str(FOLDER / "against_documented.py"))
DOCUMENTED = AGAINST["DOCUMENTED"]
PEAK = "matrix product"
TORCH = ", PyTorch"
SECONDS = 10.0  # for how long each contender is measured at each image size, two steps at least
SKIPPED_CALLS = 2  # at each size: the first ones compile and set up
MATRIX_SIDE = 4096  # 67 MB in float32: more than the caches hold
PACKAGES = ("tensorflow-cpu", "tensorflow", "keras", "numpy", "torch")
HEADER = ("images", "images per second", "an epoch", "ratio", "share of peak")


# ---------- what a process measures ---------------------------------------------------------------


def measure_peak(side=MATRIX_SIDE, repeats=5):
    """Yield one dict per number format: `precision` and the fastest product's `gflops`."""
    from cifar_utils.backend import keras  # before TensorFlow: it switches oneDNN's kernels on
    from cifar_utils.runs.machine import detect_processor

    import tensorflow as tf  # isort: skip

    keras.utils.set_random_seed(0)
    for precision in ("float32", "bfloat16")[: 1 + detect_processor().bf16]:
        matrix = tf.cast(tf.random.normal((side, side)), precision)
        times = []
        for _ in range(repeats + 1):  # the first one sets things up
            start = time.perf_counter()
            float(tf.matmul(matrix, matrix)[0, 0])  # waits for the result
            times.append(time.perf_counter() - start)
        yield {"precision": precision, "gflops": round(2 * side**3 / min(times[1:]) / 1e9, 1)}


def find_first_epochs(recipe):
    """Return the first epoch, from 0, of each image size of a recipe, by size."""
    from cifar_utils.data.preprocessing import spread_sizes

    sizes = spread_sizes(recipe.sizes, recipe.epochs)
    return {size: sizes.index(size) for size in dict.fromkeys(sizes)}


def make_step_timer(model, n_images, batch_size, seconds):
    """Return a callback that times a `fit` call by call and stops it, and the list it fills.

    Args:
        model: What `fit` trains.
        n_images: Number of training images.
        batch_size: Images per step.
        seconds: For how long to time, two calls at least, after `SKIPPED_CALLS`.

    Returns:
        `(callback, marks)`: one pair `(images so far, time in seconds)` per counted call, the first
        one at the end of the last call that is skipped.
    """
    from cifar_utils.backend import keras

    marks, calls = [], itertools.count(1)

    def mark(step, logs=None):
        """Note the time at the end of a call, which may take several steps."""
        if next(calls) >= SKIPPED_CALLS:
            marks.append((min((step + 1) * batch_size, n_images), time.perf_counter()))
        if len(marks) > 2 and marks[-1][1] - marks[0][1] >= seconds:
            model.stop_training = True

    return keras.callbacks.LambdaCallback(on_train_batch_end=mark), marks


def time_recipe(recipe, images, labels, seconds):
    """Yield one dict per image size: `size`, `images` and the `seconds` that they took.

    Args:
        recipe: A `recipes.Recipe`; its policy of precision must be set already.
        images, labels: The training images, uint8 (n, 32, 32, 3), and their classes.
        seconds: For how long to time at each size.
    """
    from cifar_utils.data.preprocessing import Preprocessing
    from cifar_utils.training import batches
    from cifar_utils.training import loop as training

    preprocessing = Preprocessing.from_recipe(recipe, seed=0)
    source, stream = batches.make_source(images, labels, recipe.batch_size, preprocessing)
    model = training.compile_model(recipe, len(source))
    training.adapt_whitening(model, images)
    for size, epoch in find_first_epochs(recipe).items():
        timer, marks = make_step_timer(model, len(images), recipe.batch_size, seconds)
        model.fit(
            stream,
            epochs=epoch + 1,
            initial_epoch=epoch,
            shuffle=False,
            verbose=0,
            callbacks=[batches.FollowEpoch(source), timer],
        )
        (before, start), *_, (after, end) = marks
        yield {"size": size, "images": after - before, "seconds": round(end - start, 3)}


def measure_recipe(name, with_torch=False):
    """Yield what `time_recipe` does for CIFAR-10, and `precision` and `epoch_images`."""
    import numpy as np

    from cifar_utils.data import load_dataset
    from cifar_utils.data.preprocessing import Preprocessing
    from cifar_utils.runs.recipes import get_recipe
    from cifar_utils.training import loop as training
    from cifar_utils.training.precision import choose_precision, use_precision

    recipe, data = get_recipe(name), load_dataset("cifar10")
    precision = choose_precision(recipe.precision)
    part, _ = Preprocessing.from_recipe(recipe, seed=0).split(data.train_labels)
    images, labels = data.train_images[part], np.asarray(data.train_labels)[part]
    if with_torch:
        rows = time_in_torch(recipe, images, labels, precision, SECONDS)
    else:
        training.seed_everything(0, recipe.deterministic)
        rows = time_recipe(recipe, images, labels, SECONDS)
    with use_precision(precision):
        for row in rows:
            yield row | {"precision": precision, "epoch_images": len(images)}


def time_in_torch(recipe, images, labels, precision, seconds):
    """Return `torch_fast_network.time_recipe` of a recipe, on as many threads as cores."""
    import torch
    import torch_fast_network

    from cifar_utils.data.preprocessing import Preprocessing, scale_images
    from cifar_utils.runs.machine import detect_processor
    from cifar_utils.training.batches import ArraySource
    from cifar_utils.training.loop import WHITENING_IMAGES

    torch.manual_seed(0)
    torch.set_flush_denormal(True)  # as TensorFlow does
    torch.set_num_threads(detect_processor().cores)
    source = ArraySource(images, labels, recipe.batch_size, Preprocessing.from_recipe(recipe, 0))
    whitening = scale_images(images[:WHITENING_IMAGES])
    epochs = find_first_epochs(recipe)
    return torch_fast_network.time_recipe(recipe, source, whitening, epochs, precision, seconds)


# ---------- what the numbers mean -----------------------------------------------------------------


def count_flops(recipe, size):
    """Count what one training image costs in a recipe's convolutions and dense layers.

    Forward, the gradient of the weights where they are trained, and that of the inputs where
    something before them is trained: three times the forward pass, less what is never computed.
    Normalisation, activations, pooling and the optimizer are left out: a few percent.

    Args:
        recipe: A `recipes.Recipe`.
        size: Side of the image in pixels.

    Returns:
        Floating-point operations, a multiplication and an addition counting as two.
    """
    from cifar_utils.models.documented import build_model

    total, trained_before, shape = 0, False, (1, size, size, 3)
    for layer in build_model(recipe, training=True).layers:
        shape = layer.compute_output_shape(shape)
        trained = bool(layer.trainable_weights)
        if hasattr(layer, "kernel"):
            places = math.prod(shape[1:-1])  # of a map; 1 for a dense layer
            passes = 1 + trained + trained_before
            total += passes * 2 * math.prod(layer.kernel.shape) * places
        trained_before |= trained
    return total


def find_recipe(contender):
    """Return the recipe that a contender trains: the documented script the network of baseline."""
    from cifar_utils.runs.recipes import get_recipe

    name = contender.removesuffix(TORCH)
    return get_recipe("baseline" if name == DOCUMENTED else name)


def _summarise_documented(measured):
    """Return the documented script's row, its peak's share aside."""
    row = AGAINST["summarise"]({DOCUMENTED: measured})[DOCUMENTED]
    return {
        "contender": DOCUMENTED,
        "size": 32,
        "precision": "float32",
        "epoch_images": row["images"],
        "images_per_second": row["images_per_second"],
        "epoch_seconds": row["epoch_seconds"],
        "n": row["n"],
    }


def _summarise_contender(name, measured):
    """Return one row per image size: the medians over the rounds, of the faster memory format."""
    groups = {}
    for row in (row for one in measured for row in one):
        groups.setdefault((row["size"], row.get("format")), []).append(row)
    best = {}
    for (size, memory_format), rows in groups.items():
        speed = statistics.median(row["images"] / row["seconds"] for row in rows)
        row = {
            "contender": name,
            "size": size,
            "precision": rows[0]["precision"],
            "epoch_images": rows[0]["epoch_images"],
            "images_per_second": round(speed, 1),
            "epoch_seconds": round(rows[0]["epoch_images"] / speed, 2),
            "n": len(rows),
        }
        if memory_format:
            row["format"] = memory_format
        if size not in best or speed > best[size]["images_per_second"]:
            best[size] = row
    return list(best.values())


def summarise(rounds, flops):
    """Turn what was measured into one row per contender and image size.

    Args:
        rounds: By contender, one list of dicts per round.
        flops: By contender, `count_flops` by image size.

    Returns:
        `(peak, rows, trainings)`: GFLOP/s by number format; the rows, the documented script's
        first; by contender the seconds of all its epochs, and the documented script's over them.
    """
    peak = {}
    for row in (row for one in rounds[PEAK] for row in one):
        peak[row["precision"]] = max(row["gflops"], peak.get(row["precision"], 0))
    rows = [_summarise_documented(rounds[DOCUMENTED])]
    for name, measured in rounds.items():
        if name not in (PEAK, DOCUMENTED):
            rows += _summarise_contender(name, measured)
    for row in rows:
        row["ratio_to_documented"] = round(
            row["images_per_second"] / rows[0]["images_per_second"], 2
        )
        row["flops_per_image"] = flops[row["contender"]][row["size"]]
        gflops = row["images_per_second"] * row["flops_per_image"] / 1e9
        row["share_of_peak"] = round(gflops / peak[row["precision"]], 3)
    return peak, rows, compute_trainings(rows)


def compute_trainings(rows):
    """Compute what all epochs of each contender take, at their sizes.

    Args:
        rows: Of `summarise`, or read from the file.

    Returns:
        By contender `training_seconds` and `ratio_to_documented`.
    """
    from cifar_utils.data.preprocessing import spread_sizes

    seconds = {}
    for row in rows:
        recipe = find_recipe(row["contender"])
        epochs = spread_sizes(recipe.sizes, recipe.epochs).count(row["size"])
        before = seconds.get(row["contender"], 0)
        grown = round(50_000 * (1 - recipe.val_fraction)) / row["epoch_images"]
        seconds[row["contender"]] = before + epochs * grown * row["epoch_seconds"]
    return {
        name: {
            "training_seconds": round(own, 1),
            "ratio_to_documented": round(seconds[DOCUMENTED] / own, 1),
        }
        for name, own in seconds.items()
    }


def make_rows(result):
    """Return `(header, rows)` of the README's table, as text.

    Args:
        result: The contents of `time_to_accuracy.json`.
    """
    header = [f"on {result['machine']}", *HEADER]
    rows = []
    for row in result["summary"]:
        name, notes = row["contender"], []
        name = name if name == DOCUMENTED else f"`{name.removesuffix(TORCH)}`"
        if row["contender"].endswith(TORCH):
            notes = ["PyTorch", row["format"]]
        notes += [row["precision"]] if row["precision"] != "float32" else []
        rows.append(
            [
                ", ".join([name, *notes]),
                f"{row['size']}×{row['size']}",
                f"{row['images_per_second']:,.0f}",
                f"{row['epoch_seconds']:.1f} s",
                f"{row['ratio_to_documented']:.2f} ×",
                f"{row['share_of_peak']:.0%}",
            ]
        )
    return header, rows


# ---------- the whole -----------------------------------------------------------------------------


def list_contenders():
    """Return all contenders, in turn; PyTorch's only where it is installed."""
    from cifar_utils.runs.recipes import RECIPES

    names = [PEAK, DOCUMENTED, *RECIPES]
    if importlib.util.find_spec("torch"):
        names += [f"{name}{TORCH}" for name, own in RECIPES.items() if own.network == "fast"]
    return names


def measure(name):
    """Measure one contender in a process of its own; returns one dict per epoch or image size."""
    if name == DOCUMENTED:
        return AGAINST["measure"](name)
    # PyTorch's process imports our package without TensorFlow.
    changes = {"KERAS_BACKEND": "torch" if name.endswith(TORCH) else "tensorflow"}
    return AGAINST["run_script"](name, Path(__file__).name, ["measure", name], changes)


def print_table(result):
    """Print the table, and what the trainings take."""
    header, rows = make_rows(result)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print(row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:]), sep="  ")
    for precision, gflops in result["peak"].items():
        print(f"peak, {precision}: {gflops:,.0f} GFLOP/s")
    for name, row in result["trainings"].items():
        print(
            f"all epochs of {name}: {row['training_seconds']:,.0f} s,"
            f" {row['ratio_to_documented']:.1f} x as fast as the documented script's"
        )


def make_result(rounds, load):
    """Return what the file holds; `load` is the machine's load average before the first round."""
    installed = [name for name in PACKAGES if any(metadata.distributions(name=name))]
    contenders = [name for name in rounds if name != PEAK]
    flops = {}
    for name in contenders:
        recipe = find_recipe(name)
        flops[name] = {size: count_flops(recipe, size) for size in find_first_epochs(recipe)}
    peak, rows, trainings = summarise(rounds, flops)
    return {
        "date": datetime.date.today().isoformat(),
        "machine": AGAINST["describe_machine"](),
        "versions": {name: metadata.version(name) for name in installed},
        "load_before": load,
        "documented_seconds": round(100 * rows[0]["epoch_seconds"]),
        "peak": peak,
        "summary": rows,
        "trainings": trainings,
        "rounds": rounds,
    }


def main():
    """Measure all contenders in turn, and write the file."""
    if sys.argv[1:2] == ["measure"]:
        name = sys.argv[2]
        recipe, with_torch = name.removesuffix(TORCH), name.endswith(TORCH)
        for row in measure_peak() if name == PEAK else measure_recipe(recipe, with_torch):
            print(json.dumps(row), flush=True)
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    rounds, load = {name: [] for name in list_contenders()}, round(os.getloadavg()[0], 2)
    for number in range(1, count + 1):
        for name, measured in rounds.items():
            start = time.perf_counter()
            measured.append(measure(name))
            seconds = time.perf_counter() - start
            print(f"round {number}: {name}, {seconds:.0f} s: {measured[-1]}", flush=True)
    from cifar_utils.paths import write_json

    result = make_result(rounds, load)
    print_table(result)
    write_json(Path(__file__).with_suffix(".json"), result)


if __name__ == "__main__":
    main()
