"""The notebooks of the documents run, cell by cell, on a smaller task."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs/notebooks").glob("*.ipynb"))
#: What takes long in a notebook, and what does the same in less time.
SMALLER = {
    'budget="draft"': "steps=2",
    "--budget draft": "--steps 2",
    '("novosibirsk-sub-09", "ucla-sub-04")': '("ucla-sub-04",)',
}

#: Commands after `!` run in the notebook's own process, where torch is loaded already; unlike a
#: shell's, their errors end the notebook.
COMMANDS_HERE = """
def _here(line):
    import shlex
    from stylegan3d.cli import main
    program, *words = shlex.split(line)
    assert program == "stylegan3d", line
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, line
get_ipython().system = _here
"""


@pytest.mark.soak
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path):
    text = path.read_text(encoding="utf-8")
    # A direction of values needs 24 brains, a training fewer.
    subjects = {"range(30)": "range(24)" if path.stem == "cohort" else "range(6)"}
    for long, short in (SMALLER | subjects).items():
        text = text.replace(long.replace('"', '\\"'), short.replace('"', '\\"'))
    notebook = nbformat.reads(text, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(COMMANDS_HERE))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, resources=resources).execute(cleanup_kc=True)
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("image/jpeg" in out.get("data", {}) for out in outputs), "no picture was drawn"
    assert "Error" not in "".join(out.get("text", "") for out in outputs)
