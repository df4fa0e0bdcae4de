"""Monitoring of a run: reconstruction of validation subjects, and diversity of random brains."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from stylegan3d.dataset.pack import Pack
from stylegan3d.geometry.intensity import as_packed, to_display
from stylegan3d.measures.similarity import similarity
from stylegan3d.metrics.distances import Moments, expected_bmmd2, real_bmmd2
from stylegan3d.metrics.diversity import pair_correlation, pair_ms_ssim, random_pairs
from stylegan3d.training.data import fixed_volumes
from stylegan3d.training.state import TrainState

PEOPLE, SAMPLES, PAIRS = 9, 8, 6
# Diversity is 1 if random brains differ as much as subjects. Blur, which is unavoidable with few
# training subjects, also makes brains more similar: 0.6 is usual, less than 0.5 is not.
TOO_ALIKE, TOO_UNLIKE = 0.5, 1.6


class Monitor:
    """Measures a run on fixed subjects, latents and noise.

    Attributes
    ----------
    real, fake : ndarray, shape (n, X, Y, Z), uint8
        Subjects, and the random brains of the last measurement.
    mask : ndarray, shape (X, Y, Z), bool
        The mean brain.
    """

    def __init__(self, pack: Pack, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.space = pack.space
        self.mask = pack.template > 0.05
        self.validation = fixed_volumes(pack, "validation", PEOPLE)
        # Diversity requires at least two subjects.
        split = "validation" if len(self.validation) > 1 else "train"
        rows = pack.indices(split)
        some = np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).round().astype(int)
        self.real = np.array(pack.volumes[rows[some]])
        self.fake = self.real[:0]
        self.of_people = _variety(self.real, self.mask)
        self.moments = Moments.of(self.real)

    @torch.no_grad()
    def measure(self, state: TrainState) -> dict[str, float]:
        """Measure a run.

        Returns
        -------
        dict of str to float
            "validation_psnr" and "validation_ssim", medians inside the brain of encoded and decoded
            validation subjects; "pair_correlation" and "ms_ssim" of random brains, the same of
            subjects with "_real", and "diversity", (1 - pair_correlation) / (1 -
            pair_correlation_real); "bmmd2" of random brains to subjects, and "bmmd2_real" of
            subjects to other subjects.
        """
        values = {}
        # Plain StyleGAN2 has no encoder that was trained.
        scores = list(self._encoded(state)) if state.config.reconstructed_share else []
        if scores:
            for name in ("psnr", "ssim"):
                values[f"validation_{name}"] = float(np.median([s[name] for s in scores]))
        self.fake = self._samples(state)
        if len(self.real) < 2:
            return values
        values |= _variety(self.fake, self.mask)
        values |= {f"{name}_real": value for name, value in self.of_people.items()}
        people = values["pair_correlation_real"]
        values["diversity"] = (1 - values["pair_correlation"]) / max(1 - people, 1e-6)
        values["bmmd2"] = expected_bmmd2(Moments.of(self.fake), self.moments)
        values["bmmd2_real"] = real_bmmd2(self.moments)
        return values

    def _encoded(self, state: TrainState) -> Iterator[dict[str, float]]:
        """Similarity of validation subjects and their reconstructions."""
        encoder, synthesis = state.averages["encoder"], state.averages["synthesis"]
        for volume in self.validation.split(1):
            w = encoder(volume.to(state.device), self.dtype)
            made = synthesis(w, "none", -1, self.dtype)
            a, b = ((v[0, 0].float().cpu().numpy() + 1) / 2 for v in (made, volume))
            yield similarity(a, b, b > 0.05)

    def _samples(self, state: TrainState) -> np.ndarray:
        """Random brains of fixed latents, each with fixed noise of its own, uint8 [n, X, Y, Z]."""
        generator = state.config.generator
        z = torch.randn(SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(0))
        labels = None
        if state.people is not None:
            people = np.linspace(0, len(state.people) - 1, SAMPLES).round().astype(int)
            labels = state.people[people]
        w = state.averages["mapping"](z.to(state.device), labels)
        rows = w[:, None].expand(-1, generator.num_layers, -1)
        synthesis = state.averages["synthesis"]
        made = [synthesis(row, k, -1, self.dtype) for k, row in enumerate(rows.split(1))]
        return as_packed(to_display(torch.cat(made)))


def _variety(volumes: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Similarity within a set of volumes; empty for a single one."""
    if len(volumes) < 2:
        return {}
    return {
        "pair_correlation": pair_correlation(volumes, mask),
        "ms_ssim": float(pair_ms_ssim(volumes, random_pairs(len(volumes), PAIRS)).mean()),
    }


def alarm(values: dict[str, float], *, plain: bool = False) -> str | None:
    """A warning if random brains are much more or much less similar than subjects.

    Parameters
    ----------
    values : dict of str to float
        What was measured.
    plain : bool
        Whether the run has no reconstructions, so that no weight between both can help.
    """
    diversity = values.get("diversity")
    if diversity is None or TOO_ALIKE <= diversity <= TOO_UNLIKE:
        return None
    correlations = (
        f"pair correlation {values['pair_correlation']:.2f}, "
        f"of real brains {values['pair_correlation_real']:.2f}"
    )
    if diversity < TOO_ALIKE:
        advice = (
            "start a new run with more volumes judged together (discriminator.packed)"
            if plain
            else "continue with a lower adversarial_weight"
        )
        return (
            f"random brains are too similar ({correlations}): if it gets worse the generator is "
            f"collapsing, so stop, and {advice}."
        )
    advice = "train longer" if plain else "train longer, or raise kl_weight in a new run"
    return (
        f"random brains differ more than real ones ({correlations}): they are noisy, so {advice}."
    )
