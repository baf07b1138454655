"""Write the README's tables and the recipes' measured lines from what runs and benchmarks wrote.

    python benchmarks/readme_tables.py            # after keep_reference.py or against_documented.py

Each table stands between `<!-- table: NAME -->` and `<!-- end -->`, and the last paragraph of each
recipe's docstring in `cifar_utils/recipes.py` begins with `Measured: `; nothing else is touched.
Tests compare both with what this would write.
"""

import json
import re
import runpy
import statistics
import textwrap
from pathlib import Path

from cifar_utils.apps.report_rows import format_seconds
from cifar_utils.evaluation.metrics import DOCUMENTED
from cifar_utils.inference.pretrained import list_pretrained, read_card
from cifar_utils.paths import project_root, write_text
from cifar_utils.plots.evaluation import METRIC_NAMES
from cifar_utils.runs.recipes import RECIPES
from cifar_utils.runs.references import load_leak, load_references
from cifar_utils.training.experiments import (
    NOTHING,
    describe_trick,
    group_accuracy,
    load_ablation,
    load_scaling,
    summarise_ablation,
)

README = project_root() / "README.md"
RECIPES_FILE = project_root() / "cifar_utils" / "recipes.py"
WHAT = {
    "quick": "a small fast network, {epochs} epochs",
    "fast": "the fast network, {epochs} epochs",
    "accurate": "a wider one, {epochs} epochs",
    "baseline": "the documented system, {epochs} epochs",
}
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def make_table(header, rows):
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def _interval(entry):
    return f"{entry['value']:.2%} ({entry['low']:.2%} to {entry['high']:.2%})"


def describe_processor(info):
    """Say on what a run trained: "2 cores of AMD EPYC"."""
    cores = info["threads"]
    shared = ", with other work beside it" if info.get("shared_machine") else ""
    return f"{cores} {'core' if cores == 1 else 'cores'} of {info['device']}{shared}"


def describe_spread(values):
    """Write the mean of some shares and, of two or more, their standard deviation."""
    if not values:
        return "–"
    mean = statistics.mean(values)
    spread = f" ± {statistics.stdev(values) * 100:.2f}" if len(values) > 1 else ""
    return f"{mean:.2%}{spread}"


def load_plain(name):
    """Return the reference runs of a recipe as it stands, without changed parameters."""
    return [reference for reference in load_references(name) if not reference.changes]


def describe_measured(name):
    """Say in a sentence or two what a recipe's reference runs reached, and how fast."""
    kept = load_plain(name)
    seeds = "1 seed" if len(kept) == 1 else f"{len(kept)} seeds"
    accuracy = describe_spread([reference.metrics["accuracy"]["value"] for reference in kept])
    six = [r.metrics["tta"]["accuracy"]["value"] for r in kept if "tta" in r.metrics]
    views = f", {describe_spread(six)} with six views" if six else ""
    seconds = statistics.median(reference.info["seconds"]["training"] for reference in kept)
    ratios = [ratio for ratio in map(compute_ratio, kept) if ratio]
    ratio = describe_ratio(ratios) if ratios else ""
    of = " of" if ratio.startswith("1/") else ""  # "1.3 times" goes without
    ratio = f", {ratio}{of} the documented script's time" if ratio else ""
    return (
        f"Measured: {accuracy} of the test set{views} (n = {seeds}); {format_seconds(seconds)} of"
        f" training on {describe_processor(kept[0].info)}{ratio}."
    )


def render_docstrings(text):
    """Return `recipes.py` with the last paragraph of each recipe's docstring made anew."""
    for name in RECIPES:
        if load_plain(name):
            place = text.index(f'\n    name: str = "{name}"\n')
            start = text.rindex("    Measured: ", 0, place)
            end = text.index('    """', start)
            filled = textwrap.fill(describe_measured(name), 96)
            text = text[:start] + textwrap.indent(filled, "    ") + "\n" + text[end:]
    return text


def compute_ratio(reference):
    """Return how many times longer the documented script takes, or None if it was not measured."""
    documented = reference.info.get("documented_seconds")
    return documented / reference.info["seconds"]["training"] if documented else None


