"""Saved results: file names and sidecars (BIDS derivatives).

The window and the command line save through here, so the same recipe gives the same bytes in both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from stylegan3d.base import Json, JsonView, OutputError
from stylegan3d.measures.attributes import Tissues, read_tissues
from stylegan3d.recipe.description import marked
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.render import figures
from stylegan3d.scans.verdicts import doubts_of_scan, withheld
from stylegan3d.storage import volumes
from stylegan3d.storage.about import INTENDED_USE, NOT_ACQUIRED, PROGRAM, version
from stylegan3d.storage.bids import OWN_GRID, describe, root_of, source_uri
from stylegan3d.storage.encoding import to_json
from stylegan3d.storage.files import write_together
from stylegan3d.storage.formats import DESC, GRID, MODEL, Name, portable, scan_stem, scan_suffix
from stylegan3d.storage.volumes import VOLUME_SUFFIX

if TYPE_CHECKING:
    import numpy as np

    from stylegan3d.geometry.space import Space
    from stylegan3d.model.generator import Generator
    from stylegan3d.render.renderer import Rendered
    from stylegan3d.scans import SecondImage
    from stylegan3d.session.case import Case

#: What grey values mean on the model's grid.
INSIDE = "1 is the 99.5th percentile inside the brain, 0 is outside"


def volume_name(recipe: Recipe, *, native: bool = False, scan: str | Path | None = None) -> str:
    """File name of a recipe's volume, such as seed-0042_desc-synthetic_T1w.nii.gz.

    `desc` begins with edited if there are edits, else mixed, projected or synthetic, and ends with
    Scan for an edited scan. In between it says with what brain it was mixed, whose detail another
    brain wears, and the label and image channel other than the first, so that names do not collide:
    BIDS has no entities for these. A volume in model space of a projected scan says `space-model`;
    one in the scan's own space (`native`) keeps that. An edited scan has the BIDS suffix of `scan`,
    the file that was edited (see `edited_file`); what a model makes is T1w.
    """
    kept = recipe.source.kind == "projected"
    plain = "projected" if kept else "synthetic"
    desc = "edited" if recipe.edits else "mixed" if recipe.mix is not None else plain
    if recipe.label is not None and recipe.has_seed:
        desc += f"Label{_capital(recipe.label.in_a_name)}"
    if recipe.channel:
        desc += f"Channel{recipe.channel}"
    if recipe.mix is not None:
        desc += f"With{source_in_a_name(recipe.mix.source)}"
    if recipe.worn_detail is not None and not recipe.is_edited_scan:
        desc += f"DetailOf{source_in_a_name(recipe.worn_detail.source)}"
    desc += "Scan" if recipe.is_edited_scan else ""
    suffix = scan_suffix(scan) if recipe.is_edited_scan and scan is not None else "T1w"
    space = MODEL if kept and not native else ""
    return str(Name(_source_stem(recipe.source, keep_grid=kept), desc, suffix, space))


def name_beside(recipe: Recipe, what: str, *, scan: str | Path | None = None) -> str:
    """File name of what is written about a recipe, such as seed-0042_desc-synthetic_report.pdf.

    `what` is its last part; before it stands the name of the volume (see `volume_name`) without its
    suffix where that is T1w. An edited FLAIR keeps its own: ..._desc-editedScan_FLAIR_report.pdf.
    """
    stem = volume_name(recipe, scan=scan).removesuffix(volumes.VOLUME_SUFFIX)
    return f"{stem.removesuffix('_T1w')}_{what}"


def edited_file(recipe: Recipe) -> str | None:
    """The file of the scan that an edited scan shows; None for a model's brain, or if not known.

    Raises
    ------
    OutputError
        If the latent file has no scan.
    """
    path = native_scan(recipe).get("path") if recipe.is_edited_scan else None
    return None if path is None else str(path)


def save_rendered(
    path: str | Path,
    rendered: Rendered,
    recipe: Recipe,
    generator: Generator,
    *,
    native: bool = False,
    overwrite: bool = False,
) -> None:
    """Save a recipe's volume as NIfTI with its sidecar.

    Parameters
    ----------
    path : path-like
        A name that ends in `.nii.gz`; `volume_name` proposes one.
    rendered : Rendered
        The full-quality rendering of `recipe.latent(generator)`.
    recipe, generator : Recipe, Generator
        The recipe and the generator that made it, for the sidecar.
    native : bool
        Put it back into the grid, orientation and intensity units of the scan it was projected
        from.
    overwrite : bool
        Replace files of these names.

    Raises
    ------
    OutputError
        If it cannot be written, is of another recipe, or if there is no projected scan.
    """
    made, w = rendered.w, recipe.latent(generator)
    if made is not None and (made.shape != w.shape or not made.cpu().allclose(w.cpu(), atol=1e-5)):
        raise OutputError("The volume is not of this recipe and model: render it again from both.")
    files = rendered_files(Path(path), rendered, recipe, generator, native=native)
    write_together(files, overwrite=overwrite)


def rendered_files(
    path: Path,
    rendered: Rendered,
    recipe: Recipe,
    generator: Generator,
    *,
    native: bool = False,
    scan: JsonView | None = None,
    tissues: Tissues | None = None,
) -> dict[Path, bytes]:
    """The files `save_rendered` writes, not yet written: name to content.

    `scan`, as `AlignedScan.describe()` gives it, stands in for the one in the recipe's latent
    file where that is not written yet.
    The sidecar states the volumes of the brain's tissues on the model's grid: `tissues`, or read
    here.
    """
    if rendered.quality != "full":
        raise OutputError("Only the full volume can be saved, not a preview: render it again.")
    if recipe.worn_detail is not None and native:
        raise OutputError(
            "A scan with its own detail is saved at its own resolution as an edited scan "
            "(`edited_scan_files`); leave the detail out to save the model's brain in native space."
        )
    if not native:
        image = volumes.make_image(rendered.volume, rendered.space.affine)
    else:
        from stylegan3d.scans import native_image

        image = native_image(rendered.volume, rendered.space, dict(scan or native_scan(recipe)))
    text = sidecar(recipe, generator, folder=path.parent, native=native, scan=scan)
    tissues = tissues or tissues_shown(rendered.volume, rendered.space, scan or recipe.scan())
    text["TissueVolumes"] = tissues.to_dict()
    description = f"{PROGRAM} {generator.name} {generator.hash[:8]}"
    return volumes.volume_files(path, image, description=description, sidecar=text)


def tissues_shown(volume: np.ndarray, space: Space, scan: JsonView | None) -> Tissues:
    """Tissues of what a recipe shows (X, Y, Z); withheld where the scan behind it is refused."""
    return read_tissues(volume, space, withheld=withheld(doubts_of_scan(scan or {})))


def native_scan(recipe: Recipe) -> Json:
    """The scan a recipe was projected from; OutputError if there is none."""
    scan = recipe.scan()
    if scan is None:
        raise OutputError(
            "Only a projected scan has a native space: leave out --native, or start from the "
            "latent file of a projection."
        )
    return scan


def sidecar(
    recipe: Recipe,
    generator: Generator,
    *,
    folder: Path,
    native: bool = False,
    scan: JsonView | None = None,
) -> Json:
    """Content of a saved volume's JSON file, which goes to `folder`; see `recipe.Source`.

    `scan` as in `rendered_files`.
    """
    files, doubts = sources(recipe, folder), doubts_entry(recipe, scan=scan)
    recipe = recipe.relative_to(folder)
    what, about = "T1-weighted brain", {"SkullStripped": True}
    if recipe.is_edited_scan:
        what = "brain"  # with the contrast of the scan
    intensity = INSIDE
    if "origin" in generator.card:
        # Another program's file does not contain what its network was trained on.
        what, about = "volume", {}
        intensity = "0 and 1 are the ends of the network's range of -1 to 1"
    made = f"Synthetic {what} made by {generator.name}. Not a measurement."
    return {
        "Description": marked(made, recipe),
        "IntendedUse": INTENDED_USE,
        **provenance(generator),
        "Sources": files,
        # The model is given below, wherever the recipe came from.
        "Recipe": recipe.replace(model=None).to_dict(),
        "Model": {**model_of(generator, recipe), **_frame(generator)},
        "SpatialReference": OWN_GRID if native else "the model's grid",
        "Units": "arbitrary",
        "Intensity": "units of the scan" if native else intensity,
        **doubts,
        **about,
    }


def doubts_entry(*recipes: Recipe, scan: JsonView | None = None) -> Json:
    """What is in doubt about the scans that a picture or volume is made of, for its sidecar.

    `scan` as in `rendered_files`.
    """
    scans = [one for recipe in recipes for one in recipe.scans(scan)]
    doubts = dict.fromkeys(doubts_of_scan(*scans))
    return {"Doubts": list(doubts)} if scans else {}


def model_of(generator: Generator, *recipes: Recipe) -> Json:
    """The model of recipes in a sidecar, and the labels it learned if one of them has a label."""
    record = {"Name": generator.name, "SHA256": generator.hash}
    if generator.labels_hash and any(recipe.label is not None for recipe in recipes):
        record["LabelsSHA256"] = generator.labels_hash
    return record


def provenance(generator: Generator) -> Json:
    """BIDS' GeneratedBy: this program, the generator's weights, and its frame if it needs one."""
    text = "".join(f", {name} {value}" for name, value in _frame(generator).items())
    return {
        "GeneratedBy": [
            {
                "Name": PROGRAM,
                "Version": version(),
                "Description": f"generator {generator.name}, sha256 {generator.hash}{text}",
            }
        ]
    }


def _frame(generator: Generator) -> dict[str, str]:
    """The `--frame` used for a generator whose file does not contain its geometry."""
    if generator.frame is None:
        return {}
    return {"AssumedFrame" if generator.frame_doubt else "Frame": str(generator.frame)}


def sources(recipe: Recipe, folder: Path) -> list[str]:
    """The latent and directions files of a recipe, as a sidecar in `folder` names them."""
    files = [source.path for source in recipe.sources] + [edit.file for edit in recipe.edits]
    return list(dict.fromkeys(source_uri(folder, file) for file in files if file is not None))


def write_dataset_description(
    folder: str | Path, generator: Generator, root: Path | None = None
) -> None:
    """Describe the dataset of an output folder, at its root; see `storage.bids.describe`."""
    describe(root or root_of(folder), provenance(generator))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def source_in_a_name(source: Source) -> str:
    """A source as a part of another one's file name, such as Seed0042."""
    return _capital(re.sub(r"[^A-Za-z0-9]", "", _source_stem(source)))


