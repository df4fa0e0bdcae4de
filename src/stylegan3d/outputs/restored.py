"""Additional files of a projection through an operator: the scan with measured data kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from stylegan3d.geometry.space import Space
from stylegan3d.outputs.results import provenance
from stylegan3d.plain import Json
from stylegan3d.projection.operators import Identity, KSpace, Mask, Masked, Operator, ThickSlices
from stylegan3d.projection.restoration import harmonic_fill, restore
from stylegan3d.recipe.description import describe_recipe
from stylegan3d.render.fine import scale_of
from stylegan3d.scans import native_image
from stylegan3d.scans.extraction import extracted_mask
from stylegan3d.scans.resampling import NativeTransform, resample, with_geometry
from stylegan3d.storage import volumes
from stylegan3d.storage.about import PROGRAM
from stylegan3d.storage.bids import OWN_SPACE, source_uri
from stylegan3d.storage.formats import scan_stem, scan_suffix

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.scans import AlignedScan

_SUFFIX = volumes.VOLUME_SUFFIX
#: At the border of the brain a fit is worst: there what it adds begins.
BORDER_MM = 3.0


def restored_names(scan: str | Path, out: str | Path, operator: Operator) -> dict[str, Path]:
    """The volumes that are written for an operator, by what they hold.

    "restored" is the scan with what the operator adds, of thick slices with thin ones instead;
    "filled" is the original scan with only the masked part replaced; "restored_model_space" is the
    brain on the model's grid. All have the scan's contrast, and its BIDS suffix.
    """
    if isinstance(operator, Identity) or not operator.linear:
        return {}
    stem, suffix = scan_stem(scan), scan_suffix(scan)
    native = "filled" if isinstance(operator, Mask) else "restored"
    names = {
        native: f"{stem}_desc-{native}_{suffix}{_SUFFIX}",
        "restored_model_space": f"{stem}_space-model_desc-restored_{suffix}{_SUFFIX}",
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
    about: Json = {
        **provenance(generator),
        "Sources": [source_uri(out, aligned.scan.path)],
        "Operator": bound.describe(),
        "Units": "arbitrary",
        **({} if recipe is None else {"MadeUpFrom": describe_recipe(recipe)}),
    }
    degraded = _without_mask(bound)
    brain_alone = isinstance(degraded, KSpace)
    if isinstance(operator, Mask):
        own = _filled(generator, aligned, operator, made)
        what = "A scan whose masked region was filled in by a generator; the rest is as measured."
    elif brain_alone:
        # Lines that were not measured alias in the scan's own detail: it cannot be kept.
        own = native_image(brain, generator.space, aligned.describe())
        what = "A brain restored from degraded data by a generator; details may not be real."
    else:
        own = restored_scan(aligned, bound, made, brain)
        if isinstance(degraded, ThickSlices) and degraded.own_slices:
            about["GeneratorShare"] = degraded.share
        what = (
            "A scan restored from degraded data: its own, interpolated, with detail that a "
            "generator adds inside the brain; that detail may not be real."
        )
    native = {
        **about,
        "Description": what,
        "SpatialReference": OWN_SPACE,
        "SkullStripped": brain_alone
        or extracted_mask(aligned.scan.data, aligned.scan.space) is not None,
    }
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


def restored_scan(
    aligned: AlignedScan, bound: Operator, made: np.ndarray, restored: np.ndarray
) -> nib.Nifti1Image:
    """The scan itself with what the operator adds to it inside the brain; of thick slices thin.

    Thick slices are interpolated by cubic splines that agree with them. Added is what the same
    interpolation loses of the generator's brain, so the slices stay what they were measured as;
    other operators add what the brain `restored` has on the model's grid and the scan has not.
    """
    scan, way = aligned.scan, NativeTransform.of(aligned.describe(), aligned.space)
    operator = _without_mask(bound)
    hole = bound.mask.native(aligned) if isinstance(bound, Masked) else None
    scale = scale_of(way.on_model_grid(scan.data), aligned.volume, way)

    def carried(image: np.ndarray, space: Space) -> np.ndarray:
        """An image (X, Y, Z) in the scan's units on a grid in its millimetres."""
        return resample(image * scale, way.space, space, aligned.rigid)

    data = np.asarray(scan.data, np.float32)
    if isinstance(operator, ThickSlices) and operator.own_slices:
        thin = operator.thin(scan.space)
        space, brain = thin.space, carried(made, thin.space)
        if hole is not None:
            seen = thin.along(thin.seen, brain)
            data = np.where(hole, seen + harmonic_fill(data - seen, hole), data)
        plain = thin.along(thin.between, data)
        inside = resample(way.mask.astype(np.float32), way.space, space, aligned.rigid) > 0.5
        brain = np.where(inside, brain, plain)
        lost = brain - thin.along(thin.between, thin.along(thin.seen, brain))
        result = plain + operator.share * _faded(inside, space) * lost
    else:
        space = way.own
        result = data + _faded(way.inside, space) * carried(restored - aligned.volume, space)
        if hole is not None:
            brain = carried(restored, space)
            result = np.where(hole, brain + harmonic_fill(result - brain, hole), result)
    result = np.maximum(result, min(0.0, float(scan.data.min())))
    codes = {key: code for key, code in scan.geometry.items() if key.endswith("_code")}
    same = space.shape == scan.space.shape
    return with_geometry(result, space.affine, scan.geometry if same else codes)


def _without_mask(bound: Operator) -> Operator:
    return bound.operator if isinstance(bound, Masked) else bound


def _faded(inside: np.ndarray, space: Space) -> np.ndarray:
    """1 inside the brain, from 0 at its border within `BORDER_MM`, where the fit is worst."""
    faded = np.zeros(inside.shape, np.float32)
    if not inside.any():
        return faded
    places = np.argwhere(inside)
    box = tuple(
        slice(max(low - 1, 0), high + 2)
        for low, high in zip(places.min(axis=0), places.max(axis=0), strict=True)
    )
    depth = distance_transform_edt(inside[box], sampling=space.voxel_size)
    faded[box] = np.clip(depth / BORDER_MM, 0, 1)
    return faded
