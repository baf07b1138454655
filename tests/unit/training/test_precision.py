"""bfloat16 is taken where the hardware has it, and refused where not."""

import contextlib

import pytest

from cifar_utils.backend import keras
from cifar_utils.errors import ParameterError
from cifar_utils.runs.machine import Processor
from cifar_utils.training import check_precision, choose_precision, precision, use_precision


def pretend(monkeypatch, *features, gpus=(), speedup=None):
    """Pretend to be a machine; measuring it is an error where no speed-up is given."""
    bf16 = any("bf16" in feature for feature in features)
    found = Processor("Test CPU", 2, features, bf16)

    def measure():
        assert speedup is not None, "measured although nothing was in doubt"
        return speedup

    monkeypatch.setattr(precision, "detect_processor", lambda: found)
    monkeypatch.setattr(precision, "find_nvidia_gpus", lambda: list(gpus))
    monkeypatch.setattr(precision, "measure_bf16_speedup", measure)


def test_bfloat16_is_refused_where_it_would_be_emulated(monkeypatch):
    pretend(monkeypatch, "avx2", "avx512f")
    for check in (check_precision, choose_precision):
        with pytest.raises(ParameterError) as caught:
            check("bfloat16")
        assert "Test CPU" in str(caught.value)


@pytest.mark.parametrize(
    ("features", "gpus", "speedup", "chosen"),
    [
        (["avx2", "avx512f"], [], None, "float32"),
        (["avx2", "avx512_bf16"], [], None, "bfloat16"),
        (["bf16"], [], 1.5, "bfloat16"),
        (["bf16"], [], 1.05, "float32"),
        (["avx2"], ["H100"], 3.0, "bfloat16"),
        (["amx_bf16"], ["an old GPU"], 0.5, "float32"),
    ],
)
def test_auto_knows_or_measures(monkeypatch, features, gpus, speedup, chosen):
    pretend(monkeypatch, *features, gpus=gpus, speedup=speedup)
    assert choose_precision("auto") == chosen


def test_the_measurement_works_on_this_machine():
    assert precision.measure_bf16_speedup(repeats=1) > 0


def test_the_policy_holds_inside_and_is_put_back_also_after_an_error():
    before = keras.config.dtype_policy()
    with contextlib.suppress(KeyError), use_precision("bfloat16"):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        raise KeyError
    assert keras.config.dtype_policy() == before
