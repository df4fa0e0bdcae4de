"""Assessment: how far to trust a projection.

Three verdicts (`verdicts`) are about the scan: its acquisition, its anatomy, and what is focal in
it. There are two further questions. Is the scan in distribution? As the verdicts, this is judged
from the scan and the model's initial estimate, so the answer does not depend on the length of the
search: a long search bends the model until it reproduces even a T2-weighted scan. And is the
reconstruction close? This is judged from the reconstruction, at matched contrast and sharpness.

Reference values come from held-out subjects (`calibration`, the entry "trust" of a model's card).
Every sign is measured in units of their spread; nothing is fitted to out-of-distribution examples,
so unknown kinds of scans are recognised, too.

Three verdicts on a scan: acquisition, anatomy, focal.

Each has its own reasons, so a difference of scanner is not worded as anatomy, nor a large head as
a lesion. Reference values are those of held-out subjects, each also on simulated scanners.

What is in a scan and not in the brain that the model expects, in units of the usual error.

The expected brain has the shape that the encoder finds in the scan and, in an anatomy model, the
appearance of the average subject, so it cannot contain a lesion, however long the search for a
reconstruction is. After the scanner has been set aside (`scanner`), the difference at each voxel is
divided by the spread of held-out subjects' differences there: the residual z. Clusters of large z
are findings. How large a cluster healthy subjects have, somewhere in the brain, is known from the
held-out ones, each compared with the others (maximum statistic, Nichols and Holmes 2002,
doi:10.1002/hbm.1058).

Ventricles are left out, and what is darker than expected next to fluid that is connected to them or
to the outside is not counted: how much fluid there is belongs to the anatomy. Cavities, open or
closed, are found by the lesion network (`measures.lesions`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, TypedDict

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage
from skimage.measure import block_reduce
from torch import Tensor

from stylegan3d.base import Doubt, JsonView, ModelError, doubts_in
from stylegan3d.geometry.space import Space, dilated, filled, to_display
from stylegan3d.measures.attributes import connected_fluid, measure_volume, tissue_masks
from stylegan3d.measures.lesions import suspect_lesions
from stylegan3d.measures.regions import Cluster, Finding, clusters, find, region_masks
from stylegan3d.measures.similarity import similarity
from stylegan3d.model.generator import Generator, load
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.projection import scanner
from stylegan3d.projection.problem import LatentPrior
from stylegan3d.projection.signs import SIGNS, SPOT_MM, Guess, Usual, first_guess, measure_signs
from stylegan3d.scans.aligned import EXPECTED_CONTRAST, AlignedScan
from stylegan3d.scans.extraction import OPPOSITE
from stylegan3d.scans.intensity import contrast_agreement, correlation
from stylegan3d.scans.resampling import resample
from stylegan3d.scans.verdicts import VERDICTS, doubts_of, withheld
from stylegan3d.segmentation.scans import OnGrid
from stylegan3d.storage.encoding import pack, read_bytes, unpack

#: The file of the maps, in a model's folder.
FILE = "residual.safetensors"
KIND = "usual residual"
# Smoothing of the difference, and of the maps, mm; the least spread, in units of white matter.
SMOOTH_MM, MAPS_MM, LEAST_SPREAD = 1.0, 3.0, 0.03
# A cluster consists of touching voxels beyond this z.
THRESHOLD = 2.5
# The maps are stored at half the resolution.
STEP = 2
# Times that missing brain is filled in at most, and the growth from which it is done again.
FILLINGS, GROWTH = 12, 1.01
# Voxels are grouped by how large their usual error is; each group has its own scale in a scan.
GROUPS = 3


@dataclass(frozen=True, eq=False)
class Seen:
    """A scan beside the brain that the model expects.

    Attributes
    ----------
    guess : Guess
        The model's initial estimate.
    expected : ndarray, shape (X, Y, Z), float32
    matched : Matched
        The scan with the scanner set aside.
    difference : ndarray, shape (X, Y, Z), float32
        Scan minus expected brain, smoothed.
    judged : ndarray, shape (X, Y, Z), bool
        Voxels in which it is judged: the brain without border and ventricles.
    fluid : ndarray, shape (X, Y, Z), bool
        Voxels of the fluid around and inside the brain.
    """

    guess: Guess
    expected: np.ndarray
    matched: scanner.Matched
    difference: np.ndarray
    judged: np.ndarray
    fluid: np.ndarray


@dataclass(frozen=True, eq=False)
class UsualResidual:
    """Mean and spread (X, Y, Z) of the difference in held-out subjects."""

    mean: np.ndarray
    spread: np.ndarray


@torch.no_grad()
def expected_brain(generator: Generator, guess: Guess) -> np.ndarray:
    """The brain (X, Y, Z) that the model expects to see; see the module."""
    network = generator.synthesis
    if guess.w is None or not isinstance(network, AnatomyNetwork) or not network.config.deformation:
        return guess.volume
    config, w = network.config, guess.w.clone()
    images = slice(config.deformation, config.deformation + config.image_basis)
    w[:, images] = generator.w_avg.to(w)[images]
    return to_display(network(w[None], "none", -1, torch.float32))[0]


def whole_guess(generator: Generator, volume: np.ndarray, mask: np.ndarray) -> Guess:
    """The model's initial estimate of a brain (X, Y, Z), of which a part may be missing.

    The encoder takes a brain that was cut for a smaller one. So what is missing is filled in with
    the estimate until no more of it is found: expectation maximisation with missing values (Roweis
    1998, "EM algorithms for PCA and SPCA", section 4).
    """
    guess = first_guess(generator, volume, generator.template)
    inside, before = scanner.closed(mask), 0.0
    for _ in range(FILLINGS):
        brain = filled(guess.volume > scanner.BRAIN)
        missing = scanner.beyond(brain, inside, generator.space)
        if not GROWTH * before < missing.sum() <= inside.sum():  # no more, or most of it
            break
        before = missing.sum()
        there = np.where(dilated(missing, 2) & brain & ~inside, guess.volume, volume)
        guess = first_guess(generator, there, generator.template)
    return guess


def see(generator: Generator, volume: np.ndarray, mask: np.ndarray) -> Seen:
    """Compare a scan (X, Y, Z) with the brain that the model expects."""
    guess = whole_guess(generator, volume, mask)
    expected = expected_brain(generator, guess)
    size = generator.voxel_size
    matched = scanner.match_scanner(volume, expected, mask, size)
    difference = scanner.masked_blur(matched.volume - expected, mask, SMOOTH_MM / np.array(size))
    own, wanted = (tissue_masks(image, generator.space) for image in (volume, expected))
    ventricles = np.zeros_like(mask)
    for tissues in (own, wanted):
        ventricles |= tissues["ventricles"] if tissues else False
    judged = matched.core & ~dilated(ventricles)
    return Seen(guess, expected, matched, difference, judged, connected_fluid(volume, mask, own))


def usual_residual(people: Sequence[Seen], space: Space) -> UsualResidual:
    """Mean and spread over subjects, smoothed; both sides together if the grid is symmetric."""
    sigma = MAPS_MM / np.array(space.voxel_size)
    symmetric = _is_symmetric(space)

    def tie(total: Any) -> np.ndarray:
        volume = np.asarray(total, np.float32)
        return (volume + volume[::-1]) / 2 if symmetric else volume

    count = tie(sum(seen.matched.volume.astype(bool).astype(np.float32) for seen in people))
    # A voxel at the border of a few brains borrows from its neighbours.
    weight = ndimage.gaussian_filter(count, sigma) + 0.5
    total = tie(sum(seen.difference for seen in people))
    mean = ndimage.gaussian_filter(total, sigma) / weight
    squares = sum(
        np.where(seen.matched.volume > 0, (seen.difference - mean) ** 2, 0) for seen in people
    )
    spread = np.sqrt(ndimage.gaussian_filter(tie(squares), sigma) / weight)
    return UsualResidual(
        mean.astype(np.float32), np.maximum(spread, LEAST_SPREAD).astype(np.float32)
    )


def residual_z(seen: Seen, usual: UsualResidual) -> np.ndarray:
    """The difference in units of the usual error (X, Y, Z), 0 where it is not judged.

    A scan that is less well matched as a whole, such as a sharper one, is divided by its own
    spread where that is larger; a lesion is too small to change that.
    """
    z = z_everywhere(seen, usual)
    z[~seen.judged | (dilated(seen.fluid) & (z < 0))] = 0
    return z


def z_everywhere(seen: Seen, usual: UsualResidual) -> np.ndarray:
    """`residual_z` also where it is not judged."""
    raw = (seen.difference - usual.mean) / usual.spread
    z = np.zeros_like(raw)
    if not seen.judged.any():
        return z
    edges = np.quantile(usual.spread[seen.judged], np.linspace(0, 1, GROUPS + 1))
    group = np.clip(np.searchsorted(edges, usual.spread, side="right") - 1, 0, GROUPS - 1)
    for number in range(GROUPS):
        voxels = seen.judged & (group == number)
        if voxels.any():
            own = 1.4826 * float(np.median(np.abs(raw[voxels])))
            z[group == number] = raw[group == number] / max(own, 1.0)
    return z


def residual_clusters(z: np.ndarray, space: Space) -> list[Cluster]:
    """The clusters of z (X, Y, Z) beyond the threshold, darker or brighter, largest first."""
    both = [cluster for side in (-1, 1) for cluster in clusters(side * z - THRESHOLD, space)]
    return sorted(both, key=lambda cluster: -cluster.size)


def largest_ml(z: np.ndarray, space: Space) -> float:
    """Size of the largest cluster of z (X, Y, Z); 0 if there is none."""
    found = residual_clusters(z, space)
    return found[0].size if found else 0.0


def map_bytes(usual: UsualResidual) -> bytes:
    """The file of the maps."""
    return pack(halved_maps(usual), {"kind": KIND, "version": "1"})


def halved_maps(usual: UsualResidual) -> dict[str, np.ndarray]:
    """The maps at half resolution, float16, as they are stored."""
    return {name: _halved(getattr(usual, name)).astype(np.float16) for name in ("mean", "spread")}


def load_maps(generator: Generator) -> UsualResidual | None:
    """The maps of a model, read when first needed; None if it was not calibrated.

    Raises
    ------
    ModelError
        If the file is missing or is not the one that the card names.
    """
    known = (generator.card.get("trust") or {}).get("residual")
    if known is None:
        return None
    if "_usual_residual" not in generator.__dict__:
        if generator.folder is None or not (path := generator.folder / FILE).is_file():
            raise ModelError(f"'{generator.name}' has no file '{FILE}'; download the model again.")
        data = read_bytes(path, ModelError)
        if hashlib.sha256(data).hexdigest() != known["sha256"]:
            raise ModelError(f"'{path}' is damaged; download the model again.")
        maps, _ = unpack(data, kind=KIND, path=path, error=ModelError)
        generator.__dict__["_usual_residual"] = enlarged_maps(maps, generator.shape)
    usual: UsualResidual = generator.__dict__["_usual_residual"]
    return usual


def limit_of(largest: Iterable[float]) -> float:
    """Size of the largest cluster that 5 % of subjects exceed.

    From median and median absolute deviation of the logarithms: a few dozen subjects give no 95th
    percentile, and some of them have findings.
    """
    logs = np.log(np.maximum(np.array(list(largest)), 0.05))
    spread = 1.4826 * np.median(np.abs(logs - np.median(logs)))
    return float(np.exp(np.median(logs) + 1.645 * max(spread, 0.3)))


def enlarged_maps(stored: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> UsualResidual:
    """Stored maps on the full grid."""

    def full(name: str) -> np.ndarray:
        x = torch.from_numpy(stored[name].astype(np.float32))[None, None]
        size = tuple(-(-n // STEP) * STEP for n in shape)
        big = torch.nn.functional.interpolate(x, size=size, mode="trilinear")[0, 0].numpy()
        return big[tuple(slice(n) for n in shape)]

    return UsualResidual(full("mean"), full("spread"))


def _halved(volume: np.ndarray) -> np.ndarray:
    """Mean of each 2 x 2 x 2 voxels."""
    padded = np.pad(volume, [(0, -n % STEP) for n in volume.shape], mode="edge")
    return block_reduce(padded, STEP, np.mean)


def _is_symmetric(space: Space) -> bool:
    """Whether the first axis runs from side to side and the grid is centred on the midline."""
    middle = space.affine[0, 3] + space.affine[0, 0] * (space.shape[0] - 1) / 2
    return space.axcodes[0] in "LR" and abs(float(middle)) < space.voxel_size[0] / 2


Level = Literal["green", "amber", "red"]
# Order of decisiveness: nothing can be said of a scan of unknown contrast; a scanner that only
# differs comes after what was found in spite of it.
_ORDER: tuple[tuple[Level, str], ...] = (
    ("red", "acquisition"),
    ("red", "focal"),
    ("red", "anatomy"),
    ("amber", "focal"),
    ("amber", "anatomy"),
    ("amber", "acquisition"),
    ("green", "acquisition"),
    ("green", "anatomy"),
    ("green", "focal"),
)
#: Quantities of the anatomy: name, unit, what a higher and a lower value mean.
QUANTITIES = {
    "brain_ml": ("head size", "ml", "a large head", "a small head"),
    "ventricle_ml": ("ventricles", "ml", "large ventricles", "small ventricles"),
    "length": ("length", "", "a long head", "a short head"),
    "width": ("width", "", "a wide head", "a narrow head"),
    "height": ("height", "", "a tall head", "a flat head"),
    "shape": ("shape", "", "an unusual shape", ""),
}
#: Spreads from which a quantity is unusual, and very unusual; how much wider the ranges are where
#: the scanner's own offset is not known; coverage from which a scan is cut.
UNUSUAL, EXTREME, WIDER = 3.5, 8.0, 1.5
LEAST_COVERAGE = 0.9
#: How it ends, by the kind of the doubt that refuses a scan.
UNKNOWN = "It cannot be judged"
WHERE = {
    "contrast": "in this contrast",
    "coverage": "in a scan that covers only a part of the brain",
}
#: Kinds of a scan's doubts that say where its brain ends too early, and their cm2 by side. So far
#: from there the lesion network takes the cut for a lesion.
AREAS = {"cut": "face_cm2", "field-of-view": "edge_cm2"}
FACE_MM = 6.0
#: Correlation with the mean brain below which a scan does not lie where the model's brains do.
LEAST_LIKENESS = 0.75
# Times the limit from which a finding is large.
LARGE = 5.0


class Verdict(TypedDict):
    """One verdict: "green", "amber" or "red", and a sentence that explains it."""

    level: Level
    sentence: str


def _told(level: Level, sentence: str) -> Verdict:
    return {"level": level, "sentence": sentence}


def measure_anatomy(
    generator: Generator, seen: Seen, volume: np.ndarray, average: Tensor, spread: Tensor
) -> dict[str, float]:
    """The `QUANTITIES` of a brain (X, Y, Z); those that are unknown are left out.

    `average` and `spread` [w_dim] are those of the latents of random brains.
    """
    measured = measure_volume(volume, generator.space)
    measured["ventricle_ml"] = float(max(measured["ventricle_ml"], 1.0))
    network = generator.synthesis
    if seen.guess.w is not None and isinstance(network, AnatomyNetwork):
        fields = network.config.deformation
        away = (seen.guess.w[:, :fields] - average[:fields]) / spread[:fields].clamp(min=1e-6)
        measured["shape"] = float(away.square().mean().sqrt())
    return {
        name: measured[name]
        for name in QUANTITIES
        if name in measured and np.isfinite(measured[name])
    }


def compare_anatomy(
    measured: Mapping[str, float], known: Mapping[str, Mapping[str, float]], widening: float
) -> dict[str, dict[str, float]]:
    """Each quantity with the usual value and range, and by how many spreads it differs.

    `widening` multiplies the spreads: `WIDER` if the site is not calibrated.
    """
    record: dict[str, dict[str, float]] = {name: {"value": v} for name, v in measured.items()}
    for name, row in record.items():
        if name in known:
            usual = dict(known[name])
            usual |= {side: widening * usual[side] for side in ("below", "above")}
            row |= {
                "usual": float(_from_scale(name, usual["middle"])),
                "low": float(_from_scale(name, usual["middle"] - 2 * usual["below"])),
                "high": float(_from_scale(name, usual["middle"] + 2 * usual["above"])),
                "unusual": scanner.spreads(float(to_scale(name, row["value"])), usual),
            }
    return record


def to_scale(name: str, values: Any) -> Any:
    """A quantity on the scale on which subjects vary evenly: logarithmic for ventricles."""
    return np.log(values) if name == "ventricle_ml" else values


def _from_scale(name: str, values: Any) -> Any:
    return np.exp(values) if name == "ventricle_ml" else values


def refusal(
    figures: Mapping[str, Mapping[str, float]],
    volume: np.ndarray,
    template: np.ndarray,
    mask: np.ndarray,
    told: Sequence[Doubt] = (),
) -> Doubt | None:
    """Why nothing else can be judged in a scan, of which this is `told`; None if it can be."""
    other = any(doubt.kind == "contrast" and doubt.severity == "refuse" for doubt in told)
    agreement = float(contrast_agreement(volume, template, mask))
    coverage = figures["coverage"]["value"]
    if other or agreement < EXPECTED_CONTRAST:
        text = "The model was not trained on this contrast: do not interpret the reconstruction."
        return Doubt("contrast", "refuse", text, {"agreement": agreement})
    if coverage < LEAST_COVERAGE:
        text = f"The scan covers only {100 * coverage:.0f} % of the brain."
        return Doubt("coverage", "refuse", text, {"coverage": coverage})
    return None


def judge_acquisition(
    figures: Mapping[str, Mapping[str, float]],
    site: str | None,
    outline: scanner.OutlineGaps,
    cut: str = "",
    refused: Doubt | None = None,
) -> Verdict:
    """Resolution, extraction, or why it is `refused`; `cut` says where the brain ends too early."""
    if refused is not None:
        return _told("red", refused.sentence)
    words = scanner.scanner_in_words(figures)
    known = f"those of the site '{site}'" if site else "the training scans"
    if cut or outline.told:
        return _told("amber", cut or f"{outline.told[0][2]}.")
    if not words:
        return _told("green", f"The scan is like {known}.")
    differs = f"The scanner differs from {known} ({words})"
    beyond = {name: row for name, row in figures.items() if row.get("beyond", True)}
    if not scanner.scanner_in_words(beyond):
        return _told("green", f"{differs}; this was allowed for.")
    advice = "" if site else " The site is not calibrated."
    return _told("amber", f"{differs}, beyond the range that was tested.{advice}")


def judge_anatomy(
    rows: Mapping[str, Mapping[str, float]], refused: Doubt | None = None, is_complete: bool = True
) -> Verdict:
    """Where size, ventricles and shape lie among people; unknown in a scan that is refused."""
    if refused is not None or not is_complete:
        return _unknown(refused)
    odd = sorted(
        (name for name, row in rows.items() if _away(name, row) >= UNUSUAL),
        key=lambda name: -_away(name, rows[name]),
    )
    if not odd:
        return _told("green", "Head size, ventricles and shape are within the usual range.")
    lines = []
    for name in odd:
        row, (_, unit, more, less) = rows[name], QUANTITIES[name]
        text = more if row["unusual"] > 0 else less
        if unit:
            low, high = f"{row['low']:.0f}", f"{row['high']:.0f}"
            text += f" ({row['value']:.0f} {unit}, usually {low} to {high} {unit})"
        lines.append(text)
    extreme = _away(odd[0], rows[odd[0]]) >= EXTREME
    words = ", ".join(lines)
    return _told("red" if extreme else "amber", f"Unusual among the reference subjects: {words}.")


def _unknown(refused: Doubt | None) -> Verdict:
    """What cannot be judged in a scan that is refused, or in an incomplete one."""
    where = "in an incomplete scan" if refused is None else WHERE[refused.kind]
    return _told("amber", f"{UNKNOWN} {where}.")


def judge_focal(findings: Sequence[Finding] | None, refused: Doubt | None = None) -> Verdict:
    """What is in the scan and not in the model's brain, and how large it is."""
    if findings is None or refused is not None:
        return _unknown(refused)
    if not findings:
        return _told(
            "green",
            "No difference is larger than between healthy subjects; small or faint "
            "lesions may be missed.",
        )
    lines = [
        f"{f['place']} ({f['ml']:.1f} ml, {'darker' if f['peak_z'] < 0 else 'brighter'} than "
        "expected)"
        for f in findings[: scanner.NAMED]
    ]
    more = len(findings) - len(lines)
    words = "; ".join(lines) + (f"; and {more} more" if more > 0 else "")
    return _told(
        "red" if findings[0]["unusual"] >= LARGE else "amber",
        f"Something the model does not know: {words}. Look there.",
    )


