"""Comparison of several models' evaluations in one table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.evaluation.figure import Figure
from stylegan3d.evaluation.store import measures_of
from stylegan3d.evaluation.table import figures_by_part, keys, title_of
from stylegan3d.pages.page import page
from stylegan3d.plain import Json
from stylegan3d.render.figures import SYNTHETIC
from stylegan3d.storage.jsontext import read_json

REPORT = "report.json"
#: Maximum size of a report in bytes; one of a thousand brains has a fiftieth of this.
LARGEST = 50_000_000
# What must be equal for figures to be comparable, and the wording if it differs.
ALIKE = {
    "data": "real brains",
    "measures": "versions of the measures",
    "samples": "numbers of random brains",
    "truncation": "truncations",
    "budget": "budgets of the projection",
}


@dataclass(frozen=True)
class Evaluated:
    """Content of one report.

    Attributes
    ----------
    name : str
        Model name with family.
    settings : dict of str to object
        Settings that must be equal for a comparison, by the keys of `ALIKE`.
    parts : dict of str to list of Figure
        Part -> figures.
    """

    name: str
    settings: Json
    parts: dict[str, list[Figure]]


def read_evaluation(path: Path) -> Evaluated:
    """Read a report of `stylegan3d evaluate`, given as folder or file.

    Raises
    ------
    StyleGAN3DError
        If it is not a report.
    """
    file = path / REPORT if path.is_dir() else path
    try:
        report = read_json(file, LARGEST)
        data = report["data"]
        record = {
            "data": f"{data['name']}, {data['volumes']}",
            "measures": measures_of(report),
            **{key: report["settings"][key] for key in ("samples", "truncation", "budget")},
        }
        return Evaluated(str(report["model"]["name"]), record, figures_by_part(report))
    except OSError as error:
        raise StyleGAN3DError(
            f"'{file}' cannot be read ({type(error).__name__}); give the folder that `stylegan3d "
            "evaluate --out` has written."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise StyleGAN3DError(
            f"'{file}' is not a report of `stylegan3d evaluate`; evaluate the model again."
        ) from error


@dataclass(frozen=True)
class SideBySide:
    """A comparison of models.

    Attributes
    ----------
    names : list of str
        Names of the models.
    notes : list of str
        Reasons why figures are not comparable.
    parts : dict of str to list
        Part to rows: name of the figure and, for each model, the figure or None.
    """

    names: list[str]
    notes: list[str]
    parts: dict[str, list[tuple[str, list[Figure | None]]]]

    @classmethod
    def of(cls, models: Sequence[Evaluated]) -> SideBySide:
        """Compare models; rows are in order of first occurrence."""
        notes = []
        for key, what in ALIKE.items():
            values = {str(model.settings[key]) for model in models}
            if len(values) > 1:
                notes.append(f"The models were measured with different {what}: {_joined(values)}.")
        parts: dict[str, list[tuple[str, list[Figure | None]]]] = {}
        for part in keys():
            found = [{f.name: f for f in model.parts.get(part, [])} for model in models]
            names = dict.fromkeys(name for figures in found for name in figures)
            if names:
                parts[part] = [(name, [figures.get(name) for figures in found]) for name in names]
        return cls([model.name for model in models], notes, parts)


def _joined(values: set[str]) -> str:
    return "; ".join(sorted(values))


def comparison_page(table: SideBySide) -> str:
    """The table as a self-contained HTML page."""
    parts = {
        title_of(part): [(name, figures, _real(figures)) for name, figures in rows]
        for part, rows in table.parts.items()
    }
    return page("comparison", table=table, parts=parts, mark=SYNTHETIC)


def _real(figures: Sequence[Figure | None]) -> str:
    """The reference value; a single text if it is the same for all models."""
    return " / ".join(dict.fromkeys(f.real for f in figures if f and f.real))


def comparison_csv(table: SideBySide) -> str:
    """The table as comma-separated values."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["part", "figure", *table.names, "real"])
    for part, lines in table.parts.items():
        for name, figures in lines:
            notes = [f.synthetic if f else "" for f in figures]
            rows.writerow([part, name.strip(), *notes, _real(figures)])
    return text.getvalue()


def comparison_json(table: SideBySide) -> Json:
    """The table with numbers."""
    parts: dict[str, list[Mapping[str, Any]]] = {
        part: [
            {"name": name.strip(), "models": [f and asdict(f) for f in figures]}
            for name, figures in rows
        ]
        for part, rows in table.parts.items()
    }
    return {"models": table.names, "notes": table.notes, **parts}
