"""The table of all metrics of an evaluation, in order of measurement and display.

An entry has a metric's name, measure, formatting, targets, and the question it answers.
Measurement, page, comparison, JSON, model card and command line all use this table: to add a
metric, add its measure and an entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from stylegan3d.evaluation import summary, summary_people, words
from stylegan3d.evaluation.figure import Figure, figure
from stylegan3d.plain import Json, JsonView
from stylegan3d.segmentation.classes import VOLUMES

Found = Json


def plain_rows(found: Found) -> Iterator[Figure]:
    """One row per figure with "synthetic" and "real" values."""
    for key, value in found.items():
        if isinstance(value, Mapping) and "synthetic" in value:
            yield figure(key.replace("_", " "), value, 2)


def nothing(found: Found) -> tuple[str, ...]:
    """No warnings."""
    return ()


@dataclass(frozen=True)
class Metric:
    """One part of an evaluation.

    Attributes
    ----------
    key : str
        Key in reports, settings and on the command line.
    title : str
        Displayed name.
    measure : str
        "module:function" from the material to figures as plain data; imported on demand. Modules of
        this package are given by their last name.
    rows : callable
        Figures -> rows of the table with their targets.
    question, answer : str, callable
        The question it answers, and figures -> the answer in plain words.
    warnings : callable
        Figures -> warnings, in sentences.
    plots : mapping
        Which of its "values" are plotted, with titles.
    needs_generator : bool
        Whether it cannot be measured for a folder of volumes.
    on_request : bool
        Whether it is measured only on request.
    """

    key: str
    title: str
    measure: str
    rows: Callable[[Found], Iterable[Figure]] = plain_rows
    question: str = ""
    answer: Callable[[Found], str] | None = None
    warnings: Callable[[Found], Iterable[str]] = nothing
    plots: Mapping[str, str] | None = None
    needs_generator: bool = False
    on_request: bool = False

    def function(self) -> Callable[[Any], Found]:
        """The function that measures it."""
        module, name = self.measure.split(":")
        place = module if "." in module else f"stylegan3d.evaluation.{module}"
        return getattr(import_module(place), name)


METRICS: tuple[Metric, ...] = (
    Metric(
        "fidelity",
        "Fidelity",
        "parts:fidelity",
        summary.fidelity,
        "Are they like real brains?",
        words.faithful,
    ),
    Metric(
        "two_sample",
        "Two-sample test",
        "parts:two_sample_part",
        summary.two_sample,
        "Can they be distinguished from real ones?",
        words.distinguished,
    ),
    Metric(
        "tissue_shape",
        "Tissue shape",
        "tissue_shape:tissue_shape",
        summary_people.tissue_shape,
        "Do cortex and white matter have the shape of real ones?",
        words.shaped,
        plots={
            "holes": "holes and handles of white matter per ml",
            "fold_strength": "strength of folds, contrasts",
            "sulcal_depth": "mean depth of sulci, mm",
        },
    ),
    Metric(
        "cubes",
        "Cubes",
        "cubes:cubes",
        summary_people.cubes,
        "Where do they differ from real ones?",
        words.cubes,
    ),
    Metric(
        "diversity",
        "Diversity",
        "parts:diversity",
        summary.diversity,
        "Are they as diverse?",
        words.diverse,
        words.collapsed,
        {"ms_ssim": "MS-SSIM of pairs"},
    ),
    Metric(
        "plausibility",
        "Plausibility",
        "parts:plausibility",
        summary.plausibility,
        "Are they anatomically plausible?",
        words.plausible,
        plots={
            "brain_ml": "brain volume, ml",
            "asymmetry": "left-right asymmetry",
            "grey_white": "grey to white matter, SD",
        },
    ),
    Metric(
        "anatomy",
        "Anatomy",
        "anatomy_volumes:tissue_volumes",
        summary_people.anatomy,
        "Do their tissue volumes match those of subjects?",
        words.anatomical,
        plots={f"{name}_ml": summary_people.volume_name(f"{name}_ml") for name in VOLUMES},
    ),
    Metric(
        "utility",
        "Utility",
        "utility:utility",
        summary_people.utility,
        "Are they useful as training data?",
        words.useful,
    ),
    Metric(
        "privacy",
        "Privacy",
        "privacy_part:privacy",
        summary_people.privacy,
        "Are they copies of training subjects?",
        words.private,
        words.copied,
    ),
    Metric(
        "membership",
        "Membership inference",
        "membership:membership",
        summary_people.membership,
        "Can training subjects be identified?",
        words.members,
    ),
    Metric(
        "edits",
        "Edits",
        "edits:edits",
        summary_people.edits,
        "Do edits change what they should?",
        words.edited,
        needs_generator=True,
    ),
    Metric(
        "conditions",
        "Conditions",
        "conditions:conditions",
        summary_people.conditions,
        "Do brains match the label they were drawn for?",
        words.conditioned,
        needs_generator=True,
    ),
    Metric(
        "reconstruction",
        "Reconstruction",
        "reconstruction:reconstruction",
        summary.reconstruction,
        "Can it reconstruct unseen subjects?",
        words.rebuilt,
        needs_generator=True,
    ),
    Metric(
        "shape_statistics",
        "Shape statistics",
        "shape_statistics:shape_statistics",
        summary.shape_statistics,
        "Do its components describe brains better than those of voxels?",
        words.compared_with_voxels,
        needs_generator=True,
    ),
    # Not a property of the brains.
    Metric(
        "speed",
        "Speed",
        "speed:speed",
        summary.speed,
        needs_generator=True,
        on_request=True,
    ),
)


def keys() -> tuple[str, ...]:
    """Keys of all metrics."""
    return tuple(metric.key for metric in METRICS)


def usual() -> tuple[str, ...]:
    """Keys of the metrics that are measured by default."""
    return tuple(metric.key for metric in METRICS if not metric.on_request)


def title_of(key: str) -> str:
    """Displayed name of a metric; the key if unknown."""
    return next((metric.title for metric in METRICS if metric.key == key), key)


def figures_by_part(report: JsonView) -> dict[str, list[Figure]]:
    """The rows of each part of a report, in the order of the table."""
    return {m.key: list(m.rows(report[m.key])) for m in METRICS if m.key in report}


def figures(report: JsonView) -> list[Figure]:
    """All rows of a report."""
    return [row for rows in figures_by_part(report).values() for row in rows]


def plain_words(report: JsonView) -> list[tuple[str, str]]:
    """Question and answer for each measured part."""
    return [(m.question, m.answer(report[m.key])) for m in METRICS if m.answer and m.key in report]


def warnings(report: JsonView) -> list[str]:
    """Warnings, in sentences."""
    return [text for m in METRICS if m.key in report for text in m.warnings(report[m.key])]
