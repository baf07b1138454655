"""What does `deterministic` cost? Trains the same steps with it on and off, in turn.

    python benchmarks/deterministic.py

Each round trains in a process of its own, since TensorFlow cannot switch it off again. Prints the
images per second of every round and the ratio of the medians, and writes
`benchmarks/deterministic.json`. Random pixels: only the time matters. Run it on an idle machine.
"""

import json
import statistics
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROUNDS = 3
IMAGES = 9_600


def time_training(recipe_name, deterministic):
    """Return images per second of one epoch of a recipe, after one that is not counted."""
    import time

    import numpy as np

    from cifar_utils.data.preprocessing import Preprocessing
    from cifar_utils.runs.recipes import get_recipe
    from cifar_utils.training import loop as training
    from cifar_utils.training.batches import FollowEpoch, make_source

    recipe = get_recipe(recipe_name, deterministic=deterministic)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    training.seed_everything(0, deterministic)
    preprocessing = Preprocessing.from_recipe(recipe, seed=0)
    labels = rng.integers(0, 10, IMAGES)
    source, batches = make_source(images, labels, recipe.batch_size, preprocessing)
    model = training.compile_model(recipe, len(source))
    fit = {"shuffle": False, "verbose": 0, "callbacks": [FollowEpoch(source)]}
    model.fit(batches, epochs=1, **fit)
    start = time.perf_counter()
    model.fit(batches, epochs=2, initial_epoch=1, **fit)
    return IMAGES / (time.perf_counter() - start)


def main():
    """Measure both ways, side by side, and write the file."""
    if len(sys.argv) == 3:
        print(time_training(sys.argv[1], sys.argv[2] == "on"))
        return
    result = {}
    for recipe in ("baseline", "quick"):
        rounds = {"on": [], "off": []}
        for _ in range(ROUNDS):
            for way, measured in rounds.items():
                command = [sys.executable, __file__, recipe, way]
                told = subprocess.run(command, capture_output=True, text=True, check=True)
                measured.append(round(float(told.stdout)))
        medians = {way: statistics.median(measured) for way, measured in rounds.items()}
        ratio = round(medians["off"] / medians["on"], 3)
        result[recipe] = {"images_per_second": rounds, "time_on_over_off": ratio}
        print(f"{recipe}: {rounds}; with it on, training takes {ratio} x the time")
    from cifar_utils.runs.machine import detect_processor

    processor = detect_processor()
    result["machine"] = f"{processor.name}, {processor.cores} cores"
    result["tensorflow"] = metadata.version("tensorflow-cpu")
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
