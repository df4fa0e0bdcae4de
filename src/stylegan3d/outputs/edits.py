"""An edited scan, in the scan's own space: the scan itself, what changed, what moved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stylegan3d.base import Json, JsonView, LatentError, OutputError, ScanError, facts_in
from stylegan3d.geometry.space import Space
from stylegan3d.measures.tissue_volumes import Tissues
from stylegan3d.model.generator import Generator
from stylegan3d.outputs.projections import output_names
from stylegan3d.outputs.results import (
    edited_file,
    native_scan,
    sidecar,
    tissues_shown,
    volume_name,
    write_dataset_description,
)
from stylegan3d.recipe.latents import load_latent
from stylegan3d.recipe.recipe import Detail, Recipe, Source
from stylegan3d.render.editable import ABOUT, Details, Original, edited_scan_files
from stylegan3d.render.recipes import EditedScan, edited_scan, render_recipe
from stylegan3d.render.renderer import Renderer
from stylegan3d.scans import (
    Scan,
    SecondImage,
    SeveralSeries,
    SeveralVolumes,
    read_scan,
    second_image,
)
from stylegan3d.scans.checks import READ_ERRORS, open_image
from stylegan3d.scans.resampling import unpack_mask
from stylegan3d.storage import volumes
from stylegan3d.storage.about import PROGRAM
from stylegan3d.storage.bids import source_uri
from stylegan3d.storage.files import check_output, sha256_of, write_together
from stylegan3d.storage.formats import Name

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
    edited = Name.of(volume_name(recipe, native=True, scan=edited_file(recipe)))
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
        described = native_scan(Recipe(source))
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
    if paths:
        return original_scan(paths[0], described) if len(paths) == 1 else _one_of(paths, described)
    name = str(described.get("path"))
    for folder in (Path(str(source.path)).parent, Path()):
        if (folder / name).exists():
            return original_scan(folder / name, described)
    raise OutputError(
        f"The scan {name}, whose detail this shows, lies neither beside {source.path} nor in the "
        "current folder: give it with --scan."
    )


def _one_of(paths: tuple[str | Path, ...], described: JsonView) -> Scan:
    for path in paths:
        for scan in _candidates(path, described):
            if scan.sha256 == described.get("sha256"):
                return scan
    raise OutputError(
        f"None of the scans given is {described.get('path')} as it was projected: give that scan."
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
            "A second image can only lie over a projected scan: start from the latent file of a "
            "projection."
        )
    described = native_scan(recipe)
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
    same = sorted(scans.rglob(str(described.get("path"))))
    exact = [p for p in same if p.is_file() and sha256_of(p) == described.get("sha256")]
    return next(iter([*exact, *same]), None)


def original_scan(path: str | Path, described: JsonView) -> Scan:
    """The scan described by `AlignedScan.describe`, read again from its path.

    Of several volumes or series the one that was projected.

    Raises
    ------
    ScanError
        If it cannot be read.
    OutputError
        If it is another scan.
    """
    for scan in _candidates(path, described):
        if scan.sha256 == described.get("sha256"):
            return scan
    raise OutputError(
        f"{path} is not the scan that was projected ({described.get('path')}), or it has "
        "changed since: give that scan."
    )


def _candidates(path: str | Path, described: JsonView) -> list[Scan]:
    try:
        return [read_scan(path)]
    except SeveralVolumes as several:
        every = [read_scan(path, volume) for volume in range(several.count)]
        # The file's hash is the same for all of its volumes; a note names the one.
        notes = set(described.get("notes", []))
        return [scan for scan in every if _volume_notes(scan) <= notes]
    except SeveralSeries as several:
        return [read_scan(path, series=one.uid) for one in several.series if one.usable]


def _volume_notes(scan: Scan) -> set[str]:
    return {text for text in facts_in(scan.notes) if text.startswith("Volume ")}


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
        told = sidecar(recipe, generator, folder=folder, native=True)
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
    """

    files: list[Path]
    figures: dict[str, float]
    tissues: dict[str, Tissues]


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
        Of the data set that the results belong to; found from `out` by default.

    Raises
    ------
    StyleGAN3DError
        As `edit_files`, or if a file cannot be written.
    """
    source = Source.from_file(latent)
    recipe = Recipe.from_dict(dict(plain)).replace(source=source)
    native_scan(recipe)
    recipe = recipe.replace(detail=Detail(source, strength))
    names = edit_names(recipe, out)
    files = [*names.values(), *map(volumes.sidecar_path, names.values())]
    check_output(files, overwrite)
    renderer = Renderer(generator, scans_at_hand(*([] if scan is None else [scan])))
    edited = edited_scan(renderer, recipe)
    write_dataset_description(out, generator, root)
    write_together(edit_files(recipe, renderer, out, edited), overwrite=overwrite)
    shown = {"scan": edited.carried.aligned, "edited": render_recipe(renderer, recipe).volume}
    known = recipe.scan()
    tissues = {what: tissues_shown(v, generator.space, known) for what, v in shown.items()}
    files.sort(key=lambda path: path != names["Scan"])
    return SavedEdit(files, edited.movement.figures, tissues)
