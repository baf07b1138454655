"""The time left counts an epoch of small images as the smaller work that it is."""

from types import SimpleNamespace

import pytest

from cifar_utils.training import callbacks as progress
from cifar_utils.training.callbacks import StepClock


class Clock:
    """Stands in for `time`: moves only when told."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
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
    clock.step = 5
    assert clock.share_done() == pytest.approx((2 * 256 + 512) / 2560)


@pytest.mark.parametrize("named", [(0, 4, 8), (3, 7, 11)])  # the first or the last step of a call
def test_calls_of_several_steps_end_with_the_epoch(named):
    clock = make_steps((32,), epochs=1, calls=4)
    clock.on_epoch_begin(0)
    shares = []
    for batch in named:
        clock.on_train_batch_end(batch)
        shares.append(clock.share_done())
    assert shares == [0.4, 0.8, 1.0]


def test_the_last_size_holds_for_all_later_epochs():
    clock = make_steps((32,))
    clock.on_epoch_begin(3)
    assert clock.share_done() == 0.75


def test_the_time_left_knows_that_the_rest_is_dearer(clock):
    steps = make_steps((16, 16, 32, 32))
    steps.on_epoch_begin(0)
    assert steps.seconds_left() is None
    for batch in range(10):  # a second per step; the first one, which compiles, takes a minute
        clock.now += 60 if batch == 0 else 1
        steps.on_train_batch_end(batch)
    # 9 seconds for nine tenths of 256; 256 and twice 1024 are left.
    assert steps.seconds_left() == pytest.approx(10 * (256 + 2048) / 256)
