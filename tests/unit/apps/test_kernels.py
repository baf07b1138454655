"""One notebook, run headlessly."""

import nbformat

from cifar_utils.apps.kernels import NotebookRun

# What ipykernel may do by bad luck as it leaves, this does every time.
LAST_WORDS = """
import atexit, os
_ = atexit.register(os.write, 2, b"a traceback that is nobody's fault")
print("done")
"""


def test_a_kernel_says_nothing_once_its_cells_are_done(tmp_path, capfd):
    source, target = tmp_path / "source.ipynb", tmp_path / "target.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LAST_WORDS)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, source)
    NotebookRun(source, target, {}).start().result()
    assert nbformat.read(target, as_version=4).cells[-1].outputs[0].text == "done\n"
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
