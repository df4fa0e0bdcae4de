"""Rows of the table of metrics, with references and targets.

The targets are those of the bundled brain generator at 2 mm; for speed, on two CPU cores. They are
not a general measure of quality.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from stylegan3d.evaluation.figure import Figure, figure, times, with_interval
from stylegan3d.plain import Json

FID_RATIO, DIAGONAL_RATIO, BMMD2_RATIO = 1.5, 1.3, 1.3
MS_SSIM_DIFFERENCE = 0.03
ENCODER, PROJECTED = (0.66, 19.0), (0.78, 21.0)  # SSIM, dB
FULL_MS = {"bfloat16": 120.0, "float32": 300.0}
PREVIEW_MS = {"bfloat16": 30.0, "float32": 70.0}
# Numbers of components with a row of specificity and compactness.
SHOWN = (1, 8, 64)


def fidelity(part: Json) -> Iterator[Figure]:
    """Of `parts.fidelity`."""
    names = {"fid": ("FID", FID_RATIO)}
    if "fid_diagonal" in part:  # evaluations of before have none
        names["fid_diagonal"] = ("  features taken as independent", DIAGONAL_RATIO)
    for key, (name, most) in names.items():
        for fid, against in (
            (part[key], ""),
            (part[f"{key}_validation"], " to validation subjects"),
        ):
            yield figure(
                f"{name}{against} (n = {fid['n']})",
                fid,
                4,
                compared=times(fid["ratio"], fid.get("ratio_interval")),
                aim=f"<= {most} x",
                reached=fid["ratio"] is not None and fid["ratio"] <= most,
            )
    for key, against in (("kid", ""), ("kid_validation", " to validation subjects")):
        kid = part[key]
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
    for key, against in (("bmmd2", ""), ("bmmd2_validation", " to validation subjects")):
        if key not in part:
            continue
        bmmd2 = part[key]
        yield figure(
            f"bMMD2{against} (batch {bmmd2['batch']})",
            bmmd2,
            0,
            compared=times(bmmd2["ratio"], bmmd2.get("ratio_interval")),
            aim=f"<= {BMMD2_RATIO} x",
            reached=bmmd2["ratio"] <= BMMD2_RATIO,
        )
    # bMMD2 alone rewards a lack of variety: most of it is the variance of both sides.
    bmmd2 = part["bmmd2"]
    variances = times(bmmd2["variance_ratio"], bmmd2.get("variance_ratio_interval"))
    yield Figure("  variance over voxels", "", "", variances)


def _shares(part: Json) -> Iterator[Figure]:
    for name in ("precision", "density", "recall", "coverage"):
        if name in part:
            share = part[name]
            compared = times(share["ratio"], share.get("ratio_interval"))
            yield figure(f"{name} (n = {share['n']})", share, 2, compared=compared)


def two_sample(part: Json) -> Iterator[Figure]:
    """Of `parts.two_sample_part`."""
    names = {
        "accuracy": "distinguished from real brains, accuracy",
        "auc": "  area under the curve",
    }
    for key, name in names.items():
        yield figure(f"{name} (n = {part['n']})", part[key], 2)


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
            compared = times(found["ratio"], found["ratio_interval"])
            yield figure(f"spread in {kind} space (n = {found['n']})", found, 2, compared=compared)
            found = part[f"{kind}_dimensions"]
            compared = times(found["ratio"], found["ratio_interval"])
            yield figure("  dimensions of it", found, 1, compared=compared)
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
    """Of `reconstruction.reconstruction`."""
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
    """Of `shape_statistics.shape_statistics`; all numbers of components only for generalisation."""
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
            row = figure(f"{components_of(count)}: {name}", beside, digits, scale=scale)
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


def components_of(count: int) -> str:
    """Such as "8 components"."""
    return f"{count} component{'' if count == 1 else 's'}"


def speed(part: Json) -> Iterator[Figure]:
    """Of `speed.speed`."""
    for quality, aims in (("full", FULL_MS), ("preview", PREVIEW_MS)):
        for precision, aim in aims.items():
            found = part[quality][precision]
            interval = part.get("intervals", {}).get(quality, {}).get(precision)
            yield Figure(
                f"{quality} volume, {precision} ({part['device']}, {part['threads']} threads)",
                "not possible here" if found is None else f"{with_interval(found, interval, 0)} ms",
                "",
                "",
                f"<= {aim:.0f} ms",
                found is not None and found <= aim,
            )
