"""The metrics of an evaluation, in the order in which they are measured and told. The one table.

An entry says what a metric is called, how it is measured, how its figures are worded and what they
are to reach, and the question that it answers. Measuring, page, comparison, JSON, model card and
command line all go through this table: a new metric is its measure and an entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from stylegan3d.evaluation import summary, summary_people, words
from stylegan3d.evaluation.figure import Figure, figure

Found = dict[str, Any]


def plain_rows(found: Found) -> Iterator[Figure]:
    """A row for every figure of "synthetic" and "real" brains, by its key."""
    for key, value in found.items():
        if isinstance(value, Mapping) and "synthetic" in value:
            yield figure(key.replace("_", " "), value, 2)


def nothing(found: Found) -> tuple[str, ...]:
    """No alarm."""
    return ()


@dataclass(frozen=True)
class Metric:
    """One part of an evaluation.

    Attributes
    ----------
    key : str
        Its name in reports, settings and on the command line.
    title : str
        What people call it.
    measure : str
        "module:function" that takes the material and gives figures, plain for JSON; imported when
        it is measured. Modules of this room are given by their last name.
    rows : callable
        Figures -> rows of the table, each with its aim.
    question, answer : str, callable
        What it is asked for, and figures -> the answer in plain words.
    alarms : callable
        Figures -> sentences that must not be overlooked.
    plots : mapping
        Which of its "values" are drawn, and under what title.
    needs_generator : bool
        Cannot be measured of a folder of volumes.
    on_request : bool
        Measured only where it is asked for.
    """

    key: str
    title: str
    measure: str
    rows: Callable[[Found], Iterable[Figure]] = plain_rows
    question: str = ""
    answer: Callable[[Found], str] | None = None
    alarms: Callable[[Found], Iterable[str]] = nothing
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
        words.told_apart,
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
    # It needs weights of another network.
    Metric("slices", "Slices", "parts:slices", summary.slices, on_request=True),
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
        plots={
            f"{name}_ml": f"{title}, ml"
            for name, title in (
                ("csf", "csf"),
                ("ventricle", "ventricle"),
                ("grey", "grey"),
                ("white", "white"),
                ("other", "other"),
                ("brain", "brain volume"),
            )
        },
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
    # It says nothing of the brains.
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
    """Of all metrics."""
    return tuple(metric.key for metric in METRICS)


def usual() -> tuple[str, ...]:
    """Those that are measured without being asked for."""
    return tuple(metric.key for metric in METRICS if not metric.on_request)


def title_of(key: str) -> str:
    """What people call a metric; the key itself of one that is not known."""
    return next((metric.title for metric in METRICS if metric.key == key), key)


def figures_by_part(report: Mapping[str, Any]) -> dict[str, list[Figure]]:
    """The rows of each part of a report, in the order of the table."""
    return {m.key: list(m.rows(report[m.key])) for m in METRICS if m.key in report}


def figures(report: Mapping[str, Any]) -> list[Figure]:
    """All rows of a report."""
    return [row for rows in figures_by_part(report).values() for row in rows]


def plain_words(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was asked and the answer, one pair for each part that was measured."""
    return [(m.question, m.answer(report[m.key])) for m in METRICS if m.answer and m.key in report]


def alarms(report: Mapping[str, Any]) -> list[str]:
    """Sentences that must not be overlooked."""
    return [text for m in METRICS if m.key in report for text in m.alarms(report[m.key])]
