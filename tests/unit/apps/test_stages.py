"""The pipeline's decisions, without executing a notebook."""

import errno
import io

import pytest

from cifar_utils.apps import pipeline
from cifar_utils.apps.execution import CellFailed, KernelDied
from cifar_utils.errors import CifarError, ParameterError, RunError
from cifar_utils.runs.machine import detect_processor
from cifar_utils.runs.run import STAGES, Run
from cifar_utils.runs.store import create_run

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def run(runs_folder):
    return create_run("mine", {"dataset": "synthetic", "recipe": "quick", "seed": 0})


def execute(monkeypatch, *endings):
    """Let the next notebooks end in these ways: with lines printed, or an exception."""
    endings = list(endings)

    def fake(source, target, parameters, on_line):
        ending = endings.pop(0)
        if isinstance(ending, BaseException):
            raise ending
        for line in ending:
            on_line(line)

    monkeypatch.setattr(pipeline, "execute_notebook", fake)
    monkeypatch.setattr(pipeline, "save_report", lambda run: run.path("report.html"))


def test_stages_are_shown_with_the_epochs_that_the_training_prints(run, monkeypatch):
    lines = ["epoch 1/2, loss 1.5", "something else", "epoch 2/2, loss 0.9"]
    execute(monkeypatch, [], lines)
    stream = io.StringIO()
    pipeline.run_pipeline(run, [STAGES[0], STAGES[2]], stream=stream)
    about, *shown = stream.getvalue().splitlines()
    assert about.startswith("About ")
    assert shown[0] == "[1/5] 01_data_exploration"
    assert shown[1].startswith("[1/5] 01_data_exploration: done after 0:0")
    assert [line.strip() for line in shown[3:5]] == [lines[0], lines[2]]
    assert len(shown) == 6


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (KeyboardInterrupt(), "interrupted", ["Stopped in 03_training"]),
        (KernelDied(), "failed", ["memory", "batch_size"]),
        (CellFailed("ValueError: no"), "failed", ["ValueError: no", "03_training.ipynb"]),
        (FULL, "failed", ["No space left"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_what_ended_a_stage_is_told_with_the_next_step(run, monkeypatch, error, status, words):
    execute(monkeypatch, error)
    run.update(backend="jax")
    with pytest.raises(CifarError) as told:
        pipeline.run_pipeline(run, [STAGES[2]], stream=io.StringIO())
    assert isinstance(told.value, pipeline.Interrupted) == (status == "interrupted")
    for word in [*words, "KERAS_BACKEND=jax python -m cifar_utils run --name mine --resume"]:
        assert word in str(told.value)
    assert run.info["status"] == status
    assert run.info["stages"]["03_training"]["status"] == status


def test_a_disk_that_fills_up_does_not_hide_the_reason(run, monkeypatch):
    def refuse(*_, **__):
        raise FULL

    def execute_and_fill(*_):
        monkeypatch.setattr(Run, "write_json", refuse)
        raise FULL

    monkeypatch.setattr(pipeline, "execute_notebook", execute_and_fill)
    with pytest.raises(CifarError, match=r"No space left.*--name mine --resume"):
        pipeline.run_pipeline(run, [STAGES[0]], stream=io.StringIO())


def test_a_closed_terminal_does_not_stop_the_run(run, monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    execute(monkeypatch, ["epoch 1/1, loss 1"])
    pipeline.run_pipeline(run, [STAGES[2]], stream=Closed())


def test_what_a_killed_process_left_half_written_is_removed(run):
    for name in (".checkpoint-abc.npz", "notebooks/.03_training.running.ipynb"):
        run.path(name).parent.mkdir(exist_ok=True)
        run.path(name).write_bytes(b"half")
    run.path("checkpoint.npz").write_bytes(b"whole")
    pipeline.run_pipeline(run, [], stream=io.StringIO())
    assert [path.name for path in run.dir.rglob(".*") if path.suffix != ".lock"] == []
    assert run.path("checkpoint.npz").exists()


def test_stages_are_chosen_by_the_begin_of_a_name_or_by_what_is_not_done(run):
    assert pipeline.choose_stages(None) == list(STAGES)
    assert pipeline.choose_stages(None, from_stage="04") == list(STAGES[3:])
    assert pipeline.choose_stages(None, only="01_data") == [STAGES[0]]
    with pytest.raises(ParameterError, match="'09'"):
        pipeline.choose_stages(None, only="09")
    run.update(stages={STAGES[0]: {"status": "done"}})
    assert pipeline.choose_stages(run) == list(STAGES[1:])
    run.update(stages={stage: {"status": "done"} for stage in STAGES})
    assert pipeline.choose_stages(run) == []


def test_the_estimate_takes_an_earlier_run_on_this_machine_and_counts_what_is_left(run):
    guess, known_from = pipeline.estimate_minutes(run, STAGES)
    assert 0 < guess < 10
    assert "guess" in known_from
    processor = detect_processor()
    earlier = create_run("earlier", {"dataset": "synthetic", "recipe": "quick", "seed": 1})
    earlier.update(
        device=processor.name,
        threads=processor.cores,
        recipe={"name": "quick", "epochs": 3},
        seconds={"training": 3000.0},
    )
    minutes, known_from = pipeline.estimate_minutes(run, ["03_training"])
    assert minutes == pytest.approx(50, abs=1)
    assert "earlier" in known_from
    run.path("history.csv").write_text("epoch,loss\n1,2\n2,1\n")
    minutes, _ = pipeline.estimate_minutes(run, ["03_training"])
    assert minutes == pytest.approx(17, abs=1)


def test_a_notebook_that_needs_weights_trains_first_where_there_are_none(runs_folder, monkeypatch):
    executed = []

    def train(source, target, parameters, on_line):
        executed.append(source.stem)
        trained = create_run("new", {"dataset": "synthetic", "recipe": "quick", "seed": 0})
        trained.path("model.keras").touch()
        on_line("epoch 1/3, loss 2")

    monkeypatch.setattr(pipeline, "execute_notebook", train)
    for _ in range(2):
        run = pipeline.open_trained_run("04_evaluation")
        assert (run.name, run.stage) == ("new", "04_evaluation")
    assert executed == ["03_training"]
    with pytest.raises(RunError, match="other"):
        pipeline.open_trained_run("04_evaluation", "other")
