"""Networks of the original 3D-StyleGAN (Hong et al. 2021), from the files its training wrote.

Such a file is a pickle of the three networks (G, D, Gs), Gs being the moving average that makes
the images. It is read as data (`pickle_data`), its variables become parameters of our networks
(`official_names`), and what the original does differently are settings of those
(`official_configs`). TensorFlow is not needed, and nothing that the file carries is run.

The card of a network of the original 3D-StyleGAN.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan3d.checkpoints.folder import ModelFiles
from stylegan3d.checkpoints.official_configs import (
    INCOMPLETE,
    LONGEST_TEXT,
    UNSUPPORTED,
    Settings,
    discriminator_config,
    generator_config,
    plain_value,
)
from stylegan3d.checkpoints.official_names import (
    Variable,
    discriminator_variables,
    generator_variables,
)
from stylegan3d.checkpoints.pickle_data import (
    Array,
    Network,
    Refused,
    printable,
    quoted,
    read_pickle,
)
from stylegan3d.errors import ModelError
from stylegan3d.geometry.space import Frame, assumed_frame
from stylegan3d.networks.config import DiscriminatorConfig, GeneratorConfig
from stylegan3d.plain import Json
from stylegan3d.storage.formats import is_kind
from stylegan3d.storage.tensorfiles import read_bytes

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


LARGEST_FILE = 2 * 1024**3  # bytes; the networks of Hong et al. have less than 100 MB
VERSIONS = (2, 3, 4)  # of the networks' state
# Variables that training wrote and no image depends on.
IGNORED = ("lod",)
Variables = dict[str, np.ndarray]


def is_official(path: Path) -> bool:
    """Whether a file is a pickle, by its name or its first byte."""
    # Files of our own models may begin with any byte.
    if not path.is_file() or not path.stat().st_size or is_kind(path, "tensors", "record"):
        return False
    if is_kind(path, "checkpoint"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(1) == b"\x80"
    except OSError:
        return False


def read_official(path: Path) -> ModelFiles:
    """Read a network file of the original 3D-StyleGAN.

    Parameters
    ----------
    path : Path
        The pickle of (G, D, Gs); one generator alone will do.

    Returns
    -------
    ModelFiles
        What a model folder of ours would hold. The space in its card is assumed, for the file does
        not say where its voxels lie; see `geometry.space.Frame`.

    Raises
    ------
    ModelError
        If the file is damaged, asks for anything but data, or holds another network.
    """
    if path.exists() and path.stat().st_size > LARGEST_FILE:
        raise ModelError(
            f"'{path.name}' has {path.stat().st_size / 1024**3:.1f} GiB, more than any network of "
            "the original 3D-StyleGAN; choose such a network's file."
        )
    data = read_bytes(path, ModelError)
    try:
        return _read(path, data)
    except Refused as refused:
        raise ModelError(f"'{path.name}' {refused.reason}: {refused.advice}.") from refused


def _read(path: Path, data: bytes) -> ModelFiles:
    generator, discriminator = _choose(read_pickle(data))
    parts = _components(generator)
    variables = _variables(generator, len(data), ignored=IGNORED)
    for name, part in parts.items():
        found = _variables(part, len(data))
        variables |= {f"{name}/{local}": values for local, values in found.items()}
    own = _settings(generator)
    mapping, synthesis = ({**own, **_settings(parts[name])} for name in ("mapping", "synthesis"))
    config = generator_config(variables, synthesis, mapping)
    tensors = _convert(variables, generator_variables(config))
    judge = None
    if discriminator is not None:
        judged = _settings(discriminator)
        variables = _variables(discriminator, len(data), ignored=IGNORED)
        judge = discriminator_config(variables, judged)
        _check_pair(config, judge)
        tensors |= _convert(variables, discriminator_variables(judge))
    digest = hashlib.sha256(data).hexdigest()
    card = official_card(path, digest, config, judge, {**mapping, **synthesis})
    return ModelFiles(None, card, tensors, None, digest)


def _choose(root: Any) -> tuple[Network, Network | None]:
    """The generator to use, Gs where there is one, and the discriminator."""
    networks = list(root) if type(root) in (tuple, list) else [root]
    if not 1 <= len(networks) <= 3 or not all(type(n) is Network for n in networks):
        raise Refused("does not hold the networks (G, D, Gs)", UNSUPPORTED)
    for network in networks:
        version = network.state.get("version")
        if type(version) is not int or version not in VERSIONS:
            raise Refused("holds a network of an unknown version", UNSUPPORTED)
    generators = [n for n in networks if _components(n)]
    others = [n for n in networks if not _components(n)]
    if not generators:
        raise Refused("holds no generator with a mapping and a synthesis network", UNSUPPORTED)
    if len(others) > 1:
        raise Refused("holds more than one discriminator", UNSUPPORTED)
    # The moving average is the last of (G, D, Gs).
    return generators[-1], others[0] if others else None


def _components(network: Network) -> dict[str, Network]:
    """Mapping and synthesis network of a generator; empty for a discriminator."""
    parts = network.state.get("components", {})
    if type(parts) is not dict or not all(type(part) is Network for part in parts.values()):
        raise Refused("holds a network whose parts are none", INCOMPLETE)
    if parts and sorted(parts) != ["mapping", "synthesis"]:
        raise Refused("holds a generator of other parts than mapping and synthesis", UNSUPPORTED)
    return parts


def _settings(network: Network) -> Settings:
    settings = network.state.get("static_kwargs", {})
    if type(settings) is not dict:
        raise Refused("holds a network whose settings are none", INCOMPLETE)
    return settings


def _variables(network: Network, size: int, ignored: tuple[str, ...] = ()) -> Variables:
    """A network's own variables by name; together no larger than the file of `size` bytes."""
    found: Variables = {}
    items = network.state.get("variables")
    if type(items) is not list:
        raise Refused("holds a network without variables", INCOMPLETE)
    total = 0
    for item in items:
        if type(item) not in (tuple, list) or len(item) != 2 or type(item[0]) is not str:
            raise Refused("holds a network whose variables have no names", INCOMPLETE)
        name, value = item
        if name in ignored:
            continue
        values = value.values if type(value) is Array else None
        if name in found or values is None or values.dtype.kind != "f":
            raise Refused(f"has no array of numbers for the variable {quoted(name)}", INCOMPLETE)
        total += values.nbytes
        if total > size:
            # Possible only if many variables share the same bytes of the file.
            raise Refused("holds networks larger than itself", UNSUPPORTED)
        found[name] = values
    return found


