"""How a run is doing: reconstruction of validation people, and variety of random brains."""

from __future__ import annotations

import numpy as np
import torch

from stylegan3d.generator import to_display
from stylegan3d.metrics import similarity
from stylegan3d.training.data import fixed_volumes
from stylegan3d.training.pack import Pack
from stylegan3d.training.state import TrainState

PEOPLE, SAMPLES = 9, 8
# Diversity is 1 where random brains differ as much as people do.
TOO_ALIKE, TOO_UNLIKE = 0.5, 1.6


class Monitor:
    """Measures a run on fixed people and fixed latents."""

    def __init__(self, pack: Pack, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.mask = pack.template > 0.05
        self.validation = fixed_volumes(pack, "validation", PEOPLE)
        # Variety takes two people at least.
        split = "validation" if len(self.validation) > 1 else "train"
        self.real = to_display(fixed_volumes(pack, split, SAMPLES))
        self.fake = self.real[:0]

    @torch.no_grad()
    def measure(self, state: TrainState) -> dict[str, float]:
        """Median PSNR and SSIM of encoded validation people, and the samples' `variety`."""
        values = {}
        scores = [similarity(*pair) for pair in self._encoded(state)]
        if scores:
            for name in ("psnr", "ssim"):
                values[f"validation_{name}"] = float(np.median([s[name] for s in scores]))
        self.fake = self._samples(state)
        return values | variety(self.fake, self.real, self.mask)

    def _encoded(self, state: TrainState) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Decoded and real validation people, in [0, 1], and where the brain is."""
        encoder, synthesis = state.averages["encoder"], state.averages["synthesis"]
        pairs = []
        for volume in self.validation.split(1):
            w = encoder(volume.to(state.device), self.dtype)
            made = synthesis(w, "none", -1, self.dtype)
            a, b = ((v[0, 0].float().cpu().numpy() + 1) / 2 for v in (made, volume))
            pairs.append((a, b, b > 0.05))
        return pairs

    def _samples(self, state: TrainState) -> np.ndarray:
        """The same random brains each time, (n, X, Y, Z)."""
        generator = state.config.generator
        z = torch.randn(SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(0))
        labels = None
        if state.people is not None:
            rows = np.linspace(0, len(state.people) - 1, SAMPLES).round().astype(int)
            labels = state.people[rows]
        w = state.averages["mapping"](z.to(state.device), labels)
        rows = w[:, None].expand(-1, generator.num_layers, -1)
        made = [state.averages["synthesis"](r, "fixed", -1, self.dtype) for r in rows.split(1)]
        return to_display(torch.cat(made))


def variety(fake: np.ndarray, real: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """How much random brains differ, beside how much people do.

    Parameters
    ----------
    fake, real : (n, X, Y, Z) in [0, 1]
    mask : (X, Y, Z) bool, the mean brain.

    Returns
    -------
    "pair_correlation" and "pair_correlation_real", the mean Pearson correlation of two volumes
    inside the mask; "diversity", (1 - the first) / (1 - the second). Empty for a single real one.
    """
    if len(real) < 2:
        return {}
    synthetic, people = (pair_correlation(v[:, mask]) for v in (fake, real))
    return {
        "pair_correlation": synthetic,
        "pair_correlation_real": people,
        "diversity": (1 - synthetic) / max(1 - people, 1e-6),
    }


def pair_correlation(rows: np.ndarray) -> float:
    """Mean Pearson correlation of all pairs of rows of (n, voxels); 1 for constant rows."""
    centered = rows.astype(np.float64) - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centered, axis=1, keepdims=True)
    if not np.all(norms > 0):
        return 1.0
    unit = centered / norms
    matrix = unit @ unit.T
    return float(matrix[np.triu_indices(len(matrix), 1)].mean())


def alarm(values: dict[str, float]) -> str | None:
    """A sentence if random brains are far more alike, or far less, than people are."""
    diversity = values.get("diversity")
    if diversity is None or TOO_ALIKE <= diversity <= TOO_UNLIKE:
        return None
    correlations = (
        f"pair correlation {values['pair_correlation']:.2f}, "
        f"of people {values['pair_correlation_real']:.2f}"
    )
    if diversity < TOO_ALIKE:
        return (
            f"random brains are too much alike ({correlations}): the generator is collapsing, so "
            "stop, and go on with a lower adversarial_weight."
        )
    return (
        f"random brains differ more than people do ({correlations}): they are noisy, so train "
        "longer, or raise kl_weight in a new run."
    )
