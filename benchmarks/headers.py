"""What `stylegan3d info` tells of wrong headers, and of right ones.

    python benchmarks/headers.py SCAN... [--each 25] [--untouched 60] [--out FILE.json]

Each kind of change is made to the headers of so many of the scans, drawn at random; told means
that one of the doubts names it. Of scans as they are, any doubt about the header is a false one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

from stylegan3d.cli import main as stylegan3d
from stylegan3d.storage.encoding import to_json

# The changes are one of the tests' tools.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from changed_headers import CHANGES, changed

#: Kinds of doubts about a header.
ABOUT_HEADERS = set.union(*CHANGES.values()) | {"labels"}


def told(path: Path) -> set[str]:
    """Kinds of the doubts about the header that `info` tells; "error" where it refuses the scan."""
    words, status = io.StringIO(), 0
    with contextlib.redirect_stdout(words), contextlib.redirect_stderr(io.StringIO()):
        try:
            stylegan3d(["--quiet", "info", str(path), "--json"])
        except SystemExit as end:
            status = int(end.code or 0)
    if status:
        return {"error"}
    return {doubt["kind"] for doubt in json.loads(words.getvalue())["doubts"]} & ABOUT_HEADERS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--each", type=int, default=25)
    parser.add_argument("--untouched", type=int, default=60)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    found: list[tuple[str, str, list[str]]] = []

    def keep(kind: str, scan: Path, kinds: set[str], right: bool) -> None:
        found.append((kind, scan.name, sorted(kinds)))
        if not right:
            print(f"  {kind}: {scan.name}: {', '.join(sorted(kinds)) or 'nothing'}", flush=True)

    untouched = rng.permutation(np.array(given.scans, object))[: given.untouched]
    for scan in untouched:
        kinds = told(scan)
        keep("untouched", scan, kinds, not kinds)
    quiet = sum(not kinds for _, _, kinds in found)
    print(f"untouched: {quiet} of {len(untouched)} without a doubt", flush=True)
    everything = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind, wanted in CHANGES.items():
            named = 0
            for scan in rng.choice(np.array(given.scans, object), given.each):
                path = Path(folder) / scan.name
                nib.save(changed(nib.load(scan), kind, rng), path)
                kinds = told(path)
                path.unlink()
                named += bool(kinds & (wanted | {"error"}))
                keep(kind, scan, kinds, bool(kinds & (wanted | {"error"})))
            print(f"{kind}: told in {named} of {given.each}", flush=True)
            everything += named
    print(f"all: told in {everything} of {given.each * len(CHANGES)}")
    if given.out:
        given.out.write_text(to_json(found))


if __name__ == "__main__":
    main()
