"""Tissue names and colours, and layers of tissue labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_stylegan3d.core.jobs import screen_dtype
from napari_stylegan3d.views.display import NAMES, OVERLAY
from stylegan3d.measures.attributes import EXPLAINED, SMALL, VOLUMES
from stylegan3d.measures.attributes import TOLD as TOLD

if TYPE_CHECKING:
    from stylegan3d.geometry.space import Space
    from stylegan3d.segmentation.inference import Segmentation, Segmenter

NAME = "Tissues"
OPACITY = 0.45
#: Label colours that are distinguishable with colour blindness (Okabe and Ito 2008).
COLORS = {
    "csf": "#56b4e9",
    "grey": "#e69f00",
    "white": "#f0e442",
    "ventricle": "#0072b2",
    "other": "#cc79a7",
}
ROWS = tuple((key.removesuffix("_ml"), name, EXPLAINED[key]) for key, name in VOLUMES.items())


def segmenter() -> Segmenter:
    """The bundled tissue network."""
    from stylegan3d.segmentation.inference import bundled_segmenter

    return bundled_segmenter()


def read_tissues(volume: np.ndarray, space: Space) -> Segmentation:
    """Segment a brain (X, Y, Z) at display precision; runs in a thread.

    Raises
    ------
    StyleGAN3DError
        If the network does not support its grid.
    """
    return segmenter().segment(volume, space, dtype=screen_dtype())


def index_of(tissue: str) -> int:
    """Label number of a tissue."""
    from stylegan3d.segmentation.classes import CLASSES

    return CLASSES.index(tissue)


def size_ml(labels: np.ndarray, tissue: int, space: Space) -> float:
    """Volume of a tissue in labels (X, Y, Z)."""
    return float((labels == tissue).sum()) * space.voxel_ml


def decimals_of(tissue: str) -> int:
    """Decimals for the volume of a tissue in millilitres."""
    return int(f"{tissue}_ml" in SMALL)


def make_layer(data: np.ndarray, place: dict) -> Labels:
    """A layer of tissue labels (X, Y, Z) with their colours and names."""
    titles = {tissue: text for tissue, text, _ in ROWS}
    names = {index_of(tissue): titles[tissue] for tissue in COLORS}
    colors: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    for tissue, color in COLORS.items():
        colors[index_of(tissue)] = color
    layer = Labels(
        data,
        name=NAME,
        opacity=OPACITY,
        blending="translucent_no_depth",
        colormap=DirectLabelColormap(color_dict=colors),
        features={"index": [0, *names], "name": ["Background", *names.values()]},
        metadata={OVERLAY: True, NAMES: names},
        **place,
    )
    layer.editable = False
    return layer
