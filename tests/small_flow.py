"""Settings of a flow that learns phantoms in a second, and what is measured of them."""

import numpy as np
import torch

SMALL = {
    "channels": (8, 8, 8),
    "side": 16,
    "cubes": 4,
    "warm_up": 2,
    "learning_rate": 5e-3,
    "validate_every": 1000,
}


class Texture:
    """Mean and roughness of a brain, a measure that is its own stand-in."""

    def soft(self, image):
        steps = sum(image.diff(dim=axis).square().mean() for axis in range(3))
        return torch.stack([image.mean(), steps])

    def of(self, volumes):
        images = (torch.from_numpy(v.astype(np.float32) / 255) for v in volumes)
        return np.stack([self.soft(image).numpy() for image in images])
