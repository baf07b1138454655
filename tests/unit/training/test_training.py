"""Training obeys its recipe and seed, leaves weights that load, and never sees the test set."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from tiny_runs import EPOCHS, STEPS, make_run, train_once

from cifar_utils.backend import keras
from cifar_utils.data.preprocessing import Augmentation, Preprocessing, scale_images
from cifar_utils.errors import RunError
from cifar_utils.inference.sources import load_run_model as load_model
from cifar_utils.models.documented import build_schedule
from cifar_utils.models.fast import PATCH_SIZE
from cifar_utils.models.layers import compute_whitening
from cifar_utils.runs.recipes import get_recipe
from cifar_utils.runs.run import Run
from cifar_utils.runs.store import create_run
from cifar_utils.training import loop as training
from cifar_utils.training.checkpoint import read_history
from cifar_utils.training.loop import (
    get_preprocessing,
    open_trained_run,
    predict_probs,
    seed_everything,
    train,
)
from cifar_utils.training.precision import choose_precision


@pytest.fixture(scope="module")
def trained():
    return train_once("never-stopped")


def test_the_same_seed_gives_the_same_history_byte_for_byte(trained):
    run, model, _ = train_once("same-seed")
    assert run.path("history.csv").read_bytes() == trained[0].path("history.csv").read_bytes()
    for own, other in zip(model.get_weights(), trained[1].get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


def test_another_seed_gives_another_training():
    run = make_run("another-seed", seed=1, epochs=1)
    _, history = train(run)
    first = read_history(train_once("never-stopped")[0])
    assert history["loss"][0] != first["loss"][0]


def test_the_history_has_a_row_per_epoch_and_the_agreed_columns(trained):
    run, _, history = trained
    assert read_history(run) == history
    with open(run.path("history.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    names = ["epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert rows[0] == names
    assert [row[0] for row in rows[1:]] == ["1", "2", "3"]


def test_validation_does_not_wait_for_tensorflows_autotuner(trained):
    run = trained[0]
    batches = training.make_val_data(run.dataset.train_images[:20], run.dataset.train_labels[:20])
    assert batches.options().autotune.enabled is False


@pytest.mark.parametrize("steps_per_execution", [2, STEPS - 1])  # neither divides the steps
def test_how_many_steps_one_call_takes_changes_nothing(steps_per_execution, trained):
    recipe = dataclasses.replace(trained[0].recipe, steps_per_execution=steps_per_execution)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "recipe", recipe)
        run, model, _ = train_once(f"calls-of-{steps_per_execution}")
    assert run.path("history.csv").read_bytes() == trained[0].path("history.csv").read_bytes()
    for own, other in zip(model.get_weights(), trained[1].get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


def test_the_whitening_filters_are_those_of_the_training_images(trained):
    run, model, _ = trained
    train_part, _ = get_preprocessing(run).split(run.dataset.train_labels)
    images = scale_images(run.dataset.train_images[train_part])
    kernel, bias = compute_whitening(images, PATCH_SIZE)
    for own, expected in zip(
        model.get_layer("whitening").get_weights(), (kernel, bias), strict=True
    ):
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-4)


def test_the_documented_network_trains_and_loads_too():
    run = make_run("documented", recipe="baseline", epochs=2, val_fraction=0.1)
    model, history = train(run)
    assert model.count_params() == 261_194
    assert history["loss"][-1] < history["loss"][0]
    images = run.dataset.test_images[:20]
    probs = predict_probs(model, images)
    np.testing.assert_allclose(predict_probs(load_model(run), images), probs, atol=1e-6)


def test_the_network_learns(trained):
    history = trained[2]
    assert history["loss"][-1] < history["loss"][0]
    assert history["accuracy"][-1] > 0.15  # chance: 0.1


def test_the_rate_of_an_epoch_in_the_history_is_one_that_it_used(trained):
    run, _, history = trained
    schedule = build_schedule(run.recipe, STEPS)
    for epoch, rate in enumerate(history["learning_rate"]):
        used = [float(schedule(epoch * STEPS + step)) for step in range(STEPS)]
        assert min(used) <= rate <= max(used), f"epoch {epoch + 1}"


def test_run_json_tells_how_it_was_trained(trained):
    info = trained[0].info
    assert info["recipe"] == json.loads(json.dumps(dataclasses.asdict(trained[0].recipe)))
    assert info["versions"]["keras"] == keras.__version__
    assert {"python", "numpy", "cifar_utils", keras.backend.backend()} <= set(info["versions"])
    assert info["seconds"]["training"] > 0
    assert info["device"]
    assert info["threads"] >= 1
    assert info["precision"] == choose_precision(trained[0].recipe.precision)


def test_events_tell_each_epoch_with_its_numbers(trained):
    run, _, history = trained
    events = [json.loads(line) for line in run.path("events.jsonl").read_text().splitlines()]
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [event["epoch"] for event in epochs] == [1, 2, 3]
    assert all((event["epochs"], event["steps"]) == (EPOCHS, STEPS) for event in epochs)
    assert [e["val_accuracy"] for e in epochs] == np.round(history["val_accuracy"], 5).tolist()
    assert epochs[-1]["seconds_left"] == 0


def test_both_saved_models_load_and_agree_with_the_trained_one(trained):
    run, model, _ = trained
    images = run.dataset.test_images[:50]
    probs = predict_probs(model, images)
    np.testing.assert_allclose(predict_probs(load_model(run), images), probs, atol=1e-6)
    documented = keras.saving.load_model(run.path("model1.h5"), compile=False)
    np.testing.assert_allclose(predict_probs(documented, images), probs, atol=1e-6)


def test_the_sizes_follow_the_epochs_that_03_was_given():
    """Notebook 02 wrote them for the recipe's own number of epochs."""
    run = make_run("other-epochs", epochs=10)
    prepared = Preprocessing.from_recipe(get_recipe("quick"), 0)
    run.write_json("preprocessing.json", {"preprocessing": prepared.to_json()})
    assert prepared.sizes == (24, 24, 32)
    assert get_preprocessing(run).sizes == (24,) * 7 + (32,) * 3


