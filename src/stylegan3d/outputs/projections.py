"""Files of a projection: volumes in both spaces, the latent, and a report.

An edited scan, in the scan's own space: the scan itself, what changed, what moved.
"""

import glob
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from stylegan3d.base import Doubt, Json, JsonView, LatentError, OutputError, ScanError, facts_in
from stylegan3d.geometry.space import Space, filled_box
from stylegan3d.measures.attributes import Tissues
from stylegan3d.measures.similarity import similarity
from stylegan3d.model.generator import Generator
from stylegan3d.outputs import results
from stylegan3d.projection import ProjectionResult, Uncertainty
from stylegan3d.projection.forward import Mask, Masked, Operator
from stylegan3d.projection.operators import Identity, KSpace, ThickSlices, harmonic_fill, restore
from stylegan3d.projection.projector import ProjectionRun, tissues_of
from stylegan3d.recipe.description import describe_recipe
from stylegan3d.recipe.latents import Latent, latent_bytes, load_latent
from stylegan3d.recipe.recipe import Detail, Recipe, Source
from stylegan3d.render.editable import ABOUT, Details, Original, edited_scan_files, scale_of
from stylegan3d.render.recipes import EditedScan, edited_scan, render_recipe
from stylegan3d.render.renderer import Renderer
from stylegan3d.scans import (
    AlignedScan,
    Scan,
    SecondImage,
    SeveralSeries,
    SeveralVolumes,
    native_image,
    read_scan,
    second_image,
)
from stylegan3d.scans.checks import READ_ERRORS, open_image
from stylegan3d.scans.extraction import extracted_mask
from stylegan3d.scans.resampling import NativeTransform, resample, unpack_mask, with_geometry
from stylegan3d.storage import volumes
from stylegan3d.storage.about import ORIGIN_NAMES, PROGRAM
from stylegan3d.storage.bids import OWN_GRID, OWN_SPACE, source_uri
from stylegan3d.storage.encoding import to_json
from stylegan3d.storage.files import check_output, sha256_of, write_together
from stylegan3d.storage.formats import MODEL, Name, scan_stem, scan_suffix
from stylegan3d.storage.volumes import VOLUME_SUFFIX

#: Share of the brain's voxels that are above 0.
SAME_OUTLINE = 0.95
HOW = (
    "the detail of the scan, moved and changed in intensity as in an edit of its reconstruction by "
    "{name}"
)


def edit_names(recipe: Recipe, out: str | Path) -> dict[str, Path]:
    """The files `edit_files` makes, by what they hold.

    The edited "Scan" is named as `volume_name` says, sub-01_desc-editedScan_T1w.nii.gz, with the
    BIDS suffix of the scan (an edited FLAIR stays one); beside it lie its "Change"
    (…_desc-editedChange_…) and the "Movement" (…_desc-editedMovement_…).

    Raises
    ------
    OutputError
        If the recipe shows no edited scan.
    """
    if not recipe.is_edited_scan:
        raise OutputError(
            "The recipe shows no edited scan: give it the detail of the scan that it starts from."
        )
    edited = Name.of(results.volume_name(recipe, native=True, scan=results.edited_file(recipe)))
    desc = edited.desc.removesuffix("Scan")
    return {what: Path(out) / str(replace(edited, desc=desc + what)) for what in ABOUT}


def scans_at_hand(*paths: str | Path) -> Details:
    """The scans of details, for `Renderer.details`.

    Each is looked for among the `paths` given, then beside its latent file, then in the current
    folder, and taken only if it is the very scan that was projected. Its brain on the model's grid
    is the one that the projection wrote beside the latent file, if that is still there: then all
    numbers are those of the projection.

    Raises
    ------
    ScanError
        If one of the `paths` does not exist.
    """
    for path in map(Path, paths):
        if not path.exists():
            raise ScanError(f"There is no scan {path}: give the file or folder that was projected.")

    def find(source: Source) -> Original:
        described = results.native_scan(Recipe(source))
        scan = _scan_of(source, described, paths)
        return Original(scan.data, described, _aligned_beside(source, described))

    return Details(find)


