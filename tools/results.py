"""Write `docs/results.md` and the recipes' measured lines from what runs and benchmarks wrote.

    python tools/results.py        # after tools/references.py or a benchmark

Every table is made from `outputs/reference/` and `benchmarks/*.json`. The last paragraph of each
recipe's docstring begins with `Measured: ` and is made here, too. A test compares both.
"""

import json
import re
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


def read(name):
    """Return the contents of a JSON file of `benchmarks`, or with a path of `outputs/reference`."""
    path = f"outputs/reference/{name}" if "/" in name or "." in name else f"benchmarks/{name}.json"
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def table(header, rows):
    """Return a Markdown table of lines whose cells are separated by " | "."""
    lines = [header, " | ".join("---" for _ in header.split(" | ")), *rows]
    return space("".join(f"| {line} |\n" for line in lines))


def space(text):
    """Write percentages in the one way: "84.2 %"."""
    return re.sub(r"(?<=\d)%", " %", text)


def interval(entry):
    """Write a metric with its 95 % interval: "84.18% (83.45 to 84.88)"."""
    return f"{entry['value']:.2%} ({100 * entry['low']:.2f} to {100 * entry['high']:.2f})"


def spread(values):
    """Write the mean of some shares and, of two or more, their standard deviation."""
    if not values:
        return NONE
    around = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2%}{around}"


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


def summarise(runs):
    """Write accuracy, six views, training time, ratio and machine of one or more runs."""
    metrics, info = [run.read_json("metrics.json") for run in runs], runs[0].info
    accuracy = [one["accuracy"] for one in metrics]
    six = [one["tta"]["accuracy"] for one in metrics if "tta" in one]
    seconds = statistics.median(run.info["seconds"]["training"] for run in runs)
    ratios = [found for found in map(compute_ratio, runs) if found]
    if len(runs) == 1:
        reached = [interval(part[0]) if part else NONE for part in (accuracy, six)]
    else:
        reached = [spread([entry["value"] for entry in part]) for part in (accuracy, six)]
    cores = f"{info['threads']} core{'s' * (info['threads'] > 1)} of {info['device']}"
    cores += ", not idle" * ("shared_machine" in info)
    machine = f"{cores}, {info.get('precision', 'float32')}"
    return [*reached, duration(seconds), ratio(ratios), machine]


def keep_plain(name):
    """Return the reference runs of a recipe as it is."""
    return [run for run in list_references(name) if not run.changes]


COLUMNS = "test accuracy | six views | training time | of the original script's time | machine"


def make_recipes():
    """One row per recipe."""
    rows = []
    for name, recipe in RECIPES.items():
        kept = keep_plain(name)
        rows.append(" | ".join([f"`{name}` | {recipe.epochs} | {len(kept)}", *summarise(kept)]))
    return table(f"recipe | epochs | seeds | {COLUMNS}", rows)


def make_runs():
    """One row per reference run."""
    rows = []
    for run in sorted(list_references(), key=lambda run: [*RECIPES].index(run.recipe.name)):
        link = f"[`{run.recipe.name}`, {run.title}](../{run.dir.relative_to(ROOT).as_posix()})"
        rows.append(" | ".join([link, *summarise([run])]))
    return table(f"run | {COLUMNS}", rows)


def render_docstrings(text):
    """Return `recipes.py` with the last paragraph of each recipe's docstring made anew."""
    for name in RECIPES:
        kept = keep_plain(name)
        accuracy, six, seconds, times, machine = summarise(kept)
        views = "" if six == NONE else f", {six} with six views"
        of = "" if times == NONE else f"; {times} of the original script's time"
        told = space(
            f"Measured: {accuracy} on the test set{views} (n = {len(kept)}); {seconds} of training"
            f" on {machine}{of.replace('times of', 'times')}."
        )
        filled = textwrap.indent(textwrap.fill(told, 96), "    ") + "\n"
        start = text.rindex("    Measured: ", 0, text.index(f'\n    name: str = "{name}"\n'))
        text = text[:start] + filled + text[text.index('    """', start) :]
    return text


