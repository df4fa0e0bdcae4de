"""Rows of the table of metrics: figure, interval, reference and target.

The targets are those of the bundled brain generator at 2 mm, not a general measure of quality.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from stylegan3d.base import Json, JsonView
from stylegan3d.segmentation.classes import title_of


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes
    ----------
    name : str
        Name of the figure.
    synthetic, real : str
        The figure with its interval, and the same for real brains (or a baseline), as text.
    compared : str
        Their ratio or difference, or empty.
    aim : str
        Target, or empty.
    reached : bool or None
        Whether the target is reached; None without one.
    value, low, high, real_value, real_low, real_high : float or None
        The numbers in these texts, if any, for plots.
    """

    name: str
    synthetic: str
    real: str
    compared: str = ""
    aim: str = ""
    reached: bool | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    real_value: float | None = None
    real_low: float | None = None
    real_high: float | None = None

    def with_bar(
        self, value: float, interval: Sequence[float] | None, real: float | None = None
    ) -> Figure:
        """The row with the numbers that its bar is drawn from."""
        low, high = interval or (None, None)
        return replace(self, value=value, low=low, high=high, real_value=real)


def figure(
    name: str,
    part: JsonView,
    digits: int,
    *,
    scale: float = 1.0,
    compared: str = "",
    aim: str = "",
    reached: bool | None = None,
) -> Figure:
    """The row of a result with "synthetic", "real" and their "_interval".

    Parameters
    ----------
    digits : int
        Decimals of the numbers.
    scale : float
        Factor for the numbers.
    """
    (made, told), (real, known) = (
        _told(part.get(key), part.get(f"{key}_interval"), digits, scale)
        for key in ("synthetic", "real")
    )
    return Figure(name, made, real, compared, aim, reached, *told, *known)


def _told(
    value: float | None, interval: Sequence[float] | None, digits: int, scale: float
) -> tuple[str, tuple[float | None, float | None, float | None]]:
    """A number with its interval as text, and (value, low, high)."""
    if value is None:
        return "", (None, None, None)
    low, high = (None, None) if interval is None else (bound * scale for bound in interval)
    return with_interval(value, interval, digits, scale), (value * scale, low, high)


def with_interval(
    value: float, interval: Sequence[float] | None, digits: int, scale: float = 1.0
) -> str:
    """Such as "0.63 (0.58 to 0.69)"."""
    text = f"{value * scale:.{digits}f}"
    if interval is None:
        return text
    low, high = (f"{bound * scale:.{digits}f}" for bound in interval)
    return f"{text} ({low} to {high})"


def times(ratio: float | None, interval: Sequence[float] | None = None) -> str:
    """Such as "1.28 x (1.13 to 1.43)"; empty without a ratio."""
    if ratio is None:
        return ""
    bounds = "" if interval is None else f" ({interval[0]:.2f} to {interval[1]:.2f})"
    return f"{ratio:.2f} x{bounds}"


FID_RATIO, DIAGONAL_RATIO, BMMD2_RATIO = 1.5, 1.3, 1.3
MS_SSIM_DIFFERENCE = 0.03
ENCODER, PROJECTED = (0.66, 19.0), (0.78, 21.0)  # SSIM, dB
# Numbers of components with a row of specificity and compactness.
SHOWN = (1, 8, 64)
#: Ends of keys: compared with all subjects, or with held-out ones.
AGAINST = {"": "", "_validation": " to validation subjects"}


def fidelity(part: Json) -> Iterator[Figure]:
    """Of `parts.fidelity`."""
    names = {
        "fid": ("FID", FID_RATIO),
        "fid_diagonal": ("  features taken as independent", DIAGONAL_RATIO),
    }
    for key, (name, most) in names.items():
        for end, against in AGAINST.items():
            found = part[key + end]
            yield _compared(f"{name}{against} (n = {found['n']})", found, 4, most)
    for end, against in AGAINST.items():
        kid = part[f"kid{end}"]
        # Unbiased: between real subjects its mean is 0, so there is no ratio.
        limit = FID_RATIO * kid["real_q95"]
        yield figure(
            f"KID x 1000{against} (n = {kid['n']})",
            kid,
            3,
            scale=1000,
            aim=f"<= {FID_RATIO} x {1000 * kid['real_q95']:.3f}, the 0.95 quantile of subjects",
            reached=kid["synthetic"] <= limit,
        )
    yield from _shares(part)
    for end, against in AGAINST.items():
        if f"bmmd2{end}" in part:
            found = part[f"bmmd2{end}"]
            yield _compared(f"bMMD2{against} (batch {found['batch']})", found, 0, BMMD2_RATIO)
    # bMMD2 alone rewards a lack of variety: most of it is the variance of both sides.
    bmmd2 = part["bmmd2"]
    variances = times(bmmd2["variance_ratio"], bmmd2.get("variance_ratio_interval"))
    yield Figure("  variance over voxels", "", "", variances)


