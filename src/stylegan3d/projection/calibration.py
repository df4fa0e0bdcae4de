"""Reference values from held-out subjects, for a model's card; see `assessment`.

The thresholds come from held-out subjects alone. That out-of-distribution scans exceed them is
checked on scans derived from those subjects' own, so no other data are needed to calibrate a model.

A calibrated site: what is usual of the scans of one scanner, learned from healthy people there.

From 5 to 20 scans: the site's own contrast, sharpness and noise, its usual signs and anatomy, and
where its scans differ from the expected brain on average and by how much. With few scans each is
shrunk towards the model's reference values. Kept as one file in the user's data folder; it holds no
scan and no name of a person.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.stats import mannwhitneyu

from stylegan3d.base import SILENT, Json, JsonView, Progress, StyleGAN3DError
from stylegan3d.dataset.pack import Pack
from stylegan3d.geometry.space import unit
from stylegan3d.measures.regions import region_masks
from stylegan3d.model.generator import Generator
from stylegan3d.projection import assessment
from stylegan3d.projection.problem import LatentPrior
from stylegan3d.projection.scanner import match_sharpness, on_scanners, usual_range
from stylegan3d.projection.signs import SIGNS, Usual, measure_signs
from stylegan3d.storage.encoding import from_json, pack, read_bytes, to_json, unpack
from stylegan3d.storage.files import atomic_write_bytes
from stylegan3d.storage.places import site_names, site_path

VERSION = 2
#: Simulated scanners on which each subject is seen too.
SCANNERS = 3
LEAST_PEOPLE = 8
#: Share of subjects called close, and "outside" as a multiple of that threshold.
CLOSE_SHARE, OUTSIDE_TIMES = 0.95, 3.5
# Share of subjects whose initial estimate is as similar as a close reconstruction must be.
ALIKE_SHARE = 0.95
FOREGROUND = 0.05


def calibrate(
    generator: Generator, pack: Pack, *, progress: Progress = SILENT
) -> tuple[Json, bytes]:
    """The entry "trust" of a model's card, and the file of the maps that it names.

    Parameters
    ----------
    generator : Generator
        The model, on the pack's grid.
    pack : Pack
        Its dataset; only the validation subjects are used, each also on `SCANNERS` simulated
        scanners.
    progress : Progress
        Called with how many subjects are done and how many there are.

    Returns
    -------
    tuple of dict and bytes
        The entry has "signs" and "regions" (each with "middle" and "spread"), "scanner" and
        "quantities" ("middle", "below", "above"), "latent_distance" (quantiles from 0 to 100 %),
        "close" and "outside" (thresholds of the strangeness), "least_ssim", "residual" (hash of the
        maps and "limit", the size of a finding), and "check": how well out-of-distribution scans
        derived from the subjects are distinguished from them.

    Raises
    ------
    StyleGAN3DError
        If the grids differ, or there are fewer than `LEAST_PEOPLE` subjects.
    """
    rows = [int(i) for i in pack.indices("validation")]
    pack.check_grid(generator.space, generator.name)
    if len(rows) < LEAST_PEOPLE:
        raise StyleGAN3DError(
            f"{pack.path} has {len(rows)} validation subjects, but a calibration needs at least "
            f"{LEAST_PEOPLE}; prepare the dataset with more of them."
        )
    ruler = Ruler(generator)
    people: list[list[MeasuredSubject]] = []
    strange = []
    for done, row in enumerate(rows, 1):
        volume = unit(np.array(pack.volumes[row]))
        mask = volume > FOREGROUND
        views = on_scanners(volume, mask, generator.voxel_size, row, SCANNERS)
        people.append([ruler.measure(*view) for view in views])
        kinds = list(strange_kinds(volume, mask, seed=row))
        # Each subject gives one of the kinds, in turn.
        kind, image = kinds[done % len(kinds)]
        strange.append((kind, ruler.measure(image, mask).signs))
        progress(done, len(rows))
    entry = _entry(people)
    maps, entry["residual"] = _residual(people, generator)
    normal = left_out_scores([[view.signs for view in own] for own in people])
    scores: dict[str, list[float]] = {}
    for kind, signs in strange:
        scores.setdefault(kind, []).append(_strangeness(signs, entry))
    entry["close"] = _rounded(np.quantile(normal, CLOSE_SHARE))
    entry["outside"] = _rounded(OUTSIDE_TIMES * entry["close"])
    others = [score for found in scores.values() for score in found]
    entry = {
        "version": VERSION,
        "people": len(people),
        "scanners": SCANNERS,
        "data": pack.path.name,
        **entry,
        "check": {
            "auc": _rounded(mannwhitneyu(others, normal).statistic / (len(others) * len(normal))),
            "people_outside": _rounded(np.mean(np.array(normal) > entry["outside"])),
            "others_outside": _rounded(np.mean(np.array(others) > entry["outside"])),
            "median_strangeness": {
                kind: _rounded(np.median(v)) for kind, v in {"people": normal, **scores}.items()
            },
        },
    }
    return entry, maps


@dataclass(frozen=True, eq=False)
class MeasuredSubject:
    """What one scan is judged by.

    Attributes
    ----------
    signs, regions, scanner, quantities : dict of str to float
        Signs; RMS of the residual of the initial estimate; `Matched.figures`;
        `measure_anatomy`.
    ssim : float
        Of the initial estimate, at matched sharpness.
    seen : Seen
    """

    signs: dict[str, float]
    regions: dict[str, float]
    scanner: dict[str, float]
    quantities: dict[str, float]
    ssim: float
    seen: assessment.Seen


class Ruler:
    """Measures scans with one model; what depends only on the model is computed once."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self.prior = LatentPrior.of(generator)

    def measure(self, volume: np.ndarray, mask: np.ndarray) -> MeasuredSubject:
        """Measure a scan (X, Y, Z)."""
        generator, prior = self.generator, self.prior
        seen = assessment.see(generator, volume, mask)
        guess, size = seen.guess, generator.voxel_size
        masks = region_masks(mask, generator.space)
        regions = assessment.residuals_by_region(volume - guess.volume, masks)
        return MeasuredSubject(
            measure_signs(prior, guess, generator.template, volume, mask, size),
            {name: row["rms"] for name, row in regions.items()},
            seen.matched.figures,
            assessment.measure_anatomy(generator, seen, volume, prior.mean, prior.deviations),
            match_sharpness(guess.volume, seen.matched.volume, mask, size)["ssim"],
            seen,
        )


