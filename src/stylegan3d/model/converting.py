"""Convert a network of the original 3D-StyleGAN to a model folder.

The folder opens faster, describes the network in its card, and contains no executable code.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from stylegan3d.checkpoints.folder import check_target, write_folder
from stylegan3d.checkpoints.official import is_official, read_official
from stylegan3d.checkpoints.official_card import frame_entry
from stylegan3d.errors import ModelError
from stylegan3d.geometry.frame import Frame
from stylegan3d.model.card import card_text
from stylegan3d.storage.volumes import atomic_write_text

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def convert(
    path: str | Path,
    out: str | Path,
    *,
    frame: Frame | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
) -> Path:
    """Write a network file (.pkl) as a model folder.

    Parameters
    ----------
    path : path-like
        The network file.
    out : path-like
        The folder to write.
    frame : Frame or None
        Voxel orientation and size; None keeps the assumed one, marked as such in the card.
    dtype : str
        Precision of the stored weights: "float32", "float16" or "bfloat16". With float32 the images
        are identical to the file's, bit for bit; the others halve the folder's size. Mapping
        network and mean w stay in float32, since they are small.
    overwrite : bool
        Replace an existing model.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ModelError, OutputError
        If the file cannot be opened or the folder cannot be written.
    """
    path, out = Path(path).expanduser(), Path(out).expanduser()
    if dtype not in DTYPES:
        raise ModelError(f"The precision '{dtype}' is unknown; choose one of {', '.join(DTYPES)}.")
    if not path.exists():
        raise ModelError(f"There is no network file at '{path}'; check the path.")
    if not is_official(path):
        raise ModelError(
            f"'{path.name}' is not a network of the original 3D-StyleGAN; choose its .pkl file."
        )
    check_target(out, overwrite)
    files = read_official(path)
    card = files.card
    if frame is not None:
        a, b, c = card["space"]["shape"]
        card["space"] = frame_entry(frame, (a, b, c), assumed=False)
    stored = {name: _stored(name, value, DTYPES[dtype]) for name, value in files.tensors.items()}
    write_folder(out, card, stored, overwrite=overwrite)
    atomic_write_text(out / "README.md", card_text(card), overwrite=True)
    return out


def _stored(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    if not name.startswith(("synthesis.", "discriminator.")) or dtype == torch.float32:
        return value
    stored = value.to(dtype)
    if not bool(torch.isfinite(stored).all()):
        raise ModelError(
            f"The weights '{name}' hold numbers beyond the range of {str(dtype)[6:]}; store them "
            "as float32 or bfloat16."
        )
    return stored
