"""One notebook, executed headlessly: what it prints, and what ends it."""

import os
import signal
import threading

import nbformat
import papermill
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from cifar_utils.apps.execution import (
    CellFailed,
    KernelDied,
    clean_notebook,
    execute_notebook,
    stop_on_signals,
)

# What ipykernel may do by bad luck as it leaves, this does every time.
LAST_WORDS = """
import atexit, os
_ = atexit.register(os.write, 2, b"a traceback that is nobody's fault")
print("done")
"""
# As `interact` does, for which nbclient needs the widgets' state.
INTO_A_WIDGET = (
    "import ipywidgets\nout = ipywidgets.Output()\ndisplay(out)\nwith out:\n    print(1)"
)


def write(folder, *sources):
    """Write a notebook of code cells; return where it is and where its copy goes."""
    notebook = new_notebook(cells=[new_code_cell(source) for source in sources])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["kernelspec"] = kernel
    nbformat.write(notebook, folder / "source.ipynb")
    return folder / "source.ipynb", folder / "target.ipynb"


def test_lines_arrive_while_the_cell_runs_and_nothing_is_printed(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # an old ipykernel's own advice
    begun = tmp_path / "begun"
    waiting = "print('epoch 1/2', end=''); print(', loss 1', flush=True)\nimport os, time\n"
    waiting += f"while not os.path.exists({str(begun)!r}): time.sleep(0.05)\nprint('x')"
    lines = []

    def note(line):
        lines.append(line)
        begun.touch()  # only now the cell can end

    source, target = write(tmp_path, INTO_A_WIDGET, waiting, LAST_WORDS)
    execute_notebook(source, target, on_line=note)
    assert lines == ["epoch 1/2, loss 1", "x", "done"]
    saved = nbformat.read(target, as_version=4)
    assert saved.cells[-1].outputs[0].text == "done\n"
    assert set(saved.metadata) == {"kernelspec", "language_info"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("begun", "source.ipynb", "target.ipynb"),
    ]
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_parameters_are_injected_and_a_cell_that_raises_is_named(tmp_path):
    source, target = write(tmp_path, "x = 1", "raise ValueError(f'x is {x}')")
    with pytest.raises(CellFailed, match="ValueError: x is 5"):
        execute_notebook(source, target, {"x": 5})
    assert "ValueError" in target.read_text()


def test_a_kernel_that_dies_is_told_from_a_cell_that_raises(tmp_path):
    source, target = write(tmp_path, "print('alive')", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(KernelDied):
        execute_notebook(source, target)
    assert "alive" in target.read_text()


def test_a_signal_ends_the_kernel_and_is_a_keyboard_interrupt(tmp_path):
    source, target = write(tmp_path, "print('begun', flush=True)\nimport time; time.sleep(60)")
    before = signal.getsignal(signal.SIGTERM)

    def stop(line):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()

    with pytest.raises(KeyboardInterrupt), stop_on_signals():
        execute_notebook(source, target, on_line=stop)
    children = psutil.Process().children(recursive=True)
    assert not [one for one in children if any("ipykernel" in word for word in one.cmdline())]
    assert signal.getsignal(signal.SIGTERM) == before
    assert "begun" in target.read_text()


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_kernel_that_did_not_start_is_started_again(monkeypatch, tmp_path):
    tried = []

    def fail_twice(*arguments, config, **options):
        tried.append(config.KernelManager.transport)
        if len(tried) < 3:
            raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr(papermill, "execute_notebook", fail_twice)
    execute_notebook(*write(tmp_path, "print('at last')"))
    assert tried[-1] == "tcp"  # in case it was the other that failed


def test_a_saved_notebook_holds_neither_widgets_nor_timings():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}, "text/plain": "Box()"}
    cell = new_code_cell("x", outputs=[nbformat.v4.new_output("display_data", data=view)])
    cell.metadata = {"tags": ["key"], "cellView": "form", "papermill": {}, "execution": {}}
    cell.metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": False}
    notebook = new_notebook(cells=[cell], metadata={"widgets": {"state": {}}, "papermill": {}})
    clean = clean_notebook(notebook)
    assert clean.metadata == {}
    kept = {"tags": ["key"], "cellView": "form", "jupyter": {"source_hidden": True}}
    assert clean.cells[0].metadata == kept
    assert list(clean.cells[0].outputs[0].data) == ["text/plain"]