def make_reproduction():
    """The three numbers of the original system, and those of `baseline`."""
    kept = list_references("baseline")
    rows = []
    for name, value in DOCUMENTED.items():
        reached = [interval(run.read_json("metrics.json")[name]) for run in kept]
        rows.append(" | ".join([name.replace("_weighted", ", weighted"), f"{value:.2%}", *reached]))
    header = " | ".join(f"`baseline`, {run.title}" for run in kept)
    return table(f"test metric | original | {header}", rows)


def make_leak():
    """What each way to choose an epoch gives on the test images."""
    choices = read("baseline/test_set_leak.json")["choices"].items()
    rows = [f"{name} | {one['epoch']} | {interval(one)}" for name, one in choices]
    return table("epoch chosen as | epoch | test accuracy", rows)


def make_steps():
    """Images per second of the training steps, by recipe and image size."""
    measured = read("training_speed")
    rows = [
        "{contender} | {precision} | {size} | {images_per_second:,.0f} | {epoch_seconds:.1f} s |"
        " {ratio_to_documented:.2f} | {share_of_peak:.0%}".format(**one)
        for one in measured["summary"]
    ]
    peak = ", ".join(f"{gflops:,.0f} GFLOP/s ({name})" for name, gflops in measured["peak"].items())
    header = "training | format | pixels | images per second | an epoch"
    return table(f"{header} | of the original script's speed | share of peak", rows) + (
        f"\nOn {measured['machine']}; n = {measured['summary'][1]['n']}. Steps alone: no start,"
        " compilation or validation; the original script's epoch includes its validation. PyTorch"
        f" is given images that were augmented before. Peak: a large matrix product, {peak}.\n"
    )


def make_ablation():
    """What `quick` reaches without each of its tricks."""
    measured = read("ablation.json")["quick"]
    tricks = {name: np.array(values) for name, values in measured["accuracy"].items()}
    rows = []
    for name, values in sorted(tricks.items(), key=lambda item: item[1].mean()):
        gained = 100 * (values - tricks[WHOLE])
        told = f"{gained.mean():+.2f} ({gained.min():+.2f} to {gained.max():+.2f})"
        told += " | yes" if is_clear(tricks[WHOLE], values) else " | no"
        told = f"{NONE} | {NONE}" if name == WHOLE else told.replace("-", "−")
        rows.append(f"{name} | {values.mean():.2%} | {told}")
    return table("`quick` | validation accuracy, six views | points | clear", rows) + (
        f"\nMean of {len(tricks[WHOLE])} seeds, and the range of the differences from the whole"
        f" recipe, on {measured['n']:,} images held out; {measured['precision']}, on"
        f" {measured['machine']}. Clear: all seeds agree, and the mean difference exceeds the range"
        " over the seeds of either.\n"
    )


def make_scaling():
    """Accuracy and time of each recipe with other numbers of epochs."""
    measured = read("scaling.json")
    rows = [
        f"{row['recipe']} | {row['epochs']} | {duration(row['seconds'])} | {row['accuracy']:.1%}"
        for row in sorted(measured["accuracy"], key=lambda row: (row["recipe"], row["epochs"]))
    ]
    return table("recipe | epochs | training time | validation accuracy", rows) + (
        f"\nOne view, one seed, 2,000 or 5,000 images held out; on {measured['machine']}. The rows"
        " of the original script are the accuracy of `baseline` by epoch with the time of the"
        " script's epochs: the script's own accuracy by epoch was not measured.\n"
    )


