"""Forward operators: what a scan lost on its way from the brain, for projection to allow for.

With the generator as the prior, one objective solves the reconstruction tasks: the latent is sought
whose volume, seen through the operator, is most like the data (Bora et al. 2017, arXiv 1703.03208;
for brains Marinescu et al. 2020, arXiv 2012.04567). `restoration.restore` then puts the data
themselves into the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.errors import ScanError, StyleGAN3DError
from stylegan3d.hashing import sha256_of
from stylegan3d.projection.filters import Blur, KSpace
from stylegan3d.projection.forward import Operator
from stylegan3d.projection.slices import ThickSlices
from stylegan3d.scans.resampling import resample
from stylegan3d.space import Space

if TYPE_CHECKING:
    from stylegan3d.scans import AlignedScan

__all__ = [
    "Blur",
    "Contrast",
    "Identity",
    "KSpace",
    "Mask",
    "Operator",
    "ThickSlices",
    "parse",
]

# A model voxel counts as masked if this share of it is: partly damaged voxels are damaged.
MASKED_SHARE = 0.1


class Identity(Operator):
    """The scan shows the brain as it is."""

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        return image

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:  # noqa: D102
        return data

    def coarse(self, factor: int) -> Operator:  # noqa: D102
        return self

    def describe(self) -> dict[str, Any]:  # noqa: D102
        return {"Name": "identity"}


class Mask(Operator):
    """Nothing is known inside a mask: a lesion, a resection, a metal artefact.

    Parameters
    ----------
    mask : array (X, Y, Z) or path
        True (not 0) where the brain is to be made up. An array lies on the generator's grid; a
        NIfTI file lies in the scan's own space, on the scan's grid or another one of the same
        world coordinates, and is carried along with the scan.
    """

    def __init__(self, mask: np.ndarray | str | Path) -> None:
        self.path = None if isinstance(mask, np.ndarray) else Path(mask)
        self.mask: np.ndarray | None = None
        if isinstance(mask, np.ndarray):
            self.mask = _checked_mask(mask, "The mask")
        self.weights = torch.ones(())
        self._sha256 = sha256_of(self._file()) if self.path is not None else None

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:
        """Bind; a mask that is a file needs the aligned scan it belongs to."""
        mask = self.mask
        if mask is None:
            if aligned is None:
                raise StyleGAN3DError(
                    f"The mask {self._file().name} lies in a scan's own space: align the scan "
                    "first, or give a mask array on the generator's grid."
                )
            mask = self._carried(aligned)
        if mask.shape != tuple(space.shape):
            raise StyleGAN3DError(
                f"The mask has {' x '.join(map(str, mask.shape))} voxels, but the generator makes "
                f"{' x '.join(map(str, space.shape))}; give the mask as a NIfTI file in the "
                "scan's space, or on the generator's grid."
            )
        bound = type(self).__new__(type(self))
        bound.path, bound._sha256, bound.mask = self.path, self._sha256, mask
        bound.weights = torch.from_numpy(~mask).float()
        return bound

    def native(self, scan_shape: tuple[int, ...], scan_affine: np.ndarray) -> np.ndarray:
        """The mask of a file on the scan's own grid, bool (I, J, K)."""
        data, space = _read_mask(self._file())
        own = Space((scan_shape[0], scan_shape[1], scan_shape[2]), np.asarray(scan_affine))
        if space.same_as(own):
            return data
        return resample(data.astype(np.float32), space, own) > 0.5

    def _carried(self, aligned: AlignedScan) -> np.ndarray:
        data, space = _read_mask(self._file())
        back = np.linalg.inv(aligned.rigid)
        mask = resample(data.astype(np.float32), space, aligned.space, back) > MASKED_SHARE
        if not mask.any():
            raise ScanError(
                f"{self.path} marks nothing inside the model's field of view; was it drawn on "
                "this scan?"
            )
        return mask

    def _file(self) -> Path:
        if self.path is None:
            raise StyleGAN3DError("This mask is an array on the generator's grid, not a file.")
        if not self.path.is_file():
            raise ScanError(f"There is no file {self.path}; give the mask as a NIfTI file.")
        return self.path

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        return image * self.weights.to(image)

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:  # noqa: D102
        return self(data)

    def observe(self, image: Tensor) -> Tensor:  # noqa: D102
        return self(image)

    def simulate(self, image: Tensor) -> Tensor:  # noqa: D102
        return image

    def known(self, mask: np.ndarray) -> np.ndarray:  # noqa: D102
        return mask if self.mask is None else mask & ~self.mask

    def fill(self, image: Tensor, template: Tensor) -> Tensor:
        """The mean brain stands in the hole."""
        return torch.where(self.weights.to(image) > 0, image, template)

    def coarse(self, factor: int) -> Operator:
        """Averages of the known voxels are compared, of the image as of the data."""
        bound = type(self).__new__(type(self))
        bound.path, bound._sha256, bound.mask = self.path, self._sha256, self.mask
        bound.weights = F.avg_pool3d(self.weights[None, None], factor)[0, 0]
        return bound

    def describe(self) -> dict[str, Any]:  # noqa: D102
        told: dict[str, Any] = {"Name": "mask"}
        if self.path is not None:
            told |= {"File": self.path.name, "SHA256": self._sha256}
        if self.mask is not None:
            told["MaskedVoxels"] = int(self.mask.sum())
        return told


