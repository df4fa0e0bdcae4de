"""Settings of a training of the network that paints labels."""

from __future__ import annotations

from dataclasses import dataclass

from stylegan3d.errors import ModelError
from stylegan3d.training.autoencoder import WINDOW


@dataclass(frozen=True)
class TranslationTraining:
    """Settings of one run.

    Attributes
    ----------
    steps : of training; people : in each; crops : of each of them; side : of a crop in voxels, a
        multiple of the network's; a shorter axis of the volumes is taken whole.
    learning_rate : highest; it falls along a cosine.
    similarity : weight of one minus the structural similarity, beside the absolute error.
    gamma : intensities are raised to a power in [1 - gamma, 1 + gamma].
    decay : of the averaged weights, which are what is measured and shipped.
    """

    steps: int = 4000
    people: int = 2
    crops: int = 2
    side: int = 48
    learning_rate: float = 6e-4
    weight_decay: float = 1e-4
    warm_up: int = 200
    similarity: float = 0.2
    gamma: float = 0.25
    decay: float = 0.998
    validate_every: int = 500
    save_seconds: float = 120.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.people, self.crops, self.validate_every) < 1:
            raise ModelError("A run needs at least one step of one volume; ask for more.")
        if self.side < WINDOW:
            raise ModelError(f"Crops of {self.side} voxels: take at least {WINDOW}.")
