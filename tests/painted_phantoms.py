"""A painter that learned phantoms, read by their known intensities."""

from types import SimpleNamespace

import numpy as np
from labelled_phantoms import INTENSITIES

from stylegan3d.training.options import TranslationSettings
from stylegan3d.training.translation import train_translation
from stylegan3d.translation.network import TranslationConfig

SMALL = TranslationConfig((20, 24, 16), channels=(8, 12), regions=5)
SETTINGS = {"side": 16, "warm_up": 5, "decay": 0.9, "learning_rate": 4e-3, "validate_every": 1000}


class Reader:
    """Labels each voxel by the tissue whose intensity it is nearest to."""

    name, hash = "by intensity", "0123"

    def segment(self, volume, _space):
        data = np.asarray(volume, np.float32) / (255 if volume.dtype == np.uint8 else 1)
        labels = abs(data[..., None] - INTENSITIES).argmin(axis=-1).astype(np.uint8)
        return SimpleNamespace(labels=labels)


def trained_on(people, folder):
    """A run of 150 steps."""
    return train_translation(people, folder, SMALL, TranslationSettings(steps=150, **SETTINGS))