def describe_ratio(ratios):
    """Write the median of some ratios: "1/91", "1/4.5", or "1.3 times" of what takes longer."""
    median = statistics.median(ratios)
    if median < 1:
        return f"{1 / median:.1f} times"
    return f"1/{median:.0f}" if median >= 10 else f"1/{median:.1f}"


def make_recipes():
    """One row per recipe: its command, the mean over its seeds, its time and the ratio."""
    rows = []
    for name in RECIPES:
        kept = load_plain(name)
        if not kept:
            continue
        info = kept[0].info
        seconds = [reference.info["seconds"]["training"] for reference in kept]
        ratios = [ratio for ratio in map(compute_ratio, kept) if ratio]
        six = [reference.metrics["tta"] for reference in kept if "tta" in reference.metrics]
        rows.append(
            [
                f"`python -m cifar_utils run --recipe {name}`",
                WHAT[name].format(epochs=info["recipe"]["epochs"]),
                len(kept),
                describe_spread([reference.metrics["accuracy"]["value"] for reference in kept]),
                describe_spread([metrics["accuracy"]["value"] for metrics in six]),
                format_seconds(statistics.median(seconds)),
                describe_ratio(ratios) if ratios else "–",
                f"{describe_processor(info)}, {info['precision']}",
            ]
        )
    header = ["command", "what", "seeds", "test accuracy", "six views", "training time"]
    return make_table([*header, "over the documented script's", "machine"], rows)


def make_results():
    """One row per reference run: how good it is, how long it took."""
    rows = []
    for reference in load_references():
        info, metrics = reference.info, reference.metrics
        folder = reference.folder.relative_to(project_root()).as_posix()
        ratio = compute_ratio(reference)
        rows.append(
            [
                f"[`{reference.recipe}`, {reference.title}]({folder})",
                _interval(metrics["accuracy"]),
                _interval(metrics["tta"]["accuracy"]) if "tta" in metrics else "–",
                format_seconds(info["seconds"]["training"]),
                describe_ratio([ratio]) if ratio else "–",
                f"{describe_processor(info)}, {info.get('precision', 'float32')}",
            ]
        )
    rows.sort(key=lambda row: [*RECIPES].index(row[0].split("`")[1]))
    header = ["run", "test accuracy (95 % interval)", "six views", "training time"]
    return make_table([*header, "over the documented script's", "machine"], rows)


def make_reproduction():
    """The three documented numbers beside those of the baseline's runs."""
    kept = load_references("baseline")
    titles = [f"`baseline`, {reference.title}" for reference in kept]
    rows = [
        [METRIC_NAMES[name], f"{value:.2%}", *(_interval(kept_.metrics[name]) for kept_ in kept)]
        for name, value in DOCUMENTED.items()
    ]
    return make_table(["test metric", "documented", *titles], rows)


def make_leak():
    """What each way of choosing an epoch gives on the test images."""
    leak = load_leak()
    rows = [[name, c["epoch"], _interval(c)] for name, c in leak["choices"].items()]
    return make_table(["epoch chosen as", "epoch", "test accuracy (95 % interval)"], rows)


def make_speed():
    """Images per second of the documented script, of `baseline`, and of it without its parts."""
    path = Path(__file__).with_name("against_documented.json")
    measured = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        [name, f"{row['images_per_second']:,}", f"{row['ratio_to_documented']:.2f} ×", row["n"]]
        for name, row in measured["summary"].items()
    ]
    header = [f"on {measured['machine']}", "images per second", "ratio", "epochs measured"]
    speeds = {name: row["images_per_second"] for name, row in measured["summary"].items()}
    alike = speeds["baseline"] / speeds["documented script, oneDNN on"]
    images = 100 * measured["summary"]["baseline"]["images"]
    return make_table(header, rows) + (
        f"\nWith oneDNN on for both, `baseline` is {alike:.2f} × as fast. At these speeds 100 full"
        f" epochs of the documented script, with its validation pass, take"
        f" {format_seconds(measured['documented_seconds'])}, and those of `baseline`"
        f" {format_seconds(images / speeds['baseline'])}.\n"
    )


