"""A training that was stopped goes on as if it had never been, or says why it cannot."""

import io
import json
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_runs import EPOCHS, make_run, open_again, train_once

from cifar_utils.backend import keras
from cifar_utils.errors import RunError
from cifar_utils.runs.machine import Processor
from cifar_utils.runs.run import Run
from cifar_utils.training import checkpoint as checkpoints
from cifar_utils.training import loop as training
from cifar_utils.training import precision
from cifar_utils.training.checkpoint import (
    TrainingState,
    read_history,
    restore_checkpoint,
    write_history,
)
from cifar_utils.training.loop import get_preprocessing, train


class StopAt(keras.callbacks.Callback):
    """Stops a training as Ctrl-C does: at the end of an epoch, or after one of its batches."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.at, self.epoch = (epoch, batch), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        epoch, stop = self.at
        # Of a call of several steps, `batch` is the first or the last one, by Keras's version.
        reached = batch + self.model.steps_per_execution
        if stop is not None and self.epoch == epoch and reached > stop:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if (epoch, None) == self.at:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def never_stopped():
    return train_once("never-stopped")


def interrupt(name, epoch, batch=None, **changes):
    run = make_run(name, **changes)
    with pytest.raises(KeyboardInterrupt):
        train(run, callbacks=[StopAt(epoch, batch)])
    return run


def assert_same_training(run, model, never_stopped):
    other_run, other_model, _ = never_stopped
    assert run.path("history.csv").read_bytes() == other_run.path("history.csv").read_bytes()
    for own, other in zip(model.get_weights(), other_model.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


def test_a_training_resumed_twice_ends_as_one_never_stopped(never_stopped):
    run = interrupt("stopped", 0)
    assert read_history(run)["epoch"] == [1]
    assert not run.path("model.keras").exists()
    again = open_again(run.dir)
    with pytest.raises(KeyboardInterrupt):
        train(again, callbacks=[StopAt(1, batch=4)])
    assert read_history(run)["epoch"] == [1]  # of an unfinished epoch nothing is kept
    model, history = train(open_again(run.dir))
    assert history["epoch"] == [1, 2, 3]
    assert_same_training(run, model, never_stopped)


def test_what_is_resumed_here_has_all_that_makes_resuming_hard(never_stopped):
    """Muon's momentum, sides that alternate and sizes that change: else nothing was tested."""
    run = never_stopped[0]
    preprocessing = get_preprocessing(run)
    assert run.recipe.optimizer == "muon"
    assert preprocessing.augmentation.alternating
    assert [preprocessing.size_in(epoch) for epoch in range(EPOCHS)] == [24, 24, 32]


def test_a_training_killed_before_the_images_grow_ends_as_one_never_stopped(never_stopped):
    run = interrupt("killed-before-32", 1)
    assert read_history(run)["epoch"] == [1, 2]
    model, _ = train(open_again(run.dir))
    assert_same_training(run, model, never_stopped)


@pytest.mark.slow
def test_a_documented_training_goes_on_too():
    """Adam, and the seeds of dropout."""
    changes = {"recipe": "baseline", "epochs": 2, "val_fraction": 0.1}
    run = make_run("documented-whole", **changes)
    model, history = train(run)
    stopped = interrupt("documented-stopped", 0, **changes)
    assert_same_training(stopped, train(open_again(stopped.dir))[0], (run, model, history))


@pytest.fixture
def finished_copy(never_stopped, tmp_path):
    """Return a copy of the finished run, for a test to damage."""
    folder = tmp_path / "copy"
    shutil.copytree(never_stopped[0].dir, folder)
    return open_again(folder)


def test_a_kill_before_the_weights_are_saved_loses_no_epoch(finished_copy, never_stopped):
    finished_copy.path("model.keras").unlink()
    model, _ = train(finished_copy)
    assert_same_training(finished_copy, model, never_stopped)
    assert finished_copy.path("model.keras").exists()


def test_a_kill_between_checkpoint_and_history_loses_no_row(finished_copy, never_stopped):
    kept = read_history(finished_copy)
    write_history(finished_copy, {name: column[:-1] for name, column in kept.items()})
    model, _ = train(finished_copy)
    assert_same_training(finished_copy, model, never_stopped)


def test_looking_at_a_finished_training_again_adds_no_time_to_it(finished_copy):
    before = finished_copy.info["seconds"]["training"]
    train(finished_copy)
    assert finished_copy.info["seconds"]["training"] == before > 0


def test_no_checkpoint_means_a_training_from_the_start(tmp_path):
    state = restore_checkpoint(None, tmp_path / "checkpoint.npz", {})
    assert state == TrainingState(0, 0.0, {})


