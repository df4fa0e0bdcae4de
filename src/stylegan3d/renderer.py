"""From w to a picture, at the quality asked for.

The renderer knows nothing of recipes, widgets or files. What it shows while a slider moves may be
coarse and of reduced precision; what leaves the program is float32 at full resolution.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from stylegan3d.errors import ModelError
from stylegan3d.generator import Generator, to_display
from stylegan3d.memory import keep_large_blocks
from stylegan3d.networks.synthesis import Noise
from stylegan3d.space import Space

Quality = Literal["full", "preview"]
# A preview may differ from float32 by so much of the display range before it is called wrong.
TOLERATED_DIFFERENCE = 0.02


@dataclass(frozen=True)
class Rendered:
    """A volume to look at.

    Attributes
    ----------
    volume : (X, Y, Z) float32; 0 is outside the brain, 1 the bright end of its intensities.
    space : where its voxels lie; a preview has fewer and larger ones.
    quality : "full" or "preview".
    seconds : how long it took.
    """

    volume: np.ndarray
    space: Space
    quality: Quality
    seconds: float


class Renderer:
    """Draws latents of one generator.

    Previews are made at half resolution where the generator has an image there, and in the
    precision that is fastest on this machine while staying within 2 % of float32; both are found
    out by trying once, on the first preview.
    """

    def __init__(self, generator: Generator) -> None:
        keep_large_blocks()
        self.generator = generator
        self._preview_dtype: torch.dtype | None = None

    @property
    def preview_level(self) -> int:
        """Which of the generator's levels a preview shows: half resolution, or full if none."""
        return -2 if len(self.generator.levels) > 1 else -1

    @torch.no_grad()
    def render(
        self, w: Tensor, quality: Quality = "full", noise: Noise = "fixed", channel: int = 0
    ) -> Rendered:
        """Synthesise one volume.

        Parameters
        ----------
        w : [num_layers, w_dim]
        quality : "full": float32 at full resolution, the same bits each time on one machine with
            the same number of threads (OMP_NUM_THREADS); "preview": as fast as possible.
        noise : "fixed", "none" or a seed.
        channel : which image channel.
        """
        generator = self.generator
        if w.ndim != 2:
            raise ModelError(
                f"The latent has shape {tuple(w.shape)}; the renderer draws one volume at a time "
                f"from ({generator.num_layers}, {generator.w_dim})."
            )
        started = time.perf_counter()
        if quality == "full":
            image = self._synthesize(w, noise, -1, torch.float32)
        else:
            if self._preview_dtype is None:
                self._preview_dtype = self._measure_precision(w)
            image = self._synthesize(w, noise, self.preview_level, self._preview_dtype)
        volume = to_display(image, channel)[0]
        grid: tuple[int, int, int] = volume.shape
        space = generator.space if grid == generator.shape else generator.space.resized(grid)
        return Rendered(volume, space, quality, time.perf_counter() - started)

    def _synthesize(self, w: Tensor, noise: Noise, level: int, dtype: torch.dtype) -> Tensor:
        rows = w[None].to(self.generator.device, torch.float32)
        exact = dtype == torch.float32
        # By default cuDNN rounds float32 to TF32 and may pick an algorithm that sums at random.
        with torch.backends.cudnn.flags(deterministic=exact, allow_tf32=not exact):
            return self.generator.synthesis(rows, noise, level, dtype)

    def _measure_precision(self, w: Tensor) -> torch.dtype:
        """bfloat16 where it is faster than float32 and close to it, else float32."""
        seconds, images = {}, {}
        for dtype in (torch.float32, torch.bfloat16):
            try:
                self._synthesize(w, "none", self.preview_level, dtype)
                started = time.perf_counter()
                images[dtype] = self._synthesize(w, "none", self.preview_level, dtype)
                seconds[dtype] = time.perf_counter() - started
            except RuntimeError:  # an operation without a kernel of this precision here
                return torch.float32
        difference = (images[torch.bfloat16] - images[torch.float32]).abs().mean()
        scale = images[torch.float32].abs().mean().clamp(min=1e-6)
        close = bool(difference <= TOLERATED_DIFFERENCE * scale)
        faster = seconds[torch.bfloat16] < seconds[torch.float32]
        return torch.bfloat16 if close and faster else torch.float32