def make_ending():
    """Write how `make run` ends, with the numbers of the default recipe's reference run."""
    reference = load_plain("quick")[0]
    info, accuracy = reference.info, reference.metrics["accuracy"]
    official = info["dataset"]["official"]
    kind = "the official archive" if official else "not the official archive"
    return (
        "```text\n"
        f"Data set: CIFAR-10 from {info['dataset']['source']} ({kind})\n"
        f"Test accuracy: {accuracy['value']:.2%} (95 % interval {accuracy['low']:.2%} to"
        f" {accuracy['high']:.2%}, n = {reference.metrics['n']:,})\n"
        f"Report: outputs/runs/{info['name']}/report.html\n"
        "```\n"
    )


def make_shipped():
    """Write how good the shipped weights are."""
    rows = []
    for name in sorted(list_pretrained(), key=[*RECIPES].index):
        card = read_card(name)
        for kind, part in card["views"].items():
            answers = part["test_answers"]
            rows.append(
                [
                    f"`{card['name']}`, seed {card['seed']}",
                    kind,
                    f"{part['validation_accuracy']:.2%}",
                    _interval(part["test"]["accuracy"]),
                    f"{part['test_ece_uncalibrated']:.2%}, {part['test_ece']:.2%}",
                    f"{answers['coverage']:.1%}",
                    f"{answers['accuracy']:.2%}",
                ]
            )
    return make_table(
        [
            "weights, in float16",
            "views",
            "validation accuracy",
            "test accuracy (95 % interval)",
            "calibration error, before and after",
            "test images answered",
            "of these right",
        ],
        rows,
    )


def make_steps():
    """Images per second of the steps of every recipe, and of PyTorch's."""
    path = Path(__file__).with_name("time_to_accuracy.json")
    module = runpy.run_path(str(path.with_suffix(".py")))
    measured = json.loads(path.read_text(encoding="utf-8"))
    told = []
    # Of the recipes as they stand, which may have other epochs than when steps were measured.
    for name, row in module["compute_trainings"](measured["summary"]).items():
        if name in RECIPES:
            seconds, ratio = format_seconds(row["training_seconds"]), row["ratio_to_documented"]
            told.append(f"those of `{name}` {seconds} ({describe_ratio([ratio])})")
    peak = ", ".join(
        f"{gflops:,.0f} GFLOP/s in {name}" for name, gflops in measured["peak"].items()
    )
    epochs = [epoch for one in measured["rounds"]["documented script"] for epoch in one]
    most = max(epoch["images"] for epoch in epochs)
    full = [epoch["epoch_seconds"] for epoch in epochs if epoch["images"] == most]
    return make_table(*module["make_rows"](measured)) + (
        f"\nThe peak is that of a large matrix product: {peak}. At these speeds the steps of all"
        f" epochs take: {', '.join(told)}; start, compilation and validation left out. In"
        " brackets, over the documented script's epochs with their validation. How quiet the"
        f" machine was: those took {min(full):.0f} to {max(full):.0f} s each.\n"
    )


def make_ablation():
    """What `quick` reaches without each of its tricks."""
    measured, rows = load_ablation()["quick"], []
    for row in summarise_ablation(measured["rows"]):
        reached = f"{row['mean']:.2%} ({row['low']:.2%} to {row['high']:.2%})"
        if row["trick"] == NOTHING:
            rows.append([describe_trick(NOTHING), reached, "–", "–"])
            continue
        mean, low, high = (
            f"{0.0 - 100 * row[name]:+.2f}".replace("-", "−")  # 0.0 - 0.0 has no sign
            for name in ("cost", "cost_high", "cost_low")
        )
        clear = "yes" if row["clear"] else "within the spread"
        rows.append([describe_trick(row["trick"]), reached, f"{mean} ({low} to {high})", clear])
    seeds = len({row["seed"] for row in measured["rows"]})
    header = [f"`quick`, {seeds} seeds, {measured['precision']}", "validation accuracy, six views"]
    return make_table([*header, "points won or lost", "clear"], rows) + (
        f"\nMean and range over the seeds, on {measured['n']:,} images held out; on"
        f" {measured['machine']}.\n"
    )


def thin_out(points):
    """Return every third of more than six points, the last one among them."""
    return points if len(points) <= 6 else points[::-1][::3][::-1]


