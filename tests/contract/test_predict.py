"""`predict`, `export`, help and exit codes of the command line, for a person at a shell."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pipeline_process import accept_ctrl_c

from cifar_utils.apps.cli import main
from cifar_utils.apps.predict import list_images, render_csv
from cifar_utils.inference.samples import list_samples
from cifar_utils.paths import project_root

COMMAND = [sys.executable, "-m", "cifar_utils"]
CAT = list_samples()["cat"]
FORMULAS = ("=1+1.jpg", "+1.jpg", "-1.jpg", "@SUM(1).jpg", "\t=1.jpg", " =1.jpg", "＝1.jpg")


def call(*arguments, stdin=None):
    """Run the command line in this process."""
    done = CliRunner().invoke(main, [str(part) for part in arguments], input=stdin)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def read_csv(done):
    return list(csv.DictReader(io.StringIO(done.stdout)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with two images, one broken one, one in a subfolder and a text."""
    folder = tmp_path_factory.mktemp("photos")
    for name, path in list_samples().items():
        shutil.copy(path, folder / f"{name}.jpg")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    (folder / "notes.txt").write_text("not an image")
    (folder / "more").mkdir()
    Image.new("RGB", (50, 40), (0, 90, 200)).save(folder / "more" / "blue.webp")
    return folder


def test_a_line_for_each_image_and_a_bad_one_leaves_the_others_alone(folder):
    urls = "https://example.org/cat.jpg"
    done = call("predict", folder, folder / "none.jpg", urls, "--top", 2)
    assert done.exit_code == 1
    cat, coffee, blue = done.stdout.splitlines()
    assert cat.startswith(f"{folder / 'cat.jpg'}: cat ")
    assert cat.count("%") == 2
    assert ": unsure: " in coffee
    assert "blue.webp" in blue
    told = done.stderr.splitlines()
    for name in ("broken.png: ", "none.jpg: There is no file", f"{urls}: ", "1 other file"):
        assert sum(name in line for line in told) == 1
    assert "fast" in done.stderr
    assert "LiteRT" in done.stderr


def test_folders_are_read_with_all_below_them_and_nothing_twice(tmp_path):
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    hidden = ("._a.jpg", "__MACOSX/b.jpg", ".ipynb_checkpoints/c.jpg", "@eaDir/d.jpg", "x/.e.png")
    taken = ("a.jpg", "deep/er/b.PNG", "../elsewhere/c.webp")
    for name in (*hidden, *taken, "letter.txt", "a.heat.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).touch()
    (photos / "linked").symlink_to(elsewhere)
    (photos / "deep" / "loop").symlink_to(photos)
    (elsewhere / "back").symlink_to(photos / "deep")
    (photos / "dangling.png").symlink_to("nowhere.png")
    os.mkfifo(photos / "pipe.jpg")  # to open it would wait for ever
    found, left_out = list_images([photos])
    names = [Path(name).relative_to(photos).as_posix() for name, _ in found]
    assert names == ["a.jpg", "dangling.png", "deep/er/b.PNG", "linked/c.webp"]
    for kind in ("3 hidden folders", "2 hidden files", "1 other file", "1 heat map", "1 pipe"):
        assert kind in left_out
    assert "2 repeated links" in left_out
    assert list_images([photos / "._a.jpg"])[0]  # what is named itself is tried


def test_a_folder_that_may_not_be_read_has_its_line(tmp_path, monkeypatch):
    def walk(folder, onerror):
        error = PermissionError(13, "Permission denied")
        error.filename = str(tmp_path / "locked")
        onerror(error)
        yield str(folder), [], ["a.png"]

    monkeypatch.setattr("os.walk", walk)
    assert [Path(name).name for name, _ in list_images([tmp_path])[0]] == ["a.png", "locked"]


def test_an_image_comes_through_a_pipe(tmp_path):
    done = call("predict", "-", "--json", "--heat-maps", tmp_path, stdin=CAT.read_bytes())
    (row,) = json.loads(done.stdout)["pictures"]
    assert (row["picture"], row["label"]) == ("-", "cat")
    assert Path(row["heat_map"]).exists()
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[CAT.read_bytes()])
    writer.start()
    command = [*COMMAND, "predict", "/dev/stdin", tmp_path / "pipe"]
    done = subprocess.run(command, capture_output=True, input=b"Dear Sir or Madam")
    writer.join()
    assert done.returncode == 1
    assert b"/dev/stdin: " in done.stderr
    assert b"pipe: cat " in done.stdout