def make_shipped():
    """How good the shipped weights are."""
    rows = []
    for name in sorted(list_pretrained(), key=[*RECIPES].index):
        for kind, part in read_card(name)["views"].items():
            errors = f"{part['test_ece_uncalibrated']:.1%} → {part['test_ece']:.1%}"
            confident = "{coverage:.1%} | {accuracy:.2%}".format(**part["test_answers"])
            reached = interval(part["test"]["accuracy"])
            rows.append(f"`{name}` | {kind} | {reached} | {errors} | {confident}")
    header = "weights | views | test accuracy | calibration error | confident | of these correct"
    return table(header, rows)


def make_photographs():
    """Crops of scenes, then photographs."""
    measured = read("photographs")
    scenes = [
        "{crops} | {average} | {accuracy:.1%} | {coverage:.1%}".format(**row)
        for row in measured["validation"]
    ]
    others = [
        {"kind": f"none of the ten: {kind}", "n": row["n"], "answered": row["confident"]}
        for kind, row in measured["others"].items()
    ]
    photos = [
        f"{row['kind'].replace('none', 'none of the ten: photographs', row['kind'] == 'none')} |"
        f" {row['n']} | {row.get('right', NONE)} | {row['answered']} |"
        f" {row.get('right_of_answered', NONE)}"
        for row in measured["photos"] + others
    ]
    confident = measured["test"].pop("answers")
    told = ", ".join(f"{name} {one['accuracy']:.1%}" for name, one in measured["test"].items())
    told = (
        f"\nOn {confident['n']:,} scenes made of test images: {told}; of the chosen way"
        f" {confident['coverage']:.1%} are confident, and of these {confident['accuracy']:.1%}"
        " correct.\n\n"
    )
    return (
        table("crops | average | correct | confident at 95 % correct", scenes)
        + space(told)
        + table("photographs | n | correct | confident | of these correct", photos)
    )


def make_inference():
    """Start, latency and memory by engine; then the export formats."""
    measured = read("inference_speed")
    rows = [
        "{engine} | {views} | {load_to_first_answer_seconds:.2f} s | {small_ms:.1f} ms |"
        " {large} | {memory_mb} MB".format(
            **row, large=f"{row['large_ms']:.1f} ms" if "large_ms" in row else NONE
        )
        for row in measured["rows"]
    ]
    exports = [
        f"{row['format']} | {row['bytes'] / 1e6:.1f} MB | {row['largest_difference']:.1e} |"
        f" {'no' if row['without_tensorflow'] else 'yes'}"
        for row in measured["exports"]
    ]
    folder = measured["folder_pictures_per_second"].items()
    return (
        table("engine | views | load to first prediction | 32×32 | 640×480 | memory", rows)
        + f"\nOn one core of {measured['machine']}: median of a decoded image. A folder of"
        f" {measured['folder_pictures']:,} images of 32×32, on all cores, images per second:"
        f" {', '.join(f'{n} ({kind})' for kind, n in folder)}.\n\n"
        + table("format | size | largest difference | needs TensorFlow", exports)
    )


def make_page():
    """The page under load."""
    measured = read("serve_load")
    row = "{threads} | {requests:,} | {errors} | {p50_ms:,} ms | {p99_ms:,} ms |"
    row += " {per_second:.0f} | {memory_peak_mb} MB"
    rows = [row.format(**one) for one in measured["rows"]]
    start, hostile, large = (measured[name] for name in ("start", "hostile", "large_uploads"))
    header = "threads | requests | errors | median | 99 % within | images per second | memory"
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

![Confusion matrix of quick, seed 0](../outputs/reference/quick/seed-0/confusion_matrix.png)
"""


def render():
    """Return the page."""
    parts = [f"## {title}\n\nCommand: `python {run}`\n\n{make()}" for title, make, run in SECTIONS]
    return "\n".join([INTRODUCTION, *parts])


if __name__ == "__main__":
    print("wrote", write_text(PAGE, render()).name)
    recipes = render_docstrings(RECIPES_FILE.read_text(encoding="utf-8"))
    print("wrote", write_text(RECIPES_FILE, recipes).name)
