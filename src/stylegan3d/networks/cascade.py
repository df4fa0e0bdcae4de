"""A cascade of flows from noise: each generates the detail of one scale given a coarser image.

A linear model of subjects represents the position and intensity of structures, but not folds: an
average of cortical ribbons is not a ribbon. So the linear model provides the coarse image (shape,
ventricles, contrast) and flows generate the rest: at time 0 a flow holds standard normal noise, at
time 1 the Haar bands of a subject minus those of the coarse image, in units of their deviation.
Between the two dx = v(x, t) dt, and v is learned by least squares (Lipman et al. 2023, arXiv
2210.02747; Liu, Gong, Liu 2023, arXiv 2209.03003). It is conditioned on the coarse image and the
position of every voxel, as in cascaded diffusion (Ho et al. 2022, arXiv 2106.15282). Integrated
backwards, the same equation yields the noise of a given subject.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.networks.band_unet import BandUNet, places_on
from stylegan3d.networks.config import Grid
from stylegan3d.networks.flow import FLOOR, box_of, gate_of, reached, within
from stylegan3d.networks.resampling import fine_bands, haar, inverse_haar

# The low band and the fine ones of a coarse image in [-1, 1], to about unit size.
LOW_GAIN, FINE_GAIN = 2.5, 8.0
BANDS = 8
# Haar bands of white noise of unit deviation, times this, have unit deviation.
UNIT_NOISE = BANDS**0.5
# Range of the logarithm of a predicted variance: from what is flat to heavy noise.
LOG_VARIANCE = (-6.0, 3.0)
# Of the places that the noise is moved to, see `Cascade.styled`.
MOVES_SEED = 0


class CascadeFlow(BandUNet):
    """One flow of a cascade.

    Beside a velocity the network predicts the variance of every band at every voxel, and so how
    much of the noise to take away there, see `gaussian_gain`: little in cortex, nearly all in
    white matter. Convolutions learn such a product of their input only slowly.

    Parameters
    ----------
    channels : tuple of int
        Feature channels, see `BandUNet`.
    drawn : int
        How many bands it draws, the last of the eight: all, or the seven fine ones that go with a
        low band that is kept.

    Attributes
    ----------
    spread : Tensor, [1, drawn, 1, 1, 1]
        Deviation of what is drawn, in intensities of [-1, 1].
    """

    spread: Tensor

    def __init__(self, channels: tuple[int, int, int], drawn: int = BANDS) -> None:
        super().__init__(drawn + BANDS + 3, 2 * drawn, channels)
        self.drawn = drawn
        self.register_buffer("spread", torch.ones(1, drawn, 1, 1, 1))

    def velocity(
        self,
        x: Tensor,
        seen: Tensor,
        time: Tensor,
        places: Tensor,
        check: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Velocity at a time.

        Parameters
        ----------
        x : Tensor, [N, drawn, X, Y, Z]
            On the way from noise to a brain.
        seen : Tensor, [N, 8, X, Y, Z]
            Haar bands of the coarse image in [-1, 1].
        time : Tensor, [N]
            From 0 (noise) to 1 (a brain).
        places : Tensor, [1 or N, 3, X, Y, Z]
            See `places_on`.
        check : callable or None
            Called between the layers; what it raises ends the work.

        Returns
        -------
        [N, drawn, X, Y, Z] float32
        """
        scaled = [seen[:, :1] * LOW_GAIN, seen[:, 1:] * FINE_GAIN]
        where = places.expand(len(x), -1, -1, -1, -1)
        answer = self.answer(torch.cat([x, *scaled, where.to(x)], dim=1), time, check)
        shift, log_variance = answer.chunk(2, dim=1)
        variance = log_variance.clamp(*LOG_VARIANCE).exp()
        # Nothing is added until something is learned.
        gain = gaussian_gain(variance, time) - gaussian_gain(variance.new_ones(1, 1, 1, 1, 1), time)
        return shift + gain * x

    def follow(
        self,
        x: Tensor,
        seen: Tensor,
        places: Tensor,
        steps: int,
        *,
        backwards: bool = False,
        dtype: torch.dtype = torch.float32,
        check: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Integrate from noise to a brain, or back, by the midpoint rule: two evaluations per step.

        Parameters
        ----------
        x : Tensor, [N, drawn, X, Y, Z]
            The noise, or `beyond` of a brain.
        seen, places, check : Tensor, Tensor, callable or None
            See `velocity`.
        steps : int
            Number of steps, of equal length.
        dtype : torch.dtype
            Precision of the feature maps.

        Returns
        -------
        [N, drawn, X, Y, Z] float32
        """
        length = (-1 if backwards else 1) / steps
        low = dtype != torch.float32
        with torch.autocast(x.device.type, dtype if low else None, enabled=low):
            for step in range(steps):
                time = x.new_full((len(x),), float(backwards) + step * length)
                middle = x + self.velocity(x, seen, time, places, check) * (length / 2)
                time = time + length / 2
                x = x + self.velocity(middle, seen, time, places, check) * length
        return x

    def beyond(self, bands: Tensor, seen: Tensor) -> Tensor:
        """Residual [N, drawn, X, Y, Z] of a brain's bands [N, 8, X, Y, Z] over the coarse ones."""
        return (bands - seen)[:, -self.drawn :] / self.spread

    def added(self, x: Tensor, seen: Tensor) -> Tensor:
        """Inverse of `beyond`: the bands [N, 8, X, Y, Z] of a brain."""
        kept = BANDS - self.drawn
        return torch.cat([seen[:, :kept], seen[:, kept:] + x * self.spread], dim=1)


class Cascade(nn.Module):
    """Two flows, for the layout of the folds and for the finest bands, and their initial noise.

    Parameters
    ----------
    layout, fine : tuple of int
        Feature channels of the two.
    grid : tuple of int
        Of the finest bands, half of the image's; the layout's bands are on half of this.
    taps : tuple of float
        Of the filter that continues an image into its fine bands, see `continued`.

    Attributes
    ----------
    noise : Tensor
        [1, 1, 2 X, 2 Y, 2 Z] standard normal: that of "fixed" noise, before a brain's own style.
    spread : Tensor
        Root mean square of the details' weights among random brains.
    """

    noise: Tensor
    spread: Tensor

    def __init__(
        self,
        layout: tuple[int, int, int],
        fine: tuple[int, int, int],
        grid: Grid,
        taps: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.layout, self.fine, self.taps = CascadeFlow(layout), CascadeFlow(fine, BANDS - 1), taps
        self.register_buffer("noise", torch.randn(1, 1, *(2 * n for n in grid)))
        self.register_buffer("spread", torch.ones(()))

    def gate(self, details: Tensor) -> Tensor:
        """Weight of the generated detail, see `gate_of`."""
        return gate_of(details, self.spread)

    def forward(
        self,
        coarse: Tensor,
        details: Tensor,
        noise: Tensor | None,
        steps: int,
        dtype: torch.dtype = torch.float32,
        check: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Generate brains from coarse images.

        Parameters
        ----------
        coarse : Tensor
            [N, 1, X, Y, Z] in [-1, 1], half as fine as the brains.
        details : Tensor
            [N, details] weights, which make the noise a brain's own, see `styled`.
        noise : Tensor or None
            [1 or N, 1, 2 X, 2 Y, 2 Z] standard normal; None for no noise.
        steps : int
            Of each flow, see `CascadeFlow.follow`.
        dtype : torch.dtype
            Precision of the feature maps.
        check : callable
            Called between the layers; what it raises ends the work.

        Returns
        -------
        Tensor
            [N, 1, 2 X, 2 Y, 2 Z] float32
        """
        if noise is None:
            noise = coarse.new_zeros(1, 1, *(2 * n for n in coarse.shape[2:]))
        return self.drawn(coarse, self.styled(details, noise), steps, dtype, check)

    def styled(self, details: Tensor, noise: Tensor) -> Tensor:
        """The noise of brains with these details: a finest style that mixes like others.

        Copies of the noise, moved to places of their own, are summed with the details as weights.
        Moved white noise is other white noise, and such a sum is white noise again, so noise
        follows a latent without a jump. The weights are normalised: a flow has only learned noise
        of unit deviation, and can diverge from any other. The gate lets truncated brains fade.

        Parameters
        ----------
        details : Tensor
            [N, details]
        noise : Tensor
            [1 or N, 1, X, Y, Z]

        Returns
        -------
        Tensor
            [N, 1, X, Y, Z]
        """
        shape = noise.shape[2:]
        weights = F.normalize(details, dim=1)
        source = torch.Generator().manual_seed(MOVES_SEED)
        count = shape[0] * shape[1] * shape[2]
        places = torch.randperm(count, generator=source)[: details.shape[1]].to(details.device)
        moves = details.new_zeros(len(details), count)
        moves[:, places] = weights
        # The sum of moved copies is a convolution.
        moved = torch.fft.rfftn(moves.reshape(len(details), 1, *shape), dim=(2, 3, 4))
        product = moved * torch.fft.rfftn(noise.to(details), dim=(2, 3, 4))
        return torch.fft.irfftn(product, s=shape, dim=(2, 3, 4))

    def drawn(
        self,
        coarse: Tensor,
        noise: Tensor,
        steps: int,
        dtype: torch.dtype = torch.float32,
        check: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Brains from their noise as it is, such as that of `own_noise`; see `forward`."""
        fine = haar(noise) * UNIT_NOISE
        layout = haar(fine[:, :1]) * UNIT_NOISE
        seen = haar(coarse)
        x = self.layout.follow(layout, seen, _places(seen), steps, dtype=dtype, check=check)
        half = inverse_haar(self.layout.added(x, seen))
        near = reached((coarse > 2 * FLOOR[1] - 1).float())
        return refined(self.fine, half, near, fine[:, 1:], self.taps, steps, dtype, check)

    def own_noise(
        self,
        image: Tensor,
        coarse: Tensor,
        steps: int,
        dtype: torch.dtype = torch.float32,
        check: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """The noise from which `drawn` makes a given brain: the flows integrated backwards.

        Parameters
        ----------
        image : Tensor
            [N, 1, 2 X, 2 Y, 2 Z] in [-1, 1]
        coarse : Tensor
            [N, 1, X, Y, Z] in [-1, 1]
        steps, dtype, check : int, torch.dtype, callable
            See `forward`; more steps lead back more exactly.

        Returns
        -------
        Tensor
            [N, 1, 2 X, 2 Y, 2 Z] float32, on the image's own grid.
        """
        bands = haar(image)
        back = partial(CascadeFlow.follow, steps=steps, backwards=True, dtype=dtype, check=check)
        seen, inner = haar(coarse), continued(bands[:, :1], self.taps)
        beyond = self.layout.beyond(haar(bands[:, :1]), seen)
        layout = back(self.layout, beyond, seen, _places(seen))
        box = box_of(reached((coarse > 2 * FLOOR[1] - 1).float()), even=True)
        near, places = inner[:, :, *box], _places(inner)[:, :, *box]
        beyond = self.fine.beyond(bands[:, :, *box], near)
        fine = torch.zeros_like(bands)
        fine[:, 1:, *box] = back(self.fine, beyond, near, places)
        fine[:, :1] = inverse_haar(layout / UNIT_NOISE)
        return inverse_haar(fine / UNIT_NOISE)


def refined(
    flow: CascadeFlow,
    half: Tensor,
    near: Tensor,
    noise: Tensor,
    taps: tuple[float, ...],
    steps: int,
    dtype: torch.dtype = torch.float32,
    check: Callable[[], None] = lambda: None,
) -> Tensor:
    """Brains from images half as fine: their low band, and fine ones that a flow draws.

    Parameters
    ----------
    flow : CascadeFlow
        One that draws the fine bands.
    half : Tensor
        [N, 1, X, Y, Z] in [-1, 1]
    near : Tensor
        [N, 1, X, Y, Z] bool, where there may be something.
    noise : Tensor
        [1 or N, 7, X, Y, Z] standard normal.
    taps : tuple of float
        See `continued`.
    steps, dtype, check : int, torch.dtype, callable
        See `CascadeFlow.follow`.

    Returns
    -------
    Tensor
        [N, 1, 2 X, 2 Y, 2 Z] float32
    """
    box = box_of(near, even=True)
    seen = continued(half, taps)
    places, inner = _places(seen)[:, :, *box], seen[:, :, *box]
    start = noise[:, :, *box].expand(len(half), -1, -1, -1, -1)
    x = flow.follow(start, inner, places, steps, dtype=dtype, check=check)
    return within(flow.added(x, inner), near, box)


def gaussian_gain(variance: Tensor, time: Tensor) -> Tensor:
    """Factor of x in the velocity E[x1 - x0 | x] for normally distributed x1 of zero mean.

    With x = (1 - t) x0 + t x1, x0 of unit variance and x1 of variance s2 it is
    (t s2 - (1 - t)) / ((1 - t)^2 + t^2 s2), the regression of x1 - x0 on x: Wiener's filter.

    Parameters
    ----------
    variance : Tensor, [N, ...]
        s2, above 0.
    time : Tensor, [N]
        t, from 0 (noise) to 1 (a brain).

    Returns
    -------
    [N, ...]
    """
    t = time.to(variance).reshape(-1, *[1] * (variance.ndim - 1))
    covariance = t * variance - (1 - t)
    return covariance / ((1 - t) ** 2 + t**2 * variance)


def continued(low: Tensor, taps: tuple[float, ...]) -> Tensor:
    """Bands [N, 8, ...] of a low one [N, 1, ...], the fine ones as a filter continues it."""
    if not taps:
        return torch.cat([low, low.new_zeros(len(low), BANDS - 1, *low.shape[2:])], dim=1)
    return torch.cat([low, fine_bands(low, taps)], dim=1)


def _places(bands: Tensor) -> Tensor:
    return places_on(bands.shape[2:], bands.device)
