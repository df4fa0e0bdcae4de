"""Additional files of a projection through an operator: the scan with measured data kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stylegan3d.geometry.space import Space
from stylegan3d.outputs.results import provenance
from stylegan3d.projection.operators import Identity, Mask, Masked, Operator, ThickSlices
from stylegan3d.projection.restoration import harmonic_fill, restore
from stylegan3d.recipe.description import describe_recipe
from stylegan3d.scans import native_image
from stylegan3d.storage import volumes
from stylegan3d.storage.about import PROGRAM
from stylegan3d.storage.bids import source_uri
from stylegan3d.storage.formats import scan_stem, scan_suffix

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.scans import AlignedScan

_SUFFIX = volumes.VOLUME_SUFFIX


def restored_names(scan: str | Path, out: str | Path, operator: Operator) -> dict[str, Path]:
    """The volumes that are written for an operator, by what they hold.

    "restored" lies in the scan's own space, of thick slices with thin ones in their stead;
    "filled" is the original scan with only the masked part replaced; "restored_model_space" is the
    brain on the model's grid.
    """
    if isinstance(operator, Identity) or not operator.linear:
        return {}
    stem, suffix = scan_stem(scan), scan_suffix(scan)
    native = "filled" if isinstance(operator, Mask) else "restored"
    names = {
        native: f"{stem}_desc-{native}_{suffix}{_SUFFIX}",
        "restored_model_space": f"{stem}_space-model_desc-restored_T1w{_SUFFIX}",
    }
    return {what: Path(out) / name for what, name in names.items()}


def restored_files(
    out: str | Path,
    generator: Generator,
    aligned: AlignedScan,
    operator: Operator,
    made: np.ndarray,
    recipe: Recipe | None = None,
) -> dict[Path, bytes]:
    """The files of `restored_names` with their sidecars, not yet written: name to content.

    Parameters
    ----------
    aligned, made : AlignedScan, ndarray
        The scan that was projected with this operator, and the volume (X, Y, Z) that came of it.
    operator : Operator
        As passed to `project`.
    recipe : Recipe or None
        Recipe of `made` if it was edited since; stored in the sidecars.
    """
    names = restored_names(aligned.scan.path, out, operator)
    if not names:
        return {}
    bound = operator.on(generator.space, aligned)
    brain = restored_brain(aligned, bound, made)
    about = {
        **provenance(generator),
        "Sources": [source_uri(out, aligned.scan.path)],
        "Operator": bound.describe(),
        "Units": "arbitrary",
        **({} if recipe is None else {"MadeUpFrom": describe_recipe(recipe)}),
    }
    if isinstance(operator, Mask):
        own = _filled(generator, aligned, operator, made)
        what = "A scan whose masked region was filled in by a generator; the rest is as measured."
    else:
        own = native_image(brain, generator.space, _finer(aligned, bound))
        what = "A brain restored from degraded data by a generator; details may not be real."
    native = {**about, "Description": what, "SpatialReference": "the scan's own space"}
    model = {
        **about,
        "Description": "The restored brain on the model's grid; details may not be real.",
        "SpatialReference": "the model's grid",
        "Intensity": "1 is the 99.5th percentile inside the brain, 0 is outside",
        "SkullStripped": True,
    }
    first, second = names.values()
    image = volumes.make_image(brain, generator.affine)
    text = f"{PROGRAM} {generator.name} {generator.hash[:8]} {bound.describe()['Name']}"
    return {
        **volumes.volume_files(first, own, description=text, sidecar=native),
        **volumes.volume_files(second, image, description=text, sidecar=model),
    }


def restored_brain(aligned: AlignedScan, bound: Operator, made: np.ndarray) -> np.ndarray:
    """(X, Y, Z) in [0, 1]: the generator's brain `made` with the scan's data put into it.

    `bound` is the operator on the model's grid (`Operator.on`).
    """
    scan, brain = (torch.from_numpy(v)[None, None].float() * 2 - 1 for v in (aligned.volume, made))
    restored = restore(bound, brain, bound.observe(scan))[0, 0].numpy()
    return np.clip((restored + 1) / 2, 0, None).astype(np.float32)


def _filled(generator: Generator, aligned: AlignedScan, operator: Mask, made: np.ndarray) -> Any:
    """The scan on its own grid; inside the mask the generator's brain, without a seam.

    The difference between the two at the border is continued smoothly into the mask, so that
    neither a step nor the coil's brightness shows there.
    """
    scan = aligned.scan
    brain = native_image(made, generator.space, aligned.describe())
    values = np.asarray(brain.dataobj, dtype=np.float32)
    mask = operator.native(aligned)
    rest = harmonic_fill(scan.data - values, mask)
    data = np.where(mask, np.maximum(values + rest, min(0.0, float(scan.data.min()))), scan.data)
    return type(brain)(data.astype(np.float32), None, brain.header)


def _finer(aligned: AlignedScan, bound: Operator) -> dict[str, Any]:
    """The scan's description; for thick slices with as many thin ones as the model resolves."""
    told = aligned.describe()
    bound = bound.operator if isinstance(bound, Masked) else bound
    if not isinstance(bound, ThickSlices) or not bound.own_slices:
        return told
    space = aligned.scan.space
    thin = min(aligned.space.voxel_size)
    count = [
        max(n, round(n * s / thin)) for n, s in zip(space.shape, space.voxel_size, strict=True)
    ]
    fine: Space = space.resized((count[0], count[1], count[2]))
    codes = {key: code for key, code in told["geometry"].items() if key.endswith("_code")}
    return {
        **told,
        "shape": list(fine.shape),
        "affine": fine.affine.tolist(),
        "geometry": codes,
    }
