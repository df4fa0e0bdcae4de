"""Saved pictures: file names and JSON sidecars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from stylegan3d.outputs.results import model_of, provenance, sources, volume_name
from stylegan3d.plain import Json
from stylegan3d.recipe.description import marked
from stylegan3d.render.figures import MM_PER_INCH, SYNTHETIC, png_bytes
from stylegan3d.storage.about import INTENDED_USE, PROGRAM, version
from stylegan3d.storage.bids import source_uri
from stylegan3d.storage.formats import portable, scan_suffix
from stylegan3d.storage.jsontext import to_json
from stylegan3d.storage.volumes import VOLUME_SUFFIX

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.scans import SecondImage

#: What a picture shows whose recipe is not all of it.
PAINTED = (
    "Picture of a synthetic brain that was painted to fit edited labels of the recipe's brain or "
    "of a scan. Not a measurement."
)

OF_A_SCAN = "Research and teaching. Not for diagnosis."
RECORDED = "Picture of a real scan."
UNUSUAL = "Picture of a real scan, with what stands out in it. Not a diagnosis."


def picture_name(
    recipe: Recipe, what: str, suffix: str = ".png", *, scan: str | Path | None = None
) -> str:
    """Such as seed-0042_desc-synthetic_T1w_axial.png: `volume_name` and the view."""
    return f"{volume_name(recipe, scan=scan).removesuffix(VOLUME_SUFFIX)}_{what}{suffix}"


def scan_picture_name(
    name: str,
    scan: str | Path | None,
    what: str,
    *,
    kind: str = "",
    in_model_space: bool = True,
) -> str:
    """Such as sub-01_space-model_T1w_axial.png: a scan as recorded, or what is made of it.

    Parameters
    ----------
    name : str
        The patient's.
    scan : path-like or None
        The scan's file, whose BIDS suffix stays.
    what : str
        The view.
    kind : str
        "" for the scan itself, else the `desc` of the picture: unusual, painted.
    in_model_space : bool
        Whether it lies on the model's grid.
    """
    parts = [name, "space-model" if in_model_space else "", f"desc-{kind}" if kind else ""]
    parts += ["T1w" if scan is None else scan_suffix(scan), what]
    return portable("_".join(filter(None, parts))) + ".png"


def json_path(path: Path) -> Path:
    """The JSON sidecar of a picture, film or report: its name with .json appended.

    The whole name stays, so that a picture and a film of the same name have a file each.
    """
    return path.with_name(f"{path.name}.json")


def picture_sidecar(
    recipe: Recipe, generator: Generator, folder: Path, what: str = "Picture"
) -> Json:
    """Content of the JSON sidecar of a picture in `folder`."""
    told = recipe.with_paths(lambda part: part.relative_to(folder))
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


def scan_picture_sidecar(scan: Path | None, sha256: str, folder: Path, *, kind: str = "") -> Json:
    """Content of the JSON sidecar of a picture in `folder` of a scan; `kind` as for its name."""
    described = {"unusual": UNUSUAL, "painted": PAINTED}.get(kind, RECORDED)
    return {
        "Description": described,
        "IntendedUse": INTENDED_USE if kind == "painted" else OF_A_SCAN,
        "SyntheticImage": kind == "painted",
        "GeneratedBy": [{"Name": PROGRAM, "Version": version()}],
        "Sources": [] if scan is None else [source_uri(folder, scan)],
        "SourceSHA256": sha256,
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
    told = recipe.with_paths(lambda part: part.relative_to(path.parent))
    text = f"{marked(SYNTHETIC, recipe)}. {generator.name} {generator.hash[:8]}: {told.to_json()}"
    png = png_bytes(image, dpi=pixels_per_mm * MM_PER_INCH, description=text)
    sidecar = picture_sidecar(recipe, generator, path.parent)
    if second is not None:
        image_file = {"File": second.image.path.name, "SHA256": second.image.sha256}
        sidecar["Overlay"] = {**image_file, "Note": second.note.text}
    return {path: png, json_path(path): to_json(sidecar).encode()}