def _residual(
    people: Sequence[Sequence[MeasuredSubject]], generator: Generator
) -> tuple[bytes, Json]:
    """Maps of the usual residual, and their entry: the limit is that of left-out subjects."""
    space = generator.space
    own = [views[0].seen for views in people]
    largest = []
    for i, views in enumerate(people):
        others = assessment.usual_residual([*own[:i], *own[i + 1 :]], space)
        largest.append(
            [
                assessment.largest_ml(assessment.residual_z(view.seen, others), space)
                for view in views
            ]
        )
    limit = assessment.limit_of(size for sizes in largest for size in sizes)
    maps = assessment.map_bytes(assessment.usual_residual(own, space))
    return maps, {
        "file": assessment.FILE,
        "sha256": hashlib.sha256(maps).hexdigest(),
        "limit": _rounded(limit),
        "people_with_findings": _rounded(np.mean([sizes[0] > limit for sizes in largest])),
        "scans_with_findings": _rounded(np.mean(np.array(largest) > limit)),
    }


def left_out_scores(signs: Sequence[Sequence[Mapping[str, float]]]) -> list[float]:
    """The strangeness of each subject's own scan, with reference values from the others.

    `signs` are those of each subject's views, the own scan first.
    """
    scores = []
    for i, own in enumerate(signs):
        others = [view for views in (*signs[:i], *signs[i + 1 :]) for view in views]
        scores.append(_strangeness(own[0], {"signs": _usual_signs(others)}))
    return scores