def _compared(name: str, found: JsonView, digits: int, most: float | None = None) -> Figure:
    """A figure beside its ratio to that of subjects, which is to be at most `most`."""
    ratio = found["ratio"]
    compared = times(ratio, found.get("ratio_interval"))
    if most is None:
        return figure(name, found, digits, compared=compared)
    reached = ratio is not None and ratio <= most
    return figure(name, found, digits, compared=compared, aim=f"<= {most} x", reached=reached)


def _shares(part: Json) -> Iterator[Figure]:
    for name in ("precision", "density", "recall", "coverage"):
        if name in part:
            yield _compared(f"{name} (n = {part[name]['n']})", part[name], 2)


def two_sample(part: Json) -> Iterator[Figure]:
    """Of `parts.two_sample_part`."""
    n = part["n"]
    yield figure(f"distinguished from real brains, accuracy (n = {n})", part["accuracy"], 2)
    yield figure(f"  area under the curve (n = {n})", part["auc"], 2)


def diversity(part: Json) -> Iterator[Figure]:
    """Of `parts.diversity`."""
    scores = part["ms_ssim"]
    yield figure(
        "MS-SSIM of pairs",
        scores,
        3,
        compared=_difference(scores),
        aim=f"within {MS_SSIM_DIFFERENCE}",
        reached=abs(scores["difference"]) <= MS_SSIM_DIFFERENCE,
    )
    yield from _shares(part)
    pair = part["pair_correlation"]
    yield figure("correlation of pairs", pair, 3, compared=_difference(pair))
    for kind in ("feature", "latent"):
        if f"{kind}_spread" in part:
            found = part[f"{kind}_spread"]
            yield _compared(f"spread in {kind} space (n = {found['n']})", found, 2)
            yield _compared("  dimensions of it", part[f"{kind}_dimensions"], 1)
    if "collapse" in part:
        found = part["collapse"]
        share = with_interval(found["twins_share"], found["twins_interval"], 1, 100)
        yield Figure(
            "random brains with a near-duplicate",
            f"{found['twins']} of {found['n']}, {share} %",
            "",
            aim="no collapse",
            reached=not found["alarms"],
        )


def _difference(part: Json) -> str:
    value = part.get("difference", part["synthetic"] - part["real"])
    interval = part.get("difference_interval")
    bounds = "" if interval is None else f" ({interval[0]:+.3f} to {interval[1]:+.3f})"
    return f"{value:+.3f}{bounds}"


def plausibility(part: Json) -> Iterator[Figure]:
    """Of `parts.plausibility`."""
    made, people = part["synthetic"], part["validation"]

    def told(found: Json) -> str:
        share = ""
        if "rate_interval" in found:
            share = f", {with_interval(found['rate'], found['rate_interval'], 1, 100)} %"
        return f"{found['passed']} of {found['n']}{share}"

    reached = made["passed"] == made["n"]
    yield Figure("plausible brains", told(made), told(people), "", "all", reached)
    for reason, count in made["reasons"].items():
        yield Figure(f"  {reason}", str(count), str(people["reasons"].get(reason, 0)))


def reconstruction(part: Json) -> Iterator[Figure]:
    """Of `parts.reconstruction`."""
    yardstick = part["mean_brain"]
    real = f"mean brain {yardstick['ssim']:.3f}, {yardstick['psnr']:.2f} dB"
    for key, name, (ssim, psnr) in (
        ("encoder", "encoder alone", ENCODER),
        ("projected", f"projected in w+ ({part['budget']})", PROJECTED),
    ):
        if key not in part:
            continue
        found = part[key]
        text = with_interval(found["ssim"], found.get("ssim_interval"), 3)
        decibels = with_interval(found["psnr"], found.get("psnr_interval"), 2)
        yield Figure(
            f"{name}, SSIM and PSNR (n = {part['n']})",
            f"{text}, {decibels} dB",
            real,
            "",
            f">= {ssim}, {psnr:g} dB",
            found["ssim"] >= ssim and found["psnr"] >= psnr,
        )
        blurred = part["blurred"]
        real = f"blurred scan {blurred['ssim']:.3f}, {blurred['psnr']:.2f} dB"


