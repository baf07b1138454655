"""Experiments: a trick taken out changes what it should, and a difference is called what it is."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_utils.data import load_dataset
from cifar_utils.errors import ParameterError
from cifar_utils.runs.recipes import get_recipe
from cifar_utils.training import experiments
from cifar_utils.training.experiments import ABLATIONS, MUON, NOTHING, TTA, ablate, run_experiment

TINY = dataclasses.replace(
    get_recipe("quick", epochs=2, batch_size=50), widths=(8, 8, 8), steps_per_execution=1
)


@pytest.fixture(scope="module")
def data():
    return load_dataset("synthetic")


@pytest.fixture(scope="module")
def whole(data):
    return run_experiment(TINY, data, seed=1, train_images=600)


def test_an_experiment_says_how_good_and_how_long(whole, data):
    assert whole.images == 500
    assert 0.1 < whole.accuracy <= 1
    assert 0.1 < whole.accuracy_tta <= 1
    assert whole.seconds > 0
    assert len(whole.history["val_accuracy"]) == 2
    epochs, losses = np.transpose(whole.curve)
    assert len(epochs) == 2 * 12  # stretches of one step each
    assert (np.diff(epochs) > 0).all()
    assert 0 < epochs[0] < epochs[-1] < 2
    # The stretches' losses average to what Keras says of each epoch.
    np.testing.assert_allclose(losses.reshape(2, 12).mean(axis=1), whole.history["loss"], rtol=1e-4)
    assert whole.model.predict_on_batch(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 10)
    assert json.loads(json.dumps(whole.to_json()))["accuracy"] == round(whole.accuracy, 5)


def test_an_experiment_repeats_itself(whole, data):
    again = run_experiment(TINY, data, seed=1, train_images=600)
    assert again.curve == whole.curve
    assert again.accuracy_tta == whole.accuracy_tta


@pytest.mark.parametrize("trick", ABLATIONS)
def test_every_trick_can_be_taken_out(trick, whole, data):
    recipe = ablate(TINY, trick)
    changed = [f.name for f in dataclasses.fields(recipe) if ABLATIONS[trick].get(f.name)]
    assert recipe != TINY
    assert all(getattr(recipe, name) == ABLATIONS[trick][name] for name in changed)
    if trick == MUON:  # per image: a batch of 500 would have ten times the rate of one of 50
        assert recipe.learning_rate == pytest.approx(50 * experiments.SGD_RATE)
    done = run_experiment(recipe, data, seed=1, train_images=600)
    # The memory of batch normalisation shows in the validation alone.
    assert done.history["val_loss"] != whole.history["val_loss"]


def test_nothing_taken_out_is_the_recipe():
    assert ablate(TINY, NOTHING) == TINY


@pytest.mark.parametrize("trick", ["witening", "", TTA])
def test_a_trick_that_there_is_not_is_refused_and_the_others_are_named(trick):
    with pytest.raises(ParameterError, match=r"Take one of: whitening, .*'nothing'"):
        ablate(TINY, trick)


def test_a_recipe_without_images_held_out_is_refused(data):
    with pytest.raises(ParameterError, match=r"get_recipe\('baseline', val_fraction=0.1\)"):
        run_experiment(get_recipe("baseline"), data)


def test_a_curve_of_many_steps_per_call_has_fewer_points(data):
    recipe = dataclasses.replace(TINY, steps_per_execution=6)
    curve = run_experiment(recipe, data, seed=1, train_images=600).curve
    assert len(curve) == 4


def test_a_first_step_is_one_row_per_filter_and_no_two_alike(data):
    step = experiments.compute_first_step(TINY, data, 0, "conv2_1")
    assert step.shape == (8, 9 * 8)
    assert np.isfinite(step).all()
    assert np.linalg.matrix_rank(step) > 1


def test_scaled_logits_begin_modestly(data):
    sure = [
        experiments.predict_untrained(ablate(TINY, trick), data, 0).max(axis=1).mean()
        for trick in (NOTHING, "scaled logits")
    ]
    assert 0.1 <= sure[0] < sure[1]


def make_rows(plain, without, trick="whitening"):
    return [
        {"trick": name, "seed": seed, "accuracy": value - 0.01, "accuracy_tta": value}
        for name, values in ((NOTHING, plain), (trick, without))
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("without", "clear"),
    [
        ((0.80, 0.81, 0.80), True),
        ((0.849, 0.851, 0.851), False),  # less than the seeds differ by
        ((0.80, 0.861, 0.80), False),  # one seed says the opposite
        ((0.80, 0.849, 0.80), False),  # less than the seeds differ by without it
        ((0.90, 0.91, 0.90), True),  # better without
    ],
)
def test_a_difference_is_clear_only_above_the_spread_with_all_seeds_agreed(without, clear):
    found = {
        row["trick"]: row
        for row in experiments.summarise_ablation(make_rows((0.85, 0.86, 0.852), without))
    }
    assert set(found) == {NOTHING, TTA, "whitening"}
    assert found["whitening"]["clear"] is clear
    assert found[TTA]["cost"] == pytest.approx(0.01)
    assert not found[NOTHING]["clear"]
    assert found[NOTHING]["cost"] == 0


def test_one_seed_shows_no_spread_and_so_nothing_clear():
    rows = experiments.summarise_ablation(make_rows((0.85,), (0.70,)))
    assert not any(row["clear"] for row in rows)


def test_a_row_reads_as_a_line():
    rows = experiments.summarise_ablation(make_rows((0.85, 0.87), (0.80, 0.81)))
    lines = [" ".join(experiments.describe_ablation(row).split()) for row in rows]
    assert lines == [
        "without whitening 80.50%, -5.50 points (-6.00 to -5.00): clear",
        f"without {TTA} 85.00%, -1.00 points (-1.00 to -1.00): within the spread",
        "the whole recipe 86.00%",
    ]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5))
def test_costs_are_differences_of_the_same_seed(pairs):
    plain, without = zip(*pairs, strict=True)
    rows = experiments.summarise_ablation(make_rows(plain, without))
    row = next(row for row in rows if row["trick"] == "whitening")
    assert row["low"] - 1e-9 <= row["mean"] <= row["high"] + 1e-9
    assert row["cost_low"] - 1e-9 <= row["cost"] <= row["cost_high"] + 1e-9
    assert row["cost"] == pytest.approx(np.mean(plain) - np.mean(without), abs=1e-9)
    assert [r["cost"] for r in rows] == sorted((r["cost"] for r in rows), reverse=True)


def test_what_was_measured_is_read_back_and_missing_files_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr(experiments, "ABLATION_FILE", tmp_path / "a.json")
    monkeypatch.setattr(experiments, "SCALING_FILE", tmp_path / "s.json")
    assert experiments.load_ablation() is None
    assert experiments.group_accuracy(experiments.load_scaling()) == {}
    row = {"recipe": "quick", "epochs": 3, "seconds": 26.0, "accuracy": 0.84}
    (tmp_path / "s.json").write_text(json.dumps({"accuracy": [row]}))
    assert experiments.group_accuracy(experiments.load_scaling()) == {"quick": [(26.0, 0.84, 3)]}
