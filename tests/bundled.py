"""The bundled model and a few of its random brains, made once in a process. Do not change them."""

from functools import cache

import numpy as np

from stylegan3d.model.generator import Generator, RandomBrains, load


@cache
def bundled() -> Generator:
    """As it ships."""
    return load(device="cpu")


@cache
def random_brain(seed: int) -> np.ndarray:
    """uint8 (X, Y, Z), as a pack holds it."""
    (brain,) = RandomBrains(bundled(), [seed], truncation=0.7)
    brain.flags.writeable = False
    return brain
