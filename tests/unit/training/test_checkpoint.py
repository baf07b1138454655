"""A training that was stopped goes on as if it had never been, or says why it cannot."""

import json
import shutil

import numpy as np
import pytest
from tiny_runs import EPOCHS, StopAt, make_run, open_again, train, train_once

from cifar_utils import models
from cifar_utils.errors import RunError
from cifar_utils.runs import read_history, read_preprocessing, write_history
from cifar_utils.runs.machine import Processor
from cifar_utils.training import AugmentedBatches, Checkpoint, compile_model, precision


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
    """With Muon's momentum, sides that alternate and sizes that change, from 24 to 32 pixels."""
    preprocessing = read_preprocessing(never_stopped[0])
    assert preprocessing.augmentation.alternating
    assert [preprocessing.size_in(epoch) for epoch in range(EPOCHS)] == [24, 24, 32]
    run = interrupt("stopped", 0)
    assert read_history(run)["epoch"] == [1]
    assert not run.path("model.keras").exists()
    with pytest.raises(KeyboardInterrupt):
        train(open_again(run.dir), callbacks=[StopAt(1, batch=4)])
    assert read_history(run)["epoch"] == [1]  # of an unfinished epoch nothing is kept
    model, history = train(open_again(run.dir))
    assert history["epoch"] == [1, 2, 3]
    assert_same_training(run, model, never_stopped)


def test_an_original_training_goes_on_too():
    """Adam, and the seeds of dropout."""
    changes = {"recipe": "baseline", "epochs": 2, "val_fraction": 0.1}
    run = make_run("original-whole", **changes)
    model, history = train(run)
    stopped = interrupt("original-stopped", 0, **changes)
    assert_same_training(stopped, train(open_again(stopped.dir))[0], (run, model, history))


def test_a_cell_that_was_stopped_and_run_again_ends_as_one_never_stopped(never_stopped):
    """The same objects go on, their weights somewhere within the first or the second epoch."""
    run = make_run("stopped-cell")
    model, _ = train(run, fits=[[StopAt(0, 2)], [StopAt(1, 2)], []])
    assert_same_training(run, model, never_stopped)


@pytest.fixture
def finished_copy(never_stopped, tmp_path):
    """Return a copy of the finished run, for a test to damage."""
    folder = tmp_path / "copy"
    shutil.copytree(never_stopped[0].dir, folder)
    return open_again(folder)


def test_a_kill_after_the_last_epoch_loses_neither_epoch_nor_row_nor_time(
    finished_copy, never_stopped
):
    """Killed between checkpoint and history, before weights and seconds were written."""
    finished_copy.path("model.keras").unlink()
    kept = read_history(finished_copy)
    write_history(finished_copy, {name: column[:-1] for name, column in kept.items()})
    info = finished_copy.info
    seconds = info["seconds"].pop("training")
    finished_copy.write_json("run.json", info)
    model, _ = train(finished_copy)
    assert_same_training(finished_copy, model, never_stopped)
    assert finished_copy.path("model.keras").exists()
    spent = finished_copy.info["seconds"]["training"]
    assert 0 < spent <= seconds + 0.01
    train(finished_copy)  # looking at it again adds no time
    assert finished_copy.info["seconds"]["training"] == spent


def restore(run):
    """Restore a run with a network that was never trained; quick, for what is refused."""
    recipe, preprocessing = run.recipe, read_preprocessing(run)
    train_part, _ = preprocessing.split(run.dataset.train_labels)
    images, labels = run.dataset.train_images[train_part], run.dataset.train_labels[train_part]
    batches = AugmentedBatches(images, labels, recipe.batch_size, preprocessing)
    with precision.use_precision(precision.choose_precision(recipe.precision, run)):
        model = models.build(recipe)
    return Checkpoint(run, batches).restore(compile_model(model, recipe, len(batches)))


def rewrite(path, change):
    with np.load(path) as saved:
        arrays = dict(saved)
    change(arrays)
    np.savez(path, **arrays)


def edit_meta(run, change):
    """Change a checkpoint's own notes."""

    def change_meta(arrays):
        meta = json.loads(str(arrays["meta"]))
        change(meta)
        arrays["meta"] = json.dumps(meta)

    rewrite(run.path("checkpoint.npz"), change_meta)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b""),
        lambda path: rewrite(path, lambda arrays: arrays.pop("v3")),
        lambda path: rewrite(path, lambda arrays: arrays.update(meta=np.array([{}]))),
    ],
    ids=["cut", "empty", "variable", "pickle"],
)
def test_a_damaged_checkpoint_is_refused_by_name_with_the_way_out(finished_copy, damage):
    damage(finished_copy.path("checkpoint.npz"))
    with pytest.raises(RunError, match=r"checkpoint\.npz cannot be read .*Delete it"):
        restore(finished_copy)


def change_seed(run):
    saved = run.read_json("preprocessing.json")
    saved["preprocessing"]["seed"] = 1
    run.write_json("preprocessing.json", saved)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda run: run.update(parameters={"learning_rate": 0.001}), "schedule"),
        (change_seed, "preprocessing"),
        (lambda run: edit_meta(run, lambda meta: meta.pop("version")), "version 0.7"),
        (lambda run: edit_meta(run, lambda meta: meta["identity"].update(network=[])), "network"),
        (lambda run: edit_meta(run, lambda meta: meta["identity"].update(backend="jax")), "=jax"),
    ],
    ids=["rate", "seed", "0.7.0", "network", "backend"],
)
def test_a_checkpoint_of_another_training_is_refused_and_the_run_stays(
    finished_copy, change, named
):
    change(finished_copy)
    before = finished_copy.path("run.json").read_bytes()
    with pytest.raises(RunError, match=f"{named}.*run_name"):
        restore(finished_copy)
    assert finished_copy.path("run.json").read_bytes() == before


def test_auto_goes_on_in_the_precision_that_it_began_with(finished_copy, monkeypatch):
    processor = Processor("a processor", 2, ("avx512_bf16",), True)
    monkeypatch.setattr(precision, "detect_processor", lambda: processor)
    finished_copy.update(precision="float32")
    assert precision.choose_precision("auto") == "bfloat16"
    assert precision.choose_precision("auto", finished_copy) == "float32"
    finished_copy.update(precision="bfloat16")
    processor = Processor("an old processor", 2, ("avx2",), False)
    monkeypatch.setattr(precision, "find_nvidia_gpus", lambda: [])
    with pytest.raises(RunError, match=r"began in bfloat16.*another run_name"):
        precision.choose_precision("auto", finished_copy)


def test_a_failure_while_saving_keeps_the_epoch_before(monkeypatch):
    real = np.savez

    def fill_the_disk(file, meta, **arrays):
        real(file, meta=meta, **arrays)
        if json.loads(meta)["epoch"] == 2:
            raise OSError("No space left on device")

    run = make_run("full-disk")
    monkeypatch.setattr(np, "savez", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        train(run)
    with np.load(run.path("checkpoint.npz")) as saved:
        assert json.loads(str(saved["meta"]))["epoch"] == 1
    assert read_history(run)["epoch"] == [1]
    assert list(run.dir.glob(".checkpoint*")) == []  # no half-written file
