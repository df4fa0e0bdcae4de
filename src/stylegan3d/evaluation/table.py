"""The table of all metrics of an evaluation, in order of measurement and display, and answers.

An entry has a metric's name, measure, rows, targets, the question it answers and the answer in
plain words. Measurement, page, comparison, JSON, model card and command line all use this table:
to add a metric, add its measure and an entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from stylegan3d.base import Json, JsonView
from stylegan3d.evaluation import rows
from stylegan3d.evaluation.rows import Figure, figure
from stylegan3d.segmentation.classes import VOLUMES

# Accuracy of guessing.
GUESSING = 0.5


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


def faithful(part: Json) -> str:
    """Of `parts.fidelity`."""
    fid, bounds = part["fid"], part["fid"]["ratio_interval"]
    if fid["ratio"] is None:
        return "There is no reference for their distance from real ones."
    text = (
        f"The Fréchet distance between synthetic and real brains is {fid['ratio']:.2f} times that "
        f"between real and other real brains ({bounds[0]:.2f} to {bounds[1]:.2f}; 1 is perfect)."
    )
    if "precision" in part:
        made, real = (100 * part["precision"][key] for key in ("synthetic", "real"))
        text += f" {made:.0f} % lie in the distribution of real brains ({real:.0f} % of real ones)."
    return text


def distinguished(part: Json) -> str:
    """Of `parts.two_sample_part`."""
    found = part["accuracy"]
    low, high = (100 * bound for bound in found["synthetic_interval"])
    sees = low > 100 * GUESSING
    verdict = "it finds a difference" if sees else "it finds no difference"
    return (
        f"A small network trained to tell them apart is right for {100 * found['synthetic']:.0f} % "
        f"of unseen brains ({low:.0f} to {high:.0f} %; 50 % is chance): {verdict}. Between two "
        f"groups of real subjects it is right for {100 * found['real']:.0f} %."
    )


def shaped(part: Json) -> str:
    """Of `tissue_shape.tissue_shape`."""
    if "left_out" in part:
        return str(part["left_out"])
    worst = max(part["measures"].values(), key=lambda measure: abs(measure["shift"]))
    found, shift = part["accuracy"], worst["shift"]
    low, high = (100 * bound for bound in found["synthetic_interval"])
    missing = part.get("unmeasured", {}).get("synthetic", {"count": 0})
    text = (
        f"From measures of tissue shape alone {100 * found['synthetic']:.0f} % of unseen brains "
        f"({low:.0f} to {high:.0f} %; 50 % is chance) are classified correctly, between two groups "
        f"of real subjects {100 * found['real']:.0f} %. What differs most: {worst['name']}, "
        f"{abs(shift):.2f} standard deviations {'above' if shift > 0 else 'below'} real brains."
    )
    if missing["count"]:
        text += f" {missing['count']} of {missing['n']} synthetic brains cannot be measured."
    return text


def cubes(part: Json) -> str:
    """Of `cubes.cubes`."""
    if "left_out" in part:
        return str(part["left_out"])
    worst = max(part["regions"], key=lambda name: part["regions"][name]["synthetic"])
    found = part["accuracy"]
    return (
        f"Of cubes of 32 mm {100 * found['synthetic']:.0f} % are classified correctly "
        f"(between two groups of real brains {100 * found['real']:.0f} %; 50 % is chance), "
        f"most of all in the {worst} ({100 * part['regions'][worst]['synthetic']:.0f} %)."
    )


def diverse(part: Json) -> str:
    """Of `parts.diversity`."""
    found = part["pair_correlation"]
    text = (
        f"The mean correlation between two synthetic brains is {found['synthetic']:.2f}, between "
        f"two real brains {found['real']:.2f}."
    )
    if "recall" in part:
        made, real = (100 * part["recall"][key] for key in ("synthetic", "real"))
        text += f" {made:.0f} % of real brains lie within the distribution of synthetic ones "
        text += f"(within that of other real ones {real:.0f} %)."
    return " ".join([text, *(collapsed(part) or ["No sign of collapse."])])


def plausible(part: Json) -> str:
    """Of `parts.plausibility`."""
    made, people = part["synthetic"], part["validation"]
    return (
        f"{made['passed']} of {made['n']} synthetic brains have plausible shape, size, asymmetry "
        f"and tissue contrast (held-out subjects: {people['passed']} of {people['n']})."
    )


def anatomical(part: Json) -> str:
    """Of `anatomy_volumes.tissue_volumes`."""
    volumes = {k: v for k, v in part["measures"].items() if k.endswith("_ml")}
    name = max(volumes, key=lambda key: abs(volumes[key]["shift"]))
    shift = volumes[name]["shift"]
    made = part["unsegmentable"]["synthetic"]
    return (
        f"The tissue volume that differs most is {name.removesuffix('_ml').replace('_', ' ')}: "
        f"{abs(shift):.2f} standard deviations {'above' if shift > 0 else 'below'} real brains. "
        f"{made['count']} of {made['n']} synthetic brains cannot be segmented."
    )


def private(part: Json) -> str:
    """Of `privacy.privacy`."""
    copies = part.get("copies", {})
    if copies.get("alarm") is None:
        return str(copies.get("why", "It is unknown whether any is a copy."))
    planted = copies["planted"]
    found = f"{copies['copies']}" if copies["alarm"] else "None"
    return (
        f"{found} of {copies['n']} random brains classified as copies of training subjects. "
        f"Of disguised copies added as a test, {planted['found']} of {planted['n']} were detected."
    )


def members(part: Json) -> str:
    """Of `privacy.membership`."""
    if not part["attacks"]:
        return "No attack was possible."
    worst = max(part["attacks"], key=lambda attack: attack["auc"])
    low, high = worst["interval"]
    return (
        f"The strongest attack ({worst['attack']}) identifies training subjects with an AUC of "
        f"{worst['auc']:.2f} ({low:.2f} to {high:.2f}); 0.5 is chance."
    )


def useful(part: Json) -> str:
    """Of `utility.utility`."""
    texts = []
    if "age" in part:
        made, real = (part["age"][key]["mae"] for key in ("synthetic", "real"))
        texts.append(
            f"Brain age learned from synthetic brains is off by {made:.1f} years in held-out "
            f"subjects, learned from real ones by {real:.1f} years (predicting the mean age: "
            f"{part['age']['mean_age']:.1f})."
        )
    if "tissues" in part:
        made, real = (part["tissues"][key]["dice"] for key in ("synthetic", "real"))
        texts.append(
            f"Tissue segmentation learned from synthetic brains reaches Dice {made:.2f}, learned "
            f"from real ones {real:.2f}."
        )
    return " ".join(texts) or " ".join(part["missing"].values())


def edited(part: Json) -> str:
    """Of `edits.edits`."""
    found = part["directions"]
    if not found:
        return "No attribute direction could be checked."
    right = [row for row in found if row["effect_interval"][0] > 0]
    best = max(found, key=lambda row: row["effect"])
    return (
        f"{len(right)} of {len(found)} directions significantly change their attribute as "
        f"intended; the strongest, {best['name']}, by {best['effect']:.2f} of the intended change."
    )


def conditioned(part: Json) -> str:
    """Of `conditions.conditions`."""
    lines = [
        f"{found['name']} r = {found['r']:.2f} (real brains: {found['r_people']:.2f})"
        for found in part["labels"]
    ]
    if not lines:
        return "No label could be checked."
    return f"Correlation of requested and estimated labels: {', '.join(lines)}."


def rebuilt(part: Json) -> str:
    """Of `reconstruction.reconstruction`."""
    way = "projected" if "projected" in part else "encoder" if "encoder" in part else "mean_brain"
    name = {"projected": "By projection", "encoder": "By the encoder alone"}.get(way, "Mean brain")
    found, mean = part[way], part["mean_brain"]
    return (
        f"{name}, {part['n']} held-out subjects are reconstructed with SSIM {found['ssim']:.2f} "
        f"and {found['psnr']:.1f} dB (the mean brain: {mean['ssim']:.2f}, {mean['psnr']:.1f} dB)."
    )


def compared_with_voxels(part: Json) -> str:
    """Of `shape_statistics.shape_statistics`."""
    found, counts = part["generalisation"], part["components"]
    better = sum(change < 0 for change in found["difference"])
    return (
        f"With {counts[-1]} components {part['held_out']} held-out subjects are reconstructed with "
        f"an error of {found['model'][-1]:.3f} (principal components of voxels: "
        f"{found['voxels'][-1]:.3f}); the error is smaller at {better} of {len(counts)} numbers of "
        "components."
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
    """One part of an evaluation; its rows in tables are made by the function `rows.KEY`.

    Attributes
    ----------
    key : str
        Key in reports, settings and on the command line.
    question, answer : str, callable
        The question it answers, and figures -> the answer in plain words.
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
    on_request : bool
        Whether it is measured only on request.
    """

    key: str
    question: str = ""
    answer: Callable[[Found], str] | None = None
    measure: str = ""
    title: str = ""
    warnings: Callable[[Found], Iterable[str]] = nothing
    plots: Mapping[str, str] | None = None
    needs_generator: bool = False
    on_request: bool = False

    def function(self) -> Callable[[Any], Found]:
        """The function that measures it."""
        module, _, name = self.measure.partition(":")
        module = module or self.key
        place = module if "." in module else f"stylegan3d.evaluation.{module}"
        return getattr(import_module(place), name or self.key)

    def rows(self, found: Found) -> Iterable[Figure]:
        """Rows of a table with their targets; without an own function one per figure."""
        return getattr(rows, self.key, plain_rows)(found)


METRICS: tuple[Metric, ...] = (
    Metric("fidelity", "Are they like real brains?", faithful, "parts"),
    Metric(
        "two_sample",
        "Can they be distinguished from real ones?",
        distinguished,
        "parts:two_sample_part",
        "Two-sample test",
    ),
    Metric(
        "tissue_shape",
        "Do cortex and white matter have the shape of real ones?",
        shaped,
        "anatomy",
        plots={
            "holes": "holes and handles of white matter per ml",
            "fold_strength": "strength of folds, contrasts",
            "sulcal_depth": "mean depth of sulci, mm",
        },
    ),
    Metric("cubes", "Where do they differ from real ones?", cubes),
    Metric(
        "diversity",
        "Are they as diverse?",
        diverse,
        "parts",
        warnings=collapsed,
        plots={"ms_ssim": "MS-SSIM of pairs"},
    ),
    Metric(
        "plausibility",
        "Are they anatomically plausible?",
        plausible,
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
        anatomical,
        "anatomy:tissue_volumes",
        plots={f"{name}_ml": rows.volume_name(f"{name}_ml") for name in VOLUMES},
    ),
    Metric("utility", "Are they useful as training data?", useful, "edits"),
    Metric("privacy", "Are they copies of training subjects?", private, warnings=copied),
    Metric(
        "membership",
        "Can training subjects be identified?",
        members,
        "privacy",
        "Membership inference",
    ),
    Metric("edits", "Do edits change what they should?", edited, needs_generator=True),
    Metric(
        "conditions",
        "Do brains match the label they were drawn for?",
        conditioned,
        "edits",
        needs_generator=True,
    ),
    Metric(
        "reconstruction",
        "Can it reconstruct unseen subjects?",
        rebuilt,
        "parts",
        needs_generator=True,
    ),
    Metric(
        "shape_statistics",
        "Do its components describe brains better than those of voxels?",
        compared_with_voxels,
        "parts",
        needs_generator=True,
    ),
    # Not a property of the brains.
    Metric("speed", measure="parts", needs_generator=True, on_request=True),
)


def keys() -> tuple[str, ...]:
    """Keys of all metrics."""
    return tuple(metric.key for metric in METRICS)


def usual() -> tuple[str, ...]:
    """Keys of the metrics that are measured by default."""
    return tuple(metric.key for metric in METRICS if not metric.on_request)


def title_of(key: str) -> str:
    """Displayed name of a metric; the key if unknown."""
    metric = next((metric for metric in METRICS if metric.key == key), None)
    if metric is None:
        return key
    return metric.title or key.replace("_", " ").capitalize()


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