def _aligned_beside(source: Source, described: JsonView) -> np.ndarray | None:
    """The brain (X, Y, Z) that a projection wrote; None where it is not, or is of another one."""
    folder = Path(str(source.path)).parent
    path = output_names(str(described.get("path")), folder)["aligned"]
    try:
        image = open_image(path)
        mask = unpack_mask(described["brain_mask"], image.shape)
        data = np.asarray(image.dataobj, np.float32)
        same_place = np.allclose(image.affine, described["model_affine"], atol=1e-3)
    except (ScanError, KeyError, TypeError, ValueError, *READ_ERRORS):
        return None
    # Cut out of another scan, or in another pose, it would have another outline.
    fits = same_place and not data[~mask].any() and (data > 0).sum() > SAME_OUTLINE * mask.sum()
    return data if fits else None


def _scan_of(source: Source, described: JsonView, paths: tuple[str | Path, ...]) -> Scan:
    """The scan described by `AlignedScan.describe`, read again from where it may be.

    Of several volumes or series the one that was projected.

    Raises
    ------
    ScanError
        If it cannot be read.
    OutputError
        If it is not there, or is another scan.
    """
    name = str(described.get("path"))
    beside = [folder / name for folder in (Path(str(source.path)).parent, Path())]
    places = paths or [path for path in beside if path.exists()]
    for path in places:
        for scan in _candidates(path, described):
            if scan.sha256 == described.get("sha256"):
                return scan
    if not places:
        raise OutputError(
            f"The scan {name}, whose detail this shows, is neither beside {source.path} nor in "
            "the current folder: give it with --scan."
        )
    raise OutputError(
        f"{' or '.join(map(str, places))} is not the scan that was projected ({name}), or it has "
        "changed since: give that scan."
    )


def second_over(
    recipe: Recipe, path: str | Path, space: Space, *scans: str | Path
) -> tuple[SecondImage, np.ndarray]:
    """A second image aligned to the scan that a recipe was projected from.

    Parameters
    ----------
    path : path-like
        FLAIR, T2, an earlier T1 or a map of labels.
    space : Space
        The generator's grid.
    scans : path-like
        Where the scan may be, as for `scans_at_hand`.

    Returns
    -------
    tuple of SecondImage and ndarray
        And its picture on `space`, (X, Y, Z) from 0 to 1, the 99.5th percentile; labels are 1.

    Raises
    ------
    OutputError, ScanError
        If the recipe starts from no scan, that is not at hand, or the image does not fit it.
    """
    if recipe.scan() is None:
        raise OutputError(
            "A second image can only overlay a projected scan: start from the latent file of a "
            "projection."
        )
    described = results.native_scan(recipe)
    # Its sides as they were when it was projected: the file alone may leave them open.
    scan = replace(_scan_of(recipe.source, described, scans), affine=np.array(described["affine"]))
    second = second_image(scan, read_scan(path))
    volume = second.on(space, np.array(described["rigid"])).astype(np.float32)
    bright = volume[volume > 0]
    full = 1.0 if second.labels or not bright.size else float(np.percentile(bright, 99.5))
    return second, np.clip(volume / full, 0, 1)


def scan_for(latent: Path, scans: Path | None) -> Path | None:
    """The scan of a latent file in a folder of scans; of several of its name, the very one."""
    if scans is None or not scans.is_dir():
        return scans
    try:
        described = load_latent(latent).scan or {}
    except LatentError:
        return None  # what is wrong with it is told where it is used
    same = sorted(scans.rglob(glob.escape(str(described.get("path")))))
    exact = [p for p in same if p.is_file() and sha256_of(p) == described.get("sha256")]
    if not exact and len(same) > 1:  # such as folders of DICOM files
        exact = [next((p for p in same if _is_of(p, described)), same[0])]
    return next(iter([*exact, *same]), None)


def _is_of(path: Path, described: JsonView) -> bool:
    """Whether a file or folder holds the scan that was described; not if it cannot be read."""
    with suppress(ScanError, OSError):
        return any(s.sha256 == described.get("sha256") for s in _candidates(path, described))
    return False


