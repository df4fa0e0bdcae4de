"""Load a trained generator: a model folder, or a file of the original 3D-StyleGAN.

Convert a network of the original 3D-StyleGAN to a model folder.

The folder opens faster, describes the network in its card, and contains no executable code.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from stylegan3d.base import ModelError
from stylegan3d.checkpoints.folder import (
    ModelFiles,
    check_card,
    check_target,
    read_folder,
    write_folder,
)
from stylegan3d.checkpoints.official import frame_entry, is_official, read_official
from stylegan3d.devices import choose_device, choose_dtype
from stylegan3d.geometry.space import Frame, checked_space
from stylegan3d.model.card import card_text
from stylegan3d.model.family import Parts, family_of
from stylegan3d.model.generator import Generator
from stylegan3d.model.labelled_mapping import LabelledMapping
from stylegan3d.recipe.label import check_labels
from stylegan3d.storage.files import atomic_write_text, reason
from stylegan3d.storage.places import bundled_model_path, bundled_models


def load(
    path: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    frame: Frame | str | None = None,
) -> Generator:
    """Load a trained generator.

    Parameters
    ----------
    path : path-like or None
        A model folder, the name of a bundled model (`bundled_models`), or a network file (.pkl) of
        the original 3D-StyleGAN, which is read as data without executing anything in it. None loads
        the default bundled model. "hf://ORGANISATION/NAME" is fetched from the Hugging Face Hub.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps". "auto" uses a GPU if there is one.
    dtype : str
        Precision of the feature maps: "auto" (float32), "float32", "bfloat16", "float16". The
        renderer chooses its own precision for previews.
    frame : Frame, str or None
        Voxel orientation and size of a network of the original 3D-StyleGAN, such as "LIA:2", which
        its file does not contain; None assumes FreeSurfer's (see `frame.assumed_frame`), with a
        doubt, `frame_doubt`.

    Raises
    ------
    ModelError
        If the model does not exist or is damaged, the device does not exist, or a frame is given
        for a model that has its own.
    """
    if path is not None and (name := Path(path).as_posix()).startswith(HUB):
        path = _fetched(name.removeprefix(HUB).lstrip("/"))
    place = bundled_model_path() if path is None else Path(path).expanduser()
    if not place.exists() and place.name == str(path) and str(path) in bundled_models():
        place = bundled_model_path(str(path))
    if not place.exists():
        names = " or ".join(bundled_models())
        raise ModelError(
            f"There is no generator at '{place}': give a folder, or {names}."
            + ("" if len(bundled_models()) > 1 else " More come with stylegan3d-models.")
        )
    if isinstance(frame, str):
        frame = Frame.parse(frame)
    files = read_official(place) if is_official(place) else read_folder(place)
    generator = _build(files, files.folder or place, choose_device(device), choose_dtype(dtype))
    if frame is None:
        return generator
    if generator.frame is None:
        raise ModelError(
            f"The model '{generator.name}' contains its own orientation and voxel size; "
            "omit --frame."
        )
    return generator.with_space(frame.space(generator.shape))


#: Models of the Hugging Face Hub begin with it, as a path; nothing else makes the program ask a
#: network.
HUB = "hf:/"


def _fetched(name: str) -> str:
    """Folder of a model of the Hugging Face Hub, fetched or fetched earlier."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelError(
            "Models of the Hugging Face Hub need a package more: pip install "
            "'napari-stylegan3d[hub]'. Or download the folder, and give that."
        ) from None
    try:
        return str(snapshot_download(name))
    except (OSError, ValueError) as error:  # those of huggingface_hub and its connections are these
        raise ModelError(
            f"The Hugging Face Hub does not give '{name}' ({reason(error)}): check its name and "
            "the network, or download the folder elsewhere and give that."
        ) from error


def _build(files: ModelFiles, path: Path, device: torch.device, dtype: torch.dtype) -> Generator:
    card = files.card
    try:
        check_card(card)
        family = family_of(card)
        family.check(card, files.tensors, files.encoder)
        parts = family.build(card, files.tensors, files.encoder)
        parts.check()
        size = parts.config.label_dim
        if files.labels is not None:
            parts.mapping = _labelled(files, parts)
            size = parts.mapping.label_dim
        check_labels(card.get("labels"), size)
        space = checked_space(card["space"]["shape"], card["space"]["affine"])
    except (KeyError, TypeError, ValueError, RuntimeError, ArithmeticError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise ModelError(
            f"The model '{path.name}' is incomplete or its card does not fit its weights "
            f"({reason}); copy the model folder again."
        ) from error
    return Generator(
        parts,
        space,
        card=card,
        hash=files.hash,
        labels_hash=files.labels_hash,
        folder=files.folder,
        path=path,
        device=device,
        dtype=dtype,
        family=family.name,
    )


def _labelled(files: ModelFiles, parts: Parts) -> LabelledMapping:
    """The mapping of a model with labels learned after training."""
    if parts.config.label_dim:
        raise ValueError("it has labels of its training and others")
    assert files.labels is not None
    sizes = [len(entry["average"]) for entry in files.card["labels"]]
    return LabelledMapping(parts.mapping, sizes, files.labels, parts.config.w_dim)


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
    precision = choose_dtype(dtype)
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
    stored = {name: _stored(name, value, precision) for name, value in files.tensors.items()}
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