def _convert(variables: Variables, table: Iterable[Variable]) -> dict[str, Tensor]:
    """Our tensors; each variable must have the shape in the table, and none may be left over."""
    tensors: dict[str, Tensor] = {}
    left = set(variables)
    rows = list(table)
    # A network built without noise lacks its strengths, but never some of them.
    silent = not any(row.noise and row.official in variables for row in rows)
    for row in rows:
        if row.noise and silent:
            tensors[row.ours] = torch.zeros(row.shape)
            continue
        if row.official not in variables:
            raise Refused(f"lacks the variable {quoted(row.official)}", INCOMPLETE)
        left.discard(row.official)
        values = variables[row.official]
        if values.shape != row.shape:
            raise Refused(
                f"has the variable {quoted(row.official)} of shape {values.shape}, and the rest of "
                f"the network fits {row.shape}",
                INCOMPLETE,
            )
        tensors[row.ours] = row.convert(_tensor(row.official, values)).contiguous()
    if left:
        name = quoted(sorted(left)[0])
        raise Refused(f"has the variable {name}, which is not known", UNSUPPORTED)
    return tensors


def _tensor(name: str, values: np.ndarray) -> Tensor:
    """A float32 copy in this machine's byte order."""
    with np.errstate(over="ignore"):
        tensor = torch.from_numpy(values.astype(np.dtype("=f4"), order="C", copy=True))
    if not bool(torch.isfinite(tensor).all()):
        raise Refused(
            f"has infinite or undefined numbers in the variable {quoted(name)}",
            "its training had failed by then, so choose an earlier snapshot",
        )
    return tensor


def _check_pair(generator: GeneratorConfig, judge: DiscriminatorConfig) -> None:
    """Refuse a discriminator that cannot look at the generator's volumes."""
    finest = tuple(n * 2 ** (len(judge.channels) - 1) for n in judge.base)
    same = (finest, judge.image_channels, judge.label_dim) == (
        generator.image_grids[-1],
        generator.image_channels,
        generator.label_dim,
    )
    if not same:
        raise Refused("holds a discriminator that does not fit its generator", INCOMPLETE)
