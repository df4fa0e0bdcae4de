"""What the groups of the Mix panel change, and how evenly.

    python benchmarks/mixing.py [--seeds 6]

For pairs of random brains, truncation 0.7, and each group of layers: its share of the difference
between the two brains in four bands of size, of brain and ventricle volume, and for each tenth of
the slider the change of the volume as root mean square, the largest over the smallest; for mixes of
today and for those of recipes up to version 2.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter

import stylegan3d
from napari_stylegan3d.core.session import LayerGroup, layer_groups
from stylegan3d.geometry.intensity import to_display
from stylegan3d.measures.tissue_volumes import read_tissues
from stylegan3d.recipe.recipe import Mix, Recipe, Source

#: Borders of the bands: standard deviations of Gaussians in voxels of 2 mm.
BORDERS = (1, 2, 4)
TENTHS = 10


def bands(volume: np.ndarray) -> np.ndarray:
    """Root mean square of a volume's bands, fine to coarse, (4,)."""
    smooth = [volume, *(gaussian_filter(volume, s) for s in BORDERS), 0 * volume]
    return np.array([np.sqrt(np.mean((a - b) ** 2)) for a, b in pairwise(smooth)])


def shown(generator: stylegan3d.Generator, recipe: Recipe) -> np.ndarray:
    """Its volume, (X, Y, Z) in [0, 1]."""
    return to_display(generator.synthesize(recipe.latent(generator)[None]))[0]


def mixes(group: LayerGroup, layers: int, a: int, b: int, *, straight: bool) -> list[Recipe]:
    """The brains on the way of a group's slider."""
    return [
        Recipe(
            Source("seed", a),
            mix=Mix(
                Source("seed", b),
                tuple(k / TENTHS if layer in group.layers else 0.0 for layer in range(layers)),
                straight,
            ),
        )
        for k in range(TENTHS + 1)
    ]


def main() -> None:
    """Print a line per group and kind of mix."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    seeds = range(parser.parse_args().seeds)
    generator = stylegan3d.load()
    pairs = list(zip(seeds[::2], seeds[1::2], strict=False))

    def tissues(volume: np.ndarray) -> np.ndarray:
        volumes = read_tissues(volume, generator.space).volumes
        return np.array([volumes["brain_ml"], volumes["ventricle_ml"]])

    for group in layer_groups(generator):
        for straight in (True, False):
            parts, steps, moved, whole = [], [], [], []
            for a, b in pairs:
                recipes = mixes(group, generator.num_layers, a, b, straight=straight)
                way = [shown(generator, recipe) for recipe in recipes]
                other = shown(generator, Recipe(Source("seed", b)))
                parts.append(bands(way[-1] - way[0]) / bands(other - way[0]))
                size = [np.sqrt(np.mean((y - x) ** 2)) for x, y in pairwise(way)]
                steps.append(max(size) / min(size))
                moved.append(tissues(way[-1]) - tissues(way[0]))
                whole.append(tissues(other) - tissues(way[0]))
            share = (np.array(moved) * whole).sum(axis=0) / np.square(whole).sum(axis=0)
            print(
                f"{group.name} ({group.size_in_words}), {'straight' if straight else 'today'}: of "
                "the difference "
                + ", ".join(f"{100 * part:.0f}" for part in np.mean(parts, axis=0))
                + f" % fine to coarse, brain volume {100 * share[0]:.0f} %, ventricles "
                f"{100 * share[1]:.0f} %; largest step over smallest {np.mean(steps):.2f} "
                f"({max(steps):.2f} at most)",
                flush=True,
            )


if __name__ == "__main__":
    main()
