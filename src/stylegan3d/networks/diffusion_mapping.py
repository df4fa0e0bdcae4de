"""The mapping of a latent diffusion: noise to latents, with the requested effort.

A latent takes seconds, so recent ones are cached.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import torch
from torch import Tensor, nn

from stylegan3d.devices import measured_dtype
from stylegan3d.networks.latent_diffusion import LatentDiffusion
from stylegan3d.progress import current_effort

#: Number of cached latents; with 27,000 numbers each takes a tenth of a megabyte.
KEPT = 256


class DiffusionMapping(nn.Module):
    """Standard normal z [N, D] -> latents w [N, D].

    Parameters
    ----------
    diffusion : LatentDiffusion
        The networks.
    steps, preview_steps : int
        Network evaluations for a latent, and for a preview.
    """

    def __init__(self, diffusion: LatentDiffusion, steps: int, preview_steps: int) -> None:
        super().__init__()
        self.diffusion, self.steps, self.preview_steps = diffusion, steps, preview_steps
        self._kept: OrderedDict[tuple[bytes, bool], Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map one by one, so that a latent does not depend on its batch."""
        return torch.stack([self._one(row) for row in z])

    def invert(self, w: Tensor) -> Tensor:
        """Latents [N, D] -> z [N, D], approximately."""
        return self.diffusion.invert(w, self.steps, check=current_effort().check)

    def varied(self, w: Tensor, z: Tensor, strength: float) -> Tensor:
        """See `family.HasVariations`."""
        sigma = strength / max(1 - strength**2, 1e-6) ** 0.5
        dtype = measured_dtype(z.device)
        return self.diffusion.varied(w, z, sigma, self.steps, dtype, current_effort().check)

    def _one(self, z: Tensor) -> Tensor:
        effort = current_effort()
        if effort.care == "rough":
            x = self.diffusion.gaussian.from_normal(z[None], 0.0)[0]
            return self.diffusion.center + x * self.diffusion.scale
        preview = effort.care == "preview"
        name = _bytes(z)
        # A full-quality latent can be used for a preview, too.
        for quick in (False, True) if preview else (False,):
            known = self._known((name, quick))
            if known is not None:
                return known
        steps = self.preview_steps if preview else self.steps
        dtype = measured_dtype(z.device) if preview else torch.float32
        with torch.no_grad():
            w = self.diffusion.draw(z[None], steps, dtype, effort.check)[0]
        self._keep((name, preview), w)
        return w

    def _known(self, key: tuple[bytes, bool]) -> Tensor | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _keep(self, key: tuple[bytes, bool], w: Tensor) -> None:
        with self._lock:
            self._kept[key] = w
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def _bytes(values: Tensor) -> bytes:
    """Key of a tensor's values."""
    return hashlib.sha256(values.detach().cpu().contiguous().numpy().tobytes()).digest()
