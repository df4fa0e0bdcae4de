"""Plausibility of a brain: connectedness, size, asymmetry, three tissues.

The limits come from the training subjects; held-out subjects show how often real brains pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from scipy import ndimage

from stylegan3d.base import SILENT, Json, Progress, StyleGAN3DError
from stylegan3d.devices import computed
from stylegan3d.geometry.space import Space, eroded, filled, unit
from stylegan3d.measures.tissue_shape import tissue_mixture

# Threshold of the brain.
FOREGROUND = 0.05
# Least share of the foreground in one component; tolerates stray voxels.
CONNECTED = 0.995
# The range of a finite sample excludes some new subjects: it is extended on both sides by this
# share of its width.
MARGIN = 0.1
# Erosion before tissues are measured, to avoid partial volume with air.
EDGE_MM = 4.0
LEAST_VOXELS = 50


@dataclass(frozen=True)
class BrainMeasures:
    """Measures of one volume.

    Attributes
    ----------
    connected : float
        Share of the foreground (above 0.05) in the largest face-connected component.
    brain_ml : float
        Volume of that component with holes filled, in millilitres.
    asymmetry : float
        Sum |v - mirrored v| / (2 sum v), 0 if symmetric, 1 if nothing overlaps.
    csf_grey, grey_white : float
        Difference of the tissues' mean intensities in pooled standard deviations.
    least_tissue : float
        Share of the rarest of the three tissues.
    """

    connected: float
    brain_ml: float
    asymmetry: float
    csf_grey: float
    grey_white: float
    least_tissue: float


# Text of a failure, and whether there is an upper limit.
CHECKS = {
    "connected": ("the brain is not in one piece", False),
    "brain_ml": ("brain volume outside the range of real subjects", True),
    "asymmetry": ("left-right asymmetry outside the range of real subjects", True),
    "csf_grey": ("no separate peak of cerebrospinal fluid", False),
    "grey_white": ("grey and white matter not separated", False),
    "least_tissue": ("one of the three tissues is missing", False),
}


def measure_brain(volume: np.ndarray, space: Space) -> BrainMeasures:
    """Measure one volume.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z), uint8
        Volume of a pack or float in [0, 1], centred on the midsagittal plane.
    space : Space
        Its grid.
    """
    x = unit(volume)
    foreground = x > FOREGROUND
    labels, _ = ndimage.label(foreground)
    if np.count_nonzero(foreground) < LEAST_VOXELS:
        return BrainMeasures(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    sizes = np.bincount(labels.ravel())[1:]
    brain = filled(labels == sizes.argmax() + 1)
    difference = np.abs(x - np.flip(x, space.sideways)).sum(dtype=np.float64)
    # At 2 mm most CSF voxels are mixed with grey matter: its Gaussian is wide and seldom a separate
    # maximum of the histogram, also in real brains, so peaks are not counted.
    tissues = tissue_mixture(x[_inside(brain, space)])
    order = tissues.means_.ravel().argsort()
    means, variances = tissues.means_.ravel()[order], tissues.covariances_.ravel()[order]
    distances = np.diff(means) / np.sqrt((variances[1:] + variances[:-1]) / 2)
    return BrainMeasures(
        connected=float(sizes.max() / sizes.sum()),
        brain_ml=float(brain.sum() * space.voxel_ml),
        asymmetry=float(difference / (2 * x.sum(dtype=np.float64))),
        csf_grey=float(distances[0]),
        grey_white=float(distances[1]),
        least_tissue=float(tissues.weights_.min()),
    )


def _inside(brain: np.ndarray, space: Space) -> np.ndarray:
    """The eroded brain, or the whole brain if nothing else remains."""
    core = eroded(brain, max(1, round(EDGE_MM / min(space.voxel_size))))
    return core if core.sum() >= LEAST_VOXELS else brain


@dataclass(frozen=True)
class Limits:
    """Least and largest value of each of some measures; None is no limit."""

    bounds: dict[str, tuple[float, float | None]]

    def beyond(self, measures: Mapping[str, float]) -> list[str]:
        """Names of the measures that lie outside."""
        return [
            name
            for name, (low, high) in self.bounds.items()
            if not low <= measures[name] <= (np.inf if high is None else high)
        ]

    def failed(self, rows: Sequence[Mapping[str, float]], names: Mapping[str, str]) -> Json:
        """How many rows lie outside for which "reasons", and which "failed"; names in words."""
        failures = [[names.get(name, name) for name in self.beyond(row)] for row in rows]
        return {
            "reasons": dict(Counter(reason for reasons in failures for reason in reasons)),
            "failed": [
                {"index": index, "reasons": reasons, **{name: row[name] for name in self.bounds}}
                for index, (row, reasons) in enumerate(zip(rows, failures, strict=True))
                if reasons
            ],
        }


class PlausibilityLimits(Limits):
    """Minimum and maximum of each measure of a plausible brain."""

    @classmethod
    def of(cls, people: Sequence[BrainMeasures]) -> PlausibilityLimits:
        """The range of real subjects, extended by a tenth of its width on both sides.

        Tissue separation and shares have no upper limit. The connected share has the fixed limit
        0.995.
        """
        if len(people) < 2:
            raise StyleGAN3DError(
                "Plausibility needs a reference; give a dataset with at least two training "
                "subjects."
            )
        bounds: dict[str, tuple[float, float | None]] = {}
        for name, (_, two_sided) in CHECKS.items():
            values = [getattr(person, name) for person in people]
            low, high = min(values), max(values)
            margin = MARGIN * (high - low)
            bounds[name] = (low - margin, high + margin if two_sided else None)
        bounds["connected"] = (CONNECTED, None)
        return cls(bounds)


def measure_brains(
    volumes: Iterable[np.ndarray], space: Space, progress: Progress = SILENT
) -> list[BrainMeasures]:
    """`measure_brain` of each volume."""
    return computed(partial(measure_brain, space=space), volumes, progress=progress)


def pass_rate(brains: Sequence[BrainMeasures], limits: PlausibilityLimits) -> Json:
    """Number of brains that pass, reasons of failures, and ranges.

    Returns
    -------
    dict
        "n", "passed", "rate", "reasons" (counts), "failed" (index and measures of each failing
        brain), "ranges" (minimum, median, maximum of each measure).
    """
    words = {name: sentence for name, (sentence, _) in CHECKS.items()}
    told = limits.failed([asdict(brain) for brain in brains], words)
    passed = len(brains) - len(told["failed"])
    return {
        "n": len(brains),
        "passed": passed,
        "rate": passed / len(brains) if brains else None,
        **told,
        "ranges": {
            name: [float(np.quantile([getattr(b, name) for b in brains], q)) for q in (0, 0.5, 1)]
            for name in CHECKS
            if brains
        },
    }
