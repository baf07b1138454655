"""One line an epoch, and a time left that counts small images as the smaller work that they are."""

import re
from types import SimpleNamespace

import pytest
from tiny_runs import make_run, train

from cifar_utils.training import callbacks
from cifar_utils.training.callbacks import LossCurve, StepClock


class Clock:
    """Stands in for `time`: moves only when told."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    return clock


def make_steps(sizes, epochs=4, steps=10, calls=1):
    steps_clock = StepClock(sizes)
    steps_clock.set_params({"epochs": epochs, "steps": steps})
    steps_clock.set_model(SimpleNamespace(steps_per_execution=calls))
    steps_clock.on_train_begin()
    return steps_clock


def test_the_share_follows_the_square_of_the_side():
    clock = make_steps((16, 16, 32, 32))
    clock.on_epoch_begin(2)
    assert clock.share_done() == pytest.approx(2 * 256 / 2560)
    clock = make_steps((32,))  # the last size is used for all later epochs
    clock.on_epoch_begin(3)
    assert clock.share_done() == 0.75


@pytest.mark.parametrize("named", [(0, 4, 8), (3, 7, 11)])  # the first or the last step of a call
def test_calls_of_several_steps_end_with_the_epoch(named):
    clock = make_steps((32,), epochs=1, calls=4)
    clock.on_epoch_begin(0)
    shares = []
    for batch in named:
        clock.on_train_batch_end(batch)
        shares.append(clock.share_done())
    assert shares == [0.4, 0.8, 1.0]


def test_the_time_left_knows_that_the_rest_is_costlier(clock):
    steps = make_steps((16, 16, 32, 32))
    steps.on_epoch_begin(0)
    assert steps.seconds_left() is None
    for batch in range(10):  # a second per step; the first one, which compiles, takes a minute
        clock.now += 60 if batch == 0 else 1
        steps.on_train_batch_end(batch)
    # 9 seconds for nine tenths of 256; 256 and twice 1024 are left.
    assert steps.seconds_left() == pytest.approx(10 * (256 + 2048) / 256)


def test_one_line_is_printed_for_every_epoch(capsys):
    train(make_run("lines", epochs=2))
    lines = re.findall(r"^epoch (\d)/2, .*$", capsys.readouterr().out, re.MULTILINE)
    assert lines == ["1", "2"]


def test_a_line_holds_the_numbers_of_its_epoch(capsys):
    run = SimpleNamespace(recipe=SimpleNamespace(sizes=((32, 1.0),), epochs=4))
    progress = callbacks.Progress(run)
    progress.set_params({"epochs": 4, "steps": 10})
    progress.set_model(SimpleNamespace(steps_per_execution=10))
    progress.on_train_begin()
    progress.on_epoch_begin(1)
    progress.on_epoch_end(1, {"loss": 1.23456, "accuracy": 0.5, "val_accuracy": 0.614})
    line = capsys.readouterr().out
    assert line.startswith("epoch 2/4, loss 1.235, accuracy 50.0 %, validation 61.4 %, ")


def test_the_loss_curve_averages_to_the_loss_of_the_epoch():
    curve = LossCurve(steps=6, points=3)
    curve.set_model(SimpleNamespace(steps_per_execution=1))
    curve.on_epoch_begin(0)
    means, total = [], 0.0
    for batch, loss in enumerate((6.0, 4.0, 3.0, 3.0, 1.0, 1.0)):
        total += loss
        means.append(total / (batch + 1))  # Keras gives the mean over the epoch so far
        curve.on_train_batch_end(batch, {"loss": means[-1]})
    places, losses = zip(*curve.points, strict=True)
    assert losses == pytest.approx((5.0, 3.0, 1.0))
    assert places == pytest.approx((1 / 6, 3 / 6, 5 / 6))
