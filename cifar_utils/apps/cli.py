"""The command line: `python -m cifar_utils run | predict | serve | export | data | doctor | …`."""

import errno
import platform
import sys
import time
from importlib import metadata

import click

from cifar_utils import __version__
from cifar_utils.errors import CifarError, ParameterError
from cifar_utils.text import suggest

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
EXIT_CODES = "Exit codes: 0 fine, 1 failure, 2 wrong parameter or option, 130 interrupted."
SECTIONS = {
    "Train and evaluate": ("run",),
    "Classify": ("predict", "serve", "export"),
    "This machine": ("data", "doctor"),
    "For maintainers": ("notebooks", "exercises", "links"),
}
BACKENDS = {"tensorflow": ("tensorflow", "tensorflow-cpu")}  # the wheels of a backend, if several
MODEL_HELP = "A run, a model file or a shipped model; default: the shipped one."
FORMAT_HELP = "keras, h5, tflite, onnx or savedmodel; may be repeated."
BACKEND_HELP = "LiteRT, ONNX Runtime, Keras, TensorFlow; default: the first installed."
SCALE_HELP = "The model's input: 0..1, 0..255 or -1..1; default: found out from the model."


class SectionedGroup(click.Group):
    """Lists the commands by what people do; prints our own errors instead of a traceback."""

    def invoke(self, ctx):
        """Run a command; end with the exit codes that `--help` lists."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # click's own code for it is 1
            told, code = "Interrupted.", 130
        except OSError as error:  # no right, no space, a file where a folder should be
            if error.errno == errno.EPIPE:
                raise  # the reader of our output has closed it, such as `head`: click ends quietly
            room = "Make room there, or take" if error.errno == errno.ENOSPC else "Take"
            told, code = f"Error: {error}. {room} another file or folder", 1
            told += " (CIFAR_RUNS_DIR moves the runs, CIFAR_CACHE_DIR the cache)."
        except CifarError as error:
            told, code = f"Error: {error}", error.exit_code
        click.echo(told, err=True)
        sys.exit(code)

    def resolve_command(self, ctx, args):
        """Name the nearest command for a mistyped one."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = suggest(args[0], self.list_commands(ctx))
            ctx.fail(f"There is no command {args[0]!r}. {near}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx, formatter):
        """Write the commands in sections."""
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(f"{name:9}", self.commands[name].get_short_help_str(64)) for name in names]
                )


def _show_version(ctx, _, wanted):
    """Print the versions that matter, from the packages' metadata: nothing is imported."""
    if not wanted:
        return
    from cifar_utils.paths import read_variable

    def find(*names):
        there = [d.version for name in names for d in metadata.distributions(name=name)]
        return (there or ["(not installed)"])[0]

    backend = read_variable("KERAS_BACKEND") or "tensorflow"
    click.echo(f"cifar-notebooks, version {__version__}")
    click.echo(f"Backend: {backend} {find(*BACKENDS.get(backend, (backend,)))}")
    click.echo(f"Python {platform.python_version()}, Keras {find('keras')}, NumPy {find('numpy')}")
    click.echo(f"LiteRT {find('ai-edge-litert')}, ONNX Runtime {find('onnxruntime')}")
    ctx.exit()


