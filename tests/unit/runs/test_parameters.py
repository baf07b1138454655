"""A parameter is refused before any work starts, or it has its type and range."""

import math
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_utils.errors import ParameterError
from cifar_utils.runs.parameters import (
    PARAMETERS,
    check_notebook,
    check_parameter,
    check_parameters,
)

NUMBERS = [name for name, parameter in PARAMETERS.items() if parameter.type in (int, float)]
CHOICES = [name for name, parameter in PARAMETERS.items() if parameter.choices]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.none())
)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(PARAMETERS)), VALUES)
def test_any_value_is_accepted_as_its_type_or_refused(name, value):
    problem = None
    try:
        checked = check_parameter(name, value)
    except ParameterError as error:
        problem = str(error)
    if problem is not None:
        assert name in problem
        return
    assert value is None or type(checked) is PARAMETERS[name].type
    assert check_parameter(name, checked) == checked


@settings(deadline=None)
@given(st.sampled_from(NUMBERS), st.data())
def test_a_number_in_its_range_is_accepted_also_as_text_and_no_other(name, source):
    parameter = PARAMETERS[name]
    draw = st.integers if parameter.type is int else st.floats
    value = source.draw(draw(parameter.low, parameter.high))
    for given_value in (value, str(value), float(value)):
        assert check_parameter(name, given_value) == value
    for outside in (parameter.low - 1, parameter.high + 1, math.nan, "nan", "-Infinity"):
        with pytest.raises(ParameterError, match=f"from {parameter.low} to {parameter.high}"):
            check_parameter(name, outside)


@given(st.sampled_from(CHOICES), st.data())
def test_a_misspelt_choice_is_told_with_the_nearest(name, source):
    word = source.draw(st.sampled_from(PARAMETERS[name].choices))
    with pytest.raises(ParameterError, match=f"Did you mean '{word}'"):
        check_parameter(name, word[:1] + "x" + word[1:])


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(ParameterError, match=r"no parameter 'learnin_rate'.*'learning_rate'"):
        check_parameters({"seed": 1, "learnin_rate": 5})
    with pytest.raises(ParameterError, match="Valid: run_name, dataset, recipe"):
        check_parameter("zzzzzz", 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 2.5), ("epochs", True), ("flip", 2), ("run_name", 5), ("image_path", b"x")],
)
def test_a_wrong_type_is_refused(name, value):
    with pytest.raises(ParameterError, match=f"{name} must be "):
        check_parameter(name, value)


def test_words_for_yes_and_no():
    assert all(check_parameter("flip", word) for word in ("yes", "TRUE", "on", "1", 1, True))
    assert not any(check_parameter("flip", word) for word in ("no", "False", "off", "0", 0, False))


@pytest.mark.parametrize("name", ["../other", ".hidden", "a\n"])
def test_a_run_name_that_is_no_plain_folder_name_is_refused(name):
    with pytest.raises(ParameterError, match="names a folder"):
        check_parameter("run_name", name)


# What papermill put into a notebook


@pytest.fixture
def inject(monkeypatch):
    """Pretend to be in a notebook into which papermill injected some lines."""

    def put(*lines):
        cells = ["import x", "# Parameters\n" + "\n".join(lines)]
        shell = SimpleNamespace(user_ns={"In": cells})
        monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: shell)

    import IPython  # noqa: F401

    return put


def test_the_checked_values_are_returned(inject):
    inject('seed = "7"', 'flip = "no"')
    assert check_notebook(seed="7", flip="no", epochs=None) == {
        "seed": 7,
        "flip": False,
        "epochs": None,
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sed = 7", "no parameter 'sed'.*'seed'"),
        ("epochs = 3", "takes no parameter 'epochs'"),  # known, but not to this notebook
    ],
)
def test_a_name_that_no_cell_would_read_is_refused(inject, line, message):
    inject("seed = 7", line)
    with pytest.raises(ParameterError, match=message):
        check_notebook(seed=7, image_path="")


def test_papermills_own_names_are_no_parameters(inject):
    inject("seed = 7", 'PAPERMILL_INPUT_PATH = "a.ipynb"', 'PAPERMILL_OUTPUT_PATH = "b.ipynb"')
    assert check_notebook(seed=7) == {"seed": 7}