def strange_kinds(
    volume: np.ndarray, mask: np.ndarray, seed: int = 0
) -> Iterator[tuple[str, np.ndarray]]:
    """Out-of-distribution scans derived from a normal one: names and volumes (X, Y, Z)."""
    draw = np.random.RandomState(seed)

    def inside(data: np.ndarray) -> np.ndarray:
        return np.where(mask, np.clip(data, 0, 1), 0).astype(np.float32)

    yield "inverted contrast", inside(1 - volume)
    grey = float(np.median(volume[mask]))
    # Grey matter brightest, white matter and CSF darker: between FLAIR and T2.
    yield "grey matter brightest", inside(1 - np.abs(volume - 0.9 * grey) / 0.6)
    yield "noise", inside(draw.rand(*volume.shape))
    smooth = ndimage.gaussian_filter(draw.randn(*volume.shape), 3)
    yield "smooth noise", inside((smooth - smooth.min()) / np.ptp(smooth))
    yield "one brightness", inside(np.full(volume.shape, 0.6))
    yield "upside down", inside(np.flip(volume, 2))
    yield "large dark lesion", inside(np.where(_ball(mask, draw), 0.15, volume))


def _ball(mask: np.ndarray, draw: np.random.RandomState) -> np.ndarray:
    """A ball of a twentieth of the brain's volume around one of its deeper voxels."""
    depth = ndimage.distance_transform_edt(mask)
    places = np.argwhere(depth > 0.5 * depth.max())
    center = places[draw.randint(len(places))]
    index = np.indices(mask.shape) - center[:, None, None, None]
    return np.asarray((index**2).sum(axis=0) < (0.05 * mask.sum() * 3 / (4 * np.pi)) ** (2 / 3))


def _entry(people: Sequence[Sequence[MeasuredSubject]]) -> Json:
    views = [view for own in people for view in own]
    signs = [view.signs for view in views]
    names = sorted({name for view in views for name in view.regions})
    entry: Json = {
        "signs": _usual_signs(signs),
        "regions": {
            name: _usual([view.regions[name] for view in views if name in view.regions])
            for name in names
        },
        # Of the scans themselves: a scanner differs if it is none of those of the dataset; and the
        # range over simulated scanners, too.
        "scanner": {
            name: row | _extent([view.scanner[name] for view in views])
            for name, row in usual_ranges([own[0].scanner for own in people]).items()
        },
        "quantities": usual_ranges(
            [{k: assessment.to_scale(k, v) for k, v in view.quantities.items()} for view in views]
        ),
        "least_ssim": _rounded(np.quantile([view.ssim for view in views], 1 - ALIKE_SHARE)),
    }
    if "latent_distance" in signs[0]:
        quantiles = np.quantile([own["latent_distance"] for own in signs], np.linspace(0, 1, 21))
        entry["latent_distance"] = [_rounded(value) for value in quantiles]
    return entry


