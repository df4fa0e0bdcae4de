"""Monitoring of a run: diversity of random brains, beside subjects; TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import ModelError
from stylegan3d.geometry.intensity import as_packed, to_display
from stylegan3d.geometry.slicing import draw_montage
from stylegan3d.metrics.distances import Moments, expected_bmmd2, real_bmmd2
from stylegan3d.metrics.diversity import pair_correlation, pair_ms_ssim, random_pairs
from stylegan3d.training.run import Run

SAMPLES, PAIRS = 8, 6
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
        # Diversity requires at least two subjects.
        split = "validation" if len(pack.indices("validation")) > 1 else "train"
        rows = pack.indices(split)
        some = np.linspace(0, len(rows) - 1, min(SAMPLES, len(rows))).round().astype(int)
        self.real = np.array(pack.volumes[rows[some]])
        self.fake = self.real[:0]
        self.of_people = variety(self.real, self.mask)
        self.moments = Moments.of(self.real)

    @torch.no_grad()
    def measure(self, run: Run[Any], labels: Tensor | None) -> dict[str, float]:
        """Measure a run of a StyleGAN.

        Parameters
        ----------
        run : Run
            The run.
        labels : Tensor, shape (n, label_dim), or None
            Labels of the training subjects, if the generator is conditional.

        Returns
        -------
        dict of str to float
            "pair_correlation" and "ms_ssim" of random brains, the same of subjects with "_real",
            and "diversity", (1 - pair_correlation) / (1 - pair_correlation_real); "bmmd2" of random
            brains to subjects, and "bmmd2_real" of subjects to other subjects.
        """
        self.fake = self._samples(run, labels)
        if len(self.real) < 2:
            return {}
        values = variety(self.fake, self.mask)
        values |= {f"{name}_real": value for name, value in self.of_people.items()}
        people = values["pair_correlation_real"]
        values["diversity"] = (1 - values["pair_correlation"]) / max(1 - people, 1e-6)
        values["bmmd2"] = expected_bmmd2(Moments.of(self.fake), self.moments)
        values["bmmd2_real"] = real_bmmd2(self.moments)
        return values

    def _samples(self, run: Run[Any], people: Tensor | None) -> np.ndarray:
        """Random brains of fixed latents, each with fixed noise of its own, uint8 [n, X, Y, Z]."""
        generator = run.settings.generator
        z = torch.randn(SAMPLES, generator.z_dim, generator=torch.Generator().manual_seed(0))
        labels = None
        if people is not None:
            labels = people[np.linspace(0, len(people) - 1, SAMPLES).round().astype(int)]
        w = run.averages["mapping"](z.to(run.device), labels)
        rows = w[:, None].expand(-1, generator.num_layers, -1)
        synthesis = run.averages["synthesis"]
        made = [synthesis(row, k, -1, self.dtype) for k, row in enumerate(rows.split(1))]
        return as_packed(to_display(torch.cat(made)))


def variety(volumes: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """Similarity within a set of volumes; empty for a single one."""
    if len(volumes) < 2:
        return {}
    return {
        "pair_correlation": pair_correlation(volumes, mask),
        "ms_ssim": float(pair_ms_ssim(volumes, random_pairs(len(volumes), PAIRS)).mean()),
    }


def alarm(values: dict[str, float]) -> str:
    """A warning if random brains are much more or much less similar than subjects, else ""."""
    diversity = values.get("diversity")
    if diversity is None or TOO_ALIKE <= diversity <= TOO_UNLIKE:
        return ""
    correlations = (
        f"pair correlation {values['pair_correlation']:.2f}, "
        f"of real brains {values['pair_correlation_real']:.2f}"
    )
    if diversity < TOO_ALIKE:
        return (
            f"random brains are too similar ({correlations}): if it gets worse the generator is "
            "collapsing, so stop, and start a new run with more volumes judged together "
            "(discriminator.packed)."
        )
    return (
        f"random brains differ more than real ones ({correlations}): they are noisy, so train "
        "longer."
    )


FOLDER = "tensorboard"
SHOWN = 4
GROUPS = {
    "variety": (
        "pair_correlation",
        "pair_correlation_real",
        "ms_ssim",
        "ms_ssim_real",
        "diversity",
        "bmmd2",
        "bmmd2_real",
    ),
    "discriminator": ("real_score", "fake_score", "d_augment_p"),
}


class Board:
    """Writes a run's events."""

    @staticmethod
    def check() -> None:
        """Raise ModelError if TensorBoard is not installed."""
        if find_spec("tensorboard") is None:
            raise ModelError(
                "--tensorboard needs TensorBoard: install it with "
                '`pip install "napari-stylegan3d[train]"`.'
            )

    def __init__(self, out: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Hides events of a killed run after its last checkpoint.
        self.writer = SummaryWriter(str(out / FOLDER), purge_step=step)

    def write(self, run: Run[Any], values: dict[str, float], monitor: Monitor) -> None:
        """Write what was measured."""
        step = run.steps
        group_of = {name: group for group, names in GROUPS.items() for name in names}
        for name, value in values.items():
            self.writer.add_scalar(f"{group_of.get(name, 'loss')}/{name}", value, step)
        for name, optimiser in run.optimisers.items():
            for number, group in enumerate(optimiser.param_groups):
                self.writer.add_scalar(f"rate/{name}_{number}", group["lr"], step)
        for name, volumes in (("synthetic", monitor.fake), ("real", monitor.real)):
            inside = volumes[:, monitor.mask] / 255
            self.writer.add_histogram(f"intensity/{name}", inside, step)
        columns: dict[str, Sequence[np.ndarray]] = {
            "synthetic - not for diagnosis": list(monitor.fake[:SHOWN]),
            "real": list(monitor.real[:SHOWN]),
        }
        picture = Image.open(io.BytesIO(draw_montage(columns, monitor.space)))
        self.writer.add_image("brains", np.asarray(picture), step, dataformats="HW")
        self.writer.flush()

    def close(self) -> None:
        """Flush and close."""
        self.writer.close()
