"""The doctor names what is there, what is missing and what to do about it."""

import dataclasses
import importlib
import types

import pytest

from cifar_utils.apps import doctor
from cifar_utils.runs import machine
from cifar_utils.runs.recipes import RECIPES

CPUINFO = "processor : 0\nmodel name : Test CPU @ 2GHz\nflags : fpu avx2 avx512f {extra}\n"


@pytest.fixture
def fast(monkeypatch):
    """Spare the timing of the recipes."""
    monkeypatch.setattr(doctor, "estimate_seconds", lambda recipe: 60.0 * recipe.epochs)


def test_every_section_reports_and_every_problem_has_advice(fast):
    lines = []
    findings = doctor.run_doctor(lines.append)
    text = "\n".join(lines)
    for section in doctor.SECTIONS:
        assert section in lines
    assert {level for level, *_ in findings} <= {"ok", "note", "problem"}
    assert all(finding[2] for finding in findings if finding[0] == "problem")
    assert "keras" in text
    for name in RECIPES:
        assert f"{name}: about" in text


def test_a_broken_check_does_not_hide_the_others(monkeypatch):
    def broken():
        raise RuntimeError("libfoo.so is missing")

    sections = {"Broken": broken, "Python": doctor.SECTIONS["Python"]}
    monkeypatch.setattr(doctor, "SECTIONS", sections)
    first, second = doctor.run_doctor(lambda line: None)
    assert first[:2] == ("problem", "libfoo.so is missing")
    assert second[1].startswith("Python 3.")


def test_too_little_memory_and_disk_are_problems(monkeypatch):
    monkeypatch.setattr(doctor, "measure_memory", lambda: (0.5e9, 4e9))
    usage = types.SimpleNamespace(free=1e6)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    findings = list(doctor.SECTIONS["Memory and disk"]())
    assert [level for level, *_ in findings] == ["problem"] * 3
    assert "CIFAR_RUNS_DIR" in findings[1][2]
    assert "CIFAR_CACHE_DIR" in findings[2][2]


def test_data_that_is_missing_or_damaged_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("CIFAR10_PATH", str(tmp_path / "none.tar.gz"))
    level, text, advice = next(doctor.SECTIONS["Data"]())
    assert level == "problem"
    assert "none.tar.gz" in text
    assert "CIFAR10_PATH" in advice
    monkeypatch.delenv("CIFAR10_PATH")
    monkeypatch.setattr("cifar_utils.data.find_dataset", lambda: [])
    ((level, _, advice),) = doctor.SECTIONS["Data"]()
    assert level == "note"
    assert "CIFAR10_PATH" in advice


@pytest.mark.parametrize(
    ("gpus", "cuda_build", "hidden", "seen", "level", "word"),
    [
        ([], True, None, 0, "note", "no NVIDIA driver"),
        (["H100"], True, None, 1, "ok", "TensorFlow sees 1"),
        (["H200"], False, None, 0, "problem", "CPU-only"),
        (["H200"], True, "", 0, "problem", "CUDA_VISIBLE_DEVICES"),
        (["H200"], True, None, 0, "problem", "CUDA libraries"),
    ],
)
def test_why_no_gpu_is_seen(monkeypatch, gpus, cuda_build, hidden, seen, level, word):
    tf = importlib.import_module("tensorflow")
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    monkeypatch.setattr(doctor, "find_nvidia_gpus", lambda: gpus)
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: cuda_build)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * seen)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    ((found, text, *_),) = doctor.SECTIONS["GPU"]()
    assert found == level
    assert word in text


@pytest.mark.parametrize(
    ("extra", "bf16"), [("", False), ("avx512_bf16", True), ("amx_bf16 avx512_bf16", True)]
)
def test_bfloat16_is_read_from_the_processors_flags(monkeypatch, tmp_path, extra, bf16):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(CPUINFO.format(extra=extra))
    monkeypatch.setattr(machine.sys, "platform", "linux")
    monkeypatch.setattr(machine, "Path", lambda *parts: cpuinfo)
    found = machine.detect_processor()
    assert found.name == "Test CPU @ 2GHz"
    assert found.features[:2] == ("avx2", "avx512f")
    assert found.bf16 is bf16
    assert found.cores >= 1


def test_a_containers_limit_counts(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    limit.write_text("1000000\n")
    monkeypatch.setattr(machine, "Path", lambda *parts: limit)
    assert machine.measure_memory() == (1e6, 1e6)
    limit.write_text("max\n")
    free, total = machine.measure_memory()
    assert 1e6 < free <= total < float("inf")


def test_the_estimate_times_a_real_network():
    recipe = dataclasses.replace(RECIPES["quick"], epochs=1, batch_size=8)
    assert 0.1 < doctor.estimate_seconds(recipe, budget=0.1) < 6000
