"""One run, killed at 20 random moments and resumed each time, ends as if nothing had happened.

`make test-drill`; takes about ten minutes. CIFAR_DRILL_KILLS makes it shorter.
"""

import contextlib
import os
import random
import time

import psutil
import pytest
from pipeline_process import (
    assert_same_end,
    count_epochs,
    find_kernel,
    run_command,
    start_command,
)

from cifar_utils.runs.run import Run

KILLS = int(os.environ.get("CIFAR_DRILL_KILLS", "20"))
# Half of the kills in training, a seventh while a file is half written, the others at any time.
TRAINING, WRITING = (KILLS + 1) // 2, max(1, round(KILLS * 3 / 20))
EPOCHS = 3 * KILLS  # a run that finished early could not be killed any more
SMALL = ["--dataset", "synthetic", "-p", "batch_size", "250", "-p", "demo", "false"]
SMALL += ["-p", "epochs", str(EPOCHS)]


def list_half_written(run):
    """Return the temporary files of the run: each becomes another by rename, once it is whole."""
    found = run.dir.rglob(".*") if run.dir.exists() else ()
    return [path.name for path in found if path.suffix not in ("", ".lock")]


def is_training(run):
    """Return whether notebook 3 has begun, and not ended."""
    return run.info.get("stages", {}).get("03_training", {}).get("status") == "running"


def wait_for_moment(kind, process, run, rng):
    """Wait for a random moment of one kind."""
    end = time.monotonic() + 120
    if kind == "any":
        time.sleep(rng.uniform(0, 12))
        return
    epochs = count_epochs(run)
    while count_epochs(run) == epochs:  # training goes on, and its first new epoch is over
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "no epoch was finished"
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 1.5))
    if kind == "writing":
        kernel = find_kernel(process)
        while not list(run.dir.glob(".checkpoint-*")):  # there for some hundredths of a second
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end, "nothing was written"
        kernel.kill()


def kill_tree(process):
    """Kill a pipeline and all that it started, at once."""
    leader = psutil.Process(process.pid)
    tree = [leader, *leader.children(recursive=True)]
    for member in reversed(tree):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(timeout=30)
    psutil.wait_procs(tree[1:], timeout=30)


@pytest.mark.drill
def test_a_run_killed_again_and_again_ends_like_one_never_stopped(tmp_path):
    start, resume = ("run", "--name", "killed", *SMALL), ("run", "--name", "killed", "--resume")
    done = run_command("run", "--name", "whole", *SMALL, runs_folder=tmp_path)
    assert done.returncode == 0, done.stderr
    run, rng = Run(tmp_path / "killed"), random.Random(0)
    kinds = ["training"] * TRAINING + ["writing"] * WRITING
    kinds += ["any"] * (KILLS - len(kinds))
    rng.shuffle(kinds)
    in_training = half_written = 0
    for number in range(1, 2 * KILLS):
        if not kinds:
            break
        kind, begun = kinds.pop(), run.path("run.json").exists()
        if run.dir.exists() and not begun:
            run.dir.rmdir()  # killed between two system calls, as the next command would say
        process = start_command(*(resume if begun else start), runs_folder=tmp_path)
        wait_for_moment(kind, process, run, rng)
        assert process.poll() is None, process.communicate()[0]
        kill_tree(process)
        in_training += is_training(run)
        left = [name for name in list_half_written(run) if not name.endswith(".ipynb")]
        half_written += bool(left)
        if kind == "writing" and not left:
            kinds.insert(0, kind)  # the kill came a moment too late: once more
        print(f"kill {number} ({kind}): {count_epochs(run)} epochs, half written: {left}")
    done = run_command(*resume, runs_folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert in_training >= TRAINING
    assert half_written >= WRITING
    assert list_half_written(run) == []
    assert_same_end(run, Run(tmp_path / "whole"))