def usual_ranges(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """`scanner.usual_range` of each quantity that every row has."""
    return {
        name: {
            k: _rounded(v) for k, v in usual_range(np.array([row[name] for row in rows])).items()
        }
        for name in rows[0]
        if all(name in row for row in rows)
    }


def _extent(values: Sequence[float]) -> dict[str, float]:
    """Between which values 98 % of these lie."""
    least, most = np.quantile(values, (0.01, 0.99))
    return {"least": _rounded(least), "most": _rounded(most)}


def _usual_signs(signs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: _usual([own[name] for own in signs], side)
        for name, (side, _) in SIGNS.items()
        if name in signs[0]
    }


def _usual(values: Sequence[float], side: int = 1) -> dict[str, float]:
    usual = Usual.of(np.array(values), side)
    return {"middle": _rounded(usual.middle), "spread": _rounded(usual.spread)}


def _strangeness(signs: Mapping[str, float], known: JsonView) -> float:
    score = assessment.compare_signs(signs, known)[1]
    assert score is not None
    return score


def _rounded(value: Any) -> float:
    return float(f"{float(value):.5g}")


KIND, SITE_VERSION = "calibrated site", "1"
#: Scans that a calibration needs, and from which more hardly help.
LEAST, MOST = 5, 20
# The reference values count as so many scans of the site: offsets, which are what a site is about,
# less than spreads and maps, of which few scans say little.
OFFSET_WORTH, SPREAD_WORTH, MAP_WORTH = 2.0, 10.0, 10.0
# The site's mean difference is smoother than the reference map, which has more scans.
MAP_MM = 8.0


def learn_site(
    generator: Generator, people: Sequence[MeasuredSubject]
) -> tuple[dict, assessment.UsualResidual]:
    """Reference values and maps of a site from its healthy people.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than `LEAST`, or the model was not calibrated itself.
    """
    usual = assessment.load_maps(generator)
    if usual is None:
        raise StyleGAN3DError(
            f"'{generator.name}' has no reference values that a site could be compared with; "
            "`stylegan3d model calibrate` adds them."
        )
    if len(people) < LEAST:
        raise StyleGAN3DError(
            f"A site needs scans of at least {LEAST} healthy people, and there are "
            f"{len(people)}; add more of them, {MOST} are plenty."
        )
    known = generator.card["trust"]
    signs: dict[str, dict[str, float]] = {}
    for name, entry in known["signs"].items():
        values = np.array([person.signs[name] for person in people])
        spread = {"below": entry["spread"], "above": entry["spread"]}
        range_ = _shrunk(values, {"middle": entry["middle"], **spread})
        side = "above" if SIGNS[name][0] > 0 else "below"
        signs[name] = {"middle": range_["middle"], "spread": range_[side]}
    rows = [{k: assessment.to_scale(k, v) for k, v in p.quantities.items()} for p in people]
    entry = {
        **known,
        "signs": signs,
        "scanner": _ranges([p.scanner for p in people], known["scanner"]),
        "quantities": _ranges(rows, known["quantities"]),
        "people": len(people),
    }
    return entry, _site_maps(people, usual, generator)


def save_site(
    generator: Generator, name: str, people: Sequence[MeasuredSubject], *, overwrite: bool = False
) -> Path:
    """Learn a site and keep it under a name; returns its file.

    Raises
    ------
    StyleGAN3DError, OutputError
        If the name is unsuitable or taken, or the scans are too few.
    """
    path = site_path(name)
    entry, maps = learn_site(generator, people)
    about = {"name": name, "model": generator.hash, "trust": entry}
    metadata = {"kind": KIND, "version": SITE_VERSION, "about": to_json(about)}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, pack(assessment.halved_maps(maps), metadata), overwrite=overwrite)
    return path


def open_site(generator: Generator, name: str) -> assessment.Yardstick:
    """What scans of a calibrated site are judged by.

    Raises
    ------
    StyleGAN3DError
        If there is no such site, it was learned with another model, or its file is damaged.
    """
    path = site_path(name)
    if not path.is_file():
        others = ", ".join(site_names()) or "none"
        raise StyleGAN3DError(
            f"There is no calibrated site '{name}' (known: {others}); `stylegan3d model site "
            f"FOLDER --name '{name}'` makes it."
        )
    data = read_bytes(path, StyleGAN3DError)
    maps, metadata = unpack(data, kind=KIND, path=path, error=StyleGAN3DError)
    try:
        about = from_json(metadata["about"])
        model, trust = about["model"], about["trust"]
    except (ValueError, KeyError, TypeError):
        raise _damaged(name, path) from None
    if model != generator.hash:
        raise StyleGAN3DError(
            f"The site '{name}' was calibrated with another model than '{generator.name}'; "
            "calibrate it again with this one."
        )
    if not (_is_like(trust, generator.card.get("trust")) and _are_maps(maps, generator.shape)):
        raise _damaged(name, path)
    return assessment.Yardstick(trust, assessment.enlarged_maps(maps, generator.shape), name)


