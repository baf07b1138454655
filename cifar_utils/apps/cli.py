"""The command line: `python -m cifar_utils run | predict | serve | export | data | doctor | …`."""

import errno
import sys
import time

import click

from cifar_utils import __version__
from cifar_utils.errors import CifarError, ParameterError

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class KindGroup(click.Group):
    """Prints our own errors as one message instead of a traceback."""

    def invoke(self, ctx):
        """Run a command; exit 2 for a wrong parameter, 1 for a failure, 130 if interrupted."""
        try:
            return super().invoke(ctx)
        except OSError as error:  # no right, no space, a file where a folder should be
            if error.errno == errno.EPIPE:
                raise  # whoever read our output has seen enough: click ends quietly
            room = "Make room there, or take" if error.errno == errno.ENOSPC else "Take"
            click.echo(
                f"Error: {error}. {room} another file or folder (CIFAR_RUNS_DIR moves the runs,"
                " CIFAR_CACHE_DIR the cache).",
                err=True,
            )
            sys.exit(1)
        except CifarError as error:
            click.echo(f"Error: {error}", err=True)
            interrupted = type(error).__name__ == "Interrupted"
            sys.exit(130 if interrupted else 2 if isinstance(error, ParameterError) else 1)

    def resolve_command(self, ctx, args):
        """Name the nearest command for a mistyped one."""
        from cifar_utils.text import suggest

        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(
                f"There is no command {args[0]!r}. {suggest(args[0], self.list_commands(ctx))}"
            )
        return super().resolve_command(ctx, args)


@click.group(cls=KindGroup, context_settings=SETTINGS)
@click.version_option(__version__, prog_name="cifar-notebooks")
def main():
    """CIFAR-10 with a convolutional network, from the raw archive to a report."""
    for stream in (sys.stdout, sys.stderr):  # a file's name may be more than a stream can write
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
    parameters = dict(pairs)
    for option, value in (("recipe", recipe), ("dataset", dataset)):
        if value is not None:
            parameters[option] = value
    if "run_name" in parameters:
        name = parameters.pop("run_name")
    if bool(from_stage) + bool(only) + resume > 1:
        raise ParameterError("--resume, --from and --only exclude each other; take one of them.")
    from cifar_utils.apps import pipeline

    start = time.monotonic()
    rerun = bool(from_stage or only)
    if rerun:
        pipeline.choose_stages(None, from_stage, only)  # refused before a run is looked for
    prepared, given = pipeline.prepare_run(name, parameters, resume, rerun)
    click.echo(prepared.dataset.describe())
    click.echo(repr(prepared))
    stages = pipeline.choose_stages(prepared, from_stage, only)
    if stages:
        pipeline.run_pipeline(prepared, stages, given, retrain=rerun)
    else:
        click.echo("Every stage of this run is done already.")
    click.echo(pipeline.describe_result(prepared, time.monotonic() - start))


