"""The network that paints a brain from labels in a contrast."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.base import ModelError
from stylegan3d.networks.autoencoder import Convolution
from stylegan3d.networks.config import Config, Grid
from stylegan3d.networks.resampling import haar, inverse_haar
from stylegan3d.segmentation.classes import CLASSES

TISSUES = CLASSES[1:]
AXES = ("left to right", "back to front", "bottom to top")
#: Names of the numbers, in their order.
CONTRAST = (
    *(f"{tissue} mean" for tissue in TISSUES),
    *(f"{tissue} spread" for tissue in TISSUES),
    *(f"white {axis}" for axis in AXES),
    "sharpness",
)
# Too few voxels for a mean: such a tissue gets the subjects' mean.
FEWEST = 20
_WHITE = CLASSES.index("white")


def contrast_of(volume: np.ndarray, tissues: np.ndarray) -> np.ndarray:
    """The contrast of one brain.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z), float32
        Values in [0, 1], axes running right, anterior, superior.
    tissues : ndarray, shape (X, Y, Z), uint8
        Tissues of `CLASSES`.

    Returns
    -------
    ndarray, shape (14,), float32
        The numbers of `CONTRAST`: means and spreads in units of the volume, the change of the white
        matter's brightness from the grid's middle to its end along each axis, and the mean step
        between neighbours inside the brain. NaN where a tissue has too few voxels to tell.
    """
    counts = np.bincount(tissues.ravel(), minlength=len(CLASSES))[1:].astype(np.float64)
    values = volume.ravel().astype(np.float64)
    sums, squares = (
        np.bincount(tissues.ravel(), weights=w, minlength=len(CLASSES))[1:]
        for w in (values, values * values)
    )
    enough = counts >= FEWEST
    safe = np.where(enough, counts, 1)
    means = np.where(enough, sums / safe, np.nan)
    spreads = np.sqrt(np.maximum(np.where(enough, squares / safe, np.nan) - means**2, 0))
    parts = [means, spreads, _slopes(volume, tissues), [_sharpness(volume, tissues)]]
    return np.concatenate(parts).astype(np.float32)


def filled(contrast: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """A contrast whose unknown numbers are those of another."""
    return np.where(np.isfinite(contrast), contrast, usual).astype(np.float32)


def _slopes(volume: np.ndarray, tissues: np.ndarray) -> np.ndarray:
    """Of a plane through the white matter's brightness, per half of each axis of the grid."""
    places = np.argwhere(tissues == _WHITE)
    if len(places) < FEWEST:
        return np.full(3, np.nan)
    half = (np.array(volume.shape) - 1) / 2
    design = np.column_stack([(places - half) / half, np.ones(len(places))])
    wanted = design.T @ volume[tissues == _WHITE].astype(np.float64)
    normal = design.T @ design + 1e-6 * len(places) * np.eye(4)
    return np.asarray(np.linalg.solve(normal, wanted))[:3]


def _sharpness(volume: np.ndarray, tissues: np.ndarray) -> float:
    """Mean absolute difference of neighbours that both are labelled; NaN without any."""
    total, count = 0.0, 0
    for axis in range(3):
        image, there = (np.moveaxis(part, axis, 0) for part in (volume, tissues > 0))
        steps = np.abs(np.diff(image, axis=0))[there[1:] & there[:-1]]
        total, count = total + float(steps.sum(dtype=np.float64)), count + steps.size
    return total / count if count >= FEWEST else float("nan")


#: Numbers that a region of a parcellation becomes.
REGION_CHANNELS = 4
# Contrasts are in standard deviations of subjects, clipped at this value.
FARTHEST = 4.0
_EMBEDDED = 64
# Haar bands of labels and of the mean brain, and three coordinates.
_INPUTS = 8 * (len(CLASSES) - 1 + REGION_CHANNELS + 1) + 3


@dataclass(frozen=True)
class TranslationConfig(Config):
    """Shape of the network.

    Attributes
    ----------
    shape : Grid
        Voxels of a volume, each a multiple of `multiple`.
    channels : tuple of int
        Widths on the half grid, the quarter grid and so on.
    blocks : int
        Residual blocks on each of them, on the way down and again on the way up.
    regions : int
        Its groups of regions, see `card.RegionTable.groups`.
    """

    shape: Grid = (80, 112, 96)
    channels: tuple[int, ...] = (32, 64, 96)
    blocks: int = 1
    regions: int = 0

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1 or self.blocks < 1 or self.regions < 0:
            raise ModelError("A translation network has at least one channel everywhere.")
        if any(n < self.multiple or n % self.multiple for n in self.shape):
            raise ModelError(
                "A translation network takes volumes whose axes are multiples of "
                f"{self.multiple} voxels, not {' x '.join(map(str, self.shape))}; prepare the "
                "dataset on such a grid."
            )

    @property
    def multiple(self) -> int:
        """Every axis of a volume or a crop is a multiple of it."""
        return int(2 ** len(self.channels))


