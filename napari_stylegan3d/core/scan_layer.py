"""Image layer of a scan."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_stylegan3d.views.captions import KEY, Provenance
from napari_stylegan3d.views.display import upright
from stylegan3d.storage.formats import scan_stem

LayerTuple = tuple[np.ndarray, dict[str, Any], str]
#: Share of the intensity range of a raw scan that is shown black.
NOISE_SHARE = 0.05


def scan_layer(scan: Any) -> LayerTuple:
    """An image layer for a scan in RAS orientation, with its own intensities."""
    shown = upright(scan.data, scan.affine)
    name = scan_stem(scan.path)
    # The brightest half percent is vessels and fat and should not darken the brain. Black is
    # slightly above the lowest values, which are noise around the head.
    low, high = np.percentile(scan.data[::2, ::2, ::2], (0.5, 99.5))
    low += NOISE_SHARE * (high - low)
    meta = {
        **shown.layer_kwargs(),
        "name": name,
        "colormap": "gray",
        "contrast_limits": (float(low), float(max(high, low + 1e-6))),
        "interpolation2d": "linear",
        "rendering": "attenuated_mip",
        "metadata": {KEY: Provenance("scan", name), "path": str(scan.path)},
    }
    return shown.data, meta, "image"