def make_scaling():
    """Accuracy and time of each recipe, its epochs varied."""
    measured = load_scaling()
    rows = [
        [f"`{name}`" if name in RECIPES else name, epochs, format_seconds(took), f"{accuracy:.1%}"]
        for name, triples in group_accuracy(measured).items()
        for took, accuracy, epochs in thin_out(sorted(triples))
    ]
    images, sizes = (
        ", ".join(f"{row[key]:,}: {row['epoch_seconds']:.1f} s" for row in measured[part])
        for part, key in (("images", "images"), ("sizes", "size"))
    )
    return make_table(["recipe", "epochs", "training time", "validation accuracy"], rows) + (
        "\nOne view, one seed each, 5,000 images held out (of the whole `fast` and `accurate`"
        " 2,000); some of the points of `outputs/reference/scaling.json`; on"
        f" {measured['machine']}. The last two are one training of `baseline`, a tenth held out,"
        " read off at some of its epochs: once in the time that its steps take, once in the time of"
        " as many of the documented script's epochs, which have all 50,000 images, with their"
        " validation. The script's own accuracy by epoch was not measured. An epoch of `quick` at"
        f" 32 pixels by its number of images: {images}; with 20,000 images by their side in pixels:"
        f" {sizes} (20,000 at 32 pixels were measured twice: so much is noise).\n"
    )


def read_measured(name):
    """Return what a benchmark of this folder wrote."""
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))


def make_exports():
    """One row per export format."""
    rows = [
        [
            f"`{row['format']}`",
            f"{row['bytes'] / 1e6:.1f} MB",
            f"{row['largest_difference']:.1e}",
            "no" if row["without_tensorflow"] else "yes",
        ]
        for row in read_measured("export_matrix")["rows"]
    ]
    return make_table(["format", "size", "largest difference", "needs TensorFlow"], rows)


def make_inference():
    """One row per engine and kind of views: start, latency, memory; then the folder."""
    measured = read_measured("inference_speed")
    rows = [
        [
            row["engine"] if row["engine"] != "model.predict" else "Keras's own `model.predict`",
            row["views"],
            f"{row['load_to_first_answer_seconds']:.2f} s",
            f"{row['small_ms']:.1f} ms",
            f"{row['large_ms']:.1f} ms" if "large_ms" in row else "–",
            f"{row['memory_mb']} MB",
        ]
        for row in measured["rows"]
    ]
    header = ["engine", "views", "load to first answer", "32×32", "640×480", "memory"]
    told = ", ".join(
        f"{count:,} ({views})" for views, count in measured["folder_pictures_per_second"].items()
    )
    return make_table(header, rows) + (
        f"\nOn {measured['machine']}: median of a picture that is decoded already, on one core."
        f" A folder of {measured['folder_pictures']:,} pictures of 32×32, reading included, on all"
        f" cores: {told} pictures a second.\n"
    )


def make_widget():
    """One row per size of photo: from the drop to the answer on the page."""
    measured = read_measured("drop_to_answer")
    places = list(dict.fromkeys(row["where"] for row in measured["rows"]))
    by_size = {}
    for row in measured["rows"]:
        by_size.setdefault((row["bytes"], *row["pixels"]), {})[row["where"]] = row
    rows = [
        [f"{size / 1e6:.1f} MB, {width}×{height}"]
        + [f"{found[place]['seconds']:.2f} s" for place in places]
        for (size, width, height), found in by_size.items()
    ]
    return make_table(["photo", *places], rows) + (
        f"\nMedian of {measured['rows'][0]['n']} drops, from the drop to the answer on the page, on"
        f" {measured['machine']}.\n"
    )