class Contrast(Operator):
    """Other intensities: y = offset + gain * x^gamma of brightness x in [0, 1], fitted along.

    Not linear. The offset fades out below a tenth of full brightness, so the outside stays black.

    Parameters
    ----------
    gamma : bool
        Fit an exponent too; else the change is affine.
    """

    linear = False
    EDGE = 0.1

    def __init__(self, gamma: bool = True) -> None:
        self.gamma = gamma
        # log gain, offset, log gamma
        self.values = torch.zeros(3)

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:
        """A fresh one, whose parameters start at no change."""
        bound = type(self)(self.gamma)
        bound.values = torch.zeros(3, requires_grad=True)
        return bound

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        gain, offset, exponent = self.values.to(image)
        x = (image + 1) / 2
        inside = (x / self.EDGE).clamp(0, 1)
        # The derivative of a power is infinite at 0.
        power = x.clamp(min=1e-3) ** exponent.exp() * inside if self.gamma else x
        return (gain.exp() * power + offset * inside) * 2 - 1

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:
        """Of the derivative at `at`, which has to be given."""
        if at is None:
            raise ValueError("A contrast change is not linear: say at which image.")
        return super().adjoint(data, at)

    def coarse(self, factor: int) -> Operator:  # noqa: D102
        return self

    def parameters(self) -> list[Tensor]:  # noqa: D102
        return [self.values]

    def describe(self) -> dict[str, Any]:  # noqa: D102
        gain, offset, exponent = (float(v) for v in self.values.detach())
        told = {"Name": "contrast", "Gain": float(np.exp(gain)), "Offset": offset}
        return told | ({"Gamma": float(np.exp(exponent))} if self.gamma else {})


def _read_mask(path: Path) -> tuple[np.ndarray, Space]:
    """A mask file, bool (I, J, K), and its grid."""
    try:
        image = nib.load(path)
        data = np.asarray(image.dataobj)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise ScanError(f"{path} cannot be read as a mask ({error}); give a NIfTI file.") from error
    data = data.reshape(data.shape[:3]) if data.ndim > 3 and data.size else data
    return _checked_mask(data, str(path)), Space(data.shape, image.affine)


def _checked_mask(mask: np.ndarray, name: str) -> np.ndarray:
    if mask.ndim != 3 or not np.isfinite(mask).all():
        raise ScanError(f"{name} is not a mask: it needs three axes and finite values.")
    if not mask.any() or mask.all():
        what = "nothing" if not mask.any() else "everything"
        raise ScanError(f"{name} marks {what}; mark the part of the scan to be filled in.")
    return mask.astype(bool)


def parse(text: str) -> Operator:
    """An operator from a few words separated by colons.

    identity, mask:FILE, thick:5mm[:S][:gaussian], blur:3mm, kspace:4x[:A][:8%], contrast[:affine]

    "5mm" is the thickness of a slice or the Gaussian's sigma; a letter (R, A or S, or the opposite)
    the direction across the slices, or the one in which k-space was undersampled; "4x" by how much,
    "8%" how much of its centre was sampled fully.

    Raises
    ------
    StyleGAN3DError
        If it is none of these.
    """
    name, *words = text.strip().split(":")
    makers: dict[str, Callable[[list[str]], Operator]] = {
        "identity": _identity,
        "mask": lambda words: Mask(":".join(words)),
        "thick": ThickSlices.parse,
        "blur": Blur.parse,
        "kspace": KSpace.parse,
        "contrast": lambda words: Contrast(gamma=not _chosen(words, ("affine",))),
    }
    try:
        return makers[name.lower()](words)
    except (KeyError, ValueError, IndexError) as error:
        raise StyleGAN3DError(
            f"'{text}' is no operator; write one such as thick:5mm:S, blur:3mm, kspace:4x:A, "
            "contrast, or mask:FILE."
        ) from error


def _identity(words: list[str]) -> Identity:
    _chosen(words, ())
    return Identity()


def _chosen(words: list[str], known: Sequence[str]) -> str | None:
    """The only word, if it is one of the known; ValueError for others."""
    if not words:
        return None
    if len(words) > 1 or words[0] not in known:
        raise ValueError(words)
    return words[0]
