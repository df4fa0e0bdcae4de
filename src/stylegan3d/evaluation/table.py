"""The table of all metrics of an evaluation, in order of measurement and display, and answers.

An entry has a metric's name, measure and the question it answers; the answer in plain words is the
macro of that name in `pages/answers.md`. Measurement, page, comparison, JSON, model card and
command line all use this table: to add a metric, add its measure, an entry here and a macro.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from stylegan3d.base import Json, JsonView
from stylegan3d.evaluation import rows
from stylegan3d.evaluation.rows import Figure, figure
from stylegan3d.pages.page import filled
from stylegan3d.segmentation.classes import VOLUMES


def collapsed(part: Json) -> list[str]:
    """Warnings about mode collapse."""
    return list(part.get("collapse", {}).get("alarms", []))


def copied(part: Json) -> Iterator[str]:
    """Warnings about copies of subjects."""
    copies = part.get("copies", {})
    if copies.get("alarm"):
        yield (
            f"Memorisation: {copies['copies']} of {copies['n']} random brains were classified as "
            "copies of training subjects; look at the closest pairs."
        )


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
    """One part of an evaluation; its rows in tables are made by the function of its name in `rows`.

    Attributes
    ----------
    key : str
        Key in reports, settings and on the command line.
    question : str
        The question that it answers, by the macro KEY of `pages/answers.md`; may be empty.
    measure : str
        "module:function" from the material to figures as plain data; imported on demand. Modules of
        this package are given by their last name. Without a module or a function it is the key.
    title : str
        Displayed name; by default the key in words.
    warnings : callable
        Figures -> warnings, in sentences.
    plots : mapping
        Which of its "values" are plotted, with titles.
    needs_generator : bool
        Whether it cannot be measured for a folder of volumes.
    """

    key: str
    question: str = ""
    measure: str = ""
    title: str = ""
    warnings: Callable[[Found], Iterable[str]] = nothing
    plots: Mapping[str, str] | None = None
    needs_generator: bool = False

    def function(self) -> Callable[[Any], Found]:
        """The function that measures it."""
        module, _, name = self.measure.partition(":")
        module = module or self.key
        place = module if "." in module else f"stylegan3d.evaluation.{module}"
        return getattr(import_module(place), name or self.key)

    def rows(self, found: Found) -> Iterable[Figure]:
        """Rows of a table with their targets; without an own function one per figure."""
        return getattr(rows, self.key, plain_rows)(found)

    def answer(self, found: Found) -> str:
        """The answer to its question, in plain words."""
        return filled("answers", self.key, found)


METRICS: tuple[Metric, ...] = (
    Metric("fidelity", "Are they like real brains?", "parts"),
    Metric(
        "two_sample",
        "Can they be distinguished from real ones?",
        "parts:two_sample_part",
        "Two-sample test",
    ),
    Metric(
        "tissue_shape",
        "Do cortex and white matter have the shape of real ones?",
        "anatomy",
        plots={
            "holes": "holes and handles of white matter per ml",
            "fold_strength": "strength of folds, contrasts",
            "sulcal_depth": "mean depth of sulci, mm",
        },
    ),
    Metric("cubes", "Where do they differ from real ones?", "evaluation"),
    Metric(
        "diversity",
        "Are they as diverse?",
        "parts",
        warnings=collapsed,
        plots={"ms_ssim": "MS-SSIM of pairs"},
    ),
    Metric(
        "plausibility",
        "Are they anatomically plausible?",
        "parts",
        plots={
            "brain_ml": "brain volume, ml",
            "asymmetry": "left-right asymmetry",
            "grey_white": "grey to white matter, SD",
        },
    ),
    Metric(
        "anatomy",
        "Do their tissue volumes match those of subjects?",
        "anatomy:tissue_volumes",
        plots={f"{name}_ml": rows.volume_name(f"{name}_ml") for name in VOLUMES},
    ),
    Metric("utility", "Are they useful as training data?", "edits"),
    Metric("privacy", "Are they copies of training subjects?", warnings=copied),
    Metric("membership", "Can training subjects be identified?", "privacy", "Membership inference"),
    Metric("edits", "Do edits change what they should?", needs_generator=True),
    Metric(
        "conditions",
        "Do brains match the label they were generated for?",
        "edits",
        needs_generator=True,
    ),
    Metric("reconstruction", "Can it reconstruct unseen subjects?", "parts", needs_generator=True),
    Metric(
        "shape_statistics",
        "Do its components describe brains better than those of voxels?",
        "parts",
        needs_generator=True,
    ),
)


def keys() -> tuple[str, ...]:
    """Keys of all metrics."""
    return tuple(metric.key for metric in METRICS)


def title_of(key: str) -> str:
    """Displayed name of a metric; the key if unknown."""
    metric = next((metric for metric in METRICS if metric.key == key), None)
    return key if metric is None else metric.title or key.replace("_", " ").capitalize()


def figures_by_part(report: JsonView) -> dict[str, list[Figure]]:
    """The rows of each part of a report, in the order of the table."""
    return {m.key: list(m.rows(report[m.key])) for m in METRICS if m.key in report}


def figures(report: JsonView) -> list[Figure]:
    """All rows of a report."""
    return [row for rows in figures_by_part(report).values() for row in rows]


def plain_words(report: JsonView) -> list[tuple[str, str]]:
    """Question and answer for each measured part."""
    return [
        (m.question, m.answer(report[m.key])) for m in METRICS if m.question and m.key in report
    ]


def warnings(report: JsonView) -> list[str]:
    """Warnings, in sentences."""
    return [text for m in METRICS if m.key in report for text in m.warnings(report[m.key])]
