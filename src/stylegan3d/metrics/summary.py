"""The figures of an evaluation's report, each beside what it is to be compared to and its aim.

The aims are those set for the bundled brain generator at 2 mm; for speed, on two CPU cores. They
are no measure of quality in general.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FID_RATIO, BMMD2_RATIO = 1.5, 1.3
MS_SSIM_DIFFERENCE = 0.03
ENCODER, PROJECTED = (0.66, 19.0), (0.78, 21.0)  # SSIM, dB
FULL_MS = {"bfloat16": 120.0, "float32": 300.0}
PREVIEW_MS = {"bfloat16": 30.0, "float32": 70.0}


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes
    ----------
    name : what was measured.
    synthetic, real : the figure, and the same of real brains (or a yardstick), as text.
    compared : their ratio or difference, or empty.
    aim : what it is to reach, or empty.
    reached : whether it does; None where there is no aim.
    """

    name: str
    synthetic: str
    real: str
    compared: str = ""
    aim: str = ""
    reached: bool | None = None


def figures(report: dict[str, Any]) -> list[Figure]:
    """The rows of the table of an evaluation's report."""
    parts = {
        "fidelity": _fidelity,
        "diversity": _diversity,
        "plausibility": _plausibility,
        "privacy": _privacy,
        "reconstruction": _reconstruction,
        "speed": _speed,
    }
    return [row for name, rows in parts.items() if name in report for row in rows(report[name])]


def _fidelity(part: dict[str, Any]) -> Iterator[Figure]:
    for key, against in (("fid", ""), ("fid_validation", " to validation people")):
        fid = part[key]
        yield Figure(
            f"FID{against} (n = {fid['n']})",
            f"{fid['synthetic']:.4f}",
            f"{fid['real']:.4f}",
            _times(fid["ratio"]),
            f"<= {FID_RATIO} x",
            fid["ratio"] is not None and fid["ratio"] <= FID_RATIO,
        )
    for key, against in (("kid", ""), ("kid_validation", " to validation people")):
        kid = part[key]
        # Unbiased: between real people its mean is 0, which nothing can be a multiple of.
        limit = FID_RATIO * kid["real_q95"]
        yield Figure(
            f"KID x 1000{against} (n = {kid['n']})",
            f"{1000 * kid['synthetic']:.3f}",
            f"{1000 * kid['real']:.3f} (0.95 quantile {1000 * kid['real_q95']:.3f})",
            "",
            f"<= {FID_RATIO} x the quantile",
            kid["synthetic"] <= limit,
        )
    yield from _kernel_and_shares(part)
    bmmd2 = part["bmmd2"]
    yield Figure(
        f"bMMD2 (batch {bmmd2['batch']})",
        f"{bmmd2['synthetic']:.0f}",
        f"{bmmd2['real']:.0f}",
        _times(bmmd2["ratio"]),
        f"<= {BMMD2_RATIO} x",
        bmmd2["ratio"] <= BMMD2_RATIO,
    )
    # bMMD2 alone rewards too little variety: most of it is the variance of both sides.
    yield Figure("  variance over voxels", "", "", _times(bmmd2["variance_ratio"]))


def _kernel_and_shares(part: dict[str, Any]) -> Iterator[Figure]:
    """Figures that reports of earlier versions lack."""
    if "rbf" in part:
        rbf = part["rbf"]
        yield Figure(
            f"MMD2 x 1000, Gaussian kernel (n = {rbf['n']})",
            f"{1000 * rbf['synthetic']:.2f}",
            f"{1000 * rbf['real']:.2f} (0.95 quantile {1000 * rbf['real_q95']:.2f})",
        )
    for name in ("precision", "density", "recall", "coverage"):
        if name in part:
            share = part[name]
            yield Figure(
                f"{name} (n = {share['n']})",
                f"{share['synthetic']:.2f}",
                f"{share['real']:.2f} (0.05 quantile {share['real_q05']:.2f})",
                _times(share["ratio"]),
            )


def _diversity(part: dict[str, Any]) -> Iterator[Figure]:
    scores = part["ms_ssim"]
    yield Figure(
        "MS-SSIM of pairs",
        f"{scores['synthetic']:.3f}",
        f"{scores['real']:.3f}",
        f"{scores['difference']:+.3f}",
        f"within {MS_SSIM_DIFFERENCE}",
        abs(scores["difference"]) <= MS_SSIM_DIFFERENCE,
    )
    yield from _kernel_and_shares(part)
    pair = part["pair_correlation"]
    difference = pair["synthetic"] - pair["real"]
    yield Figure(
        "correlation of pairs",
        f"{pair['synthetic']:.3f}",
        f"{pair['real']:.3f}",
        f"{difference:+.3f}",
    )


def _plausibility(part: dict[str, Any]) -> Iterator[Figure]:
    made, people = part["synthetic"], part["validation"]
    yield Figure(
        "plausible brains",
        f"{made['passed']} of {made['n']}",
        f"{people['passed']} of {people['n']}",
        "",
        "all",
        made["passed"] == made["n"],
    )
    for reason, count in made["reasons"].items():
        yield Figure(f"  {reason}", str(count), str(people["reasons"].get(reason, 0)))


def _privacy(part: dict[str, Any]) -> Iterator[Figure]:
    for key, measure in (("correlation", "1 - correlation"), ("features", "feature distance")):
        found = part[key]
        yield Figure(
            f"nearest training brain, {measure}: least",
            f"{found['synthetic'][0]:.4f} of {found['n']}",
            f"{found['validation'][0]:.4f} of {found['n_validation']}",
        )
        yield Figure(
            "  nearer than the nearest validation brain",
            f"{found['closer_than_closest']} of {found['n']}",
            f"{found['expected_by_chance']:.0f} by chance",
            "",
            "none",
            found["closer_than_closest"] == 0,
        )
        relative = found["relative"]
        yield Figure(
            "  nearest in the second nearest: least",
            f"{relative['synthetic'][0]:.3f}",
            f"{relative['validation'][0]:.3f}",
            f"{relative['closer_than_closest']} below",
        )


def _reconstruction(part: dict[str, Any]) -> Iterator[Figure]:
    yardstick = part["mean_brain"]
    real = f"mean brain {yardstick['ssim']:.3f}, {yardstick['psnr']:.2f} dB"
    for key, name, (ssim, psnr) in (
        ("encoder", "encoder alone", ENCODER),
        ("projected", f"projected in w+ ({part['budget']})", PROJECTED),
    ):
        if key not in part:
            continue
        found = part[key]
        yield Figure(
            f"{name}, SSIM and PSNR (n = {part['n']})",
            f"{found['ssim']:.3f}, {found['psnr']:.2f} dB",
            real,
            "",
            f">= {ssim}, {psnr:g} dB",
            found["ssim"] >= ssim and found["psnr"] >= psnr,
        )
        blurred = part["blurred"]
        real = f"blurred scan {blurred['ssim']:.3f}, {blurred['psnr']:.2f} dB"


def _speed(part: dict[str, Any]) -> Iterator[Figure]:
    for quality, aims in (("full", FULL_MS), ("preview", PREVIEW_MS)):
        for precision, aim in aims.items():
            found = part[quality][precision]
            yield Figure(
                f"{quality} volume, {precision} ({part['device']}, {part['threads']} threads)",
                "not possible here" if found is None else f"{found:.0f} ms",
                "",
                "",
                f"<= {aim:.0f} ms",
                found is not None and found <= aim,
            )


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f} x"
