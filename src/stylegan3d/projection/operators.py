"""Forward operators: models of scan degradation, used by projection.

With the generator as the prior, one objective covers the restoration tasks: find the latent whose
volume, passed through the operator, is most similar to the data (Bora et al. 2017, arXiv
1703.03208; for brains Marinescu et al. 2020, arXiv 2012.04567). `restore` then makes the result
consistent with the data: measured data are kept, the generator fills in the rest.

The generator's volume G(w) is close to the brain, but every detail is slightly off. The restored
volume is x = G(w) + d with the smoothest change d that makes it consistent with the data,

    d = argmin |A d - (y - A G(w))|^2 + smoothness * |Laplace d|^2,

so the data decide where there are any, and the generator elsewhere. With G(w) = 0 the same formula
is plain interpolation of the data. For blurred data and thick slices G(w) is weighted by less than
1 (`Operator`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from scipy.interpolate import CubicSpline
from scipy.optimize import least_squares
from scipy.sparse.linalg import cg
from torch import Tensor

from stylegan3d.base import Json, StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.networks.resampling import along_axes
from stylegan3d.projection.forward import Mask, Masked, Operator, conjugate_gradients
from stylegan3d.scans import AlignedScan
from stylegan3d.storage.checked import answering

# Forward operator for scans whose contrast differs from the training data.

# Least brightness of a brain voxel, and the quantiles that are matched.
FOREGROUND = 0.05
QUANTILES = np.linspace(0.02, 0.98, 49)
# Bounds of log gain, offset and log gamma, and the weight of regularisation, which decides where
# the quantiles do not: a gamma looks much like an offset with another gain.
BOUNDS = np.array([1.5, 0.5, 1.2])
PULL = 0.02
# The inverse of the curve is tabulated up to this multiple of full brightness.
TABLE = np.linspace(0, 1.5, 601)


class Contrast(Operator):
    """A change of contrast: y = offset + gain * x^gamma of brightness x in [0, 1].

    Not linear. The offset fades out below a tenth of full brightness, so the outside stays black.

    The data alone cannot distinguish a bright brain from a bright scan, since the generator knows
    several scanners: fitted together, latent and curve compensate for each other. So the curve is
    fitted first, by mapping the quantiles of random brains to those of the data, and then only the
    latent. The result has the usual intensities of this generator.

    Parameters
    ----------
    gamma : bool
        Fit the exponent too; otherwise the change is affine.
    """

    linear = False
    adapts = True
    EDGE = 0.1

    @answering
    def __init__(self, gamma: bool = True) -> None:
        self.gamma = gamma
        # log gain, offset, log gamma
        self.values = torch.zeros(3)

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:
        """A new operator whose parameters start at the identity."""
        return type(self)(self.gamma)

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        gain, offset, exponent = self.values.to(image)
        x = (image + 1) / 2
        inside = (x / self.EDGE).clamp(0, 1)
        # The derivative of a power is infinite at 0.
        power = x.clamp(min=1e-3) ** exponent.exp() * inside if self.gamma else x
        return (gain.exp() * power + offset * inside) * 2 - 1

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:
        """Adjoint of the derivative at `at`, which is required."""
        if at is None:
            raise ValueError("A contrast change is not linear: give the image.")
        return super().adjoint(data, at)

    @torch.no_grad()
    def adapt(self, brains: Tensor, data: Tensor) -> None:
        """Fit the curve that maps the quantiles of random brains to those of the data."""
        x, y = (_quantiles(image) for image in (brains, data))
        if x is None or y is None:
            return
        free = 3 if self.gamma else 2

        def curve(values: np.ndarray) -> np.ndarray:
            exponent = np.exp(values[2]) if self.gamma else 1.0
            return np.asarray(np.exp(values[0]) * x**exponent + values[1])

        def misfit(values: np.ndarray) -> np.ndarray:
            return np.concatenate([curve(values) - y, PULL * values])

        bounds = (-BOUNDS[:free], BOUNDS[:free])
        found = least_squares(misfit, np.zeros(free), bounds=bounds)
        self.values[:free] = torch.from_numpy(found.x).to(self.values)

    @torch.no_grad()
    def fill(self, image: Tensor, template: Tensor) -> Tensor:
        """The brain with the model's intensities, for the encoder."""
        table = self(torch.from_numpy(TABLE).float() * 2 - 1).numpy()
        bright = np.maximum.accumulate(table)
        back = np.interp(image.cpu().numpy(), bright, TABLE * 2 - 1)
        return torch.from_numpy(back).to(image)

    def coarse(self, factor: int) -> Operator:  # noqa: D102
        return self

    def describe(self) -> Json:  # noqa: D102
        gain, offset, exponent = (float(v) for v in self.values)
        record = {"Name": "contrast", "Gain": float(np.exp(gain)), "Offset": offset}
        return record | ({"Gamma": float(np.exp(exponent))} if self.gamma else {})


