"""A cascade of flows from noise: each draws what one scale of a brain has beyond a coarser image.

A linear mixture of people knows where a brain's parts lie and how bright they are; it cannot lay
out folds, for a mixture of ribbons is no ribbon. So the mixture gives the image above some scale
(shape, ventricles, contrast) and flows invent the rest: at time 0 a flow holds standard normal
noise, at time 1 the Haar bands of a person minus those of the coarse image, in units of their
deviation. Between the two dx = v(x, t) dt, and v is learned by least squares (Lipman et al. 2023,
arXiv 2210.02747; Liu, Gong, Liu 2023, arXiv 2209.03003). The coarse image and the place of every
voxel are seen, as in cascaded diffusion (Ho et al. 2022, arXiv 2106.15282). Followed backwards, the
same equation tells which noise makes a given person.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stylegan3d.networks.band_unet import BandUNet

# The low band and the fine ones of a coarse image in [-1, 1], to about unit size.
LOW_GAIN, FINE_GAIN = 2.5, 8.0
BANDS = 8


class CascadeFlow(BandUNet):
    """One flow of a cascade.

    Parameters
    ----------
    channels : feature channels, see `BandUNet`.
    drawn : how many bands it draws, the last of the eight: all, or the seven fine ones that go with
        a low band that is kept.

    Attributes
    ----------
    spread : [1, drawn, 1, 1, 1] deviation of what is drawn, in intensities of [-1, 1].
    """

    spread: Tensor

    def __init__(self, channels: tuple[int, int, int], drawn: int = BANDS) -> None:
        super().__init__(drawn + BANDS + 3, drawn, channels)
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
        x : [N, drawn, X, Y, Z] on the way from noise to a brain.
        seen : [N, 8, X, Y, Z] Haar bands of the coarse image in [-1, 1].
        time : [N], from 0 (noise) to 1 (a brain).
        places : [1 or N, 3, X, Y, Z], see `places_on`.
        check : called between the layers; what it raises ends the work.

        Returns
        -------
        [N, drawn, X, Y, Z] float32
        """
        scaled = [seen[:, :1] * LOW_GAIN, seen[:, 1:] * FINE_GAIN]
        where = places.expand(len(x), -1, -1, -1, -1)
        return self.answer(torch.cat([x, *scaled, where.to(x)], dim=1), time, check)

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
        """Go from noise to a brain, or back, by the midpoint rule: two evaluations a step.

        Parameters
        ----------
        x : [N, drawn, X, Y, Z] the noise, or `beyond` of a brain.
        seen, places, check : see `velocity`.
        steps : of equal length.
        dtype : precision of the feature maps.

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
        """What a brain's bands [N, 8, X, Y, Z] have beyond those seen, [N, drawn, X, Y, Z]."""
        return (bands - seen)[:, -self.drawn :] / self.spread

    def added(self, x: Tensor, seen: Tensor) -> Tensor:
        """Inverse of `beyond`: the bands [N, 8, X, Y, Z] of a brain."""
        kept = BANDS - self.drawn
        return torch.cat([seen[:, :kept], seen[:, kept:] + x * self.spread], dim=1)