def _source_stem(source: Source, *, keep_grid: bool = False) -> str:
    """What begins the names of a source's files, without its `desc`; its own space if wanted."""
    if source.seed is not None:
        return f"seed-{source.seed:04d}"
    stem = scan_stem(str(source.path))
    if "_desc-" in stem:
        stem = scan_stem(stem)  # the latent of an edited FLAIR says so after its desc
    stem = re.sub(DESC, "", stem).replace(f"_space-{MODEL}", "")
    return stem if keep_grid else re.sub(GRID, "", stem)


# Saved pictures: file names and JSON sidecars.

#: What a picture shows whose recipe is not all of it.
PAINTED = (
    "Picture of a synthetic brain that was generated to fit edited labels of the recipe's brain or "
    "of a scan. Not a measurement."
)

OF_A_SCAN = "Research and teaching. Not for diagnosis."
RECORDED = "Picture of a real scan."
PARTLY = "Picture of a real scan, with parts or detail that a generator filled in. No measurement."
UNUSUAL = "Picture of a real scan, with deviations highlighted. Not a diagnosis."


def picture_name(recipe: Recipe, what: str, *, scan: str | Path | None = None) -> str:
    """Such as seed-0042_desc-synthetic_T1w_axial.png: `volume_name` and the view."""
    return f"{volume_name(recipe, scan=scan).removesuffix(VOLUME_SUFFIX)}_{what}.png"