def _candidates(path: str | Path, described: JsonView) -> list[Scan]:
    try:
        return [read_scan(path)]
    except SeveralVolumes:
        volume = described.get("volume")
        return [] if volume is None else [read_scan(path, volume)]
    except SeveralSeries as several:
        return [read_scan(path, series=one.uid) for one in several.series if one.usable]


def edit_files(
    recipe: Recipe, renderer: Renderer, out: str | Path, edited: EditedScan | None = None
) -> dict[Path, bytes]:
    """The files of an edited scan, not yet written: name to content.

    Parameters
    ----------
    recipe : Recipe
        Of a projected scan with its own detail.
    renderer : Renderer
        Its `details` find the scan, see `scans_at_hand`.
    out : path-like
        Their folder.
    edited : EditedScan, optional
        What `edited_scan` gave for the recipe, if that is known already.

    Raises
    ------
    OutputError, RecipeError, ScanError
        If the recipe shows no edited scan, does not fit the generator, or the scan is another.
    """
    names, generator = edit_names(recipe, out), renderer.generator
    edited = edited or edited_scan(renderer, recipe)
    carried, moved = edited.carried, edited.movement
    scan = str(carried.original.described["path"])

    def text(folder: Path) -> Json:
        told = results.sidecar(recipe, generator, folder=folder, native=True)
        return told | {"Sources": [*told["Sources"], source_uri(folder, scan)]}

    how, description = HOW.format(name=generator.name), f"{PROGRAM} edit by {generator.name}"
    return edited_scan_files(
        carried, edited.data, moved, names, text, how=how, description=description
    )


@dataclass(frozen=True, eq=False)
class SavedEdit:
    """An edited scan that was written.

    Attributes
    ----------
    files : list of Path
        The edited scan first.
    figures : dict of str to float
        How far tissue moved, as its sidecar says it.
    tissues : dict of str to Tissues
        Of "scan" and "edited", on the model's grid.
    doubts : list of Doubt
        About the scan.
    """

    files: list[Path]
    figures: dict[str, float]
    tissues: dict[str, Tissues]
    doubts: list[Doubt]


def save_edit(
    latent: Path,
    plain: JsonView,
    generator: Generator,
    out: Path,
    *,
    strength: float = 1.0,
    scan: Path | None = None,
    overwrite: bool = False,
    root: Path | None = None,
) -> SavedEdit:
    """Edit a projected scan, write the files of `edit_files`, and measure it.

    Parameters
    ----------
    latent : Path
        The projection's.
    plain : mapping
        A recipe as plain data, which takes the latent for its source.
    generator : Generator
    out : Path
    strength : float
        Of the scan's detail.
    scan : Path, optional
        The scan, where it does not lie beside the latent.
    overwrite : bool
    root : Path, optional
        Of the dataset that the results belong to; found from `out` by default.

    Raises
    ------
    StyleGAN3DError
        As `edit_files`, or if a file cannot be written.
    """
    source = Source.from_file(latent)
    recipe = Recipe.from_dict(dict(plain)).replace(source=source)
    results.native_scan(recipe)
    recipe = recipe.replace(detail=Detail(source, strength))
    names = edit_names(recipe, out)
    files = [*names.values(), *map(volumes.sidecar_path, names.values())]
    check_output(files, overwrite)
    renderer = Renderer(generator, scans_at_hand(*([] if scan is None else [scan])))
    edited = edited_scan(renderer, recipe)
    results.write_dataset_description(out, generator, root)
    write_together(edit_files(recipe, renderer, out, edited), overwrite=overwrite)
    shown = {"scan": edited.carried.aligned, "edited": render_recipe(renderer, recipe).volume}
    known = recipe.scan()
    tissues = {what: results.tissues_shown(v, generator.space, known) for what, v in shown.items()}
    files.sort(key=lambda path: path != names["Scan"])
    told = results.doubts_entry(recipe)["Doubts"]
    return SavedEdit(files, edited.movement.figures, tissues, told)


