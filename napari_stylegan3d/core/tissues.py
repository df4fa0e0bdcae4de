"""Tissues as the window shows them: their names and colours, and a layer of their labels."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_stylegan3d.views.captions import NAMES, OVERLAY
from napari_stylegan3d.widgets.text import _
from stylegan3d.measures.tissue_volumes import EXPLAINED, VOLUMES

NAME = _("Tissues")
OPACITY = 0.45
#: Of the labels, told apart by everyone who sees colours at all (Okabe and Ito 2008).
COLORS = {
    "csf": "#56b4e9",
    "grey": "#e69f00",
    "white": "#f0e442",
    "ventricle": "#0072b2",
    "other": "#cc79a7",
}
ROWS = tuple((key.removesuffix("_ml"), name, EXPLAINED[key]) for key, name in VOLUMES.items())


def make_layer(data: np.ndarray, place: dict) -> Labels:
    """A layer of tissue labels (X, Y, Z) with their colours and names."""
    from stylegan3d.segmentation.classes import CLASSES

    titles = {tissue: text for tissue, text, _ in ROWS}
    names = {CLASSES.index(tissue): titles[tissue] for tissue in COLORS}
    colors: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    for tissue, color in COLORS.items():
        colors[CLASSES.index(tissue)] = color
    layer = Labels(
        data,
        name=NAME,
        opacity=OPACITY,
        blending="translucent_no_depth",
        colormap=DirectLabelColormap(color_dict=colors),
        features={
            "index": [0, *names],
            "name": [_("Background"), *names.values()],
        },
        metadata={OVERLAY: True, NAMES: names},
        **place,
    )
    layer.editable = False
    return layer
