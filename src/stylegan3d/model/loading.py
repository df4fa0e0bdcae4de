"""Load a trained generator: a model folder, or a file of the original 3D-StyleGAN."""

from __future__ import annotations

from pathlib import Path

import torch

from stylegan3d.checkpoints.card_checks import check_card
from stylegan3d.checkpoints.folder import ModelFiles, read_folder
from stylegan3d.checkpoints.official import is_official, read_official
from stylegan3d.devices import choose_device, choose_dtype
from stylegan3d.errors import ModelError
from stylegan3d.geometry.frame import Frame
from stylegan3d.geometry.space import checked_space
from stylegan3d.model.family import Parts
from stylegan3d.model.generator import Generator
from stylegan3d.model.labelled_mapping import LabelledMapping
from stylegan3d.model.registry import family_of
from stylegan3d.recipe.label_schema import check_labels
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
        the default bundled model.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps". "auto" uses a GPU if there is one.
    dtype : str
        Precision of the feature maps: "auto" (float32), "float32", "bfloat16", "float16". The
        renderer chooses its own precision for previews.
    frame : Frame, str or None
        Voxel orientation and size of a network of the original 3D-StyleGAN, such as "LIA:2", which
        its file does not contain; None assumes FreeSurfer's (see `frame.assumed_frame`), with a
        warning in `frame_note`.

    Raises
    ------
    ModelError
        If the model does not exist or is damaged, the device does not exist, or a frame is given
        for a model that has its own.
    """
    place = bundled_model_path() if path is None else Path(path).expanduser()
    if not place.exists() and place.name == str(path) and str(path) in bundled_models():
        place = bundled_model_path(str(path))
    if not place.exists():
        raise ModelError(f"There is no generator at '{place}'; check the path.")
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
        parts.mapping,
        parts.synthesis,
        parts.w_avg,
        space,
        card=card,
        hash=files.hash,
        discriminator=parts.discriminator,
        encoder=parts.encoder,
        folder=files.folder,
        path=path,
        device=device,
        dtype=dtype,
        family=family.name,
        config=parts.config,
        cannot=parts.cannot,
        deviations=parts.deviations,
        components=parts.components,
        labels_hash=files.labels_hash,
    )


def _labelled(files: ModelFiles, parts: Parts) -> LabelledMapping:
    """The mapping of a model with labels learned after training."""
    if parts.config.label_dim:
        raise ValueError("it has labels of its training and others")
    assert files.labels is not None
    sizes = [len(entry["average"]) for entry in files.card["labels"]]
    return LabelledMapping(parts.mapping, sizes, files.labels, parts.config.w_dim)