class FilmBlock(nn.Module):
    """A residual block of two convolutions; the contrast modulates the features in between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels)
        self.second = Convolution(channels, channels)
        self.film = nn.Linear(_EMBEDDED, 2 * channels)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, contrast: Tensor) -> Tensor:
        """[N, channels, X, Y, Z] and the embedded contrast [N, 64] -> the same shape."""
        scale, shift = self.film(contrast)[:, :, None, None, None].to(x.dtype).chunk(2, dim=1)
        return x + self.second(F.silu(self.first(F.silu(x)) * (1 + scale) + shift))


class TranslationNetwork(nn.Module):
    """Labels and a contrast to volumes in [0, 1].

    Attributes
    ----------
    mean : Tensor, shape (1, 8, X/2, Y/2, Z/2)
        Haar bands of the mean brain.
    places : Tensor, shape (1, 3, X/2, Y/2, Z/2)
        Coordinates of the half grid, each in [-1, 1].
    usual, spread : Tensor, shape (14,)
        Mean and standard deviation of subjects' contrasts.
    """

    mean: Tensor
    places: Tensor
    usual: Tensor
    spread: Tensor

    def __init__(self, config: TranslationConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        pairs = list(pairwise(widths))
        self.region = nn.Embedding(config.regions + 1, REGION_CHANNELS, padding_idx=0)
        self.contrast = nn.Sequential(nn.Linear(len(CONTRAST), _EMBEDDED), nn.SiLU())
        self.stem = nn.Conv3d(_INPUTS, widths[0], 1)
        self.down = nn.ModuleList(Convolution(a, b, 2) for a, b in pairs)
        self.lift = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairs)
        self.inward = nn.ModuleList(_blocks(w, config.blocks) for w in widths)
        self.outward = nn.ModuleList(_blocks(a, config.blocks) for a in widths)
        self.head = Convolution(widths[0], 8)
        nn.init.zeros_(self.head.weight)
        half = tuple(n // 2 for n in config.shape)
        axes = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in half), indexing="ij")
        self.register_buffer("places", torch.stack(axes)[None], persistent=False)
        self.register_buffer("mean", torch.zeros(1, 8, *half))
        self.register_buffer("usual", torch.zeros(len(CONTRAST)))
        self.register_buffer("spread", torch.ones(len(CONTRAST)))

    def forward(
        self, tissues: Tensor, regions: Tensor, contrast: Tensor, where: Tensor | None = None
    ) -> Tensor:
        """Paint label maps.

        Parameters
        ----------
        tissues : Tensor, shape (N, X, Y, Z), uint8
            Tissues of `CLASSES`.
        regions : Tensor, shape (N, X, Y, Z), uint8
            Groups of regions counted from 1; 0 where none is known.
        contrast : Tensor, shape (N, 14), float32
            See `CONTRAST`.
        where : Tensor, shape (N, 11, X/2, Y/2, Z/2), or None
            `mean` and `places` of crops; None for whole volumes.

        Returns
        -------
        Tensor, shape (N, 1, X, Y, Z), float32
            About in [0, 1].
        """
        hot = F.one_hot(tissues.long(), len(CLASSES))[..., 1:].movedim(-1, 1).float()
        plain = torch.einsum("nc,ncxyz->nxyz", contrast[:, : len(CLASSES) - 1], hot)[:, None]
        named = self.region(regions.int()).movedim(-1, 1).float()
        if where is None:
            whole = torch.cat([self.mean, self.places], dim=1)
            where = whole.expand(len(hot), -1, -1, -1, -1)
        told = torch.cat([haar(torch.cat([hot, named], dim=1)), where], dim=1)
        code = ((contrast - self.usual) / self.spread).clamp(-FARTHEST, FARTHEST)
        dtype = self.stem.weight.dtype
        bands = self._body(told.to(dtype), self.contrast(code.to(dtype)))
        return plain + inverse_haar(bands.float())

    def where(self, box: tuple[slice, slice, slice]) -> Tensor:
        """`mean` and `places` in a box of the grid that begins and ends at even voxels."""
        x, y, z = (slice(part.start // 2, part.stop // 2) for part in box)
        return torch.cat([self.mean[..., x, y, z], self.places[..., x, y, z]], dim=1)

    def lower(self, dtype: torch.dtype) -> None:
        """Compute features in a lower precision; the inputs keep theirs."""
        parts = (self.contrast, self.stem, self.down, self.lift, self.inward, self.outward)
        for part in (*parts, self.head):
            part.to(dtype)

    def _body(self, told: Tensor, code: Tensor) -> Tensor:
        """[N, inputs, X/2, ...] and the embedded contrast -> bands [N, 8, X/2, ...]."""
        x = self.stem(told)
        skips = []
        for level, blocks in enumerate(self.inward):
            x = _through(blocks, x if level == 0 else self.down[level - 1](x), code)
            skips.append(x)
        for level in reversed(range(len(skips))):
            if level < len(skips) - 1:
                x = skips[level] + F.interpolate(self.lift[level](x), scale_factor=2)
            x = _through(self.outward[level], x, code)
        bands: Tensor = self.head(F.silu(x))
        return bands


def _blocks(channels: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(FilmBlock(channels) for _ in range(count))


def _through(blocks: nn.Module, x: Tensor, code: Tensor) -> Tensor:
    assert isinstance(blocks, nn.ModuleList)
    for block in blocks:
        x = block(x, code)
    return x