@main.command()
@click.argument("paths", nargs=-1, type=click.Path())
@click.option("--model", help="A run, a model file or a shipped model; default: what ships.")
@click.option("--top", type=click.IntRange(1, 10), default=3, show_default=True, help="Classes.")
@click.option("--json", "form", flag_value="json", help="Print one JSON document.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
@click.option("--test-image", "numbers", type=int, multiple=True, help="A test image by number.")
@click.option("--views", default="mirrored", show_default=True, help="one, mirrored or six.")
@click.option("--backend", help="LiteRT, ONNX Runtime or Keras; default: the first installed.")
@click.option("--heat-maps", type=click.Path(file_okay=False), help="Folder for heat maps (PNG).")
def predict(paths, model, top, form, numbers, views, backend, heat_maps):
    """Classify pictures: files, folders, test images.

    Exits with 0 only if every picture was read; each that was not has one line on stderr.

    \b
    Examples:
      python -m cifar_utils predict cat.jpg photos/
      python -m cifar_utils predict photos/ --csv > answers.csv
      python -m cifar_utils predict --test-image 17 --model my-run --top 5
    """
    from tqdm import tqdm

    from cifar_utils.apps import predict as predict_command
    from cifar_utils.inference.classifier import Classifier

    named = [(str(path), path) for path in predict_command.list_pictures(paths)]
    named += predict_command.load_test_images(numbers)
    if not named:
        raise ParameterError("Name a picture, a folder of pictures, or a --test-image.")
    classifier = Classifier.load(model, views, backend)
    if not form:
        told = "" if classifier.calibration else " It has no calibration: it is never unsure."
        click.echo(f"{classifier.source} {classifier.engine}.{told}", err=True)
    rows, failed = [], 0
    outcomes = predict_command.classify(classifier, named)
    # Without a terminal, or for a few pictures, there is no bar.
    quiet = len(named) < 100 or not sys.stderr.isatty()
    for name, picture, outcome in tqdm(outcomes, total=len(named), unit="picture", disable=quiet):
        if isinstance(outcome, Exception):
            failed += 1
            told = predict_command.show_name(f"{name}: {outcome}")
            tqdm.write(told, file=sys.stderr)
            rows.append({"picture": name, "error": str(outcome)})
            continue
        rows.append(outcome.to_dict(name, top))
        if heat_maps:
            try:
                path = predict_command.save_heat_map(classifier, picture, name, heat_maps)
                rows[-1]["heat_map"] = str(path)
            except ParameterError as error:
                failed += 1
                tqdm.write(predict_command.show_name(f"{name}: {error}"), file=sys.stderr)
        if not form:
            tqdm.write(predict_command.render_line(rows[-1]))
    if form == "json":
        click.echo(predict_command.render_json(rows, classifier))
    elif form == "csv":
        click.echo(predict_command.render_csv(rows, top))
    if failed:
        sys.exit(1)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=5678, show_default=True)
@click.option("--images", default="Images", show_default=True, help="Folder to choose from.")
@click.option("--model", help="A run, a model file or a shipped model; default: what ships.")
@click.option(
    "--threads",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="Requests answered at a time.",
)
def serve(host, port, images, model, threads):
    """Show the page on localhost:5678, where pictures are classified.

    \b
    Examples:
      python -m cifar_utils serve
      python -m cifar_utils serve --port 8080 --images ~/Pictures --model my-run
    """
    try:
        from cifar_utils.apps.web import app, server  # noqa: F401 (Flask is missed here, or not at all)
    except ModuleNotFoundError as error:
        raise CifarError(
            f"The page needs {error.name}, which is not installed: run "
            "pip install 'cifar-notebooks[web]'."
        ) from None
    from cifar_utils.inference.classifier import Classifier
    from cifar_utils.paths import expand_home

    server.serve(
        lambda: Classifier.load(model), expand_home(images), host, port, threads, click.echo
    )


@main.command()
@click.argument("name", metavar="RUN")
@click.option(
    "--format",
    "kinds",
    multiple=True,
    required=True,
    help="keras, h5, tflite, onnx or savedmodel; may be repeated.",
)
@click.option("--output", type=click.Path(), help="File to write; default: exports/ of the run.")
def export(name, kinds, output):
    """Write a run's network, or a shipped one, as a file for other programs.

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
    """Show what data was found, where, how large, and whether it is the official archive."""
    from cifar_utils.data import describe_sources

    click.echo(describe_sources())


@main.command()
def doctor():
    """Check this machine: versions, processor, GPU, memory, disk, data, training times."""
    from cifar_utils.apps.doctor import run_doctor

    if any(finding.level == "problem" for finding in run_doctor(click.echo)):
        sys.exit(1)


@main.command()
def notebooks():
    """Execute the committed notebooks again, in place (what `make notebooks` calls)."""
    from cifar_utils.apps.notebooks import refresh_notebooks

    for path in refresh_notebooks():
        click.echo(f"wrote {path.name}")


@main.command()
def exercises():
    """Copy the notebooks to exercises/ without solutions and outputs (`make exercises`)."""
    from cifar_utils.apps.notebooks import write_exercises

    for path in write_exercises():
        click.echo(f"wrote exercises/{path.name}")


@main.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if something would change.")
def links(check):
    """Write the project's address into every notebook (what `make links` calls).

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
