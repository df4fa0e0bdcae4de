"""The notebooks of the documents run, cell by cell, on a smaller task."""

import pytest
from notebooks import NOTEBOOKS, run

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


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path):
    text = path.read_text(encoding="utf-8")
    # A direction of values needs 24 brains, a training fewer.
    subjects = {"range(30)": "range(24)" if path.stem == "cohort" else "range(6)"}
    for long, short in (SMALLER | subjects).items():
        text = text.replace(long.replace('"', '\\"'), short.replace('"', '\\"'))
    smaller = tmp_path / path.name
    smaller.write_text(text, encoding="utf-8")
    done = run(smaller, tmp_path, before=COMMANDS_HERE)
    pictures = [
        out
        for cell in done.cells
        for out in cell.get("outputs", [])
        if "image/jpeg" in out.get("data", {})
    ]
    assert pictures, "no picture was drawn"
    assert "Error" not in "".join(
        out.get("text", "") for cell in done.cells for out in cell.get("outputs", [])
    )