def test_validation_numbers_are_those_of_the_held_out_images(trained):
    run, model, history = trained
    _, val = get_preprocessing(run).split(run.dataset.train_labels)
    assert len(val) == 100
    probs = predict_probs(model, run.dataset.train_images[val])
    accuracy = (probs.argmax(1) == run.dataset.train_labels[val]).mean()
    assert history["val_accuracy"][-1] == pytest.approx(accuracy, abs=0.011)


def test_all_images_are_used_and_the_test_set_never_where_none_are_held_out(capfd):
    run = make_run("all-images", val_fraction=0.0, epochs=1)
    run.dataset = dataclasses.replace(run.dataset, test_images=None, test_labels=None)
    _, history = train(run)
    assert list(history) == ["epoch", "learning_rate", "loss", "accuracy"]
    last = json.loads(run.path("events.jsonl").read_text().splitlines()[-1])
    assert last["steps"] == 10  # 1,000 images
    assert capfd.readouterr().out == ""


def test_what_notebook_02_decided_is_obeyed():
    decided = Preprocessing(7, 0.2, Augmentation(1.0, 0.0, False), (24, 24, 32))
    run = create_run("decided", {"recipe": "quick", "seed": 0})
    run.write_json("preprocessing.json", {"preprocessing": decided.to_json(), "mean": [0.5]})
    assert get_preprocessing(run) == decided


def test_without_notebook_02_the_recipe_decides():
    run = create_run("undecided", {"recipe": "quick", "seed": 5, "rotation": 3.0})
    chosen = get_preprocessing(run)
    moves = Augmentation(3.0, run.recipe.shift, True, alternating=True, whole_pixels=True)
    assert chosen == Preprocessing(5, 0.1, moves, (24, 24, 32))
    assert get_preprocessing(run) == chosen  # now from the file
    assert Preprocessing.from_json(run.read_json("preprocessing.json")["preprocessing"]) == chosen


def test_numpy_integers_seed_too():
    seed_everything(np.int64(3), deterministic=False)
    first = keras.initializers.HeNormal()((3, 3))
    seed_everything(3, deterministic=False)
    np.testing.assert_array_equal(first, keras.initializers.HeNormal()((3, 3)))


@pytest.mark.parametrize("n", [1, 3, 7])
def test_probabilities_do_not_depend_on_the_batches(trained, n):
    run, model, _ = trained
    images = run.dataset.test_images[:7]
    together = predict_probs(model, images)
    assert together.shape == (7, 10)
    np.testing.assert_allclose(predict_probs(model, images, batch_size=n), together, atol=1e-5)


def test_a_run_without_weights_says_which_notebook_makes_them():
    run = create_run("no-weights", {"recipe": "quick"})
    with pytest.raises(RunError, match=r"no model\.keras yet.*notebook 03"):
        load_model(run)


def test_weights_that_cannot_be_read_are_told_with_the_versions(tmp_path):
    run = Run(tmp_path)
    run.update(versions={"keras": "2.0"})
    run.path("model.keras").write_bytes(b"no zip file")
    with pytest.raises(RunError, match=r"model\.keras was written with .*'keras': '2\.0'"):
        load_model(run)


# Which run notebooks 04 and 05 take


def test_evaluation_takes_the_newest_run_with_weights(runs_folder):
    for name in ("older", "newer", "empty"):
        run = create_run(name, {"recipe": "quick"})
        if name != "empty":
            run.path("model.keras").write_bytes(b"weights")
    assert open_trained_run("04_evaluation").name == "newer"
    assert open_trained_run("04_evaluation", "older").name == "older"
    with pytest.raises(RunError, match=r"'empty' has no trained weights.*--resume"):
        open_trained_run("04_evaluation", "empty")


def test_evaluation_without_any_run_trains_a_quick_one_and_says_so(
    runs_folder, monkeypatch, capsys
):
    def train_at_once(run):
        assert run.recipe.name == "quick"
        run.path("model.keras").write_bytes(b"weights")

    monkeypatch.setattr(training, "train", train_at_once)
    run = open_trained_run("04_evaluation")
    assert run.is_done("03_training")
    assert run.info["stages"]["04_evaluation"]["status"] == "running"
    assert "a minute or two" in capsys.readouterr().out
