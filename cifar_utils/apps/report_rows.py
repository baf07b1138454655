"""The words and numbers of the report: from what a run wrote to rows of formatted text."""

import math

from cifar_utils.plots.evaluation import METRIC_NAMES

METRIC_GROUPS = {
    "without_label_errors": "without disputed labels",
    "tta": "with test-time augmentation",
}


def format_seconds(seconds: float) -> str:
    """Write a duration for a person: "0.42 s", "12.3 s", "4 min 05 s", "1 h 12 min"."""
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def headline(metrics, dataset):
    """Say the result in one sentence, beside the documented one."""
    accuracy = metrics.get("accuracy")
    if not _is_interval(accuracy):
        return "This run has no test result yet."
    n = f"{metrics['n']:,}" if isinstance(metrics.get("n"), int) else "the"
    text = (
        f"Test accuracy {_percent(accuracy['value'])}"
        f" (95 % interval {_percent(accuracy['low'])} to {_percent(accuracy['high'])})"
    )
    known = (metrics.get("documented") or {}).get("accuracy")
    if dataset.get("name") == "synthetic":
        return f"{text} on {n} synthetic test images; not comparable with any result on CIFAR-10."
    text += f" on {n} test images of CIFAR-10"
    return text + (f"; the documented system reached {_percent(known)}." if known else ".")


def metric_rows(metrics):
    """Build the rows of the metrics table from the contents of `metrics.json`."""
    documented = metrics.get("documented") or {}
    rows = [
        _metric_row(_metric_name(key), entry, documented.get(key))
        for key, entry in metrics.items()
        if _is_interval(entry)
    ]
    for group, suffix in METRIC_GROUPS.items():
        for key, entry in (metrics.get(group) or {}).items():
            if _is_interval(entry):
                rows.append(_metric_row(f"{_metric_name(key)} {suffix}", entry, None))
    return rows


def _metric_name(key):
    name = METRIC_NAMES.get(key, key)
    return name[:1].upper() + name[1:]


def _metric_row(name, entry, known):
    interval = f"{_percent(entry['low'])} to {_percent(entry['high'])}"
    if known is None:
        return [name, _percent(entry["value"]), interval, "–", "–"]
    difference = f"{100 * (entry['value'] - known):+.2f} points".replace("-", "−")
    if entry["low"] <= known <= entry["high"]:
        difference += ", inside the interval"
    return [name, _percent(entry["value"]), interval, _percent(known), difference]


def class_rows(per_class):
    """Build one row per class: scores with their intervals, and the number of images."""

    def cell(entry):
        return f"{_percent(entry['value'], 1)} ({100 * entry['low']:.1f}–{100 * entry['high']:.1f})"

    return [
        [row["class"], *(cell(row[key]) for key in ("precision", "recall", "f1")), row["support"]]
        for row in per_class
    ]


def dataset_rows(dataset):
    """Build the rows of the data set's table from `run.json`'s entry."""
    names = {
        "name": "Name", "n_train": "Training images", "n_val": "Validation images",
        "n_test": "Test images", "source": "Source", "official": "Official archive",
        "fingerprint": "Fingerprint",
    }  # fmt: skip
    rows = []
    for key, name in names.items():
        value = dataset.get(key)
        if isinstance(value, bool):
            value = "yes" if value else "no"
        if value is not None:
            rows.append((name, f"{value:,}" if isinstance(value, int) else value))
    return rows


def machine_rows(info):
    """Build the rows about device, seed and versions from the contents of `run.json`."""
    names = {"device": "Device", "threads": "Threads", "precision": "Precision", "seed": "Seed",
             "git_commit": "Git commit"}  # fmt: skip
    rows = [(name, plain(info[key])) for key, name in names.items() if info.get(key) is not None]
    return rows + [(key, plain(value)) for key, value in (info.get("versions") or {}).items()]


def time_rows(info):
    """Build a row per stage and one for each time measured inside a stage."""
    seconds, stages = info.get("seconds") or {}, info.get("stages") or {}
    rows = []
    for stage, state in stages.items():
        spent = state.get("seconds", seconds.get(stage))
        rows.append(
            [stage, state.get("status", "–"), "–" if spent is None else format_seconds(spent)]
        )
    rows += [
        [key, "measured inside its stage", format_seconds(value)]
        for key, value in seconds.items()
        if key not in stages and isinstance(value, int | float)
    ]
    return rows


def _is_interval(entry):
    return isinstance(entry, dict) and {"value", "low", "high"} <= set(entry)


def _percent(share, decimals=2):
    return f"{100 * share:.{decimals}f} %"


def plain(value):
    """Write a parameter as the command line takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "–" if value is None or value == "" else str(value)


def short(cell):
    """Shorten the digits of a number that CSV holds in full; leave other text as it is."""
    try:
        number = float(cell)
    except ValueError:
        return cell
    if not math.isfinite(number) or number.is_integer():
        return cell if not number.is_integer() else f"{number:.0f}"
    return f"{number:.4g}" if abs(number) < 0.01 else f"{number:.4f}"