def _quantiles(image: Tensor) -> np.ndarray | None:
    """Quantiles of the brightness [0, 1] of brain voxels; None if there are hardly any."""
    x = (image.float().cpu().numpy().ravel() + 1) / 2
    x = x[x > FOREGROUND]
    return np.quantile(x, QUANTILES) if len(x) > len(QUANTILES) else None


# Forward operators that remove fine detail: blur and undersampled k-space.

DIRECTIONS = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}


def read_mm(word: str) -> float:
    """ "5mm" or "5" -> 5.0; ValueError for anything else or if not above 0."""
    value = float(word.lower().removesuffix("mm"))
    if not 0 < value < np.inf:
        raise ValueError(word)
    return value


def array_axis(space: Space, direction: str) -> int:
    """The array axis of a grid closest to an anatomical direction."""
    along = np.abs(space.affine[DIRECTIONS[direction], :3]) / np.asarray(space.voxel_size)
    return int(np.argmax(along))


class Blur(Operator):
    """Gaussian blur of standard deviation `sigma_mm` in every direction.

    At the border the kernel is truncated and renormalised, so constant images stay constant.
    """

    faith = 0.5

    @answering
    def __init__(self, sigma_mm: float) -> None:
        if not 0 < sigma_mm < 50:
            raise StyleGAN3DError(f"A blur of {sigma_mm:g} mm is not possible; give 0.5 to 20 mm.")
        self.sigma_mm = sigma_mm
        self._matrices: list[Tensor] = []

    @classmethod
    def parse(cls, words: list[str]) -> Blur:
        """Parse the fields after "blur:"."""
        (sigma,) = words
        return cls(read_mm(sigma))

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:  # noqa: D102
        bound = type(self)(self.sigma_mm)
        for size, voxel in zip(space.shape, space.voxel_size, strict=True):
            place = torch.arange(size, dtype=torch.float64) * (voxel / self.sigma_mm)
            weights = torch.exp(-0.5 * (place[:, None] - place) ** 2)
            bound._matrices.append((weights / weights.sum(dim=1, keepdim=True)).float())
        return bound

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        return along_axes(image, self._matrices)

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:  # noqa: D102
        return along_axes(data, [matrix.T for matrix in self._matrices])

    def describe(self) -> Json:  # noqa: D102
        return {"Name": "blur", "SigmaMillimetres": self.sigma_mm}


def along_axis(image: Tensor, matrix: Tensor, axis: int) -> Tensor:
    """A matrix [out, in] applied along a spatial axis, 0 to 2, of [N, C, X, Y, Z]."""
    moved = torch.movedim(image, axis + 2, -1) @ matrix.T.to(image)
    return torch.movedim(moved, -1, axis + 2)


