"""Descriptors of brain volumes by a 3D network.

FID in 2D uses a network trained on photographs. Here it is the encoder of deepbet's `LinkNet3d`,
trained to segment brains in T1-weighted MR of many scanners (Fisch et al., "deepbet: Fast brain
extraction of T1-weighted MRI using Convolutional Neural Networks", Computers in Biology and
Medicine 2024; MIT). Its weights are in the wheel of a required package, so no download is needed
and figures are comparable between machines.

The wheel contains a traced network, of which the encoder alone is run here.
"""

import warnings
from collections.abc import Iterable
from functools import lru_cache, partial
from itertools import islice
from operator import length_hint
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.base import SILENT, Progress, StyleGAN3DError
from stylegan3d.devices import workers
from stylegan3d.geometry.space import unit
from stylegan3d.storage.files import reason

# deepbet resamples the box around the brain (about 20 cm) to 256 voxels: about 0.8 mm each.
FEATURE_MM = 1.0
CHANNELS = (32, 64, 128)
DESCRIPTOR_SIZE = 2 * sum(CHANNELS)
# deepbet's normalisation of intensities: these quantiles become 0 and 1, then this mean and
# standard deviation.
QUANTILES = (0.005, 0.995)
MEAN, DEVIATION = 0.449, 0.226
LEAST_VOXELS = 32


@lru_cache(maxsize=1)
def feature_network() -> Any:
    """deepbet's network on the CPU in float32; `feature_maps` runs its encoder.

    Raises
    ------
    StyleGAN3DError
        If the installed deepbet contains another network.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch deprecates TorchScript
            from deepbet.utils import DATA_PATH

            network = torch.jit.load(f"{DATA_PATH}/models/model.pt", map_location="cpu")
        if network.state_dict()["down3.block2.double_conv.3.weight"].shape[0] != CHANNELS[-1]:
            raise ValueError("its layers have other sizes")
    except (ImportError, RuntimeError, ValueError, KeyError) as error:
        raise StyleGAN3DError(
            f"The feature network of deepbet cannot be read ({reason(error)}); install deepbet "
            "1.0.2."
        ) from error
    return network.eval()


def feature_maps(network: Any, x: Tensor) -> list[Tensor]:
    """[N, 1, X, Y, Z] -> maps of the stem (grid / 4) and the four stages (/ 4, 8, 16, 32)."""
    relu = getattr(network.conv, "2")  # the layers share it
    maps = [network.init(relu, x)]
    for stage in (network.down0, network.down1, network.down2, network.down3):
        maps.append(stage(relu, maps[-1]))
    return maps


def network_input(volume: np.ndarray, voxel_mm: tuple[float, float, float]) -> Tensor:
    """Prepare a volume for the network: [1, 1, X', Y', Z'] with voxels of `FEATURE_MM`.

    deepbet itself crops to the brain with a margin of a tenth, resamples to 256 x 256 x 256 by
    nearest neighbour, clips to the quantiles 0.005 and 0.995 of the head, and normalises to mean
    0.449 and standard deviation 0.226. Here the whole grid is resampled linearly to voxels of 1 mm
    (close to deepbet's 0.8 mm), so that a brain's size is preserved and previews can be compared
    with full volumes; quantiles and normalisation are the same.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z), uint8
        Volume of a pack or float; values outside [0, 1] are clipped.
    voxel_mm : tuple of float
        Edge lengths of its voxels.
    """
    # Rendered brains may reach 1.5, those of a pack cannot.
    x = torch.from_numpy(unit(np.ascontiguousarray(volume)))[None, None]
    grid = [
        max(round(n * mm / FEATURE_MM), LEAST_VOXELS)
        for n, mm in zip(volume.shape, voxel_mm, strict=True)
    ]
    low, high = np.quantile(x.numpy(), QUANTILES)
    if list(volume.shape) != grid:
        x = F.interpolate(x, grid, mode="trilinear", align_corners=False)
    x = ((x - float(low)) / max(float(high - low), 1e-6)).clamp_(0, 1)
    deviation = x.std().clamp(min=1e-6)
    return (x - x.mean()) / deviation * DEVIATION + MEAN


def describe(
    volumes: Iterable[np.ndarray],
    voxel_mm: tuple[float, float, float],
    *,
    device: torch.device | str = "cpu",
    progress: Progress = SILENT,
) -> np.ndarray:
    """Descriptors of volumes: spatial means and standard deviations of three stages.

    Parameters
    ----------
    volumes : iterable of ndarray
        Each (X, Y, Z), uint8 of a pack or float, clipped to [0, 1], x from left to right. Consumed
        one at a time.
    voxel_mm : tuple of float
        Edge lengths of their voxels in millimetres.
    device : torch.device or str
        Device of the network; always in float32.
    progress : Progress
        Called with done and total (0 if unknown).

    Returns
    -------
    ndarray, shape (n, 448), float64
        Means of the 32 + 64 + 128 channels of down1, down2 and down3, then their standard
        deviations.

    Raises
    ------
    StyleGAN3DError
        If a volume is not finite or constant.
    """
    total = length_hint(volumes)
    one = partial(_describe_one, feature_network().to(device), voxel_mm=voxel_mm, device=device)
    rows: list[np.ndarray] = []
    with workers(device) as mapped:
        source = enumerate(volumes, 1)
        while block := list(islice(source, 2 * torch.get_num_threads())):
            for row in mapped(one, block):
                rows.append(row)
                progress(len(rows), total)
    return np.stack(rows) if rows else np.zeros((0, DESCRIPTOR_SIZE))


@torch.no_grad()
def _describe_one(
    network: Any,
    numbered: tuple[int, np.ndarray],
    *,
    voxel_mm: tuple[float, float, float],
    device: torch.device | str,
) -> np.ndarray:
    """Descriptor [448] of one volume and its number."""
    number, volume = numbered
    if not np.isfinite(volume).all() or volume.max() == volume.min():
        raise StyleGAN3DError(
            f"Volume {number} is empty or not finite, so it has no features; check the generator."
        )
    # Without this cuDNN rounds float32 to TF32 and may sum in random order.
    with torch.backends.cudnn.flags(deterministic=True, allow_tf32=False):
        maps = feature_maps(network, network_input(volume, voxel_mm).to(device))[2:]
    means = [m.mean(dim=(2, 3, 4))[0] for m in maps]
    deviations = [m.std(dim=(2, 3, 4), correction=0)[0] for m in maps]
    return torch.cat(means + deviations).double().cpu().numpy()