def test_odd_names_and_streams_cost_no_prediction(tmp_path):
    names = (
        "Käse.jpg".encode(),
        "猫.jpg".encode(),
        b"two\nlines.jpg",
        b"\x1b[31m.jpg",
        b"\xff.jpg",
    )
    for name in (*names, b"~b.jpg"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        shutil.copy(CAT, path)
    path.write_bytes(b"not an image")
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    for form in ([], ["--csv"]):
        command = [*COMMAND, "predict", tmp_path, *form]
        done = subprocess.run(command, capture_output=True, env=environment)
        told = done.stdout.decode("cp1252")
        assert b"Traceback" not in done.stderr
        if form:
            rows = csv.DictReader(io.StringIO(told))
            assert sorted(row["class_1"] for row in rows) == ["", *["cat"] * len(names)]
        else:
            assert len(told.splitlines()) == len(names)
            assert "\x1b" not in told


def test_json_and_csv_agree_and_state_what_was_guessed(folder, tmp_path):
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (40, 40), (200, 30, 30, 0)).save(clear)
    document = json.loads(call("predict", folder, clear, "--json", "--top", 10).stdout)
    assert document["calibrated"] is True
    assert document["views"] == "mirrored"
    rows = read_csv(call("predict", folder, clear, "--csv"))
    assert [row["picture"] for row in rows] == [p["picture"] for p in document["pictures"]]
    for row, image in zip(rows, document["pictures"], strict=True):
        if "error" in image:
            assert row["error"] == image["error"]
            assert not row["class_1"]
            continue
        assert row["class_1"] == image["label"] == image["classes"][0]["class"]
        assert float(row["probability_1"]) == image["probability"]
        assert row["unsure"] == str(image["unsure"]).lower()
        assert sum(part["probability"] for part in image["classes"]) == pytest.approx(1, abs=1e-3)
    assert "transparent" in image["note"]
    assert row["note"] == image["note"]
    assert image["note"] in call("predict", clear).stdout
    # And the guide names these keys, and options that there are.
    guide = (project_root() / "docs" / "inference.md").read_text(encoding="utf-8")
    keys = {*document, *(key for row in document["pictures"] for key in row)}
    assert {key for key in keys if f"`{key}`" not in guide} == set()
    commands = re.findall(r"python -m cifar_utils (\w+)(.*?)(?:#|`|>|$)", guide, re.MULTILINE)
    for name, arguments in commands:
        options = {option for one in main.commands[name].params for option in one.opts}
        assert set(re.findall(r"--[\w-]+", arguments)) <= options


def test_programs_get_names_unchanged_and_spreadsheets_no_formulas():
    names = [*FORMULAS, "a;=1+1;b.jpg", 'say "=1".jpg', "two\r\n=1.jpg", "Käse.jpg"]
    rows = [{"picture": name, "error": f"{name} is damaged."} for name in names]
    for_programs = csv.DictReader(io.StringIO(render_csv(rows, 1), newline=""))
    assert [row["picture"] for row in for_programs] == names
    sheet = render_csv(rows, 1, spreadsheet=True)
    assert sheet.encode().startswith(b"\xef\xbb\xbf")
    for separator in ",;":  # Excel takes either, by the country
        table = csv.reader(io.StringIO(sheet[1:], newline=""), delimiter=separator)
        cells = [cell for row in table for cell in row]
        assert "'=1+1.jpg" in ";".join(cells)
        computed = tuple("=+-@\t\r\n＝＋－＠")
        assert not [cell for cell in cells if cell.strip(" ").startswith(computed)]