class KSpace(Operator):
    """Undersampled Cartesian k-space; the data are the zero-filled image.

    A = F^-1 M F with the Fourier transform F over the grid and the sampling mask M. Lines are
    skipped along one direction. A real image has a symmetric spectrum: a line determines its mirror
    image, so M is symmetric and A a projection (A A = A = A^T).

    Parameters
    ----------
    acceleration : float
        Acceleration factor, including the centre.
    direction : str
        Phase-encoding direction, along which lines are skipped: R, L, A, P, S or I.
    center : float
        Share of lines, around frequency 0, that is fully sampled.
    seed : int
        Seed for choosing the other lines.
    """

    @answering
    def __init__(
        self, acceleration: float = 4.0, direction: str = "A", center: float = 0.08, seed: int = 0
    ) -> None:
        if not 1 <= acceleration <= 32 or not 0 < center <= 1:
            raise StyleGAN3DError(
                f"K-space undersampled {acceleration:g} times with {100 * center:g} % of its "
                "lines sampled fully is not possible; give 1 to 32 times and 0 to 100 %."
            )
        self.acceleration, self.direction = acceleration, direction
        self.center, self.seed = center, seed
        self._sampled = torch.ones(1, dtype=torch.bool)
        self._axis = 0

    @classmethod
    def parse(cls, words: list[str]) -> KSpace:
        """Parse the fields after "kspace:", such as ["4x", "A", "8%"]."""
        settings: Json = {"acceleration": float(words[0].lower().removesuffix("x"))}
        for word in words[1:]:
            if word.endswith("%"):
                settings["center"] = float(word[:-1]) / 100
            elif word.upper() in DIRECTIONS:
                settings["direction"] = word.upper()
            else:
                raise ValueError(word)
        return cls(**settings)

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:  # noqa: D102
        bound = type(self)(self.acceleration, self.direction, self.center, self.seed)
        bound._axis = 2 + array_axis(space, self.direction)
        bound._sampled = self._lines(space.shape[bound._axis - 2])
        return bound

    def _lines(self, count: int) -> Tensor:
        """Sampling mask of `count` frequencies, in the order of `torch.fft`; symmetric."""
        order = np.abs(np.fft.fftfreq(count) * count).round().astype(int)
        distinct = order.max() + 1  # frequencies 0 .. highest; each but the ends counts twice
        full = max(1, round(self.center * distinct))
        wanted = max(full, round(distinct / self.acceleration))
        others = np.random.RandomState(self.seed).permutation(np.arange(full, distinct))
        sampled = np.zeros(distinct, dtype=bool)
        sampled[:full] = True
        sampled[others[: wanted - full]] = True
        return torch.from_numpy(sampled[order])

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        spectrum = torch.fft.fft(image, dim=self._axis)
        shape = [1] * image.ndim
        shape[self._axis] = -1
        mask = self._sampled.to(image.device).reshape(shape)
        return torch.fft.ifft(spectrum * mask, dim=self._axis).real

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:  # noqa: D102
        return self(data)

    def observe(self, image: Tensor) -> Tensor:  # noqa: D102
        return self(image)

    def describe(self) -> Json:  # noqa: D102
        return {
            "Name": "kspace",
            "Acceleration": self.acceleration,
            "Direction": self.direction,
            "FullySampledCenter": self.center,
            "Seed": self.seed,
        }


# Forward operator for scans with thick slices.

Profile = Literal["box", "gaussian"]
#: Thickness in mm, and the share of a generator's own detail that brings a scan of 1 mm closest to
#: the true one: between slices of 3 mm nothing. Measured on five subjects.
SHARE_MM, SHARES = (3.0, 5.0), (0.0, 0.7)
#: Thin slices are not closer than this: the generators know nothing as fine.
FINEST_MM = 1.0
#: Corrections by what the slices of an interpolation miss; more would amplify noise.
CONSISTENT = 3
# A scan's own slices are used if they have at least this share of the requested thickness.
OWN_SLICES = 0.6


@dataclass(frozen=True, eq=False)
class ThinSlices:
    """Thin slices in place of thick ones.

    Attributes
    ----------
    space : Space
        Their grid, with the field of view of the thick ones.
    axis : int
        Across the slices.
    seen : ndarray, float32 (thick, thin)
        The thick slices that thin ones make.
    plain, between : ndarray, float32 (thin, thick)
        Cubic splines through the middles of thick slices; and those whose slices are the thick
        ones, too: a spline alone takes a mean for a value and flattens what is narrow.
    """

    space: Space
    axis: int
    seen: np.ndarray
    plain: np.ndarray
    between: np.ndarray

    def along(self, matrix: np.ndarray, image: np.ndarray) -> np.ndarray:
        """One of the matrices applied across the slices of an image (I, J, K)."""
        moved = np.tensordot(image, matrix.T, axes=(self.axis, 0))
        return np.moveaxis(moved, -1, self.axis)


