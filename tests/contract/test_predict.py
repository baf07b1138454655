"""`python -m cifar_utils predict` and `export`, as a person at a shell sees them."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_utils.apps.predict import list_pictures
from cifar_utils.inference.samples import list_samples


def run_command(*arguments, cwd=None, **environment):
    """Run the command line in a fresh process."""
    return subprocess.run(
        [sys.executable, "-m", "cifar_utils", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with two pictures, one broken one, one in a subfolder and a text."""
    folder = tmp_path_factory.mktemp("photos")
    for name, path in list_samples().items():
        (folder / f"{name}.jpg").write_bytes(path.read_bytes())
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    (folder / "notes.txt").write_text("not asked about")
    (folder / "more").mkdir()
    Image.new("RGB", (50, 40), (0, 90, 200)).save(folder / "more" / "blue.webp")
    return folder


def test_lines_for_a_person(folder):
    done = run_command("predict", folder / "cat.jpg", folder / "coffee.jpg", "--top", 2)
    assert done.returncode == 0, done.stderr
    cat, coffee = done.stdout.splitlines()
    assert cat.startswith(f"{folder / 'cat.jpg'}: cat ")
    assert cat.count("%") == 2
    assert ": unsure: " in coffee
    assert "Model fast, whose weights ship" in done.stderr
    assert "LiteRT" in done.stderr


def test_a_bad_picture_has_its_line_and_leaves_the_others_alone(folder):
    done = run_command("predict", folder, folder / "none.jpg")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 3
    told = done.stderr.splitlines()
    assert sum("broken.png: " in line for line in told) == 1
    assert sum("none.jpg: There is no file" in line for line in told) == 1
    assert "notes.txt" not in done.stdout + done.stderr


def test_odd_names_break_neither_lines_nor_json(tmp_path):
    picture = list_samples()["cat"].read_bytes()
    names = [b"~b.jpg", "Käse.jpg".encode(), b"bad\xff.jpg", b"two\nlines.jpg", b"esc\x1b[31m.png"]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(picture)
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    done = run_command("predict", tmp_path, LC_ALL="C.UTF-8")
    assert done.returncode == 1  # the link
    assert len(done.stdout.splitlines()) == len(names)
    assert "\x1b" not in done.stdout
    assert sum("dangling.png: " in line for line in done.stderr.splitlines()) == 1
    document = json.loads(run_command("predict", tmp_path, "--json").stdout)
    assert len(document["pictures"]) == len(names) + 1


def test_a_folder_that_may_not_be_read_has_its_line(tmp_path, monkeypatch):
    def walk(folder, onerror):
        error = PermissionError(13, "Permission denied")
        error.filename = str(tmp_path / "locked")
        onerror(error)
        yield str(folder), [], ["a.png", "old.heat.png"]

    monkeypatch.setattr("os.walk", walk)
    assert list_pictures([tmp_path]) == [tmp_path / "a.png", tmp_path / "locked"]


def test_heat_maps_that_cannot_be_written_lose_no_answer(folder, tmp_path):
    (tmp_path / "file").touch()
    done = run_command("predict", folder / "cat.jpg", "--json", "--heat-maps", tmp_path / "file/x")
    assert done.returncode == 1
    assert json.loads(done.stdout)["pictures"][0]["label"] == "cat"
    assert "Take another folder" in done.stderr


def test_names_that_a_stream_cannot_write_cost_no_answer(tmp_path):
    for name in ("猫.jpg".encode(), "ж.jpg".encode(), b"caf\xe9.jpg"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        shutil.copy(list_samples()["cat"], path)
    path.write_bytes(b"no picture")
    for encoding in ("cp1252", "utf-8:strict"):
        done = run_command("predict", tmp_path, "--csv", PYTHONIOENCODING=encoding)
        assert "Traceback" not in done.stderr
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert sorted(row["class_1"] for row in rows) == ["", "cat", "cat"]
        done = run_command("predict", tmp_path, PYTHONIOENCODING=encoding)
        assert "Traceback" not in done.stderr
        assert done.stdout.count("cat ") == 2


def test_json_and_csv_say_the_same(folder):
    document = json.loads(run_command("predict", folder, "--json", "--top", 10).stdout)
    assert document["calibrated"] is True
    assert document["views"] == "mirrored"
    rows = list(csv.DictReader(io.StringIO(run_command("predict", folder, "--csv").stdout)))
    assert [row["picture"] for row in rows] == [p["picture"] for p in document["pictures"]]
    for row, picture in zip(rows, document["pictures"], strict=True):
        if "error" in picture:
            assert row["error"] == picture["error"]
            assert not row["class_1"]
            continue
        assert row["class_1"] == picture["label"] == picture["classes"][0]["class"]
        assert float(row["probability_1"]) == picture["probability"]
        assert row["unsure"] == str(picture["unsure"]).lower()
        assert sum(part["probability"] for part in picture["classes"]) == pytest.approx(1, abs=1e-3)


def test_test_images_by_number():
    done = run_command("predict", "--test-image", 17, "--test-image", 3)
    assert done.returncode == 0, done.stderr
    assert [line.split(" (")[0] for line in done.stdout.splitlines()] == [
        "synthetic test image 17",
        "synthetic test image 3",
    ]
    done = run_command("predict", "--test-image", 10**6)
    assert done.returncode == 2
    assert "they are 0 to 999" in done.stderr


def test_heat_maps_are_written_and_never_over_another_file(folder, tmp_path):
    for expected in (["cat.heat.png"], ["cat-2.heat.png", "cat.heat.png"]):
        done = run_command("predict", folder / "cat.jpg", "--heat-maps", tmp_path / "maps")
        assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == expected


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "Name a picture"),
        (["--model", "fats", "x.png"], "Did you mean 'fast'"),
        (["--views", "two", "x.png"], "Valid: one, mirrored, six"),
        (["--backend", "CUDA", "x.png"], "no engine 'CUDA'"),
        (["--top", "11", "x.png"], "not in the range"),
        (["--test-image", "x"], "not a valid integer"),
        (["EMPTY"], "holds no picture"),
    ],
)
def test_wrong_arguments_are_refused(arguments, word, tmp_path):
    (tmp_path / "EMPTY").mkdir()
    done = run_command("predict", *arguments, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_a_thousand_small_pictures_go_in_batches(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (1000, 32, 32, 3), dtype=np.uint8)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number:04}.png")
    start = time.monotonic()
    done = run_command("predict", tmp_path, "--csv", "--views", "one")
    assert time.monotonic() - start < 60  # one by one with Keras it would be more
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["picture"] for row in rows] == [str(tmp_path / f"{n:04}.png") for n in range(1000)]


def test_export_from_the_shell(tmp_path):
    done = run_command("export", "fast", "--format", "tflite", "--output", "a.tflite", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "a.tflite: 7.9 MB, read again without TensorFlow" in done.stdout
    again = run_command(
        "export", "fast", "--format", "tflite", "--output", "a.tflite", cwd=tmp_path
    )
    assert again.returncode == 2
    assert "exists already" in again.stderr
    done = run_command("predict", list_samples()["cat"], "--model", tmp_path / "a.tflite")
    assert ": cat " in done.stdout
    for arguments, word in (
        (["fast", "--format", "trt"], "Valid: keras"),
        (["fats", "--format", "h5"], "no run 'fats'"),
        (["fast", "--format", "h5", "--format", "onnx", "--output", "x"], "one --format"),
    ):
        done = run_command("export", *arguments, cwd=tmp_path)
        assert done.returncode in (1, 2)
        assert word in done.stderr
