"""Forward operator for scans whose contrast differs from the training data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import Tensor

from stylegan3d.geometry.space import Space
from stylegan3d.plain import Json
from stylegan3d.projection.forward import Operator

if TYPE_CHECKING:
    from stylegan3d.scans import AlignedScan

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
