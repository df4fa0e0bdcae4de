"""What the programs share: parts by name, results as tables."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Rows with the same keys as TSV, the keys first."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


def run(main: Callable[[], object], *parts: Callable[[], object]) -> None:
    """Run a program: `main`, or the part that the first word names."""
    named = {part.__name__: part for part in parts}
    chosen = named.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if chosen is not None:
        sys.argv[:2] = [f"{sys.argv[0]} {sys.argv[1]}"]
    sys.exit((chosen or main)() or 0)  # type: ignore[arg-type]
