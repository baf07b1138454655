"""One line an epoch, and a time left that counts small images as the smaller work that they are."""

from types import SimpleNamespace

import pytest

from cifar_utils.training import callbacks


class Clock:
    """Stands in for `time`: moves only when told."""

    now = 0.0

    def perf_counter(self):
        return self.now


def make_progress(sizes, calls=1):
    """Return the progress of a training of four epochs of ten steps."""
    progress = callbacks.Progress(SimpleNamespace(recipe=SimpleNamespace(sizes=sizes, epochs=4)))
    progress.set_params({"epochs": 4, "steps": 10})
    progress.set_model(SimpleNamespace(steps_per_execution=calls))
    progress.on_train_begin()
    progress.on_epoch_begin(0)
    return progress


@pytest.mark.parametrize("named", [(0, 4, 8), (3, 7, 11)])  # the first or the last step of a call
def test_calls_of_several_steps_end_with_the_epoch(named):
    progress = make_progress([(32, 1.0)], calls=4)
    shares = []
    for batch in named:
        progress.on_train_batch_end(batch)
        shares.append(progress.share_done())
    assert shares == [0.1, 0.2, 0.25]


def test_the_time_left_knows_that_the_rest_is_costlier(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    progress = make_progress([(16, 0.5), (32, 0.5)])
    assert progress.seconds_left() is None
    for batch in range(10):  # a second per step; the first one, which compiles, takes a minute
        clock.now += 60 if batch == 0 else 1
        progress.on_train_batch_end(batch)
    # 9 seconds for nine tenths of 256; 256 and twice 1024 are left.
    assert progress.seconds_left() == pytest.approx(10 * (256 + 2048) / 256)


def test_a_line_holds_the_numbers_of_its_epoch(capsys):
    progress = make_progress([(32, 1.0)])
    progress.on_epoch_end(1, {"loss": 1.23456, "accuracy": 0.5, "val_accuracy": 0.614})
    line = capsys.readouterr().out
    assert line.startswith("epoch 2/4, loss 1.235, accuracy 50.0 %, validation 61.4 %, ")