def measure_scans(
    generator: Generator, scans: Sequence[tuple[np.ndarray, np.ndarray]]
) -> list[MeasuredSubject]:
    """Measure aligned scans, volume and mask (X, Y, Z) each."""
    ruler = Ruler(generator)
    return [ruler.measure(volume, mask) for volume, mask in scans]


def _damaged(name: str, path: Path) -> StyleGAN3DError:
    return StyleGAN3DError(
        f"The file of the site '{name}' is damaged ({path}): calibrate it again with `stylegan3d "
        f"model site FOLDER --name '{name}' --overwrite`."
    )


def _is_like(found: Any, known: Any, name: str = "") -> bool:
    """Whether reference values of a site have the parts of the model's own, with sound numbers."""
    if isinstance(known, Mapping):
        if not isinstance(found, Mapping) or found.keys() - known.keys():
            return False
        # A site has no range of what one of its scans lacks.
        whole = name in ("scanner", "quantities") or found.keys() == known.keys()
        return whole and all(_is_like(found[key], known[key], key) for key in found)
    if isinstance(known, list):
        same = isinstance(found, list) and len(found) == len(known)
        return same and all(map(_is_like, found, known))
    if isinstance(known, (int, float)):
        number = isinstance(found, (int, float)) and math.isfinite(found)
        return number and (found > 0 or name not in ("spread", "below", "above"))
    return isinstance(found, type(known))


def _are_maps(maps: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> bool:
    """Whether these are the two maps of a grid of this shape, with sound numbers."""
    half = tuple(-(-n // assessment.STEP) for n in shape)
    sound = maps.keys() == {"mean", "spread"} and all(
        values.shape == half and values.dtype == np.float16 and np.isfinite(values).all()
        for values in maps.values()
    )
    return sound and bool((maps["spread"] > 0).all())


def _shrunk(values: np.ndarray, known: Mapping[str, float]) -> dict[str, float]:
    """Median and spreads of a site's values, shrunk towards the known ones."""
    n = len(values)
    middle = float(np.median(values))
    own = float(np.var(values, ddof=1))
    record = {"middle": (n * middle + OFFSET_WORTH * known["middle"]) / (n + OFFSET_WORTH)}
    # How well the site's middle is known adds to the spread of a single scan.
    for side in ("below", "above"):
        pooled = (n * own + SPREAD_WORTH * known[side] ** 2) / (n + SPREAD_WORTH)
        record[side] = float(np.sqrt(pooled * (1 + 1 / n)))
    return record


def _ranges(
    rows: Sequence[Mapping[str, float]], known: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    return {
        name: {**usual, **_shrunk(np.array([row[name] for row in rows]), usual)}
        for name, usual in known.items()
        if all(name in row for row in rows)
    }


def _site_maps(
    people: Sequence[MeasuredSubject], usual: assessment.UsualResidual, generator: Generator
) -> assessment.UsualResidual:
    """The reference maps, moved and scaled as far as the site's scans say."""
    n = len(people)
    sigma = MAP_MM / np.array(generator.voxel_size)
    inside = sum((p.seen.matched.volume > 0).astype(np.float32) for p in people)
    away = sum(np.where(p.seen.matched.volume > 0, p.seen.difference, 0) for p in people)
    weight = ndimage.gaussian_filter(np.asarray(inside, np.float32), sigma)
    smooth = ndimage.gaussian_filter(np.asarray(away, np.float32), sigma)
    base = ndimage.gaussian_filter(usual.mean, sigma)
    share = n / (n + MAP_WORTH)
    offset = np.where(weight > 0.01, smooth / np.maximum(weight, 0.01) - base, 0)
    mean = usual.mean + share * offset
    ratios = [
        float(np.mean(((p.seen.difference - mean) / usual.spread)[p.seen.judged] ** 2))
        for p in people
        if p.seen.judged.any()
    ]
    scale = np.sqrt((n * np.median(ratios) + MAP_WORTH) / (n + MAP_WORTH)) if ratios else 1.0
    return assessment.UsualResidual(
        mean.astype(np.float32), (scale * usual.spread).astype(np.float32)
    )