def rewrite(path, change):
    with np.load(path) as saved:
        arrays = dict(saved)
    change(arrays)
    np.savez(path, **arrays)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    content[largest.header_offset + largest.file_size // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        flip_a_byte,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no archive"),
        lambda path: rewrite(path, lambda arrays: arrays.pop("v3")),
        lambda path: rewrite(path, lambda arrays: arrays.pop("meta")),
        lambda path: rewrite(path, lambda arrays: arrays.update(meta="{")),
        lambda path: rewrite(path, lambda arrays: arrays.update(meta="{}")),
        lambda path: rewrite(path, lambda arrays: arrays.update(meta=np.array([{}]))),
    ],
    ids=["cut", "bit", "empty", "text", "variable", "no-meta", "meta", "empty-meta", "pickle"],
)
def test_a_damaged_checkpoint_is_refused_by_name_with_the_way_out(finished_copy, damage):
    path = finished_copy.path("checkpoint.npz")
    damage(path)
    with pytest.raises(RunError, match=r"checkpoint\.npz cannot be read .*Delete it to train"):
        train(finished_copy)


@pytest.mark.parametrize(
    "change",
    [{"epochs": EPOCHS + 1}, {"learning_rate": 0.001}, {"schedule": "code"}, {"rotation": 1.0}],
)
def test_a_checkpoint_of_another_recipe_is_refused(finished_copy, change):
    finished_copy.update(parameters=change)
    with pytest.raises(RunError, match="belongs to another recipe, data set, split or precision"):
        train(finished_copy)


def test_a_refused_checkpoint_leaves_the_run_as_it_was(finished_copy):
    finished_copy.update(parameters={"learning_rate": 0.001})
    before = finished_copy.path("run.json").read_bytes()
    with pytest.raises(RunError, match="belongs to another"):
        train(finished_copy)
    assert finished_copy.path("run.json").read_bytes() == before


def test_a_training_goes_on_in_the_precision_it_began_with(finished_copy, monkeypatch):
    began, asked = finished_copy.info["precision"], []
    other = "float32" if began == "bfloat16" else "bfloat16"

    def choose(name):
        asked.append(name)
        return began if name == began else other

    monkeypatch.setattr(training, "choose_precision", choose)
    train(finished_copy)  # "auto" would take the other one here
    assert asked == [began]


def test_a_training_that_began_in_a_precision_this_machine_lacks_is_refused(
    finished_copy, monkeypatch
):
    finished_copy.update(precision="bfloat16")
    before = finished_copy.path("run.json").read_bytes()
    monkeypatch.setattr(precision, "find_nvidia_gpus", lambda: [])
    processor = Processor("an old processor", 2, ("avx2",), False)
    monkeypatch.setattr(precision, "detect_processor", lambda: processor)
    with pytest.raises(RunError, match=r"began in bfloat16.*another run_name"):
        train(finished_copy)
    assert finished_copy.path("run.json").read_bytes() == before


def test_a_training_does_not_go_on_with_another_backend(finished_copy):
    run = open_again(finished_copy.dir)
    versions = run.info["versions"]
    del versions["tensorflow"]
    run.write_json("run.json", run.info | {"backend": None, "versions": versions | {"jax": "1"}})
    before = run.info
    with pytest.raises(RunError, match="Continue it with KERAS_BACKEND=jax"):
        train(run)
    assert run.info == before
    run.path("checkpoint.npz").unlink()
    training._refuse_other_backend(run)  # a training from the start may take any


def test_a_kill_right_after_the_last_epoch_still_ends_with_its_seconds(finished_copy):
    run = open_again(finished_copy.dir)
    info = run.info
    seconds = info["seconds"].pop("training")
    run.write_json("run.json", info)
    train(run)
    assert 0 < run.info["seconds"]["training"] <= seconds + 0.01


def test_a_checkpoint_of_another_seed_is_refused(finished_copy):
    saved = finished_copy.read_json("preprocessing.json")
    saved["preprocessing"]["seed"] = 1
    finished_copy.write_json("preprocessing.json", saved)
    with pytest.raises(RunError, match="belongs to another"):
        train(finished_copy)


def test_a_failure_while_saving_keeps_the_epoch_before(monkeypatch):
    real = np.savez

    def fill_the_disk(file, meta, **arrays):
        real(file, meta=meta, **arrays)
        if json.loads(meta)["epoch"] == 2:
            raise OSError("No space left on device")

    run = make_run("full-disk")
    monkeypatch.setattr(checkpoints.np, "savez", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        train(run)
    with np.load(run.path("checkpoint.npz")) as saved:
        assert json.loads(str(saved["meta"]))["epoch"] == 1
    assert read_history(run)["epoch"] == [1]
    assert [p.name for p in run.dir.iterdir() if p.name.startswith(".")] == []


columns = st.integers(1, 5).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "epoch": st.just(list(range(1, n + 1))),
            "learning_rate": st.lists(st.floats(1e-12, 10), min_size=n, max_size=n),
            "loss": st.lists(st.floats(allow_nan=False), min_size=n, max_size=n),
            "val_accuracy": st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n),
        }
    )
)


@settings(deadline=None, max_examples=30)
@given(columns)
def test_a_history_is_read_back_exactly(tmp_path_factory, history):
    run = Run(tmp_path_factory.getbasetemp() / "history")
    write_history(run, history)
    assert read_history(run) == history
    assert all(isinstance(epoch, int) for epoch in read_history(run)["epoch"])


def test_no_history_is_an_empty_one(tmp_path):
    assert read_history(Run(tmp_path)) == {}
