"""Run the notebooks of the documents and keep their results: `make notebooks`."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def run(path: Path, folder: Path, before: str = "") -> nbformat.NotebookNode:
    """A notebook with the results of a run.

    Parameters
    ----------
    folder : Path
        Where it runs and writes its files.
    before : str
        Code that runs first and leaves no trace, such as settings for a quick test.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    if before:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(before))
    # Commands after `!` are those beside the Python that runs this.
    beside = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([beside, os.environ.get("PATH", "")])
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}})
    client.execute(cleanup_kc=True)
    if before:
        del notebook.cells[0]
    for cell in notebook.cells:
        # Times and signatures of the run would change with every run.
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = without_progress(cell.outputs)
            for out in cell.outputs:
                # Of the two forms of a Pillow image the smaller one is kept.
                if "image/jpeg" in out.get("data", {}):
                    out["data"].pop("image/png", None)
    # Which Python it was, is nobody's business; how commands after `!` are coloured, is.
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return notebook


def without_progress(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs with what commands printed in one piece, without the hundred states of a bar."""
    printed = "".join(out.text for out in outputs if out.get("name") == "stdout")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed).replace("\r\n", "\n")
    lines = [line.rpartition("\r")[2] for line in plain.split("\n")]
    text = "\n".join(line.rstrip() for line in lines if "━" not in line).strip("\n")
    kept = [out for out in outputs if out.output_type != "stream"]
    if text:
        kept.insert(0, nbformat.v4.new_output("stream", name="stdout", text=text + "\n"))
    return kept


def main() -> int:
    """Run all notebooks, or those that are named."""

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS)
    for path in parser.parse_args().notebooks:
        with tempfile.TemporaryDirectory() as folder:
            done = run(path, Path(folder))
        nbformat.write(done, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
