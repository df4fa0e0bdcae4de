"""The mapping of a latent diffusion: noise to latents, as carefully as is asked for.

A latent takes seconds, so those drawn last are kept.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from stylegan3d.devices import measured_dtype
from stylegan3d.effort import current
from stylegan3d.networks.latent_diffusion import LatentDiffusion
from stylegan3d.networks.latent_gaussian import LatentGaussian

#: Latents that are kept; of 27,000 numbers each takes a tenth of a megabyte.
KEPT = 256
Asked = Callable[[Tensor | None], LatentGaussian | None]


class DiffusionMapping(nn.Module):
    """Standard normal z [N, D], label [N, L] or None -> latents w [N, D].

    Parameters
    ----------
    diffusion : the networks.
    asked : a label [L] to the distribution of those who have it, None where it says nothing.
    steps, preview_steps : evaluations of the network for a latent, and for one of a preview.
    """

    def __init__(
        self,
        diffusion: LatentDiffusion,
        asked: nn.Module | None,
        steps: int,
        preview_steps: int,
    ) -> None:
        super().__init__()
        self.diffusion, self.asked = diffusion, asked
        self.steps, self.preview_steps = steps, preview_steps
        self._kept: OrderedDict[tuple[bytes, bytes, bool], Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """One after the other: a latent shall not depend on its company."""
        labels: Sequence[Tensor | None] = [None] * len(z) if label is None else list(label)
        return torch.stack([self._one(*pair) for pair in zip(z, labels, strict=True)])

    def invert(self, w: Tensor, label: Tensor | None = None) -> Tensor:
        """Latents [N, D] -> the z [N, D] that lead to them, nearly."""
        check = current().check
        asked = None if label is None else self._asked(label[0])
        return self.diffusion.invert(w, self.steps, asked, check=check)

    def _one(self, z: Tensor, label: Tensor | None) -> Tensor:
        effort = current()
        if effort.care == "rough":
            gaussian = self._asked(label) or self.diffusion.gaussian
            x = gaussian.from_normal(z[None], 0.0)[0]
            return self.diffusion.center + x * self.diffusion.scale
        preview = effort.care == "preview"
        names = [_bytes(z), b"" if label is None else _bytes(label)]
        # A careful latent serves for a preview, too.
        for quick in (False, True) if preview else (False,):
            known = self._known((names[0], names[1], quick))
            if known is not None:
                return known
        steps = self.preview_steps if preview else self.steps
        dtype = measured_dtype(z.device) if preview else torch.float32
        with torch.no_grad():
            w = self.diffusion.draw(z[None], steps, self._asked(label), dtype, effort.check)[0]
        self._keep((names[0], names[1], preview), w)
        return w

    def _asked(self, label: Tensor | None) -> LatentGaussian | None:
        if label is None or self.asked is None:
            return None
        found: LatentGaussian | None = self.asked(label)
        return found

    def _known(self, key: tuple[bytes, bytes, bool]) -> Tensor | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def _keep(self, key: tuple[bytes, bytes, bool], w: Tensor) -> None:
        with self._lock:
            self._kept[key] = w
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def _bytes(values: Tensor) -> bytes:
    """A name for these numbers."""
    return hashlib.sha256(values.detach().cpu().contiguous().numpy().tobytes()).digest()
