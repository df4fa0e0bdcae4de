"""Heads of known shape, people who have them, and a generator with an encoder that knows them."""

import nibabel as nib
import numpy as np
import torch
from tiny import tiny_generator

from stylegan3d.dataset.pack import load_pack, write_pack
from stylegan3d.geometry.space import Space
from stylegan3d.measures import attributes

SPACE = Space((40, 56, 48), nib.affines.from_matvec(np.diag([4.0, 4.0, 4.0]), [-78, -127, -89]))


def head(space=SPACE, size=1.0, ventricle=1.0, white=0.7, stretch=(1, 1, 1), scale=1.0):
    """An ellipsoid of grey around white matter, with two dark ventricles in its middle."""
    index = np.stack(np.meshgrid(*map(np.arange, space.shape), indexing="ij"), axis=-1)
    mm = nib.affines.apply_affine(space.affine, index) - attributes.FRAME_CENTER_MM
    ellipsoid = attributes.FRAME_SPREAD_MM * np.sqrt(5) * size * np.asarray(stretch)
    radius = np.linalg.norm(mm / ellipsoid, axis=-1)
    volume = np.where(radius < 1, 0.62, 0.0)
    volume[radius < white] = 0.9
    for side in (-1, 1):
        place = (mm - [14 * side, 8, 14]) / (np.array([7, 24, 9]) * size * np.cbrt(ventricle))
        volume[np.linalg.norm(place, axis=-1) < 1] = 0.3
    return (scale * volume).astype(np.float32)


def write_people(path, space, count=60):
    """A pack of heads whose age grows with their ventricles, a quarter of them to validate on."""
    draw = np.random.RandomState(0)
    size, load = draw.randn(2, count)
    rows = [
        {
            "name": f"sub-{i:02}",
            "split": "validation" if i % 4 == 3 else "train",
            "age": None if i == 1 else float(50 + 12 * load[i]),
            "sex": "MF"[int(size[i] + 0.5 * draw.randn() > 0)],
            "index": i,
        }
        for i in range(count)
    ]

    def volume_of(row):
        i = row["index"]
        return (255 * head(space, 0.95 + 0.03 * size[i], np.exp(0.4 * load[i]))).astype(np.uint8)

    write_pack(path, rows, volume_of, space, {})
    return load_pack(path)


class Linear(torch.nn.Module):
    """An encoder: the volume's projections on a few fixed images, as w."""

    def __init__(self, generator):
        super().__init__()
        self.w_avg, self.layers = generator.w_avg, generator.num_layers
        draw = np.random.RandomState(1)
        images = draw.randn(int(np.prod(generator.shape)), generator.w_dim)
        self.images = torch.from_numpy(images / len(images)).float()

    def forward(self, volume):
        w = self.w_avg + volume.flatten(1) @ self.images
        return w[:, None].expand(-1, self.layers, -1)


def encoding_generator():
    """A tiny generator with an encoder."""
    generator = tiny_generator(seed=0)
    generator.encoder = Linear(generator)
    return generator