class ThickSlices(Operator):
    """Slices averaged over their thickness, as in routine scans of 3 to 6 mm.

    The data are the slices: [N, C, I, J, K] with few K (or I, or J). For a scan with thick slices
    they are at the scan's own positions, at any tilt of the head; otherwise they are adjacent along
    an axis of the generator's grid.

    Parameters
    ----------
    thickness_mm : float
    direction : str
        Normal of the slices: R, L, A, P, S or I; S for axial ones.
    profile : Profile
        Slice profile, "box" or "gaussian"; the thickness is the Gaussian's full width at half
        maximum.
    """

    faith = 0.7

    @answering
    def __init__(self, thickness_mm: float, direction: str = "S", profile: Profile = "box") -> None:
        if not 0.5 <= thickness_mm <= 30:
            raise StyleGAN3DError(f"Slices are 0.5 to 30 mm thick, not {thickness_mm:g} mm.")
        self.thickness_mm, self.direction, self.profile = thickness_mm, direction, profile
        self.own_slices = False
        self.space: Space | None = None  # of the images
        self.slices: Space | None = None  # of the data, in the same millimetres
        self._axis = 2
        # Slices along an axis of the grid: [slices, voxels] for their means and their centres.
        self._matrix = torch.zeros(0)
        self._middles = torch.zeros(0)
        # Oblique slices: sampling positions and weights.
        self._points = torch.zeros(0)
        self._weights = torch.zeros(0)

    @classmethod
    def parse(cls, words: list[str]) -> ThickSlices:
        """Parse the fields after "thick:", such as ["5mm", "S", "gaussian"]."""
        settings: Json = {"thickness_mm": read_mm(words[0])}
        for word in words[1:]:
            if word.upper() in DIRECTIONS:
                settings["direction"] = word.upper()
            elif word.lower() in ("box", "gaussian"):
                settings["profile"] = word.lower()
            else:
                raise ValueError(word)
        return cls(**settings)

    def on(self, space: Space, aligned: AlignedScan | None = None) -> Self:  # noqa: D102
        bound = type(self)(self.thickness_mm, self.direction, self.profile)
        own = None if aligned is None else self._own_slices(space, aligned)
        bound.own_slices = own is not None
        bound.space = space
        bound.slices = own or _side_by_side(space, self.direction, self.thickness_mm)
        bound._axis = array_axis(bound.slices, self.direction)
        if bound.own_slices:
            bound._points, bound._weights = bound._taps()
        else:
            bound._matrix, bound._middles = bound._matrices()
        return bound

    def _own_slices(self, space: Space, aligned: AlignedScan) -> Space | None:
        """The scan's slices in the model's millimetres, with the model's in-plane resolution."""
        scan = aligned.scan.space
        in_model = Space(scan.shape, aligned.rigid @ scan.affine)
        axis = array_axis(in_model, self.direction)
        if in_model.voxel_size[axis] < OWN_SLICES * self.thickness_mm:
            return None
        fine = min(space.voxel_size)
        shape = [
            n if i == axis else max(1, round(n * size / fine))
            for i, (n, size) in enumerate(zip(scan.shape, in_model.voxel_size, strict=True))
        ]
        return in_model.resized(shape)

    def _matrices(self) -> tuple[Tensor, Tensor]:
        """Linear interpolation, weighted over the depths of a slice, and at its centre alone."""
        assert self.space is not None
        assert self.slices is not None
        voxels, voxel_mm = self.space.shape[self._axis], self.space.voxel_size[self._axis]
        to_voxel = np.linalg.inv(self.space.affine) @ self.slices.affine
        count = self.slices.shape[self._axis]
        middles = to_voxel[self._axis, self._axis] * np.arange(count) + to_voxel[self._axis, 3]
        depth, weights = self._profile(voxel_mm)
        places = middles[:, None] + depth / voxel_mm
        hats = _hats(places, voxels)  # [slices, depths, voxels]
        matrix = np.einsum("sdv,d->sv", hats, weights)
        middle = _hats(middles[:, None], voxels)[:, 0]
        return torch.from_numpy(matrix).float(), torch.from_numpy(middle).float()

    def _taps(self) -> tuple[Tensor, Tensor]:
        """Sampling positions [taps, I, J, K, 3] in grid_sample's units, and their weights."""
        assert self.space is not None
        assert self.slices is not None
        depth, weights = self._profile(min(self.space.voxel_size))
        step = self.slices.affine[:3, self._axis]
        normal = step / np.linalg.norm(step)
        points = [_points_of(self.slices, offset * normal, self.space) for offset in depth]
        return torch.from_numpy(np.stack(points)), torch.from_numpy(weights)

    @property
    def share(self) -> float:
        """Share of a generator's own detail that is put on a scan at its own resolution, 0 to 1."""
        return float(np.interp(self.thickness_mm, SHARE_MM, SHARES))

    def thin(self, scan: Space) -> ThinSlices:
        """Thin slices in place of a scan's own, as far apart as its voxels within a slice.

        Parameters
        ----------
        scan : Space
            The scan's grid, whose slices these are.
        """
        axis, thick = self._axis, scan.voxel_size[self._axis]
        within = min(size for i, size in enumerate(scan.voxel_size) if i != axis)
        count = max(1, round(thick / max(within, FINEST_MM)))
        slices = scan.shape[axis]
        shape = [n * count if i == axis else n for i, n in enumerate(scan.shape)]
        # In slices: where the thin ones lie, and where the profile is sampled.
        middles = (np.arange(slices * count) + 0.5) / count - 0.5
        depth, weights = self._profile(thick / count)
        places = (np.arange(slices)[:, None] + depth / thick + 0.5) * count - 0.5
        seen = np.einsum("sdv,d->sv", _hats(places, slices * count), weights)
        spline = CubicSpline(np.arange(slices), np.eye(slices))
        plain = spline(np.clip(middles, 0, slices - 1))
        left = np.eye(slices)
        between = plain
        for _ in range(CONSISTENT):
            left = left - seen @ plain @ left
            between = between + plain @ left
        fine = scan.resized(shape)
        return ThinSlices(fine, axis, *(m.astype(np.float32) for m in (seen, plain, between)))

    def _profile(self, voxel_mm: float) -> tuple[np.ndarray, np.ndarray]:
        """Sample depths in mm across the slice and their weights, which sum to 1."""
        reach = self.thickness_mm / 2 if self.profile == "box" else self.thickness_mm
        count = max(3, math.ceil(2 * reach / voxel_mm * 2) | 1)
        depth = (np.arange(count) + 0.5) / count * 2 * reach - reach
        if self.profile == "box":
            weights = np.ones(count)
        else:
            weights = np.exp(-4 * math.log(2) * (depth / self.thickness_mm) ** 2)
        return depth, (weights / weights.sum()).astype(np.float32)

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        if not self.own_slices:
            return along_axis(image, self._matrix, self._axis)
        slices = torch.zeros((), dtype=image.dtype, device=image.device)
        for weight, points in zip(self._weights, self._points, strict=True):
            slices = slices + float(weight) * _sampled(image, points)
        return slices

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:  # noqa: D102
        if not self.own_slices:
            return along_axis(data, self._matrix.T, self._axis)
        if at is None:  # the slices are not on the image's grid
            assert self.space is not None
            at = data.new_zeros(*data.shape[:2], *self.space.shape)
        return super().adjoint(data, at)

    def observe(self, image: Tensor) -> Tensor:
        """Values at the centres of the slices, where an interpolated scan equals the slice."""
        if not self.own_slices:
            return along_axis(image, self._middles, self._axis)
        return _sampled(image, self._points[len(self._points) // 2])

    def simulate(self, image: Tensor) -> Tensor:
        """The slices, linearly interpolated to the grid as alignment does with a scan."""
        assert self.space is not None
        assert self.slices is not None
        there = _points_of(self.space, np.zeros(3), self.slices)
        return _sampled(self(image), torch.from_numpy(there))

    def spread(self, part: Tensor) -> Tensor:
        """Share of every slice voxel that the part fills."""
        return self(part)

    def describe(self) -> Json:  # noqa: D102
        record = {
            "Name": "thick",
            "ThicknessMillimetres": self.thickness_mm,
            "Direction": self.direction,
            "Profile": self.profile,
        }
        if self.slices is not None:
            record["Slices"] = self.slices.shape[self._axis]
            record["PlacedAs"] = "the scan's own slices" if self.own_slices else "the model's axis"
        return record


def _hats(places: np.ndarray, count: int) -> np.ndarray:
    """Linear interpolation weights at positions [...] among `count` voxels, [..., count]."""
    places = np.clip(places, 0, count - 1)
    return np.clip(1 - np.abs(places[..., None] - np.arange(count)), 0, None)


def _points_of(own: Space, offset_mm: np.ndarray, image: Space) -> np.ndarray:
    """The voxels of a grid, offset, in `grid_sample` units of an image; float32 [I, J, K, 3]."""
    index = np.stack(np.meshgrid(*map(np.arange, own.shape), indexing="ij"), axis=-1)
    to_voxel = np.linalg.inv(image.affine)
    matrix = to_voxel @ own.affine
    voxel = index @ matrix[:3, :3].T + matrix[:3, 3] + to_voxel[:3, :3] @ offset_mm
    scaled = 2 * voxel / np.maximum(np.asarray(image.shape) - 1, 1) - 1
    return np.ascontiguousarray(scaled[..., ::-1], dtype=np.float32)  # the last axis comes first


def _sampled(image: Tensor, points: Tensor) -> Tensor:
    """Linear interpolation of [N, C, X, Y, Z] at points [I, J, K, 3]; the border is extended."""
    grid = points.to(image)[None].expand(len(image), -1, -1, -1, -1)
    return F.grid_sample(image, grid, "bilinear", padding_mode="border", align_corners=True)


def _side_by_side(space: Space, direction: str, thickness_mm: float) -> Space:
    """Adjacent slices along an axis of the grid, over its whole field of view."""
    axis = array_axis(space, direction)
    extent = space.shape[axis] * space.voxel_size[axis]
    count = math.ceil(extent / thickness_mm - 1e-6)
    affine = space.affine.copy()
    affine[:3, axis] *= thickness_mm / space.voxel_size[axis]
    # Centred: any excess is split between both ends.
    middle = np.append((np.asarray(space.shape) - 1) / 2, 1.0)
    shape = [n if i != axis else count for i, n in enumerate(space.shape)]
    own_middle = (np.asarray(shape) - 1) / 2
    affine[:3, 3] = (space.affine @ middle)[:3] - affine[:3, :3] @ own_middle
    return Space((shape[0], shape[1], shape[2]), affine)


class Identity(Operator):
    """No degradation."""

    def __call__(self, image: Tensor) -> Tensor:  # noqa: D102
        return image

    def adjoint(self, data: Tensor, at: Tensor | None = None) -> Tensor:  # noqa: D102
        return data

    def coarse(self, factor: int) -> Operator:  # noqa: D102
        return self

    def describe(self) -> Json:  # noqa: D102
        return {"Name": "identity"}


def parse(text: str) -> Operator:
    """Parse an operator from fields separated by colons.

    identity, mask:FILE, thick:5mm[:S][:gaussian], blur:3mm, kspace:4x[:A][:8%], contrast[:affine]

    "5mm" is the slice thickness or the Gaussian's sigma; a letter (R, A or S, or the opposite) the
    direction across the slices, or the one in which k-space is undersampled; "4x" the acceleration,
    "8%" the fully sampled centre.

    Raises
    ------
    StyleGAN3DError
        If it is not one of these.
    """
    name, *words = text.strip().split(":")
    makers: dict[str, Callable[[list[str]], Operator]] = {
        "identity": lambda words: Identity(*words),
        "mask": lambda words: Mask(":".join(words)),
        "thick": ThickSlices.parse,
        "blur": Blur.parse,
        "kspace": KSpace.parse,
        "contrast": lambda words: Contrast(gamma={(): True, ("affine",): False}[tuple(words)]),
    }
    try:
        return makers[name.lower()](words)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise StyleGAN3DError(
            f"'{text}' is not an operator; write one such as thick:5mm:S, blur:3mm, kspace:4x:A, "
            "contrast, or mask:FILE."
        ) from error


SMOOTHNESS = 1e-3
ITERATIONS = 200
ENOUGH = 1e-4


@torch.no_grad()
def restore(
    operator: Operator,
    made: Tensor,
    data: Tensor,
    *,
    faith: float | None = None,
    smoothness: float = SMOOTHNESS,
    iterations: int = ITERATIONS,
) -> Tensor:
    """Make a reconstruction consistent with the data.

    Parameters
    ----------
    operator : Operator
        A linear operator bound to the grid (`Operator.on`).
    made : Tensor, shape (1, 1, X, Y, Z)
        The generator's volume, in [-1, 1].
    data : Tensor
        In the operator's range.
    faith : float or None
        Weight of the generator's own detail, 0 (plain interpolation of the data) to 1; by default
        the operator's optimum.
    smoothness : float
        Weight of the squared Laplacian of the change, which is otherwise undetermined.
    iterations : int
        Maximum number of conjugate-gradient steps.

    Returns
    -------
    Tensor, shape (1, 1, X, Y, Z)
        The data themselves for the identity; `made` for non-linear operators (a contrast change).
    """
    if isinstance(operator, Identity):
        return data.clone()
    if not operator.linear:
        return made
    # Everything is linear and preserves constants: a weaker G(w) only contributes less detail.
    made = (made + 1) * (operator.faith if faith is None else faith) - 1
    rest = data - operator(made)
    if isinstance(operator, Masked):
        # Data inside the masked part are extrapolated smoothly from its border.
        hole = (operator.weights == 0).expand_as(rest)[0, 0].cpu().numpy()
        rest = torch.from_numpy(harmonic_fill(rest[0, 0].cpu().numpy(), hole)).to(rest)[None, None]
        operator = operator.operator
    if isinstance(operator, Mask) and operator.mask is not None:
        change = harmonic_fill(rest[0, 0].cpu().numpy(), operator.mask)
        return made + torch.from_numpy(change).to(made)[None, None]
    if isinstance(operator, KSpace):
        return made + rest  # A is an orthogonal projection: the closest image with these lines
    return made + _smoothest(operator, rest, smoothness, iterations)


def harmonic_fill(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Replace the masked part by the harmonic surface through its border (Laplace's equation).

    Used for seamless blending (Perez, Gangnet and Blake 2003, "Poisson image editing"). At the edge
    of the grid its normal derivative is zero.

    Parameters
    ----------
    values : ndarray, shape (X, Y, Z)
    mask : ndarray, shape (X, Y, Z), bool
        Where to fill.

    Returns
    -------
    ndarray, shape (X, Y, Z), float32
        Equal to `values` outside the mask.
    """
    filled = np.asarray(values, dtype=np.float32).copy()
    number = np.full(mask.shape, -1, dtype=np.int64)
    count = int(mask.sum())
    number[mask] = np.arange(count)
    degree, known = np.zeros(count), np.zeros(count)
    rows, columns = [], []
    for axis in range(3):
        for here, there in _neighbours(axis):
            unknown = mask[here]
            own, other = number[here][unknown], number[there][unknown]
            degree[own] += 1
            inner = other >= 0
            rows.append(own[inner])
            columns.append(other[inner])
            known[own[~inner]] += filled[there][unknown][~inner]
    row, column = np.concatenate(rows), np.concatenate(columns)
    links = sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=(count, count))
    # A mask without any border leaves the level undetermined: the tiny term sets it to 0.
    matrix = sparse.diags(degree + 1e-9) - links
    inverse = sparse.diags(1 / (degree + 1e-9))
    filled[mask] = cg(matrix, known, rtol=1e-5, maxiter=2000, M=inverse)[0]
    return filled


def _neighbours(axis: int) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Slices of the voxels that have a neighbour before or after them, and of that neighbour."""
    lower, upper = [slice(None)] * 3, [slice(None)] * 3
    lower[axis], upper[axis] = slice(None, -1), slice(1, None)
    return [(tuple(lower), tuple(upper)), (tuple(upper), tuple(lower))]


def _smoothest(operator: Operator, rest: Tensor, smoothness: float, iterations: int) -> Tensor:
    """Conjugate gradients on (A^T A + smoothness L^T L) d = A^T rest; L is the Laplacian."""

    def normal(change: Tensor) -> Tensor:
        rough = _laplacian(_laplacian(change))
        return operator.adjoint(operator(change)) + smoothness * rough

    return conjugate_gradients(normal, operator.adjoint(rest), iterations, ENOUGH)


def _laplacian(x: Tensor) -> Tensor:
    """Sum over neighbours of (x - neighbour), [N, C, X, Y, Z]; symmetric, Neumann border."""
    padded = F.pad(x, (1,) * 6, mode="replicate")
    inner = slice(1, -1)
    total = 6 * x
    for axis in range(3):
        for end in (slice(None, -2), slice(2, None)):
            i, j, k = (end if other == axis else inner for other in range(3))
            total = total - padded[..., i, j, k]
    return total