def scan_picture_name(case: Case, what: str, kind: str, in_model_space: bool) -> str:
    """Such as sub-01_space-model_T1w_axial.png: a scan as recorded, or what is made of it.

    Parameters
    ----------
    case : Case
        Whose scan; the BIDS suffix of its file stays.
    what : str
        The view.
    kind : str
        "" for the scan itself, else the `desc` of the picture: unusual, painted, filled, restored.
    in_model_space : bool
        Whether it lies on the model's grid.
    """
    suffix = "T1w" if case.path is None else scan_suffix(case.path)
    space = MODEL if in_model_space else ""
    return portable(str(Name(case.name, kind, f"{suffix}_{what}", space, ""))) + ".png"


def json_path(path: Path) -> Path:
    """The JSON sidecar of a picture, film or report: its name with .json appended.

    The whole name stays, so that a picture and a film of the same name have a file each.
    """
    return path.with_name(f"{path.name}.json")


def picture_sidecar(
    recipe: Recipe, generator: Generator, folder: Path, what: str = "Picture"
) -> Json:
    """Content of the JSON sidecar of a picture in `folder`."""
    told = recipe.relative_to(folder)
    made = f"{what} of a synthetic volume made by {generator.name}. Not a measurement."
    return {
        "Description": marked(made, recipe),
        "IntendedUse": INTENDED_USE,
        "SyntheticImage": True,
        **provenance(generator),
        "Sources": sources(recipe, folder),
        "Recipe": told.replace(model=None).to_dict(),
        "Model": model_of(generator, recipe),
    }