# Additional files of a projection through an operator: the scan with measured data kept.

#: At the border of the brain a fit is worst: there what it adds begins.
BORDER_MM = 3.0
#: Voxels of the model's grid beside a masked region that hold some of it.
BESIDE = 2.0


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
        native: Name(stem, native, suffix),
        "restored_model_space": Name(stem, "restored", suffix, MODEL),
    }
    return {what: Path(out) / str(name) for what, name in names.items()}


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
        **results.provenance(generator),
        "Sources": [source_uri(out, aligned.scan.path)],
        "Operator": bound.describe(),
        "Doubts": aligned.doubts,
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
        "Intensity": results.INSIDE,
        "SkullStripped": True,
    }
    first, second = names.values()
    image = volumes.make_image(brain, generator.affine)
    text = f"{generator.name} {generator.hash[:8]} {bound.describe()['Name']}"
    text, said = f"{PROGRAM} {text}", f"{PROGRAM} {'' if brain_alone else 'edited scan '}{text}"
    return {
        **volumes.volume_files(first, own, description=said, sidecar=native),
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
            # Beside it, too, the scan on the model's grid is mixed with what the hole holds.
            far = distance_transform_edt(~hole, sampling=space.voxel_size)
            near, brain = far <= BESIDE * max(aligned.space.voxel_size), carried(restored, space)
            result = np.where(near, brain + harmonic_fill(result - brain, near), result)
    result = np.maximum(result, min(0.0, float(scan.data.min())))
    codes = {key: code for key, code in scan.geometry.items() if key.endswith("_code")}
    same = space.shape == scan.space.shape
    return with_geometry(result, space.affine, scan.geometry if same else codes)


def _without_mask(bound: Operator) -> Operator:
    return bound.operator if isinstance(bound, Masked) else bound


def _faded(inside: np.ndarray, space: Space) -> np.ndarray:
    """1 inside the brain, from 0 at its border within `BORDER_MM`, where the fit is worst."""
    faded, box = np.zeros(inside.shape, np.float32), filled_box(inside, 1)
    depth = distance_transform_edt(inside[box], sampling=space.voxel_size)
    faded[box] = np.clip(depth / BORDER_MM, 0, 1)
    return faded


def output_names(scan: str | Path, out: str | Path) -> dict[str, Path]:
    """The files that every projection of `scan` writes in the folder `out`, by what they hold.

    "native" is the reconstruction in the scan's own space, "residual" the scan minus it there,
    "model_space" the reconstruction on the model's grid, "aligned" the scan on the model's grid;
    then "latent" and "report".
    """
    stem, suffix = scan_stem(scan), scan_suffix(scan)
    names = {
        "native": Name(stem, "projected"),
        "residual": Name(stem, "residual", suffix),
        "model_space": Name(stem, "projected", space=MODEL),
        "aligned": Name(stem, "aligned", suffix, MODEL),
        "latent": Name(stem, "projected", "latent", extension=".safetensors"),
        "report": Name(stem, "projected", "report", extension=".json"),
    }
    return {what: Path(out) / str(name) for what, name in names.items()}


def file_names(
    scan: str | Path,
    out: str | Path,
    operator: Operator | None = None,
    *,
    spread: bool = False,
    z: bool = False,
) -> dict[str, Path]:
    """All files of a projection, by what they hold.

    Those of `output_names`; of a projection through an operator those of `restored_names`; with
    `spread` "uncertainty", how much the results of several searches differ; with `z` "residual_z",
    what stands out in the scan, in units of the usual error.
    """
    names = output_names(scan, out)
    if z:
        names["residual_z"] = Path(out) / str(Name(scan_stem(scan), "residual", "z"))
    names |= {} if operator is None else restored_names(scan, out, operator)
    if spread:
        names["uncertainty"] = Path(out) / str(Name(scan_stem(scan), "uncertainty"))
    return names


def all_files(names: Mapping[str, Path]) -> list[Path]:
    """These files with the sidecars of the volumes among them."""
    volumes_of = [path for path in names.values() if path.name.endswith(VOLUME_SUFFIX)]
    return [*names.values(), *map(volumes.sidecar_path, volumes_of)]


def save_projection(
    out: str | Path,
    projected: ProjectionRun,
    *,
    seconds: Mapping[str, float] | None = None,
    left_open: Uncertainty | None = None,
    overwrite: bool = False,
    root: Path | None = None,
) -> Json:
    """Write all results of a projection; all files or none.

    Parameters
    ----------
    out : path-like
        Path Folder, made if missing.
    projected : ProjectionRun
    seconds : mapping, optional
        What each step took, for the report.
    left_open : Uncertainty, optional
        What further searches found.
    overwrite : bool
        Replace files of these names.
    root : Path or None
        Of the dataset that the results belong to; found from `out` by default.

    Returns
    -------
    dict
        The report, as written: similarity, alignment, history, doubts, files.

    Raises
    ------
    OutputError
        If a file exists or cannot be written.
    """

    generator, aligned, result = projected.generator, projected.aligned, projected.result
    operator = projected.operator
    known_z = result.residual_z is not None
    names = file_names(aligned.scan.path, out, operator, spread=left_open is not None, z=known_z)
    check_output(all_files(names), overwrite)
    results.write_dataset_description(out, generator, root)
    scan = aligned.describe()
    latent = latent_bytes(projected_latent(generator, result, scan))
    source = Source(
        "projected", path=str(names["latent"]), sha256=hashlib.sha256(latent).hexdigest()
    )
    recipe = Recipe(
        source, noise=result.settings["noise"], channel=result.settings.get("channel", 0)
    )
    # Rendered again from the latent, as `generate --recipe` will: the same bytes.
    rendered = Renderer(generator).render(
        result.w, "full", recipe.shown_noise(generator), recipe.channel, delta=result.delta
    )
    tissues = tissues_of(projected, rendered.volume)
    report = {
        **projection_report(projected, rendered.volume),
        "seconds": dict(seconds or projected.seconds),
        "tissues": {what: found.to_dict() for what, found in tissues.items()},
        "recipe": recipe.relative_to(Path(out)).to_dict(),
        "files": {what: path.name for what, path in names.items()},
    }
    made = tissues["reconstruction"]
    told = {**scan, "doubts": [asdict(doubt) for doubt in projected.doubts]}
    about = partial(results.rendered_files, scan=told, tissues=made)
    files = {
        **about(names["native"], rendered, recipe, generator, native=True),
        **about(names["model_space"], rendered, recipe, generator),
        **_maps(projected, names, rendered.volume, left_open),
        names["latent"]: latent,
    }
    if operator is not None:
        files |= restored_files(out, generator, aligned, operator, result.volume)
    files[names["report"]] = to_json(report).encode()
    write_together(files, overwrite=overwrite)
    return report


def projected_latent(
    generator: Generator, result: ProjectionResult, scan: JsonView | None
) -> Latent:
    """The result of a projection, with changes to the generator, as stored in a latent file.

    What the projection refuses or made up goes with the scan to all that is made from the file.
    """
    found = result.assessment["doubts"]
    lasting = [asdict(d) for d in found if d.severity == "refuse" or d.kind == "masked"]
    if scan is not None and lasting:
        scan = {**scan, "doubts": [*scan["doubts"], *lasting]}
    space = "W" if result.settings["space"] == "w" else "W+"
    return Latent.of(
        generator,
        result.w,
        space,
        noise=result.settings["noise"],
        scan=None if scan is None else dict(scan),
        delta=result.delta,
    )


def projection_report(projected: ProjectionRun, volume: np.ndarray) -> Json:
    """How well a projection's `volume` (X, Y, Z) in model space reproduces the scan."""
    generator, aligned, result = projected.generator, projected.aligned, projected.result
    scan = aligned.scan
    return {
        "SyntheticImage": True,
        **results.provenance(generator),
        "scan": {
            "path": scan.path.name,
            "sha256": scan.sha256,
            "origin": scan.origin,
            "shape": list(scan.data.shape),
            "voxel_size_mm": list(scan.space.voxel_size),
            "axes": "".join(scan.space.axcodes),
            "notes": facts_in(scan.notes),
        },
        "similarity": (
            # Through an operator: of what the scan would show, where it shows anything.
            result.assessment["similarity"]
            if "operator" in result.settings
            else similarity(volume, aligned.volume, aligned.brain_mask)
        ),
        "alignment": {
            "correlation_with_mean_brain": aligned.quality,
            "scan_to_model_mm": aligned.rigid,
            "intensity_scale": aligned.intensity_scale,
            "steps": facts_in(aligned.steps),
        },
        "doubts": projected.doubts,
        "trust": result.assessment,
        "settings": result.settings,
        "history": result.history,
        "model": {"name": generator.name, "sha256": generator.hash},
    }


def _map_files(
    path: Path,
    image: nib.Nifti1Image,
    projected: ProjectionRun,
    title: str,
    description: str,
    *,
    units: str = "arbitrary",
    intensity: str,
    space: str = OWN_GRID,
    synthetic: bool = True,
    more: JsonView | None = None,
) -> dict[Path, bytes]:
    """A volume about a projected scan, with what it was made of: name to content.

    `title` is said in the volume's header, `description` and the rest in its sidecar.
    """
    scan = projected.aligned.scan
    entries = {
        "Description": description,
        **results.provenance(projected.generator),
        "Sources": [source_uri(path.parent, scan.path)],
        "SourceSHA256": scan.sha256,
        "Doubts": projected.doubts,
        **(more or {}),
        "SpatialReference": space,
        "Units": units,
        "Intensity": intensity,
        "SkullStripped": True,
    }
    return volumes.volume_files(
        path, image, description=f"{PROGRAM} {title}", sidecar=entries, synthetic=synthetic
    )


def _maps(
    projected: ProjectionRun,
    names: Mapping[str, Path],
    made: np.ndarray,
    left_open: Uncertainty | None,
) -> dict[Path, bytes]:
    """The aligned scan, and what the reconstruction `made` (X, Y, Z) leaves open."""
    aligned, name = projected.aligned, projected.generator.name
    origin = aligned.scan.origin
    files = _map_files(
        names["aligned"],
        volumes.make_image(aligned.volume, aligned.space.affine),
        projected,
        f"aligned {ORIGIN_NAMES[origin].lower()}",
        "A scan on the model's grid: brain alone, bias-corrected, rigidly aligned.",
        intensity=results.INSIDE,
        space="the model's grid",
        synthetic=origin != "acquired",
    )
    difference = np.where(aligned.brain_mask, aligned.volume - made, 0).astype(np.float32)
    files |= _map_files(
        names["residual"],
        aligned.to_native(difference, signed=True),
        projected,
        "residual",
        f"What a reconstruction by {name} misses in a scan: bias-corrected scan minus "
        "reconstruction, at the resolution of the model.",
        intensity="units of the scan; above 0 where the scan is brighter",
    )
    if left_open is not None:
        count = len(left_open.latents)
        files |= _map_files(
            names["uncertainty"],
            aligned.to_native(left_open.deviation),
            projected,
            "spread",
            f"Standard deviation between {count} projections by {name} from different starting "
            "points: where it is large, the reconstruction is uncertain. It does not include what "
            "the model cannot show at all.",
            intensity="units of the scan",
            more={"Restarts": count, "NoiseDraws": left_open.noise_draws},
        )
    z = projected.result.residual_z
    if z is not None:
        files |= _map_files(
            names["residual_z"],
            # In units of its own, not of the scan.
            aligned.to_native(z / aligned.intensity_scale, signed=True),
            projected,
            "residual z",
            f"Scan minus the brain that {name} expects, after contrast and shading of the scanner "
            "were removed, divided by the spread of this difference in held-out subjects. Not "
            "judged in the ventricles and within 4 mm of the border: 0 there.",
            units="standard deviations",
            intensity="above 0 where the scan is brighter than expected",
        )
    return files
