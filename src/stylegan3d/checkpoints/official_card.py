"""The card of a network of the original 3D-StyleGAN."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from stylegan3d.checkpoints.official_settings import LONGEST_TEXT, Settings, plain_value
from stylegan3d.checkpoints.pickle_values import printable
from stylegan3d.geometry.frame import Frame, assumed_frame
from stylegan3d.networks.config import DiscriminatorConfig, GeneratorConfig
from stylegan3d.plain import Json

ORIGIN = (
    "Trained with the original 3D-StyleGAN (Hong et al. 2021, arXiv 2107.09700); read from its "
    "network file without TensorFlow."
)
INTENDED_USE = "Research and teaching. Synthetic: not for diagnosis."
LICENCE = "Unknown: the terms of whoever trained the network"
DESCRIPTION = (
    "The network file does not say where its voxels lie; the axes and the voxel size are {how}."
)


def official_card(
    path: Path,
    digest: str,
    config: GeneratorConfig,
    judge: DiscriminatorConfig | None,
    settings: Settings,
) -> Json:
    """The card of a network file, its space assumed.

    Parameters
    ----------
    digest : str
        SHA-256 of the file.
    config, judge : GeneratorConfig, DiscriminatorConfig or None
        Of the generator, and of the discriminator if the file holds one.
    settings : Settings
        `static_kwargs` of the generator and its parts.
    """
    shape = config.image_grids[-1]
    return {
        "name": re.sub(r"[^\w.+-]+", "-", path.stem)[:60] or "official",
        "modality": "MR",
        "architecture": {
            "generator": config.to_dict(),
            "discriminator": judge.to_dict() if judge else None,
            "encoder": None,
        },
        "space": frame_entry(assumed_frame(shape), shape, assumed=True),
        "intensity": {"network_range": [-1, 1]},
        "training_data": [],
        "licence": LICENCE,
        "intended_use": INTENDED_USE,
        "origin": {
            "program": "3D-StyleGAN",
            "description": ORIGIN,
            "file": printable(path.name),
            "sha256": digest,
            "settings": {
                printable(name[:LONGEST_TEXT]): _shown(value) for name, value in settings.items()
            },
        },
    }


def _shown(value: Any) -> Any:
    plain = plain_value(value)
    return printable(plain) if type(plain) is str else plain


def frame_entry(frame: Frame, shape: tuple[int, int, int], *, assumed: bool) -> Json:
    """`card["space"]` of a generator whose file does not contain its geometry.

    Its `frame` means that the frame can be changed, `assumed` that it has not been confirmed.
    """
    return {
        "shape": list(shape),
        "affine": frame.space(shape).affine.tolist(),
        "axes": frame.axes,
        "frame": str(frame),
        "assumed": assumed,
        "description": DESCRIPTION.format(
            how="assumed, as FreeSurfer conforms scans" if assumed else "the user's"
        ),
    }