def decisive_first(verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """The verdicts, the decisive one first, and what cannot be judged after why."""

    def rank(name: str) -> tuple[bool, bool, int]:
        level, unknown = verdicts[name]["level"], verdicts[name]["sentence"].startswith(UNKNOWN)
        return level == "green", unknown, _ORDER.index((level, name))

    return {name: verdicts[name] for name in sorted(verdicts, key=rank)}


def headline(verdicts: Mapping[str, Verdict]) -> str:
    """The decisive verdict in one sentence; empty without verdicts."""
    for name, verdict in verdicts.items():
        if verdict["level"] == "green":
            return "Nothing unusual in acquisition or anatomy, and no focal finding."
        return f"{VERDICTS[name]}: {verdict['sentence']}"
    return ""


def _away(name: str, row: Mapping[str, float]) -> float:
    """How unusual a quantity is, on a side that has a meaning."""
    away = row.get("unusual", 0.0)
    return abs(away) if QUANTITIES[name][2 if away > 0 else 3] else 0.0


# Percentile of subjects from which a brain is reported as far from average.
FAR_PERCENT = 95.0
# Correlation of fine detail near the brain's surface from which folds are followed.
LEAST_DETAIL = 0.6
WITHOUT_NOISE = Doubt(
    "inverted-noise",
    "tell",
    "The reconstruction includes the scan's inverted noise, so it shows whatever the scan shows, "
    "disease too, and similarity is measured with it; the verdict refers to the latent alone.",
)
# Beside the lesion network, which sees small lesions better, the residual is for what is large: a
# cluster of it is a finding from so many times the limit. Two detectors at the limit would find
# something in twice as many healthy people.
RESIDUAL_TIMES = 1.4


class Judged(TypedDict):
    """The part of an `Assessment` that needs the scan alone."""

    verdicts: dict[str, Verdict]
    doubts: list[Doubt]
    headline: str
    scanner: dict[str, dict[str, float]]
    quantities: dict[str, dict[str, float]]
    findings: list[Finding] | None
    site: str | None


class Assessment(Judged):
    """Assessment of a projection; plain data.

    Attributes
    ----------
    similarity, mean_brain : dict of str to float
        Similarity of the reconstruction and of the mean brain to the scan, inside the brain.
    latent_distance : float
        Distance of the latent from the average; 1 for random brains.
    latent_percentile : float or None
        Percentage of held-out subjects who are closer to the average than the model's initial
        estimate of this scan; None if not calibrated.
    regions : dict of str to dict
        For each region "rms" and "mean" of the residual (scan minus reconstruction), its "share" of
        the brain's voxels and, if calibrated, the "usual" value and how "unusual" this one is, in
        spreads.
    signs : dict of str to dict
        Out-of-distribution signs; if calibrated with the "usual" value and how "unusual" this one
        is, in spreads.
    strangeness : float or None
        Root mean square of the unusual signs; None if not calibrated.
    verdicts : dict of str to Verdict
        "acquisition", "anatomy" and "focal" of the scan, the decisive one first, if calibrated;
        then "reconstruction": green follows the scan, amber shows typical features only or is not
        calibrated, red is of a scan unlike those that the model knows.
    doubts : list of Doubt
        What is in doubt: the verdicts that are not green, and more.
    headline : str
        The decisive verdict on the scan in a sentence.
    scanner, quantities : dict of str to dict
        Estimates of the scanner (`scanner.FIGURES`) and the anatomy (`QUANTITIES`):
        "value" and, if calibrated, "usual" and how "unusual" it is, in spreads.
    findings : list of Finding or None
        What stands out in the scan, largest first; None if it could not be judged.
    matched : dict of str to float
        Similarity at matched contrast and sharpness, "blur_mm" of the scan for that, and
        "cortical_detail": correlation of fine detail near the brain's surface.
    site : str or None
        The calibrated site it was judged by.
    """

    similarity: dict[str, float]
    mean_brain: dict[str, float]
    latent_distance: float
    latent_percentile: float | None
    regions: dict[str, dict[str, float]]
    signs: dict[str, dict[str, float]]
    strangeness: float | None
    matched: dict[str, float]


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Reference values that scans are judged by.

    Attributes
    ----------
    known : mapping
        Reference values, as the entry "trust" of a card.
    usual : UsualResidual or None
        None if not calibrated.
    site : str or None
        Name of the calibrated site; None for the model's own data.
    """

    known: JsonView
    usual: UsualResidual | None
    site: str | None = None

    @classmethod
    def of(cls, generator: Generator) -> Yardstick:
        """That of a model's own data."""
        return cls(generator.card.get("trust") or {}, load_maps(generator))


def residuals_by_region(
    difference: np.ndarray, masks: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Root mean square and mean of a difference (X, Y, Z) in each of `region_masks`."""
    total = sum(len(index) for index in masks.values())
    found = {}
    for name, index in masks.items():
        values = difference.ravel()[index].astype(np.float64)
        found[name] = {
            "rms": float(np.sqrt(np.mean(values**2))),
            "mean": float(values.mean()),
            "share": len(index) / total,
        }
    return found


def assess(
    prior: LatentPrior,
    w: Tensor,
    made: np.ndarray,
    mean_brain: np.ndarray,
    volume: np.ndarray,
    mask: np.ndarray,
    *,
    generator: Generator,
    yardstick: Yardstick | None = None,
    is_complete: bool = True,
    without_noise: np.ndarray | None = None,
    placed: AlignedScan | None = None,
) -> tuple[Assessment, np.ndarray | None]:
    """Assess a projection; and the residual z (X, Y, Z) of its scan, None if unknown.

    Parameters
    ----------
    w : Tensor, shape (num_layers, w_dim)
        The result's latent.
    made, mean_brain, volume : ndarray, shape (X, Y, Z)
        Values in [0, 1]: reconstruction, average brain, scan.
    mask : ndarray, shape (X, Y, Z), bool
        Region of comparison.
    yardstick : Yardstick or None
        By default that of the model's own data.
    is_complete : bool
        Whether the scan is the brain itself, not something derived from it by an operator.
    without_noise : ndarray or None
        The brain of the latent alone, where `made` has the scan's own noise, too: any scan can be
        given its own noise, so how far the model knows it is judged without.
    placed : AlignedScan or None
        The scan with its preparation, and the doubts about them.
    """
    yardstick = yardstick or Yardstick.of(generator)
    known = yardstick.known
    judged = made if without_noise is None else without_noise
    alike = similarity(made, volume, mask)
    usual = similarity(mean_brain, volume, mask)
    seen = see(generator, volume, mask)
    signs = measure_signs(prior, seen.guess, mean_brain, volume, mask, generator.voxel_size)
    told, strangeness = compare_signs(signs, known)
    regions = residuals_by_region(volume - made, region_masks(mask, generator.space))
    for name, row in regions.items():
        if name in known.get("regions", {}):
            of_people = Usual.read(known["regions"][name])
            row |= {"usual": of_people.middle, "unusual": of_people.unusual(row["rms"])}
    size = generator.voxel_size
    matched = scanner.match_sharpness(judged, seen.matched.volume, mask, size)
    matched["cortical_detail"] = scanner.cortical_detail(judged, seen.matched.volume, mask, size)
    percentile = _percentile(signs, known)
    own, z = judge_scan(
        seen, prior, volume, mask, generator, yardstick, is_complete=is_complete, placed=placed
    )
    # A region is named by the focal verdict, or not at all.
    named = {k: told[k] for k in told if k != "spot" or own["findings"] is not None}
    follows = judge_reconstruction(matched, named, strangeness, known)
    verdicts, odd = own["verdicts"], _strangest(named)
    if own["findings"] == [] and follows["level"] != "green" and odd == "spot":
        verdicts["focal"] = judge_spot(seen, mask, generator.space)
    acquired = verdicts.get("acquisition", follows)
    if follows["level"] == "red" and odd == "contrast" and acquired["level"] != "red":
        also = f" {acquired['sentence']}" if acquired["level"] == "amber" else ""
        verdicts["acquisition"] = _told("amber", f"{SIGNS[odd][1].capitalize()}.{also}")
    own["verdicts"] = decisive_first(verdicts)
    own["headline"] = headline(own["verdicts"])
    own["verdicts"]["reconstruction"] = follows
    doubts = [
        *doubts_of(own["verdicts"]),
        *own["doubts"],
        *_further_doubts(
            alike if judged is made else similarity(judged, volume, mask), usual, percentile
        ),
        *([] if without_noise is None else [WITHOUT_NOISE]),
    ]
    assessment: Assessment = {
        "similarity": alike,
        "mean_brain": usual,
        "latent_distance": prior.distance(w.to(prior.mean)),
        "latent_percentile": percentile,
        "regions": regions,
        "signs": told,
        "strangeness": strangeness,
        "matched": matched,
        **own,
        "doubts": doubts,
    }
    return assessment, z


@lru_cache(maxsize=1)
def _bundled() -> Generator:
    return load(device="cpu")


def _draughtsman(generator: Generator | None) -> Generator:
    """Whose estimate tells what is missing: an autoencoder draws a cut as it sees it."""
    return _bundled() if generator is None or generator.num_layers == 1 else generator


def outline_doubts(brain: AlignedScan | OnGrid, generator: Generator | None = None) -> list[Doubt]:
    """What a scan does not show of the brain that a model expects, or shows beside it.

    By default the bundled model, as for autoencoders; nothing by one that is not calibrated, of a
    scan that is refused already, or of one aligned to a mean brain that lies elsewhere.
    """
    generator, volume, mask = _draughtsman(generator), brain.volume, brain.brain_mask
    if "trust" not in generator.card or withheld(doubts_in(brain.notes)):
        return []
    if not brain.space.same_as(generator.space):
        volume, mask = (
            resample(np.asarray(one, np.float32), brain.space, generator.space)
            for one in (volume, mask)
        )
        mask = mask > 0.5
    if correlation(volume, generator.template) < LEAST_LIKENESS:
        return []
    seen = see(generator, volume, mask)
    figures = {name: {"value": value} for name, value in seen.matched.figures.items()}
    if refused := refusal(figures, volume, generator.template, mask):
        return [refused]
    placed = brain if isinstance(brain, AlignedScan) else brain.aligned
    there = placed if volume is brain.volume else None
    return _gaps(seen, volume, mask, generator, there).doubts("ask")


def missing_brain(volume: np.ndarray, mask: np.ndarray) -> list[Doubt]:
    """`outline_doubts` of brain that is missing alone, of a brain on the bundled model's grid.

    The shape is enough for that: `volume` may be painted from labels.
    """
    generator = _bundled()
    if correlation(volume, generator.template) < LEAST_LIKENESS:
        return []
    whole = whole_guess(generator, volume, mask).volume
    outline = scanner.compare_outline(whole, mask, generator.space)
    return scanner.OutlineGaps(outline.missing).doubts("ask")


def looked_over(aligned: AlignedScan, generator: Generator | None = None) -> AlignedScan:
    """A scan that carries its `outline_doubts`; a change of its pose drops them."""
    return replace(aligned, steps=[*aligned.steps, *outline_doubts(aligned, generator)])


def _gaps(
    seen: Seen, volume: np.ndarray, mask: np.ndarray, own: Generator, placed: AlignedScan | None
) -> scanner.OutlineGaps:
    ventricles, space, generator = seen.matched.core & ~seen.judged, own.space, _draughtsman(own)
    is_other = generator is not own and space.same_as(generator.space)
    guess = whole_guess(generator, volume, mask) if is_other else seen.guess
    dark = scanner.find_dark(volume, seen.expected, mask, ventricles, seen.fluid, space)
    # What is masked on request is there.
    brain, whole = (volume, mask) if placed is None else (placed.undiluted, placed.brain_mask)
    outline = scanner.compare_outline(guess.volume, whole, space)
    return replace(outline, dark=dark, fluid=scanner.fluid_left(brain, whole, space))


def _at_cut(placed: AlignedScan | None) -> np.ndarray | None:
    """Where a brain (X, Y, Z) ends in a flat face; None if it ends nowhere too early."""
    told = () if placed is None else placed.doubts
    sides = {side for one in told for side in one.figures.get(AREAS.get(one.kind, ""), {})}
    if placed is None or not sides:
        return None
    affine, where = placed.scan.affine, np.argwhere(placed.brain_mask)
    at, turn = np.zeros(len(where), bool), placed.rigid[:3, :3] @ affine[:3, :3]
    for axis, code in enumerate(nib.aff2axcodes(affine)):
        direction = turn[:, axis] / np.linalg.norm(turn[:, axis])
        along = where @ placed.space.affine[:3, :3].T @ direction
        if code in sides:
            at |= along > along.max() - FACE_MM
        if OPPOSITE[code] in sides:
            at |= along < along.min() + FACE_MM
    found = np.zeros(placed.brain_mask.shape, bool)
    found[tuple(where.T)] = at
    return found


def judge_scan(
    seen: Seen,
    prior: LatentPrior,
    volume: np.ndarray,
    mask: np.ndarray,
    generator: Generator,
    yardstick: Yardstick,
    *,
    is_complete: bool = True,
    placed: AlignedScan | None = None,
) -> tuple[Judged, np.ndarray | None]:
    """The three verdicts on a scan (X, Y, Z) with the numbers behind them, and its residual z."""
    known, usual = yardstick.known, yardstick.usual
    figures = scanner.compare_figures(seen.matched.figures, known.get("scanner", {}))
    measured = measure_anatomy(generator, seen, volume, prior.mean, prior.deviations)
    widening = WIDER if yardstick.site is None else 1.0
    quantities = compare_anatomy(measured, known.get("quantities", {}), widening)
    judged: Judged = {
        "verdicts": {},
        "doubts": [],
        "headline": "",
        "scanner": figures,
        "quantities": quantities,
        "findings": None,
        "site": yardstick.site,
    }
    z = None
    if usual is None:
        return judged, z
    of_scan = () if placed is None else placed.doubts
    cut = next((doubt.sentence for doubt in of_scan if doubt.kind in AREAS), "")
    refused = refusal(figures, volume, generator.template, mask, of_scan)
    outline = scanner.OutlineGaps()
    if refused is not None:
        judged["quantities"] = {}
    else:
        outline = _gaps(seen, volume, mask, generator, placed)
        # Of a scan that was masked or cut on request, a part is missing as it should.
        doubts = outline.doubts("ask" if is_complete else "tell")
        told = {doubt.kind for doubt in of_scan}
        judged["doubts"] = [doubt for doubt in doubts if doubt.kind not in told]
        if is_complete:
            z = residual_z(seen, usual)
            at_cut = _at_cut(placed)
            found = _findings(seen, usual, z, volume, mask, generator.space, known, at_cut)
            judged["findings"] = found if found or at_cut is None else None
            if found and found[0]["unusual"] >= LARGE:  # the tissue network knows no cavities
                size, place = found[0]["ml"], found[0]["place"]
                text = f"Volumes may count what stands out in the {place} ({size:.0f} ml) as brain."
                judged["doubts"].append(Doubt("focal-volumes", "tell", text, {"ml": size}))
    judged["verdicts"] = decisive_first(
        {
            "acquisition": judge_acquisition(figures, yardstick.site, outline, cut, refused),
            "anatomy": judge_anatomy(quantities, refused, is_complete and not cut),
            "focal": judge_focal(judged["findings"], refused),
        }
    )
    return judged, z


def _findings(
    seen: Seen,
    usual: UsualResidual,
    z: np.ndarray,
    volume: np.ndarray,
    mask: np.ndarray,
    space: Space,
    known: JsonView,
    at_cut: np.ndarray | None,
) -> list[Finding]:
    """What the lesion network and the residual find in a scan.

    Where the network finds something, `z` is given also if it is not judged otherwise. Of a brain
    that is cut the model expects another shape, so the residual is not asked.
    """
    limit, strange = float(known["residual"]["limit"]), residual_clusters(z, space)
    everywhere, ways = z_everywhere(seen, usual), []
    suspected = suspect_lesions(volume, mask, space)
    if suspected is not None:
        limit *= RESIDUAL_TIMES
        found = suspected.clusters
        if at_cut is not None:
            found = [cluster for cluster in found if not at_cut.flat[cluster.index].any()]
        ways.append((suspected.limit, found))
        for cluster in found:
            if cluster.size > suspected.limit:
                z.flat[cluster.index] = everywhere.flat[cluster.index]
    if at_cut is None:
        ways.append((limit, strange))
    return find(ways, everywhere, mask, space)


def compare_signs(
    signs: Mapping[str, float], known: JsonView
) -> tuple[dict[str, dict[str, float]], float | None]:
    """Each sign with its reference value, and the strangeness: RMS of the unusual signs.

    A sign on the usual side does not compensate for another on the unusual side.
    """
    record: dict[str, dict[str, float]] = {name: {"value": signs[name]} for name in signs}
    unusual = []
    for name, value in signs.items():
        entry = known.get("signs", {}).get(name)
        if entry is not None:
            of_people = Usual.read(entry)
            unusual.append(of_people.unusual(value, SIGNS[name][0]))
            record[name] |= {"usual": of_people.middle, "unusual": unusual[-1]}
    if not unusual:
        return record, None
    return record, float(np.sqrt(np.mean(np.clip(unusual, 0, None) ** 2)))


def _strangest(signs: Mapping[str, Mapping[str, float]]) -> str:
    return max(signs, key=lambda name: signs[name].get("unusual", -np.inf))


def judge_spot(seen: Seen, mask: np.ndarray, space: Space) -> Verdict:
    """Where a region differs as a whole, and nothing in it stands out by itself."""
    sigma = SPOT_MM / np.array(space.voxel_size)
    away = np.abs(scanner.masked_blur(seen.difference, seen.judged, sigma))
    regions = region_masks(mask, space)
    place = next((name for name, i in regions.items() if away.argmax() in i), "brain")
    return _told(
        "amber",
        f"Nothing stands out by itself, but the {place} differs as a whole from what the model "
        "expects, more than in healthy subjects. Look there.",
    )


def judge_reconstruction(
    alike: Mapping[str, float],
    signs: Mapping[str, Mapping[str, float]],
    strangeness: float | None,
    known: JsonView,
) -> Verdict:
    """Whether the model knows such scans, and how closely the reconstruction follows this one."""
    if strangeness is None:
        return _told(
            "amber",
            "Not calibrated: the model's card has no reference values for these "
            "figures; `stylegan3d model calibrate` adds them, from at least 8 held-out subjects.",
        )
    why = SIGNS[_strangest(signs)][1]
    if strangeness > known["outside"]:
        return _told(
            "red",
            "The scan is outside what this model knows; do not interpret this "
            f"reconstruction: {why}.",
        )
    least, detail = known["least_ssim"], alike["cortical_detail"]
    sentence = ""
    if strangeness > known["close"]:
        sentence = (
            "The reconstruction shows typical features of such brains, not the individual features "
            f"of this one: {why}."
        )
    elif alike["ssim"] < least:
        sentence = (
            "The model knows scans of this kind, but the reconstruction follows this one less "
            f"closely than usual (SSIM {alike['ssim']:.3f}, usually {least:.3f} or more): search "
            "longer, or in W+."
        )
    elif detail < LEAST_DETAIL:
        sentence = (
            "Large structures follow this scan as closely as usual, but the folds of the cortex do "
            f"not (correlation of fine detail {detail:.3f}, at least {LEAST_DETAIL} is close)."
        )
    if sentence:
        return _told("amber", sentence)
    return _told(
        "green",
        "The reconstruction follows this scan as closely as it follows held-out "
        "subjects; finer detail, and any disease, is still missing from it.",
    )


def _percentile(signs: Mapping[str, float], known: JsonView) -> float | None:
    """Percentage of subjects whose initial estimate is closer to the average."""
    quantiles = known.get("latent_distance")
    if not quantiles or "latent_distance" not in signs:
        return None
    ranks = np.linspace(0, 100, len(quantiles))
    return float(np.interp(signs["latent_distance"], quantiles, ranks))


def place_in_words(percentile: float) -> str:
    """A "latent_percentile" in words."""
    if percentile >= 100:
        return "farther from the average brain than any reference subject"
    share = "less than 1 %" if percentile < 1 else f"{percentile:.0f} %"
    return f"farther from the average brain than {share} of the reference subjects"


def _further_doubts(
    alike: Mapping[str, float], usual: Mapping[str, float], percentile: float | None
) -> list[Doubt]:
    doubts = []
    if alike["psnr"] <= usual["psnr"]:
        text = (
            "The reconstruction is no more similar to the scan than the mean brain is: do not "
            "interpret it."
        )
        figures = {"psnr": alike["psnr"], "mean_brain_psnr": usual["psnr"]}
        doubts.append(Doubt("no-better-than-mean", "refuse", text, figures))
    if percentile is not None and percentile >= FAR_PERCENT:
        text = (
            f"The model's initial estimate is {place_in_words(percentile)}: edits of this brain "
            "may look unnatural."
        )
        doubts.append(Doubt("far-from-average", "tell", text, {"percentile": percentile}))
    return doubts
