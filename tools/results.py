"""Write `docs/results.md` and the recipes' measured lines from what runs and benchmarks wrote.

    python tools/results.py        # after tools/references.py or a benchmark

Every table is made from `outputs/reference/` and `benchmarks/*.json`. The last paragraph of each
recipe's docstring begins with `Measured: ` and is made here, too. A test compares both.
"""

import json
import statistics
import textwrap

import numpy as np
from references import compute_ratio

from cifar_utils.evaluation import DOCUMENTED
from cifar_utils.inference.pretrained import list_pretrained, read_card
from cifar_utils.paths import project_root, write_text
from cifar_utils.plots.speed import WHOLE, is_clear
from cifar_utils.runs import RECIPES, list_references

ROOT = project_root()
PAGE = ROOT / "docs" / "results.md"
RECIPES_FILE = ROOT / "cifar_utils" / "runs" / "recipes.py"
NONE = "–"
VIEWS = {"one": "the image alone", "mirrored": "and its mirror image in doubt", "six": "six views"}


def read(name):
    """Return the contents of a JSON file of `benchmarks`, or of `outputs/reference` with a path."""
    path = ROOT / name if "/" in name else ROOT / "benchmarks" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def percent(share, digits=1):
    """Write a share: "84.2 %"."""
    return f"{100 * share:.{digits}f} %"


def interval(entry):
    """Write a metric with its 95 % interval: "84.18 % (83.45 to 84.88)"."""
    return f"{percent(entry['value'], 2)} ({100 * entry['low']:.2f} to {100 * entry['high']:.2f})"


def spread(values):
    """Write the mean of some shares and, of two or more, their standard deviation."""
    if not values:
        return NONE
    around = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{percent(statistics.mean(values), 2)}{around}"


def duration(seconds):
    """Write a duration: "27.9 s", "9 min 16 s", "1 h 19 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def ratio(values):
    """Write the median of some ratios to the original script's time: "1/91", "1.3 times"."""
    if not values:
        return NONE
    median = statistics.median(values)
    return f"{1 / median:.1f} times" if median < 1 else f"1/{median:.{0 if median >= 10 else 1}f}"


def processor(info):
    """Write on what a run trained: "2 cores of AMD EPYC, bfloat16"."""
    cores = f"{info['threads']} core{'s' * (info['threads'] > 1)} of {info['device']}"
    busy = ", not idle" if info.get("shared_machine") else ""
    return f"{cores}{busy}, {info.get('precision', 'float32')}"


def table(header, rows):
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def summarise(name):
    """Return a recipe's runs, accuracies, accuracies with six views, median time and ratios."""
    kept = [run for run in list_references(name) if not run.changes]
    metrics = [run.read_json("metrics.json") for run in kept]
    accuracy = [one["accuracy"]["value"] for one in metrics]
    six = [one["tta"]["accuracy"]["value"] for one in metrics if "tta" in one]
    seconds = statistics.median(run.info["seconds"]["training"] for run in kept)
    return kept, accuracy, six, seconds, [compute_ratio(run) for run in kept if compute_ratio(run)]


def render_docstrings(text):
    """Return `recipes.py` with the last paragraph of each recipe's docstring made anew."""
    for name in RECIPES:
        kept, accuracy, six, seconds, ratios = summarise(name)
        views = f", {spread(six)} with six views" if six else ""
        times = f"; {ratio(ratios)} of the original script's time" if ratios else ""
        told = (
            f"Measured: {spread(accuracy)} on the test set{views} (n = {len(kept)});"
            f" {duration(seconds)} of training on {processor(kept[0].info)}"
            f"{times.replace('times of', 'times')}."
        )
        start = text.rindex("    Measured: ", 0, text.index(f'\n    name: str = "{name}"\n'))
        filled = textwrap.indent(textwrap.fill(told, 96), "    ") + "\n"
        text = text[:start] + filled + text[text.index('    """', start) :]
    return text


def make_recipes():
    """One row per recipe."""
    rows = []
    for name, recipe in RECIPES.items():
        kept, accuracy, six, seconds, ratios = summarise(name)
        numbers = [len(kept), spread(accuracy), spread(six), duration(seconds), ratio(ratios)]
        rows.append([f"`{name}`", recipe.epochs, *numbers, processor(kept[0].info)])
    header = ["recipe", "epochs", "seeds", "test accuracy", "six views", "training time"]
    return table([*header, "of the original script's time", "machine"], rows)


def make_runs():
    """One row per reference run."""
    rows = []
    for run in sorted(list_references(), key=lambda run: [*RECIPES].index(run.recipe.name)):
        metrics, found = run.read_json("metrics.json"), compute_ratio(run)
        rows.append(
            [
                f"[`{run.recipe.name}`, {run.title}](../{run.dir.relative_to(ROOT).as_posix()})",
                interval(metrics["accuracy"]),
                interval(metrics["tta"]["accuracy"]) if "tta" in metrics else NONE,
                duration(run.info["seconds"]["training"]),
                ratio([found] if found else []),
                processor(run.info),
            ]
        )
    header = ["run", "test accuracy", "six views", "training time"]
    return table([*header, "of the original script's time", "machine"], rows)