def scan_picture_sidecar(case: Case, folder: Path, kind: str, *, made: bool) -> Json:
    """Content of the JSON sidecar of a picture in `folder` of a scan; `kind` as for its name.

    `made` says whether any part of the picture was made by a model.
    """
    others = {"unusual": UNUSUAL, "painted": PAINTED, "filled": PARTLY, "restored": PARTLY}
    described = others.get(kind, RECORDED)
    whose = NOT_ACQUIRED.get(case.origin, "a real scan")
    return {
        "Description": described.replace("a real scan", whose),
        "IntendedUse": INTENDED_USE if made else OF_A_SCAN,
        "SyntheticImage": made,
        "GeneratedBy": [{"Name": PROGRAM, "Version": version()}],
        "Sources": [] if case.path is None else [source_uri(folder, case.path)],
        "SourceSHA256": case.sha256,
        "Doubts": case.known_doubts,
    }


def columns_sidecar(each: Sequence[Json]) -> Json:
    """Content of the JSON sidecar of pictures in columns, from those of `each`.

    It is synthetic if any is, and keeps the recipe of the last: the current picture.
    """
    made = next((one for one in each if one["SyntheticImage"]), each[-1])
    return {
        **{key: each[-1][key] for key in ("Recipe", "Model") if key in each[-1]},
        **{key: made[key] for key in ("IntendedUse", "SyntheticImage", "GeneratedBy")},
        "Description": f"Pictures in {len(each)} columns, each described in Comparison.",
        "Sources": list(dict.fromkeys(path for one in each for path in one["Sources"])),
        "Comparison": {"Mode": "row", "Columns": each},
    }


def picture_files(
    path: Path,
    image: Image.Image,
    recipe: Recipe,
    generator: Generator,
    *,
    pixels_per_mm: float = 0.0,
    second: SecondImage | None = None,
) -> dict[Path, bytes]:
    """A PNG and its JSON, not yet written: name to content.

    `pixels_per_mm`, where it is known, is written into the PNG, so that it prints at life size;
    `second` is an image that lies over the picture.
    """
    told = recipe.relative_to(path.parent)
    title, by = marked(figures.SYNTHETIC, recipe), f"{generator.name} {generator.hash[:8]}"
    text = f"{title}. {by}: {told.to_json()}"
    plain = figures.png_bytes(image, dpi=pixels_per_mm * figures.MM_PER_INCH, description=text)
    png = figures.with_source_type(plain, ".png", figures.source_type(recipe))
    sidecar = picture_sidecar(recipe, generator, path.parent) | doubts_entry(recipe)
    if second is not None:
        image_file = {"File": second.image.path.name, "SHA256": second.image.sha256}
        sidecar["Overlay"] = {**image_file, "Note": str(second.note), "Doubts": second.doubts}
    return {path: png, json_path(path): to_json(sidecar).encode()}
