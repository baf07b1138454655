"""A person sees stage, epoch and time left; a log gets one plain line per epoch."""

import io
import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_utils.apps.terminal import EventReader, StageDisplay, describe_event, describe_last_event
from cifar_utils.text import format_clock

STEP = {
    "event": "step",
    "epoch": 2,
    "epochs": 8,
    "step": 50,
    "steps": 100,
    "loss": 1.25,
    "accuracy": 0.5,
    "share": 0.1875,
    "seconds_left": 65.0,
}
EPOCH = STEP | {"event": "epoch", "step": 100, "share": 0.25}
EPOCH |= {"val_loss": 1.0, "val_accuracy": 0.625}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0, "0:00"),
        (7.4, "0:07"),
        (59.6, "1:00"),
        (185, "3:05"),
        (3599.7, "1:00:00"),
        (3729, "1:02:09"),
        (90_000, "25:00:00"),
    ],
)
def test_durations_read_like_a_clock(seconds, text):
    assert format_clock(seconds) == text


@given(st.integers(0, 10**6))
def test_every_duration_can_be_read_back(seconds):
    parts = [int(part) for part in format_clock(seconds).split(":")]
    assert sum(part * 60**i for i, part in enumerate(reversed(parts))) == seconds
    assert all(part < 60 for part in parts[1:])


def append(path, *events, end="\n"):
    with open(path, "a", encoding="utf-8") as file:
        file.write("\n".join(json.dumps(event) for event in events) + end)


def test_each_event_is_given_once_and_those_before_not_at_all(tmp_path):
    path = tmp_path / "events.jsonl"
    append(path, {"event": "old"})
    reader = EventReader(path)
    assert reader.read_new() == []
    append(path, {"event": "a"}, {"event": "b"})
    assert [event["event"] for event in reader.read_new()] == ["a", "b"]
    assert reader.read_new() == []


def test_a_file_that_comes_later_is_read_from_its_start(tmp_path):
    reader = EventReader(tmp_path / "events.jsonl")
    assert reader.read_new() == []
    append(tmp_path / "events.jsonl", {"event": "first"})
    assert reader.read_new() == [{"event": "first"}]


@given(st.lists(st.dictionaries(st.text(), st.text()), min_size=1, max_size=5), st.data())
def test_a_half_written_line_waits_for_its_rest(tmp_path_factory, events, data):
    path = tmp_path_factory.getbasetemp() / "half.jsonl"
    path.write_bytes(b"")
    reader = EventReader(path)
    lines = "".join(json.dumps(event) + "\n" for event in events).encode()
    cut = data.draw(st.integers(0, len(lines)))
    got = []
    for part in (lines[:cut], lines[cut:]):
        with open(path, "ab") as file:
            file.write(part)
        got += reader.read_new()
    assert got == events


def test_an_event_in_words():
    assert describe_event(STEP) == "epoch 2/8, loss 1.250, accuracy 50.0%, 1:05 left"
    assert "validation 62.5%" in describe_event(EPOCH)
    unknown = STEP | {"seconds_left": None}
    assert describe_event(unknown).endswith("? left")


def test_the_last_sign_of_life(tmp_path):
    path = tmp_path / "events.jsonl"
    assert describe_last_event(path) == "none"
    append(path, {"event": "stage_start", "stage": "03_training"})
    assert describe_last_event(path) == "stage_start of 03_training"
    append(path, STEP)
    append(path, EPOCH, end='\n{"event": "st')  # killed in the middle of a line
    assert describe_last_event(path) == describe_event(EPOCH)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def show(tmp_path, stream):
    run = SimpleNamespace(path=lambda name: tmp_path / name)
    return StageDisplay(run, "03_training", 3, 5, stream)


def test_without_a_terminal_each_epoch_is_one_plain_line(tmp_path):
    stream = io.StringIO()
    display = show(tmp_path, stream)
    append(tmp_path / "events.jsonl", {"event": "stage_start", "stage": "03_training"}, STEP)
    display.refresh()
    append(tmp_path / "events.jsonl", EPOCH, STEP, EPOCH | {"epoch": 3})
    display.refresh()
    display.refresh()
    display.close("done")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[3/5] 03_training"
    assert [line.strip().split(",")[0] for line in lines[1:3]] == ["epoch 2/8", "epoch 3/8"]
    assert lines[3].startswith("[3/5] 03_training: done after 0:0")
    assert len(lines) == 4
    assert "\r" not in stream.getvalue()


def test_a_terminal_gets_a_bar_with_epoch_loss_and_time_left(tmp_path):
    stream = Terminal()
    display = show(tmp_path, stream)
    append(tmp_path / "events.jsonl", STEP)
    display.refresh()
    shown = stream.getvalue().split("\r")[-1]
    assert shown.startswith("[3/5] 03_training")
    assert "19%" in shown
    assert describe_event(STEP) in shown
    assert "| ," not in shown
    append(tmp_path / "events.jsonl", EPOCH)
    display.close("stopped")
    assert "[3/5] 03_training: stopped after" in stream.getvalue().splitlines()[-1]
    assert stream.getvalue().count("\n") == 1


def test_a_stage_that_trains_nothing_shows_its_name_and_time(tmp_path):
    stream = Terminal()
    display = show(tmp_path, stream)
    display.refresh()
    assert "[3/5] 03_training 00:00" in stream.getvalue()
    display.close("done")
