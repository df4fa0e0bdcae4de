"""Evaluation of a generator or a set of volumes against real brains."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch

from stylegan3d.dataset.pack import Pack
from stylegan3d.evaluation import table
from stylegan3d.evaluation.material import Material, Subject, volumes_id
from stylegan3d.evaluation.settings import EvaluationSettings
from stylegan3d.evaluation.store import MEASURES, Store
from stylegan3d.model.generator import Generator
from stylegan3d.plain import Json
from stylegan3d.progress import SILENT, Progress
from stylegan3d.storage.about import version

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
    store = Store(None if out is None else out / WORK)
    return Material(subject, pack, settings or EvaluationSettings(), report, store)


def _head(material: Material) -> Json:
    """Model, data and program of the report."""
    subject, pack, settings = material.subject, material.pack, material.settings
    shown = _kept_settings(settings) | {"parts": settings.parts}
    return {
        "model": {
            "name": subject.name,
            "hash": subject.hash,
            **({"labels": material.generator.labels_hash} if _has_learned(material) else {}),
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
            "measures": MEASURES,
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


def _has_learned(material: Material) -> bool:
    """Whether the model has labels learned after training."""
    return material.has_generator and bool(material.generator.labels_hash)


def _kept_settings(settings: EvaluationSettings) -> Json:
    """Settings that affect the results."""
    return {k: v for k, v in asdict(settings).items() if k not in ("cache", "parts")}
