"""What all networks have in common that make their image level by level, each twice as fine."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.errors import ModelError
from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.networks.layers import is_inference
from stylegan3d.networks.memo import Memo
from stylegan3d.networks.noise import Noise, drawn_noise, of_sample
from stylegan3d.networks.resampling import inverse_haar, upsample_image


class LeveledSynthesis(nn.Module):
    """w -> volume, full or coarser. `_canonical` makes the image and `_finish` completes it."""

    config: GeneratorConfig
    image_const: nn.Parameter

    def add_constant(self) -> None:
        """Make the constant image of the configuration, if it has one."""
        config = self.config
        if config.image_const:
            bands = 8 if config.head == "haar" else 1
            shape = (config.image_channels * bands, *config.grid(config.num_levels - 1))
            self.image_const = nn.Parameter(torch.zeros(shape))

    def _canonical(
        self,
        w: Tensor,
        maps: list[Tensor | None],
        stop: int,
        dtype: torch.dtype,
        *,
        draft: bool,
        memo: Memo | None,
    ) -> Tensor:
        """The image of level `stop`; of the last one with a Haar head the bands.

        With `draft` the last level of a Haar head may give its low band only.
        """
        raise NotImplementedError

    def _finish(
        self,
        image: Tensor,
        w: Tensor,
        maps: list[Tensor | None],
        dtype: torch.dtype,
        *,
        full: bool,
        memo: Memo | None,
    ) -> Tensor:
        """The image of a level as it is returned; `full` at full resolution."""
        return image

    @property
    def stored_noise(self) -> list[Tensor]:
        """The noise maps stored with the network, in the order of `noise_maps`."""
        raise NotImplementedError

    def noise_maps(self, noise: Noise, batch: int = 1) -> list[Tensor | None]:
        """Noise maps, each [1 or N, 1, X, Y, Z]: stored, absent, fresh or drawn from a seed."""
        return drawn_noise(self.stored_noise, noise, batch)

    def forward(
        self,
        w: Tensor,
        noise: Noise | list[Tensor | None] = "fixed",
        level: int = -1,
        dtype: torch.dtype = torch.float32,
        *,
        draft: bool = False,
        memo: Memo | None = None,
    ) -> Tensor:
        """Synthesise.

        Parameters
        ----------
        w : Tensor, shape (N, num_layers, w_dim)
        noise : Noise or list of Tensor
            How the noise maps are chosen, or the maps themselves.
        level : int
            Which of `config.image_grids` to return; -1 is the full image. Finer levels are not
            computed.
        dtype : torch.dtype
            Precision of the feature maps; the image is always float32.
        draft : bool
            For images coarser than the full one: leave out what the last level of a Haar head adds
            to its low band by convolutions, and the part of the details that needs all bands.
        memo : Memo, optional
            Results of earlier calls to use again; for one volume, without gradients.

        Returns
        -------
        Tensor, shape (N, image_channels, X, Y, Z)
            About in [-1, 1].
        """
        if len(w) > 1 and memo is None and w.device.type == "cpu" and is_inference(w):
            # On a CPU nothing is gained by a batch: one by one they take less memory, and each
            # volume has the same bits whatever stands beside it.
            maps = noise if isinstance(noise, list) else self.noise_maps(noise, len(w))
            return torch.cat(
                [
                    self(w[i : i + 1], of_sample(maps, i), level, dtype, draft=draft)
                    for i in range(len(w))
                ]
            )
        stop, half = self._plan(level)
        maps = self._maps(noise, len(w), memo)
        image = self._canonical(w, maps, stop, dtype, draft=draft and half, memo=memo)
        last = stop == self.config.num_levels - 1
        if self.config.head == "haar" and last:
            image = image[:, : self.config.image_channels] if half else inverse_haar(image)
        return self._finish(image, w, maps, dtype, full=last and not half, memo=memo)

    def _maps(
        self, noise: Noise | list[Tensor | None], batch: int, memo: Memo | None = None
    ) -> list[Tensor | None]:
        if isinstance(noise, list):
            return noise
        if memo is None:
            return self.noise_maps(noise, batch)
        return memo.maps(noise, lambda: self.noise_maps(noise, batch))

    def _constant(self, level: int) -> Tensor:
        """The constant image at the resolution of a level, [1, C, X, Y, Z]."""
        const = self.image_const[None]
        last = self.config.num_levels - 1
        if level == last:
            return const
        low = const[:, : self.config.image_channels]
        return F.avg_pool3d(low, 2 ** (last - level))

    def _with_constant(self, image: Tensor, level: int) -> Tensor:
        """An image of a level, or its low band, plus the constant image."""
        if not self.config.image_const:
            return image
        return image + self._constant(level)[:, : image.shape[1]]

    def _plan(self, level: int) -> tuple[int, bool]:
        """Last level to compute, and whether only the low band of it is wanted."""
        grids = self.config.image_grids
        if not -len(grids) <= level < len(grids):
            raise ModelError(
                f"This generator has images at {len(grids)} resolutions only, so level {level} "
                "does not exist."
            )
        # Counted from the finest; with a Haar head the two finest share one feature level.
        from_end = len(grids) - 1 - level % len(grids)
        last = self.config.num_levels - 1
        if self.config.head == "haar":
            return last - max(from_end - 1, 0), from_end == 1
        return last - from_end, False

    def _doubled(self, image: Tensor) -> Tensor:
        """An image at the next finer resolution."""
        config = self.config
        nearest = config.image_upsampling == "nearest"
        return upsample_image(image, config.resample_kernel, config.upsample_gain, nearest)


def sum_low(bands: Tensor, low: Tensor) -> Tensor:
    """Add `low` [N, C, ...] to the first channels of `bands` [1 or N, >= C, ...]."""
    return bands + F.pad(low, (0, 0, 0, 0, 0, 0, 0, bands.shape[1] - low.shape[1]))