@click.group(cls=SectionedGroup, context_settings=SETTINGS, epilog=EXIT_CODES)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the versions of this package, of the backend and of Keras.",
)
def main():
    """CIFAR-10 with a convolutional network, from the raw archive to a photo of yours."""
    from cifar_utils.paths import provide_home

    provide_home()
    for stream in (sys.stdout, sys.stderr):  # not every name can be written in every encoding
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@main.command()
@click.option("--recipe", help="Hyper-parameter set: quick (default), fast, accurate or baseline.")
@click.option("--dataset", help="auto (default), cifar10 or synthetic.")
@click.option("--name", default="", help="Run name; empty makes one from date, time and recipe.")
@click.option("-p", "pairs", nargs=2, multiple=True, metavar="NAME VALUE", help="Any parameter.")
@click.option("--resume", is_flag=True, help="Continue the run of this --name where it stopped.")
@click.option("--from", "from_stage", metavar="STAGE", help="Rerun from this stage on, such as 04.")
@click.option("--only", metavar="STAGE", help="Rerun this stage alone, such as 04.")
def run(recipe, dataset, name, pairs, resume, from_stage, only):
    """Execute the five notebooks in order and write a report.

    \b
    Examples:
      python -m cifar_utils run
      python -m cifar_utils run --recipe baseline --name my-run -p epochs 5 -p seed 1
      python -m cifar_utils run --name my-run --resume
      python -m cifar_utils run --name my-run --from 04
    """
    options = {"recipe": recipe, "dataset": dataset}
    parameters = dict(pairs) | {key: value for key, value in options.items() if value is not None}
    name = parameters.pop("run_name", name)
    rerun = bool(from_stage or only)
    if bool(from_stage) + bool(only) + resume > 1:
        raise ParameterError("--resume, --from and --only exclude each other; take one of them.")
    from cifar_utils.apps import pipeline

    start = time.monotonic()
    pipeline.choose_stages(None, from_stage, only)  # refused before a run is searched for
    prepared, given = pipeline.prepare_run(name, parameters, existing=resume or rerun)
    click.echo(prepared.dataset.describe())
    click.echo(repr(prepared))
    stages = pipeline.choose_stages(prepared, from_stage, only)
    if stages:
        pipeline.run_pipeline(prepared, stages, given, retrain=rerun)
    else:
        click.echo("Every stage of this run is done already.")
    click.echo(pipeline.describe_result(prepared, time.monotonic() - start))


@main.command()
@click.argument("paths", nargs=-1)
@click.option("--model", help=MODEL_HELP)
@click.option("--top", type=click.IntRange(1, 10), default=3, show_default=True, help="Classes.")
@click.option("--json", "form", flag_value="json", help="Print one JSON document.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV for programs, names unchanged.")
@click.option("--test-image", "numbers", type=int, multiple=True, help="A test image by number.")
@click.option("--views", default="mirrored", show_default=True, help="one, mirrored or six.")
@click.option("--backend", help=BACKEND_HELP)
@click.option("--input-scale", help=SCALE_HELP)
@click.option("--heat-maps", type=click.Path(file_okay=False), help="Folder for heat maps (PNG).")
def predict(paths, model, top, form, numbers, views, backend, input_scale, heat_maps):
    """Classify photos: files, folders, test images.

    A folder is read with all below it, linked folders too: images go by their names, and hidden
    files and folders are left out. The path `-` reads one image from standard input.

    Exits with 0 only if every image was read; each that was not has one line on stderr.
    --csv is for programs. For a spreadsheet take the widget's download: Excel reads its accents,
    and no name in it can run as a formula.

    \b
    Examples:
      python -m cifar_utils predict cat.jpg photos/
      python -m cifar_utils predict photos/ --csv > answers.csv
      python -m cifar_utils predict --test-image 17 --model my-run --top 5
      curl -s https://example.org/cat.jpg | python -m cifar_utils predict -
    """
    from tqdm import tqdm

    from cifar_utils.apps import predict as command
    from cifar_utils.inference.classifier import Classifier

    images, left_out = command.list_images(paths)
    if left_out:
        click.echo(left_out, err=True)
    images += command.load_test_images(numbers)
    if not images:
        raise ParameterError("Name an image, a folder of images, or a --test-image.")
    classifier = Classifier.load(model, views, backend, input_scale=input_scale)
    if not form:
        told = "" if classifier.calibration else " It has no calibration: it is never unsure."
        click.echo(f"{classifier.source} {classifier.engine}.{told}", err=True)
    rows, failed = [], False
    classified = command.classify(classifier, images, top, heat_maps)
    # Without a terminal, or for a few images, there is no bar.
    quiet = len(images) < 100 or not sys.stderr.isatty()
    for row, problem in tqdm(classified, total=len(images), unit="image", disable=quiet):
        rows.append(row)
        if problem:
            failed = True
            tqdm.write(command.show_name(f"{row['picture']}: {problem}"), file=sys.stderr)
        if not form and "error" not in row:
            tqdm.write(command.render_line(row))
    if form == "json":
        click.echo(command.render_json(rows, classifier))
    elif form == "csv":
        click.echo(command.render_csv(rows, top))
    sys.exit(failed)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=5678, show_default=True)
