"""`stylegan3d info`: describe a generator, latent, directions file, recipe, volume or scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stylegan3d.cli.common import (
    FrameOption,
    JsonOption,
    emit,
    model_entry,
    open_model,
    progress,
)
from stylegan3d.plain import Json
from stylegan3d.storage.jsontext import to_json

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator


def info(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="Model folder, network file of the original 3D-StyleGAN, latent or directions "
            "file, recipe, saved volume, scan or DICOM folder; by default the bundled model.",
            show_default=False,
        ),
    ] = None,
    frame: FrameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Describe a file: what it is, which model it belongs to, how it was made.

    Example: stylegan3d info projected/sub-01_desc-projected_latent.safetensors
    """
    result = _describe(path, frame)
    emit(result, _lines(result), as_json=as_json)


def _describe(path: Path | None, frame: str | None) -> Json:
    from stylegan3d.storage.formats import is_scan
    from stylegan3d.storage.tensorfiles import kind_of

    saved = path is not None and path.name.endswith((".json", ".nii.gz"))
    if path is not None and saved and path.name != "card.json" and not _is_raw(path):
        return _describe_recipe(path)
    if path is not None and is_scan(path) and not (path / "card.json").is_file():
        return _describe_scan(path)
    kind = kind_of(path) if path is not None else None
    if path is not None and kind == "latent":
        return _describe_latent(path)
    if path is not None and kind == "directions":
        return _describe_directions(path)
    return _describe_model(open_model(path, frame))


def _describe_model(generator: Generator) -> Json:
    from stylegan3d.networks.config import GeneratorConfig

    card, config = generator.card, generator.config
    network = config if isinstance(config, GeneratorConfig) else None
    copied = ("version", "licence", "intended_use", "training_data", "quality", "trust", "origin")
    return {
        "type": "generator",
        **model_entry(generator),
        "family": generator.family,
        "shape": list(generator.shape),
        "voxel_size_mm": list(generator.voxel_size),
        "axes": "".join(generator.space.axcodes),
        "z_dim": generator.z_dim,
        "w_dim": generator.w_dim,
        "num_layers": generator.num_layers,
        "layer_resolutions": [list(grid) for grid in generator.layer_resolutions],
        **({"wiring": network.wiring, "channels": list(network.channels)} if network else {}),
        "image_channels": config.image_channels,
        "label_dim": generator.label_dim,
        "discriminator": generator.discriminator is not None,
        "encoder": generator.encoder is not None,
        **({"cannot": generator.cannot} if generator.cannot else {}),
        "device": str(generator.device),
        **{key: card[key] for key in copied if key in card},
    }


def _describe_latent(path: Path) -> Json:
    from stylegan3d.recipe.latents import read_latent

    latent, sha256 = read_latent(path)
    return {
        "type": "latent",
        "sha256": sha256,
        "space": latent.space,
        "shape": list(latent.w.shape),
        "model": {"name": latent.model_name, "sha256": latent.model_hash},
        "truncation": latent.truncation,
        "truncation_layers": latent.truncation_layers,
        "noise": latent.noise,
        "scan": latent.scan,
        "changes": None if latent.delta is None else sorted(latent.delta.tensors),
    }


def _describe_directions(path: Path) -> Json:
    from stylegan3d.recipe.direction_file import load_directions

    found = load_directions(path)
    return {
        "type": "directions",
        "names": list(found.names),
        "explained_variance": found.explained_variance.tolist(),
        "model": {"name": found.model_name, "sha256": found.model_hash},
    }


def _describe_recipe(path: Path) -> Json:
    from stylegan3d.recipe.description import read_recipe
    from stylegan3d.storage.volumes import sidecar_path

    volume = path.name.endswith(".nii.gz")
    recipe = read_recipe(sidecar_path(path) if volume else path)
    told = _origin_of(path) if volume and path.is_file() else {}
    return {"type": "recipe", **told, **recipe.to_dict(), "command": recipe.command()}


def _origin_of(path: Path) -> Json:
    """What a saved volume is, and the sentence on how that is known."""
    from stylegan3d.scans.checks import open_image
    from stylegan3d.scans.origin import origin_of_file

    told = origin_of_file(path, open_image(path).header)
    return {"origin": told.origin, "notes": list(map(str, told.notes))}


def _is_raw(path: Path) -> bool:
    """Whether a volume has no sidecar with a recipe, like one from a scanner."""
    from stylegan3d.storage.jsontext import read_json
    from stylegan3d.storage.volumes import sidecar_path

    if not (path.name.endswith(".nii.gz") and path.is_file()):
        return False
    try:
        record = read_json(sidecar_path(path))
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False  # what is wrong with it is told where it is read
    return isinstance(record, dict) and "Recipe" not in record


def _describe_scan(path: Path) -> Json:
    from stylegan3d.scans import SeveralSeries, SeveralVolumes, list_series, read_scan
    from stylegan3d.storage.formats import is_dicom

    about: Json = {"type": "scan"}
    if is_dicom(path):
        about["series"] = [
            f"{series}{f', not readable: {series.problem}' * bool(series.problem)}"
            for series in list_series(path)
        ]
    try:
        with progress("Reading"):
            scan = read_scan(path)
    except SeveralVolumes as choice:
        return {**about, "volumes": choice.count}
    except SeveralSeries:
        return about
    return {
        **about,
        "shape": list(scan.data.shape),
        "voxel_size_mm": [round(size, 4) for size in scan.space.voxel_size],
        "axes": "".join(scan.space.axcodes),
        "contrast": scan.contrast,
        "origin": scan.origin,
        "sha256": scan.sha256,
        "notes": list(map(str, scan.notes)),
        "doubts": scan.doubts,
    }


def _lines(result: Json) -> list[str]:
    """`key: value` lines; nested values as indented JSON."""
    if result.get("scan"):
        # The packed brain mask is only in the --json output.
        result = {**result, "scan": {**result["scan"], "brain_mask": "…"}}
    lines = []
    for key, value in result.items():
        if value is None or value in ("", []):
            continue
        nested = isinstance(value, dict) or (value and isinstance(value, list))
        text = to_json(value).rstrip() if nested else str(value)
        lines.append(f"{key.replace('_', ' ')}: {text}")
    return lines
