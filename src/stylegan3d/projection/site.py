"""A calibrated site: what is usual of the scans of one scanner, learned from healthy people there.

From 5 to 20 scans: the site's own contrast, sharpness and noise, its usual signs and anatomy, and
where its scans differ from the expected brain on average and by how much. With few scans each is
shrunk towards the model's reference values. Kept as one file in the user's data folder; it holds no
scan and no name of a person.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.model.generator import Generator
from stylegan3d.projection.assessment import Yardstick
from stylegan3d.projection.calibration import MeasuredSubject, Ruler
from stylegan3d.projection.residual import (
    STEP,
    UsualResidual,
    enlarged_maps,
    halved_maps,
    load_maps,
)
from stylegan3d.projection.signs import SIGNS
from stylegan3d.projection.verdicts import to_scale
from stylegan3d.storage.files import atomic_write_bytes
from stylegan3d.storage.jsontext import from_json, to_json
from stylegan3d.storage.places import site_names, site_path
from stylegan3d.storage.tensorfiles import pack, read_bytes, unpack

KIND, VERSION = "calibrated site", "1"
#: Scans that a calibration needs, and from which more hardly help.
LEAST, MOST = 5, 20
# The reference values count as so many scans of the site: offsets, which are what a site is about,
# less than spreads and maps, of which few scans say little.
OFFSET_WORTH, SPREAD_WORTH, MAP_WORTH = 2.0, 10.0, 10.0
# The site's mean difference is smoother than the reference map, which has more scans.
MAP_MM = 8.0


def learn_site(
    generator: Generator, people: Sequence[MeasuredSubject]
) -> tuple[dict, UsualResidual]:
    """Reference values and maps of a site from its healthy people.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than `LEAST`, or the model was not calibrated itself.
    """
    usual = load_maps(generator)
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
    rows = [{k: to_scale(k, v) for k, v in p.quantities.items()} for p in people]
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
    metadata = {"kind": KIND, "version": VERSION, "about": to_json(about)}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, pack(halved_maps(maps), metadata), overwrite=overwrite)
    return path


def open_site(generator: Generator, name: str) -> Yardstick:
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
    return Yardstick(trust, enlarged_maps(maps, generator.shape), name)


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
    half = tuple(-(-n // STEP) for n in shape)
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
        name: _shrunk(np.array([row[name] for row in rows]), usual)
        for name, usual in known.items()
        if all(name in row for row in rows)
    }


def _site_maps(
    people: Sequence[MeasuredSubject], usual: UsualResidual, generator: Generator
) -> UsualResidual:
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
    return UsualResidual(mean.astype(np.float32), (scale * usual.spread).astype(np.float32))
