"""The evaluation of a generator or a folder of volumes, and its reports."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan3d.base import SILENT, Json, JsonView, Progress, StyleGAN3DError
from stylegan3d.checkpoints.folder import add_to_card
from stylegan3d.dataset.pack import Pack
from stylegan3d.evaluation import table
from stylegan3d.evaluation.cubes import surest_png
from stylegan3d.evaluation.material import VERSION, Material, Store, Subject, volumes_id
from stylegan3d.evaluation.privacy import closest_pairs_png
from stylegan3d.evaluation.rows import Figure
from stylegan3d.evaluation.settings import EvaluationSettings
from stylegan3d.evaluation.table import (
    figures,
    figures_by_part,
    keys,
    plain_words,
    title_of,
    warnings,
)
from stylegan3d.geometry.space import draw_montage
from stylegan3d.model.card import card_text
from stylegan3d.model.generator import Generator
from stylegan3d.pages import page as pages
from stylegan3d.pages.page import Markup, curves, distributions, interval_bar
from stylegan3d.render.figures import COMPOSITE, SYNTHETIC, with_source_type
from stylegan3d.settings.option import check_options
from stylegan3d.storage.about import version
from stylegan3d.storage.encoding import read_json, to_json
from stylegan3d.storage.files import atomic_write_bytes, table_text
from stylegan3d.storage.places import MONTAGE

# Subfolder of the output folder from which a stopped evaluation resumes.
WORK = "work"
# Key of a part's duration in stored results.
SECONDS = "measured_in_s"

# The part that depends on labels learned after training.
LABELLED = "conditions"


def evaluate(
    subject: Subject | Generator,
    pack: Pack,
    settings: EvaluationSettings | None = None,
    report: Progress = SILENT,
    out: Path | None = None,
) -> Json:
    """Evaluate synthetic brains against real ones.

    Parameters
    ----------
    subject : Subject or Generator
        A generator, or a folder of volumes (`subject.VolumesSubject`).
    pack : Pack
        Real brains on the same grid, with training and validation subjects.
    settings : EvaluationSettings or None
        Options.
    report : Progress
    out : Path or None
        Folder for finished parts and brains (in `work`), from which a stopped evaluation resumes.

    Returns
    -------
    dict
        "model", "data", "settings", "program" (with "seconds" of each part), "left_out" (part to
        sentence), "notes" and one entry per part; plain enough for JSON.

    Raises
    ------
    StyleGAN3DError
        If a part is unknown, the grids differ, or there are too few subjects or samples.
    """
    return evaluate_material(open_material(subject, pack, settings, report, out))


def evaluate_material(material: Material) -> Json:
    """`evaluate` for an open `Material`."""
    chosen = material.settings
    key = (material.subject.hash, volumes_id(material.pack), _kept_settings(chosen))
    result = _head(material)
    for metric in table.METRICS:
        part = metric.key
        if part not in chosen.parts:
            continue
        if metric.needs_generator and not material.has_generator:
            why = f"{material.subject.name} is a folder of volumes, not a generator."
            result["left_out"][part] = why
            continue
        # Labels learned after training do not affect unconditional samples.
        labels = material.generator.labels_hash if part == LABELLED else ""
        kept = (*key, labels) if labels else key
        found = material.store.result(part, kept, partial(_timed, metric.function(), material))
        result["program"]["seconds"][part] = found.pop(SECONDS)
        if "left_out" in found:
            result["left_out"][part] = found["left_out"]
        else:
            result[part] = found
        for what, why in found.get("missing", {}).items():
            result["left_out"][f"{part}, {what}"] = why
    return result


def _timed(measure: Callable[[Material], Json], material: Material) -> Json:
    """Run a part and measure its duration.

    Brains and features shared by several parts count for the first.
    """
    begun = time.monotonic()
    found = measure(material)
    return found | {SECONDS: round(time.monotonic() - begun, 1)}


def finish(material: Material) -> None:
    """Remove the stored random brains; figures and features stay."""
    material.store.forget("brains")


def open_material(
    subject: Subject | Generator,
    pack: Pack,
    settings: EvaluationSettings | None = None,
    report: Progress = SILENT,
    out: Path | None = None,
) -> Material:
    """Open the brains of an evaluation; see `evaluate`."""
    store, settings = Store(None if out is None else out / WORK), settings or EvaluationSettings()
    check_options(settings)
    return Material(subject, pack, settings, report, store)


def _head(material: Material) -> Json:
    """Model, data and program of the report."""
    subject, pack, settings = material.subject, material.pack, material.settings
    learned = material.has_generator and material.generator.labels_hash
    shown = _kept_settings(settings) | {"parts": settings.parts}
    return {
        "model": {
            "name": subject.name,
            "hash": subject.hash,
            **({"labels": learned} if learned else {}),
            "kind": "generator" if material.has_generator else "folder of volumes",
        },
        "data": {
            "name": pack.path.name,
            "volumes": volumes_id(pack),
            "training_people": material.known,
            "validation_people": len(material.subjects) - material.known,
            "shape": list(pack.space.shape),
            "voxel_mm": [round(size, 4) for size in pack.space.voxel_size],
            "axes": "".join(pack.space.axcodes),
        },
        "settings": shown,
        "random_brains": len(material.seeds(settings.samples)),
        "program": {
            "version": version(),
            "measures": VERSION,
            "date": datetime.now().astimezone().isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "device": material.device,
            "seconds": {},
        },
        "notes": [*subject.notes, *pack.info.get("notes", []), *_repeats(material)],
        "left_out": {},
    }


def _repeats(material: Material) -> list[str]:
    """A note where persons have several scans."""
    scans, subjects = len(material.people), len(material.subjects)
    if scans == subjects:
        return []
    return [
        f"There are {scans} scans of {subjects} subjects. Only the first scan of each subject is "
        "in the groups of real brains that synthetic ones are compared with; plausibility, "
        "privacy and parts in which something is learned or reconstructed use all scans."
    ]


def _kept_settings(settings: EvaluationSettings) -> Json:
    """Settings that affect the results."""
    return {k: v for k, v in asdict(settings).items() if k not in ("cache", "parts")}


#: Rows of the picture of the closest pairs.
PAIRS = 5


def page(report: JsonView, pictures: Mapping[str, bytes]) -> str:
    """The page.

    Parameters
    ----------
    report : mapping of str to object
        Report of `evaluation.evaluate`.
    pictures : mapping of str to bytes
        Title to PNG, the montage first.
    """
    record = dict(report)
    parts = figures_by_part(record)
    left_out = [f"{title_of(part)}: {why}" for part, why in record["left_out"].items()]
    return pages.page(
        "evaluation",
        source_type=COMPOSITE,
        report=record,
        mark=SYNTHETIC,
        warnings=warnings(record),
        answers=dict(plain_words(record)),
        pictures=pictures,
        closest=CLOSEST,
        nearest=record.get("privacy", {}).get("copies", {}).get("nearest", [])[:PAIRS],
        distributions=_distributions(record),
        curves=_curves(record),
        parts={title_of(k): [(row, bar(row)) for row in rows] for k, rows in parts.items()},
        left_out=[*left_out, *record["notes"]],
        title_of=title_of,
    )


def bar(row: Figure) -> Markup:
    """The intervals of a row, drawn."""
    label = f"{row.name.strip()}: synthetic {row.synthetic}, real {row.real}"
    real = row.real_low, row.real_value, row.real_high
    return interval_bar(label, (row.low, row.value, row.high), real)


def _distributions(report: Json) -> list[Markup]:
    drawn = []
    for metric in table.METRICS:
        values = report.get(metric.key, {}).get("values", {})
        for name, title in (metric.plots or {}).items():
            if name in values:
                both = values[name]
                drawn.append(distributions(title, both["synthetic"], both["real"]))
    return [plot for plot in drawn if plot]


def _curves(report: Json) -> list[Markup]:
    """The shape statistics against the number of components."""
    part = report.get("shape_statistics")
    titles = {
        "generalisation": "error in held-out subjects",
        "specificity": "distance of random ones to a subject",
        "compactness": "share of variance",
    }
    return [
        curves(title, part["components"], part[key]["model"], part[key]["voxels"])
        for key, title in titles.items()
        if part
    ]


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
            "measures": str(report["program"]["measures"]),
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
    return pages.page("comparison", table=table, parts=parts, mark=SYNTHETIC)


def _real(figures: Sequence[Figure | None]) -> str:
    """The reference value; a single text if it is the same for all models."""
    return " / ".join(dict.fromkeys(f.real for f in figures if f and f.real))


def comparison_csv(table: SideBySide) -> str:
    """The table as comma-separated values."""
    rows = [["part", "figure", *table.names, "real"]]
    for part, lines in table.parts.items():
        for name, known in lines:
            told = [f.synthetic if f else "" for f in known]
            rows.append([part, name.strip(), *told, _real(known)])
    return table_text(rows)


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


# Rows of the montage and pixels of each picture in it: thumbnails of any brain pass for real.
ROWS, CELL = 12, 256
BESIDE = "Synthetic brains beside real ones"
CLOSEST = "Closest pairs"
SUREST = "Cubes classified most surely, synthetic above, real below"


def pictures_of(material: Material, report: JsonView) -> dict[str, bytes]:
    """Title to PNG: a montage, and the closest pairs if privacy was measured."""
    pictures = {BESIDE: montage_png(material)}
    if "copies" in report.get("privacy", {}):
        pictures[CLOSEST] = closest_pairs_png(material, dict(report["privacy"]))
    if "surest" in report.get("cubes", {}):
        pictures[SUREST] = surest_png(material, report["cubes"])
    return pictures


def montage_png(material: Material) -> bytes:
    """Random brains on the left, validation subjects on the right, one of each per row; PNG."""
    people = material.validation
    seeds = material.seeds(min(ROWS, len(people)))
    people = people[np.linspace(0, len(people) - 1, len(seeds)).round().astype(int)]
    return draw_montage(
        {
            "synthetic - not for diagnosis": list(material.random_brains(seeds)),
            "real (validation subjects)": material.volumes(people),
        },
        material.pack.space,
        cell=CELL,
    )


def report_files(
    paths: Sequence[Path], report: JsonView, pictures: Mapping[str, bytes]
) -> dict[Path, bytes]:
    """Content of a report's files by path (.json and .html), not written yet."""
    kinds = {".json": lambda: to_json(report), ".html": lambda: page(report, pictures)}
    return {path: kinds[path.suffix]().encode() for path in paths}


def add_figures(generator: Generator, report: JsonView, picture: bytes) -> None:
    """Write a report's figures and a montage to the model's card."""
    folder, marked = generator.needed_folder(), with_source_type(picture, ".png", COMPOSITE)
    atomic_write_bytes(folder / MONTAGE, marked, overwrite=True)
    # Parts that were not measured this time are kept.
    found = dict(generator.card.get("evaluation", {}))
    for part in keys():
        if part in report:
            found[part] = [
                {
                    key: value
                    for key, value in asdict(row).items()
                    if value is not None or key == "reached"
                }
                for row in figures({part: report[part]})
            ]
    found = {part: found[part] for part in (*keys(), *found) if part in found}
    add_to_card(folder, {"evaluation": found, "montage": MONTAGE}, card_text)