def make_reproduction():
    """The three numbers of the original system, and those of `baseline`."""
    kept = {run.title: run.read_json("metrics.json") for run in list_references("baseline")}
    rows = [
        [name.replace("_weighted", ", weighted"), percent(value, 2)]
        + [interval(metrics[name]) for metrics in kept.values()]
        for name, value in DOCUMENTED.items()
    ]
    return table(["test metric", "original", *(f"`baseline`, {title}" for title in kept)], rows)


def make_leak():
    """What each way to choose an epoch gives on the test images."""
    choices = read("outputs/reference/baseline/test_set_leak.json")["choices"]
    rows = [[name, one["epoch"], interval(one)] for name, one in choices.items()]
    return table(["epoch chosen as", "epoch", "test accuracy"], rows)


def make_steps():
    """Images per second of the training steps, by recipe and image size."""
    measured = read("training_speed")
    rows = [
        [
            f"{row['contender']}{', ' + row['format'] if 'format' in row else ''}",
            row["precision"],
            row["size"],
            f"{row['images_per_second']:,.0f}",
            f"{row['epoch_seconds']:.1f} s",
            f"{row['ratio_to_documented']:.2f}",
            percent(row["share_of_peak"], 0),
        ]
        for row in measured["summary"]
    ]
    header = ["training", "format", "pixels", "images per second", "an epoch"]
    peak = ", ".join(f"{gflops:,.0f} GFLOP/s ({name})" for name, gflops in measured["peak"].items())
    return table([*header, "of the original script's speed", "share of peak"], rows) + (
        f"\nOn {measured['machine']}; n = {measured['summary'][1]['n']}. Steps alone: no start,"
        " compilation or validation; the original script's epoch includes its validation. PyTorch"
        f" is given images that were augmented before. Peak: a large matrix product, {peak}.\n"
    )


def make_ablation():
    """What `quick` reaches without each of its tricks."""
    measured = read("outputs/reference/ablation.json")["quick"]
    tricks = {name: np.array(values) for name, values in measured["accuracy"].items()}
    rows = []
    for name, values in sorted(tricks.items(), key=lambda item: item[1].mean()):
        gained = 100 * (values - tricks[WHOLE])
        told = f"{gained.mean():+.2f} ({gained.min():+.2f} to {gained.max():+.2f})"
        clear = "yes" if is_clear(tricks[WHOLE], values) else "no"
        told, clear = (NONE, NONE) if name == WHOLE else (told.replace("-", "−"), clear)
        rows.append([name, percent(values.mean(), 2), told, clear])
    return table(["`quick`", "validation accuracy, six views", "points", "clear"], rows) + (
        f"\nMean of {len(tricks[WHOLE])} seeds, and the range of the differences from the whole"
        f" recipe, on {measured['n']:,} images held out; {measured['precision']}, on"
        f" {measured['machine']}. Clear: all seeds agree, and the mean difference exceeds the range"
        " over the seeds of either.\n"
    )


def make_scaling():
    """Accuracy and time of each recipe with other numbers of epochs."""
    measured = read("outputs/reference/scaling.json")
    rows = [
        [row["recipe"], row["epochs"], duration(row["seconds"]), percent(row["accuracy"])]
        for row in sorted(measured["accuracy"], key=lambda row: (row["recipe"], row["epochs"]))
    ]
    return table(["recipe", "epochs", "training time", "validation accuracy"], rows) + (
        f"\nOne view, one seed, 2,000 or 5,000 images held out; on {measured['machine']}. The rows"
        " of the original script are the accuracy of `baseline` by epoch with the time of the"
        " script's epochs: the script's own accuracy by epoch was not measured.\n"
    )


def make_shipped():
    """How good the shipped weights are."""
    rows = []
    for name in sorted(list_pretrained(), key=[*RECIPES].index):
        for kind, part in read_card(name)["views"].items():
            errors = (percent(part[f"test_ece{when}"]) for when in ("_uncalibrated", ""))
            confident = part["test_answers"]
            rows.append(
                [f"`{name}`", VIEWS[kind], interval(part["test"]["accuracy"]), " → ".join(errors)]
                + [percent(confident["coverage"]), percent(confident["accuracy"], 2)]
            )
    header = ["weights", "views", "test accuracy", "calibration error"]
    return table([*header, "confident", "of these correct"], rows)


