"""The layers of a generator in groups, by the size of what they control."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

GROUPS = (
    ("coarse", "Coarse", "size and shape of the head and its large structures"),
    ("middle", "Middle", "lobes, ventricles and large sulci"),
    ("fine", "Fine", "fine folding, tissue contrast and texture"),
)


#: The only group of a model without per-layer styles.
WHOLE = ("whole", "Brain", "everything at once, from the head's shape to the texture")


@dataclass(frozen=True)
class LayerGroup:
    """Consecutive rows of w that control structures of similar size.

    The last group also has the `silent` rows, which have no effect but belong to a whole mix.
    """

    key: str
    name: str
    meaning: str
    layers: tuple[int, ...]
    sizes_mm: tuple[float, ...]
    silent: tuple[int, ...] = ()

    @property
    def size_in_words(self) -> str:
        """Such as '32–16 mm'."""
        high, low = max(self.sizes_mm), min(self.sizes_mm)
        return f"{high:.0f} mm" if round(high) == round(low) else f"{high:.0f}–{low:.0f} mm"


def layer_groups(generator: Generator) -> list[LayerGroup]:
    """Group the layers by the voxel size in mm of the grid that each controls.

    A model without per-layer styles has one group: the whole brain. Of levels that cannot be
    shared out evenly, the middle has one more, then the fine group.
    """
    if not generator.can("layers"):
        size = float(np.mean(generator.voxel_size))
        return [LayerGroup(*WHOLE, (0,), (size,))]
    field_of_view = np.asarray(generator.shape) * np.asarray(generator.voxel_size)
    sizes = [float((field_of_view / grid).mean()) for grid in generator.layer_resolutions]
    read = generator.rows_read
    silent = tuple(range(read, len(sizes)))
    levels = sorted(set(sizes[:read]), reverse=True)
    count = len(levels)
    borders = max(count // 3, 1), count - (count + 1) // 3
    groups = []
    for names, members in zip(GROUPS, np.split(levels, borders), strict=True):
        layers = tuple(i for i, size in enumerate(sizes[:read]) if size in members)
        if layers:
            groups.append(LayerGroup(*names, layers, tuple(sizes[i] for i in layers)))
    if silent:
        last, every = groups[-1], groups[-1].layers + silent
        sizes_mm = tuple(sizes[i] for i in every)
        groups[-1] = dataclasses.replace(last, layers=every, sizes_mm=sizes_mm, silent=silent)
    return groups