def shape_statistics(part: Json) -> Iterator[Figure]:
    """Of `parts.shape_statistics`; all numbers of components only for generalisation."""
    measures = (
        ("generalisation", f"error in held-out subjects (n = {part['held_out']})", 4),
        ("specificity", f"distance of random ones to a subject (n = {part['samples']})", 4),
        ("compactness", "variance of subjects, %", 1),
    )
    for key, name, digits in measures:
        found, scale = part[key], 100 if key == "compactness" else 1
        for i, count in enumerate(part["components"]):
            if key != "generalisation" and count not in SHOWN:
                continue
            beside = {}
            for kind, shown in (("synthetic", "model"), ("real", "voxels")):
                beside[kind] = found[shown][i]
                if f"{shown}_interval" in found:
                    beside[f"{kind}_interval"] = found[f"{shown}_interval"][i]
            many = "component" if count == 1 else "components"
            row = figure(f"{count} {many}: {name}", beside, digits, scale=scale)
            row = replace(row, real=f"PCA of voxels {row.real}")
            if key == "generalisation":
                change = with_interval(found["difference"][i], found["difference_interval"][i], 4)
                row = replace(
                    row,
                    compared=f"difference {change}",
                    aim="below PCA of voxels",
                    reached=found["difference"][i] < 0,
                )
            yield row
    real = part["specificity"]
    text = with_interval(real["held_out"], real["held_out_interval"], 4)
    yield Figure("  held-out subjects, distance to a subject", "", text)


# Figures of the tissue-shape test: name and target.
TOLD = {
    "accuracy": ("distinguished from {} by tissue morphology, accuracy", 0.70),
    "auc": ("  area under the curve, against {}", 0.75),
}
CUBES = 0.75
LABEL_R = 0.7  # between requested and estimated age


def anatomy(part: Json) -> Iterator[Figure]:
    """Tissue volumes, by `anatomy.tissue_volumes`."""
    distance = part["mean_distance"]
    name = f"tissue volumes, mean Wasserstein distance in SD (n = {distance['n']})"
    yield _compared(name, distance, 3)
    for name, found in part["measures"].items():
        if not name.endswith("_ml"):
            continue
        shift = with_interval(found["shift"], found["shift_interval"], 2)
        spread = times(found["spread"], found["spread_interval"])
        yield Figure(
            f"  {volume_name(name)}: mean (SD)",
            f"{found['synthetic_mean']:.0f} ({found['synthetic_sd']:.0f})",
            f"{found['real_mean']:.0f} ({found['real_sd']:.0f})",
            f"shift {shift} SD, SD {spread}",
        ).with_bar(found["shift"], found["shift_interval"])
    failed = part["unsegmentable"]
    yield Figure("cannot be segmented", _count(failed["synthetic"]), _count(failed["validation"]))


def volume_name(key: str) -> str:
    """Such as "grey matter, ml" for "grey_ml"."""
    title = title_of(key)
    return f"{title[0].lower()}{title[1:]}, ml"


def tissue_shape(part: Json) -> Iterator[Figure]:
    """By `tissue_shape.tissue_shape`."""
    if "measures" not in part:
        return
    for prefix in ("", "mixture_", "held_out_"):
        people = "held-out subjects" if prefix == "held_out_" else "real brains"
        how = ", tissues by intensity alone" if prefix == "mixture_" else ""
        for key, (name, aim) in TOLD.items():
            found = part.get(f"{prefix}{key}")
            if found is not None:
                n = " and ".join(map(str, dict.fromkeys(found["n"])))
                yield figure(
                    f"{name.format(people)}{how} (n = {n})",
                    found,
                    2,
                    aim=f"<= {aim}",
                    reached=found["synthetic"] <= aim,
                )
    missing = part.get("unmeasured", {})
    if any(found["count"] for found in missing.values()):
        made, real = (f"{missing[k]['count']} of {missing[k]['n']}" for k in ("synthetic", "real"))
        yield Figure("  tissue morphology cannot be measured", made, real)
    for found in part["measures"].values():
        shift = with_interval(found["shift"], found["shift_interval"], 2)
        yield Figure(
            f"  {found['name']}: mean (SD)",
            f"{found['synthetic_mean']:.3g} ({found['synthetic_sd']:.2g})",
            f"{found['real_mean']:.3g} ({found['real_sd']:.2g})",
            f"shift {shift} SD, held-out subjects {found['held_out_shift']:+.2f}",
        ).with_bar(found["shift"], found["shift_interval"])


def cubes(part: Json) -> Iterator[Figure]:
    """By `evaluation.cubes`."""
    if "n" not in part:
        return
    yield figure(
        f"patches of 32 mm distinguished from real ones, accuracy (n = {part['n']})",
        part["accuracy"],
        2,
        aim=f"<= {CUBES}",
        reached=part["accuracy"]["synthetic"] <= CUBES,
    )
    yield figure("  area under the curve of patches", part["auc"], 2)
    for name, found in part["regions"].items():
        yield figure(f"  patches, {name}", found, 2)