def test_heat_maps_never_replace_a_file_and_cost_no_prediction(folder, tmp_path):
    for expected in (["cat.heat.png"], ["cat-2.heat.png", "cat.heat.png"]):
        assert call("predict", folder / "cat.jpg", "--heat-maps", tmp_path / "maps").exit_code == 0
        assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == expected
    (tmp_path / "file").touch()
    done = call("predict", folder / "cat.jpg", "--json", "--heat-maps", tmp_path / "file" / "x")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["pictures"][0]["label"] == "cat"
    assert "another folder" in done.stderr


@pytest.mark.parametrize(
    ("code", "arguments", "word"),
    [
        (2, ["predict"], "Name an image"),
        (1, ["predict", "--model", "fats", "x.png"], "'fast'"),
        (2, ["predict", "--views", "two", "x.png"], "one, mirrored, six"),
        (1, ["predict", "--backend", "CUDA", "x.png"], "'CUDA'"),
        (2, ["predict", "--top", "11", "x.png"], "11"),
        (2, ["predict", "--test-image", "1000000"], "0 to 999"),
        (2, ["predict", "--input-scale", "0..7", "x.png"], "0..7"),
        (2, ["predict", "EMPTY"], "EMPTY"),
        (2, ["predic"], "'predict'"),
        (2, ["export", "fast", "--format", "trt"], "keras"),
        (1, ["export", "fats", "--format", "h5"], "'fast'"),
        (2, ["export", "fast", "--format", "h5", "--format", "onnx", "--output", "x"], "--output"),
    ],
)
def test_wrong_arguments_are_refused_with_their_exit_code(
    code, arguments, word, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    os.mkdir("EMPTY")
    done = call(*arguments)
    assert (done.exit_code, word in done.output) == (code, True), done.output


def test_ctrl_c_ends_with_130(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    command = subprocess.Popen(
        [*COMMAND, "predict", tmp_path / "pipe"], stderr=subprocess.PIPE, preexec_fn=accept_ctrl_c
    )
    with open(tmp_path / "pipe", "wb"):  # opens once the command reads it
        command.send_signal(signal.SIGINT)
        _, told = command.communicate(timeout=60)
    assert command.returncode == 130
    assert b"Traceback" not in told


def test_the_help_fits_on_a_screen_and_names_every_command_and_exit_code():
    told = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    assert len(told.splitlines()) <= 30
    for word in (*main.commands, "0 fine", "1 failure", "2 wrong", "130 interrupted"):
        assert word in told


def test_the_version_names_the_backend_and_imports_neither_it_nor_keras():
    code = (
        "import sys; from cifar_utils.apps.cli import main; main(['--version'],"
        " standalone_mode=False); print({'tensorflow', 'keras', 'numpy'} & set(sys.modules))"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
    assert "Backend: jax " in told
    assert told.endswith("set()\n")


def test_hundreds_of_images_keep_their_order(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number:04}.png")
    (tmp_path / "0100.png").write_text("not an image")
    rows = read_csv(call("predict", tmp_path, "--csv", "--views", "one"))
    assert [row["picture"] for row in rows] == [str(tmp_path / f"{n:04}.png") for n in range(300)]
    assert [bool(row["error"]) for row in rows].index(True) == 100
    assert len({row["probability_1"] for row in rows}) > 250


def test_test_images_and_an_export_from_the_shell(tmp_path):
    export = ("export", "fast", "--format", "keras", "--output", tmp_path / "a.keras")
    done = call(*export)
    assert done.exit_code == 0, done.output
    assert "a.keras: " in done.stdout
    assert call(*export).exit_code == 2  # it exists already
    numbers = ("--test-image", 17, "--test-image", 3)
    lines = call("predict", *numbers, "--model", tmp_path / "a.keras").stdout.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        *("synthetic test image 17", "synthetic test image 3"),
    ]