def make_crops():
    """Ways of showing the network a scene, on validation images; the chosen one on the test."""
    measured = read_measured("photo_crops")
    module = runpy.run_path(str(Path(__file__).with_name("photo_crops.py")))
    chosen, ways = module["CHOSEN"], module["WAYS"]
    simple = ("squash", "centre", "letterbox")
    shown = [
        row
        for row in measured["validation"]
        if row["crops"] in ("all", chosen[0], *simple) and row["average"] in ("mean", chosen[1])
    ]
    rows = []
    for row in shown:
        mark = "**" if (row["crops"], row["average"]) == chosen else ""
        low, high = row["interval"]
        rows.append(
            [
                f"{mark}{row['crops']}{mark}",
                f"{mark}{row['average']}{mark}" if len(ways[row["crops"]]) > 1 else "–",
                f"{row['accuracy']:.1%} ({low:.1%} to {high:.1%})",
                f"{row['coverage']:.0%}",
            ]
        )
    header = ["crops", "what counts", "validation scenes right (95 % interval)"]
    table = make_table([*header, "answered at 95 % right"], rows)
    test = measured["test"]
    told = ", ".join(f"{name} {test[name]['accuracy']:.1%}" for name in simple)
    answers = test["answers"]
    return table + (
        f"\nOn {answers['n']:,} scenes of test images: {test['chosen']['accuracy']:.1%} with"
        f" the choice of this project; {told}. {answers['coverage']:.0%} of them get an answer that"
        f" is not called unsure, and {answers['accuracy']:.1%} of these are right.\n"
    )


def make_photos():
    """Real photographs: how many are right, how many get a confident answer."""
    rows = []
    for row in read_measured("photo_crops")["photos"]:
        right = f"{row['right']} of {row['n']}" if "right" in row else "–"
        sure = f"{row['right_of_answered']} of {row['answered']}" if "right" in row else "–"
        kind = row["kind"] if "right" in row else "none of the ten: photographs"
        rows.append([kind, right, f"{row['answered']} of {row['n']}", sure])
    for kind, row in read_measured("none_of_the_classes")["kinds"].items():
        if kind != "photographs":
            rows.append([f"none of the ten: {kind}", "–", f"{row['confident']} of {row['n']}", "–"])
    for label, row in read_measured("none_of_the_classes").get("left_out", {}).items():
        row = row["unknown"]
        rows.append(
            [f"{label}, which `quick` never saw", "–", f"{row['confident']} of {row['n']}", "–"]
        )
    return make_table(["pictures", "right", "answered with confidence", "of these right"], rows)


def make_page():
    """One row per number of threads; then start, memory and what hostile uploads did."""
    measured = read_measured("serve_load")
    rows = [
        [
            row["threads"],
            f"{row['requests']:,}",
            row["errors"],
            f"{row['p50_ms'] / 1e3:.2f} s",
            f"{row['p99_ms'] / 1e3:.2f} s",
            f"{row['per_second']:.0f}",
            f"{row['memory_peak_mb']} MB",
        ]
        for row in measured["rows"]
    ]
    header = ["threads", "requests", "errors", "median", "99 of 100 within", "pictures a second"]
    start, hostile, large = (measured[name] for name in ("start", "hostile", "large_uploads"))
    answered = hostile["statuses"]["200"]
    faults = len(hostile["without_answer_or_reason"])
    refused = hostile["requests"] - answered - faults
    return make_table([*header, "most memory"], rows) + (
        f"\nOn {measured['machine']}: {measured['clients']} clients at once for"
        f" {measured['seconds']} s, on the same cores as the server. It starts with"
        f" {start['memory_mb']} MB and answers its first request after"
        f" {start['median_seconds']:.2f} s (median of {start['n']}). {large['n']} uploads of"
        f" {large['bytes'] / 1e6:.0f} MB at once: {large['answered']} answered, at most"
        f" {large['memory_peak_mb']} MB. {hostile['requests']:,} hostile uploads: {answered}"
        f" answered, {refused} refused with a reason, {faults} anything else; memory grew by"
        f" {hostile['memory_growth']:.2%}.\n"
    )


TABLES = {
    "page": make_page,
    "exports": make_exports,
    "inference": make_inference,
    "widget": make_widget,
    "crops": make_crops,
    "photos": make_photos,
    "shipped": make_shipped,
    "steps": make_steps,
    "ending": make_ending,
    "recipes": make_recipes,
    "results": make_results,
    "reproduction": make_reproduction,
    "leak": make_leak,
    "ablation": make_ablation,
    "scaling": make_scaling,
    "speed": make_speed,
}


def render(text):
    """Return the README's text with every table made anew.

    Raises:
        KeyError: If a block names a table that does not exist.
    """
    return BLOCK.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


if __name__ == "__main__":
    for path, make in ((README, render), (RECIPES_FILE, render_docstrings)):
        print("wrote", write_text(path, make(path.read_text(encoding="utf-8"))).name)
