"""How long does the documented script take on this machine, now?

    python benchmarks/documented_seconds.py        # about four minutes on two cores

Runs the script until two of its epochs have seen every image and appends to
`benchmarks/documented_seconds.json` the time of 100 such epochs, each with its validation pass.
Machines are not always equally fast: run it within the hour of a training that is to be compared;
`keep_reference.py` takes the measurement nearest to a run. Run it on an idle machine.
"""

import json
import os
import runpy
import statistics
import time
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
AGAINST = runpy.run_path(str(Path(__file__).with_name("against_documented.py")))
WITHIN = 3600.0  # seconds between a measurement and a training that it is compared with


def summarise(epochs):
    """Return `(epoch_seconds, n)`: the median over the epochs that saw every image."""
    most = max(epoch["images"] for epoch in epochs)
    full = [epoch["epoch_seconds"] for epoch in epochs if epoch["images"] == most]
    return round(statistics.median(full), 2), len(full)


def find_nearest(measurements, machine, start, end):
    """Return the measurement that a training may be compared with, or None.

    Args:
        measurements: The contents of the file.
        machine: Processor and cores, as `against_documented.describe_machine` begins.
        start, end: When the training began and ended, in seconds since 1970.

    Returns:
        Of those on the same machine and within the hour, the one nearest to the training.
    """

    def distance(measured):
        return max(start - measured["time"], measured["time"] - end, 0)

    near = [m for m in measurements if m["machine"].startswith(machine) and distance(m) <= WITHIN]
    return min(near, key=distance, default=None)


def read_measurements():
    """Return the contents of the file; [] where there is none."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []


def main():
    """Measure, print and append."""
    from cifar_utils.paths import write_json

    load = round(os.getloadavg()[0], 2)
    epochs = AGAINST["measure"](AGAINST["DOCUMENTED"])
    seconds, n = summarise(epochs)
    measured = {
        "time": round(time.time()),
        "machine": AGAINST["describe_machine"](),
        "load_before": load,
        "epoch_seconds": seconds,
        "n": n,
        "documented_seconds": round(100 * seconds),
    }
    write_json(FILE, [*read_measurements(), measured])
    print(f"{seconds} s an epoch (median of {n}), {100 * seconds:,.0f} s in all; load {load}")


if __name__ == "__main__":
    main()
