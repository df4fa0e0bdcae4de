"""TensorBoard output: curves, intensity histograms, random brains and subjects."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stylegan3d.errors import ModelError
from stylegan3d.geometry.slicing import draw_montage
from stylegan3d.training.state import TrainState

if TYPE_CHECKING:
    from stylegan3d.training.monitor import Monitor

FOLDER = "tensorboard"
SHOWN = 4
GROUPS = {
    "validation": ("validation_psnr", "validation_ssim"),
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
    "speed": ("images_per_second",),
}


def check_tensorboard() -> None:
    """Raise ModelError if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise ModelError(
            "--tensorboard needs TensorBoard: install it with "
            '`pip install "napari-stylegan3d[train]"`.'
        )


class Board:
    """Writes a run's events, with images seen as the step."""

    def __init__(self, out: Path, images: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Hides events of a killed run after its last checkpoint.
        self.writer = SummaryWriter(str(out / FOLDER), purge_step=images + 1 if images else None)

    def write(self, state: TrainState, values: dict[str, float], monitor: Monitor) -> None:
        """Write the latest log entry."""
        images = state.images
        group_of = {name: group for group, names in GROUPS.items() for name in names}
        for name, value in values.items():
            self.writer.add_scalar(f"{group_of.get(name, 'loss')}/{name}", value, images)
        for name, optimiser in (("maker", state.maker), ("discriminator", state.judge)):
            for number, group in enumerate(optimiser.param_groups):
                self.writer.add_scalar(f"rate/{name}_{number}", group["lr"], images)
        for name, volumes in (("synthetic", monitor.fake), ("real", monitor.real)):
            inside = volumes[:, monitor.mask] / 255
            self.writer.add_histogram(f"intensity/{name}", inside, images)
        columns: dict[str, Sequence[np.ndarray]] = {
            "synthetic - not for diagnosis": list(monitor.fake[:SHOWN]),
            "real": list(monitor.real[:SHOWN]),
        }
        picture = Image.open(io.BytesIO(draw_montage(columns, monitor.space)))
        self.writer.add_image("brains", np.asarray(picture), images, dataformats="HW")
        self.writer.flush()

    def close(self) -> None:
        """Flush and close."""
        self.writer.close()
