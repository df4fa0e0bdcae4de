"""FID of central slices with an Inception network, as in papers on 3D-StyleGAN.

Hong et al. 2021 (arXiv 2107.09700) treat the central slice of each plane as a photograph. The
weights, trained on photographs, cannot be distributed here: the user provides a file.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.errors import ModelError
from stylegan3d.geometry.intensity import as_packed, unit
from stylegan3d.geometry.slicing import NORMAL, Plane
from stylegan3d.geometry.space import Space, to_ras
from stylegan3d.metrics.inception import CLASSES_2015, InceptionV3
from stylegan3d.metrics.torchscript import is_torchscript, read_torchscript
from stylegan3d.plain import Json
from stylegan3d.progress import Progress
from stylegan3d.storage.hashing import sha256_of

SIDE, BATCH = 299, 8
Network = Callable[[Tensor], Tensor]


class SliceNetwork:
    """Picture features from a network file.

    Attributes
    ----------
    name : str
        The kind of network that was recognised.
    hash : str
        SHA-256 of the file.

    Raises
    ------
    ModelError
        If the file is neither a TorchScript network that returns picture features nor a state dict
        of Inception v3, or its TorchScript code does more than compute.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ModelError(f"There is no file {path}: give the weights of Inception v3.")
        self.path, self.hash = path, sha256_of(path)
        self.name, self._features = _scripted(path) or _from_state(path)
        self.features([np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)])

    @torch.no_grad()
    def features(self, pictures: list[np.ndarray]) -> np.ndarray:
        """[n, features] of pictures, uint8 (rows, columns) of equal size."""
        grey = torch.from_numpy(np.stack(pictures))[:, None].expand(-1, 3, -1, -1)
        try:
            found = self._features(grey)
        except RuntimeError as error:
            raise self._refused(str(error).strip().rpartition("\n")[2]) from error
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(pictures):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise self._refused(f"it gives {shape}")
        return found.double().cpu().numpy()

    def _refused(self, reason: str) -> ModelError:
        return ModelError(
            f"{self.path.name} is no network that gives [n, features] of pictures ({reason}); "
            "give a TorchScript file or a state dict of Inception v3."
        )


def _scripted(path: Path) -> tuple[str, Network] | None:
    """Load a TorchScript network; None if the file is not one."""
    if not is_torchscript(path):
        return None
    try:
        archive = read_torchscript(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch deprecates TorchScript
            network = torch.jit.load(archive, map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError, zipfile.BadZipFile):
        return None
    arguments = [argument.name for argument in network.forward.schema.arguments]
    if "return_features" in arguments:  # accepts uint8 and scales it itself
        return "TorchScript with return_features", lambda x: network(
            x.contiguous(), return_features=True
        )
    return "TorchScript", lambda x: network(_scaled(x))


def _from_state(path: Path) -> tuple[str, Network]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        of_2015 = len(state["fc.weight"]) == CLASSES_2015
        network = InceptionV3(of_2015)
        known = network.state_dict()
        network.load_state_dict({key: state[key] for key in known if key in state}, strict=False)
        missing = [k for k in known if k not in state and not k.endswith("num_batches_tracked")]
        if missing:
            raise ValueError(f"it has no {missing[0]}")
    except Exception as error:  # torch may raise any exception for invalid files
        reason = str(error).partition("\n")[0][:120] or type(error).__name__
        raise ModelError(
            f"{path.name} is neither TorchScript nor a state dict of Inception v3 ({reason}); give "
            "such a file, for example torchvision's weights or those FID is usually computed with."
        ) from error
    network = network.eval().requires_grad_(False)
    classes = CLASSES_2015 if of_2015 else len(state["fc.weight"])
    return f"Inception v3 with {classes} classes", lambda x: network(_scaled(x))


def _scaled(pictures: Tensor) -> Tensor:
    """uint8 [N, 3, H, W] -> [N, 3, 299, 299] in [-1, 1]."""
    x = pictures.float() / 127.5 - 1
    return F.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False)


def middle_slices(volume: np.ndarray, space: Space) -> dict[Plane, np.ndarray]:
    """Axial, coronal and sagittal slice through the centre of the grid, uint8, upright."""
    data, _ = to_ras(as_packed(unit(volume)), space.affine)
    return {
        plane: np.take(data, data.shape[axis] // 2, axis=axis).T[::-1]
        for plane, axis in NORMAL.items()
    }


def slice_features(
    volumes: Iterable[np.ndarray],
    space: Space,
    network: SliceNetwork,
    progress: Progress | None = None,
) -> dict[Plane, np.ndarray]:
    """Features [n, features] of the central slices of each plane."""
    cuts = [middle_slices(volume, space) for volume in volumes]
    found: dict[Plane, np.ndarray] = {}
    for done, plane in enumerate(NORMAL):
        pictures = [np.ascontiguousarray(cut[plane]) for cut in cuts]
        found[plane] = np.concatenate(
            [network.features(pictures[i : i + BATCH]) for i in range(0, len(cuts), BATCH)]
        )
        if progress is not None:
            progress(done + 1, len(NORMAL))
    return found


def describe_network(network: SliceNetwork) -> Json:
    """For the report."""
    return {"network": network.name, "file": network.path.name, "sha256": network.hash}