def make_photographs():
    """Crops of scenes, then photographs."""
    measured = read("photographs")
    rows = [
        [row["crops"], row["average"], *(percent(row[part]) for part in ("accuracy", "coverage"))]
        for row in measured["validation"]
        if row["crops"] in ("all", "centre, large corners", "centre", "squash", "letterbox")
    ]
    test = measured["test"]
    told = ", ".join(
        f"{name} {percent(one['accuracy'])}" for name, one in test.items() if name != "answers"
    )
    scenes = table(["crops", "average", "correct", "confident at 95 % correct"], rows)
    photos = [
        [row["kind"].replace("none", "none of the ten: photographs"), row["n"]]
        + [row.get("right", NONE), row["answered"], row.get("right_of_answered", NONE)]
        for row in measured["photos"]
    ]
    for kind, row in measured["others"].items():
        photos.append([f"none of the ten: {kind}", row["n"], NONE, row["confident"], NONE])
    header = ["photographs", "n", "correct", "confident", "of these correct"]
    return (
        f"{scenes}\nOn {test['answers']['n']:,} scenes made of test images: {told}; of the chosen way"
        f" {percent(test['answers']['coverage'])} are confident, and of these"
        f" {percent(test['answers']['accuracy'])} correct.\n\n{table(header, photos)}"
    )


def make_inference():
    """Start, latency and memory by engine; then the export formats."""
    measured = read("inference_speed")
    rows = [
        [row["engine"], row["views"], f"{row['load_to_first_answer_seconds']:.2f} s"]
        + [f"{row[size]:.1f} ms" if size in row else NONE for size in ("small_ms", "large_ms")]
        + [f"{row['memory_mb']} MB"]
        for row in measured["rows"]
    ]
    header = ["engine", "views", "load to first prediction", "32×32", "640×480", "memory"]
    folder = ", ".join(
        f"{n} ({kind})" for kind, n in measured["folder_pictures_per_second"].items()
    )
    exports = [
        [row["format"], f"{row['bytes'] / 1e6:.1f} MB", f"{row['largest_difference']:.1e}"]
        + ["no" if row["without_tensorflow"] else "yes"]
        for row in measured["exports"]
    ]
    return (
        f"{table(header, rows)}\nOn one core of {measured['machine']}: median of a decoded image. A"
        f" folder of {measured['folder_pictures']:,} images of 32×32, on all cores, images per"
        f" second: {folder}.\n\n"
        + table(["format", "size", "largest difference", "needs TensorFlow"], exports)
    )


def make_page():
    """The page under load."""
    measured = read("serve_load")
    rows = [
        [row["threads"], f"{row['requests']:,}", row["errors"], f"{row['p50_ms'] / 1e3:.2f} s"]
        + [
            f"{row['p99_ms'] / 1e3:.2f} s",
            f"{row['per_second']:.0f}",
            f"{row['memory_peak_mb']} MB",
        ]
        for row in measured["rows"]
    ]
    header = [
        "threads",
        "requests",
        "errors",
        "median",
        "99 % within",
        "images per second",
        "memory",
    ]
    start, hostile, large = (measured[name] for name in ("start", "hostile", "large_uploads"))
    return table(header, rows) + (
        f"\nOn {measured['machine']}: {measured['clients']} clients at once for"
        f" {measured['seconds']} s, on the same cores. First reply {start['median_seconds']:.2f} s"
        f" after the start. {large['n']} uploads of {large['bytes'] / 1e6:.0f} MB at once:"
        f" {large['answered']} answered, at most {large['memory_peak_mb']} MB."
        f" {hostile['requests']:,} hostile uploads: {hostile['statuses']['200']} classified,"
        f" {len(hostile['without_answer_or_reason'])} without a reply or a reason.\n"
    )


# Per section: its title, its table, and the command behind it.
SECTIONS = (
    ("The recipes", make_recipes, "tools/references.py RUN"),
    ("All reference runs", make_runs, "tools/references.py RUN"),
    ("The original result, reproduced", make_reproduction, "tools/references.py RUN"),
    ("What choosing an epoch by the test set gains", make_leak, "benchmarks/test_set_leak.py"),
    ("Training speed", make_steps, "benchmarks/training_speed.py"),
    ("What each trick of the fast network improves", make_ablation, "benchmarks/ablation.py"),
    ("What training time buys", make_scaling, "benchmarks/scaling.py"),
    ("The shipped weights", make_shipped, "tools/ship_weights.py RUN"),
    ("Photographs", make_photographs, "benchmarks/photographs.py"),
    ("Speed of inference, and exports", make_inference, "benchmarks/inference_speed.py"),
    ("The page under load", make_page, "benchmarks/serve_load.py"),
)
INTRODUCTION = """# Results

Made by `python tools/results.py` from `outputs/reference/` and `benchmarks/*.json`; do not edit.
The original script is the Keras training that this project started from
([benchmarks/original_script.py](../benchmarks/original_script.py)). Accuracy is that of the 10,000
test images of CIFAR-10 unless stated otherwise; brackets hold 95 % intervals, ± a standard
deviation over seeds. Training time is from uint8 arrays in memory to the final weights, compared
with 100 full epochs of the original script on the same idle machine within the hour.
"""


def render():
    """Return the page."""
    parts = [
        f"## {title}\n\nCommand: `python {command}`\n\n{make()}"
        for title, make, command in SECTIONS
    ]
    return "\n".join([INTRODUCTION, *parts])


if __name__ == "__main__":
    print("wrote", write_text(PAGE, render()).name)
    recipes = render_docstrings(RECIPES_FILE.read_text(encoding="utf-8"))
    print("wrote", write_text(RECIPES_FILE, recipes).name)