@click.option("--images", default="Images", show_default=True, help="Folder to choose from.")
@click.option("--model", help=MODEL_HELP)
@click.option("--input-scale", help=SCALE_HELP)
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Requests at a time.",
)
def serve(host, port, images, model, input_scale, threads):
    """Show a page on localhost:5678 that classifies photos.

    \b
    Examples:
      python -m cifar_utils serve
      python -m cifar_utils serve --port 8080 --images ~/Pictures --model my-run
    """
    try:
        from cifar_utils.apps.web import app, server  # noqa: F401 (Flask is missed here or nowhere)
    except ModuleNotFoundError as error:
        raise CifarError(
            f"The page needs {error.name}, which is not installed: run "
            "pip install 'cifar-notebooks[web]'."
        ) from None
    from cifar_utils.inference.classifier import Classifier
    from cifar_utils.paths import expand_home

    def load():
        return Classifier.load(model, input_scale=input_scale)

    server.serve(load, expand_home(images), host, port, threads, click.echo)


@main.command()
@click.argument("name", metavar="RUN")
@click.option("--format", "kinds", multiple=True, required=True, help=FORMAT_HELP)
@click.option("--output", type=click.Path(), help="File to write; default: exports/ of the run.")
def export(name, kinds, output):
    """Write a run's network, or a shipped one, for other programs.

    It takes uint8 images (n, 32, 32, 3) and gives probabilities. The file is read again in a
    process of its own and compared with the network on 1,000 test images.

    \b
    Examples:
      python -m cifar_utils export my-run --format onnx --format tflite
      python -m cifar_utils export fast --format keras --output fast.keras
    """
    if output and len(kinds) > 1:
        raise ParameterError("--output names one file: give one --format with it.")
    from cifar_utils.inference.export import describe_export
    from cifar_utils.inference.export import export as export_network

    for kind in kinds:
        click.echo(describe_export(export_network(name, kind, output)))


@main.command()
def data():
    """Show which data was found, where, and if it is the official one."""
    from cifar_utils.data import describe_sources

    click.echo(describe_sources())


@main.command()
def doctor():
    """Check this machine: versions, processor, memory, disk, times."""
    from cifar_utils.apps.doctor import run_doctor

    sys.exit(any(level == "problem" for level, *_ in run_doctor(click.echo)))


@main.command()
def notebooks():
    """Execute the committed notebooks again (`make notebooks`)."""
    from cifar_utils.apps.notebooks import refresh_notebooks

    refresh_notebooks(click.echo)


@main.command()
def exercises():
    """Copy the notebooks without their solutions (`make exercises`).

    The copies go to the folder exercises/, without outputs.
    """
    from cifar_utils.apps.notebooks import write_exercises

    for path in write_exercises():
        click.echo(f"wrote exercises/{path.name}")


@main.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if something would change.")
def links(check):
    """Write the project's address into the notebooks (`make links`).

    It is read from [project.urls] in pyproject.toml, and goes into the "Open in Colab" badges and
    the set-up cells. Without an address there are no badges.
    """
    from cifar_utils.apps.notebooks import write_links

    changed = write_links(check)
    for path in changed:
        click.echo(f"{path.name} is not up to date" if check else f"wrote {path.name}")
    if check and changed:
        raise CifarError("Run `make links`, and commit what it writes.")
    if not changed:
        click.echo("Every notebook is up to date.")


if __name__ == "__main__":
    main(prog_name="python -m cifar_utils")
