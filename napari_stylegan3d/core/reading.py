"""Reading an image that the user chose: it may turn out to be several."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stylegan3d.scans import Scan
    from stylegan3d.session.case import Choice

#: Cache of preparation steps in the session's folder, so that reopening a scan is fast.
STEPS_FOLDER = "steps"


@dataclass(frozen=True)
class Several:
    """A choice to make: the question and the entries for `Chooser.ask`."""

    question: str
    entries: list[tuple[str, object, str]]


def read_choice(choice: Choice | Path) -> Scan | Several:
    """Read and check an image; it may turn out to be several."""
    from stylegan3d.scans import SeveralSeries, SeveralVolumes, read_scan
    from stylegan3d.session.case import Choice

    choice = Choice(choice) if isinstance(choice, Path) else choice

    try:
        return read_scan(choice.path, choice.volume, choice.series, choice.orientation)
    except SeveralSeries as error:
        if not any(series.usable for series in error.series):
            raise
        return Several(
            f"{choice.path.name} contains {len(error.series)} series:",
            [_series_entry(series, choice) for series in error.series],
        )
    except SeveralVolumes as error:
        entries: list[tuple[str, object, str]] = [
            (f"Volume {index}", dataclasses.replace(choice, volume=index), "")
            for index in range(error.count)
        ]
        return Several(
            f"{choice.path.name} is a series of {error.count} volumes:",
            entries,
        )


def _series_entry(series: Any, choice: Choice) -> tuple[str, object, str]:
    number = "?" if series.number is None else series.number
    text = f"{number}: {series.description or 'unnamed'}\n{series.summary}"
    problem = ""
    if not series.usable:
        problem = sentence(series.problem or "it is a localiser, not a whole head")
    return text, dataclasses.replace(choice, series=series.uid), problem


def sentence(words: str) -> str:
    """Capitalise the first letter and end with a full stop."""
    return words[:1].upper() + words[1:].rstrip(".") + "."
