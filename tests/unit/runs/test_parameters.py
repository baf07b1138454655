"""A parameter is refused before any work starts, or it has its type and range."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_utils.errors import ParameterError
from cifar_utils.runs import recipes
from cifar_utils.runs.parameters import (
    PARAMETERS,
    RECIPE_NAMES,
    check_parameter,
    check_parameters,
)

NUMBERS = [name for name, parameter in PARAMETERS.items() if parameter.type in (int, float)]
INTEGERS = [name for name in NUMBERS if PARAMETERS[name].type is int]


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("epoch", "epochs"), ("learnin_rate", "learning_rate"), ("sed", "seed")]
)
def test_an_unknown_name_is_told_with_the_nearest(wrong, nearest):
    with pytest.raises(ParameterError, match=f"no parameter '{wrong}'.*'{nearest}'"):
        check_parameters({"seed": 1, wrong: 5})


def test_a_name_near_to_none_lists_all():
    with pytest.raises(ParameterError, match="Valid: run_name, dataset, recipe"):
        check_parameter("zzzzzz", 1)


@pytest.mark.parametrize(
    ("name", "wrong", "nearest"),
    [
        ("recipe", "quik", "quick"),
        ("recipe", "base-line", "baseline"),
        ("dataset", "cifar", "cifar10"),
        ("schedule", "cosin", "cosine"),
        ("schedule", "liner", "linear"),
        ("precision", "bfloat", "bfloat16"),
        ("precision", "float", "float32"),
    ],
)
def test_an_unknown_choice_is_told_with_the_nearest(name, wrong, nearest):
    with pytest.raises(ParameterError, match=f"no {name} '{wrong}'.*'{nearest}'"):
        check_parameter(name, wrong)


@pytest.mark.parametrize("name", ["recipe", "dataset", "schedule", "precision"])
def test_an_empty_choice_says_what_is_valid(name):
    with pytest.raises(ParameterError, match=rf"{name} is empty\. Valid: "):
        check_parameter(name, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", "five"),
        ("epochs", 2.5),
        ("epochs", "2.5"),
        ("epochs", True),
        ("epochs", [3]),
        ("epochs", ""),
        ("learning_rate", "fast"),
        ("learning_rate", False),
        ("flip", "maybe"),
        ("flip", 2),
        ("flip", 0.5),
        ("run_name", 5),
        ("recipe", 1),
        ("image_path", b"x"),
    ],
)
def test_a_wrong_type_is_refused_and_named(name, value):
    with pytest.raises(ParameterError, match=f"{name} must be "):
        check_parameter(name, value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "inf", "-Infinity", 1e300])
def test_a_number_that_is_none_or_far_too_large_is_refused(name, value):
    with pytest.raises(ParameterError, match=f"{name} must be "):
        check_parameter(name, value)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_range_holds_its_ends_and_nothing_beyond(name):
    parameter = PARAMETERS[name]
    for end, beyond in ((parameter.low, -1e-9), (parameter.high, 1e-6)):
        assert check_parameter(name, end) == end
        outside = end + math.copysign(1, beyond) if parameter.type is int else end + beyond
        with pytest.raises(ParameterError, match=f"{name} must be "):
            check_parameter(name, outside)


@pytest.mark.parametrize("name", INTEGERS)
def test_the_message_writes_a_whole_number_as_one_would_type_it(name):
    with pytest.raises(ParameterError) as caught:
        check_parameter(name, -1)
    assert f"from {PARAMETERS[name].low} to {PARAMETERS[name].high}" in str(caught.value)


@pytest.mark.parametrize("word", ["yes", "True", "TRUE", "on", "1", 1, True])
def test_words_for_yes(word):
    assert check_parameter("flip", word) is True


@pytest.mark.parametrize("word", ["no", "False", "off", "0", 0, False])
def test_words_for_no(word):
    assert check_parameter("flip", word) is False


@pytest.mark.parametrize("name", PARAMETERS)
def test_none_means_the_recipes_own(name):
    assert check_parameters({name: None}) == {name: None}


@settings(deadline=None)
@given(st.sampled_from(NUMBERS), st.data())
def test_text_from_a_command_line_becomes_the_value(name, source):
    parameter = PARAMETERS[name]
    draw = st.integers if parameter.type is int else st.floats
    value = source.draw(draw(parameter.low, parameter.high))
    checked = check_parameters({name: str(value)})[name]
    assert checked == value
    assert type(checked) is parameter.type


@settings(deadline=None)
@given(
    st.sampled_from(sorted(PARAMETERS)),
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.none())),
)
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


@pytest.mark.parametrize(
    "name", ["..", "../other", "a/b", "/etc", ".hidden", "a b", "~", "a\n", "", "x" * 101, "ä"]
)
def test_a_run_name_that_is_no_plain_folder_name_is_refused(name):
    if not name:
        assert check_parameter("run_name", name) == ""  # empty: the run is chosen
        return
    with pytest.raises(ParameterError, match="names a folder"):
        check_parameter("run_name", name)


@pytest.mark.parametrize("name", ["my-run", "20250102-030405-quick", "a", "v1.2_b", "x" * 100])
def test_a_plain_run_name_is_accepted(name):
    assert check_parameter("run_name", name) == name


@pytest.mark.parametrize("name", PARAMETERS)
def test_help_can_stand_in_a_papermill_parameter_cell(name):
    text = PARAMETERS[name].help
    assert text == text.strip() != ""
    assert not set("#=|\n") & set(text)


def test_the_names_written_here_are_those_of_the_modules_that_use_them():
    assert set(RECIPE_NAMES) == set(recipes.RECIPES)