def _count(found: Json) -> str:
    share = with_interval(found["share"], found["interval"], 1, 100)
    return f"{found['count']} of {found['n']}, {share} %"


def privacy(part: Json) -> Iterator[Figure]:
    """Nearest training subjects, by `privacy.privacy`."""
    if "copies" in part:
        yield from _copies(part["copies"])
    found = part["features"]
    yield Figure(
        "nearest training brain, feature distance: least",
        f"{found['synthetic'][0]:.4f} of {found['n']}",
        f"{found['validation'][0]:.4f} of {found['n_validation']}",
    )
    yield Figure(
        "  nearer than the nearest validation brain",
        f"{found['closer_than_closest']} of {found['n']}",
        f"{found['expected_by_chance']:.0f} by chance",
    )
    relative = found["relative"]
    yield Figure(
        "  distance to the nearest over that to the nearest of anybody else: least",
        f"{relative['synthetic'][0]:.3f}",
        f"{relative['validation'][0]:.3f}",
        f"{relative['closer_than_closest']} below",
    )


def _copies(found: Json) -> Iterator[Figure]:
    if found["alarm"] is None:
        yield Figure("copies of training brains", "not known", "", found["why"])
        return
    share = with_interval(found["share"], found["interval"], 1, 100)
    planted = found["planted"]
    yield Figure(
        "copies of training brains",
        f"{found['copies']} of {found['n']}, {share} %",
        "",
        f"{planted['found']} of {planted['n']} planted ones found",
        "none",
        not found["alarm"],
    )


def membership(part: Json) -> Iterator[Figure]:
    """Attacks, by `privacy.membership`."""
    for found in part["attacks"]:
        yield Figure(
            f"membership inference by {found['attack']}: AUC",
            with_interval(found["auc"], found["interval"], 3),
            "0.5 by chance",
            f"{found['members']} members, {found['others']} others",
        ).with_bar(found["auc"], found["interval"], 0.5)


def utility(part: Json) -> Iterator[Figure]:
    """Utility of synthetic training data, by `edits.utility`."""
    tasks = (
        ("age", "brain age, error in years in held-out subjects", "mae", 1),
        ("tissues", "tissues, Dice in held-out subjects", "dice", 3),
    )
    for task, name, key, digits in tasks:
        if task not in part:
            continue
        found = part[task]
        change = found["difference"]
        text = with_interval(change["value"], change["interval"], digits)
        both = {
            f"{whose}{end}": found[whose][f"{key}{end}"]
            for whose in ("synthetic", "real")
            for end in ("", "_interval")
        }
        title = f"{name}: trained on synthetic (n = {found['synthetic']['n']})"
        yield figure(title, both, digits, compared=f"difference {text}")
        told = with_interval(found["both"][key], found["both"][f"{key}_interval"], digits)
        yield Figure("  trained on both", told, "")


def edits(part: Json) -> Iterator[Figure]:
    """Directions, by `edits.edits`."""
    for found in part["directions"]:
        yield Figure(
            f"direction {found['name']}: measured over expected change",
            with_interval(found["effect"], found["effect_interval"], 2),
            f"{found['effect_people']:.2f} of a true difference between subjects",
        ).with_bar(found["effect"], found["effect_interval"], found["effect_people"])
        right = with_interval(found["right_way"], found["right_way_interval"], 0, 100)
        yield Figure("  in the intended direction, %", right, "")
        if found["drift"]:
            name, drift = max(found["drift"].items(), key=lambda item: abs(item[1]))
            yield Figure("  other attributes: most", f"{drift:+.2f} SD", "", name)
        if found["left"] is not None:
            left = with_interval(found["left"], found["left_interval"], 2)
            yield Figure("  error after undoing", left, "0 fully undone, 1 not at all")


def conditions(part: Json) -> Iterator[Figure]:
    """Labels, by `edits.conditions`."""
    for found in part["labels"]:
        yield Figure(
            f"label {found['name']}: requested and estimated, r",
            with_interval(found["r"], found["r_interval"], 2),
            f"{found['r_people']:.2f} for subjects (n = {found['n_people']})",
            aim=f">= {LABEL_R:g}" if found["name"] == "age" else "",
            reached=found["r"] >= LABEL_R if found["name"] == "age" else None,
        ).with_bar(found["r"], found["r_interval"], found["r_people"])
        slope = with_interval(found["slope"], found["slope_interval"], 2)
        yield Figure("  share of the difference between subjects", slope, "1")
