"""Volumes of CSF, grey and white matter, measured the same way everywhere.

The bundled tissue network (`segmentation`) labels the voxels. It only supports 2 mm voxels; on
other grids volumes are estimated from intensities (`attributes`), which is less precise and marked
as such.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.base import Json, StyleGAN3DError
from stylegan3d.measures.attributes import measure_tissues, measure_volume
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.storage.files import table_text as text_of_rows

if TYPE_CHECKING:
    import torch

    from stylegan3d.geometry.space import Space
    from stylegan3d.segmentation.inference import Segmenter

#: Volumes in millilitres in display order, with their names.
VOLUMES = {
    "csf_ml": "Subarachnoid CSF",
    "ventricle_ml": "Ventricles",
    "grey_ml": "Grey matter",
    "white_ml": "White matter",
    "other_ml": "Brain stem",
    "brain_ml": "Brain tissue",
}
#: Volumes for small tables.
TOLD = ("csf_ml", "ventricle_ml", "grey_ml", "white_ml", "brain_ml")
#: Small volumes, shown with an additional decimal.
SMALL = ("ventricle_ml", "other_ml")
EXPLAINED = {
    "csf_ml": "Cerebrospinal fluid outside the ventricles.",
    "ventricle_ml": "Cerebrospinal fluid inside the brain.",
    "grey_ml": "Cortex, basal ganglia, thalamus, cerebellar cortex.",
    "white_ml": "White matter of cerebrum and cerebellum.",
    "other_ml": "Midbrain, pons and medulla, with the optic chiasm.",
    "brain_ml": "Grey matter, white matter and brain stem together.",
}
#: Attributes measured by the network if possible, see `measure_attributes`.
BY_NETWORK = ("ventricle_ml", "grey_ml", "white_ml")
#: Least volume of a brain; the network finds 30 ml in empty volumes.
LEAST_BRAIN_ML = 200.0
BY_INTENSITY = "by intensity alone, which is rough"


@dataclass(frozen=True, eq=False)
class Tissues:
    """The tissues of one brain.

    Attributes
    ----------
    volumes : dict of str to float
        Millilitres by the keys of `VOLUMES`; NaN where unknown: all without a brain, subarachnoid
        CSF and brain stem if estimated from intensities.
    how : str
        Method, or why they are withheld, to follow "Volumes": "by the tissue network
        regions-t1-2mm (0123abcd)" or "by intensity alone, which is rough: …" with the reason.
    masks : mapping of str to ndarray, shape (X, Y, Z), bool
        "ventricles", "grey matter" and "white matter"; empty without a brain.
    """

    volumes: dict[str, float]
    how: str
    masks: Mapping[str, np.ndarray]

    def to_dict(self) -> Json:
        """Plain data for a sidecar: known volumes, rounded to 0.01 ml, and the method."""
        known = {k: round(ml, 2) for k, ml in self.volumes.items() if np.isfinite(ml)}
        return {**known, "Measured": self.how}


def table_text(names: Sequence[str], found: Sequence[Tissues]) -> str:
    """Volumes of several brains as CSV, one row each, empty where unknown."""
    rows = [["name", *VOLUMES, "measured"]]
    for name, tissues in zip(names, found, strict=True):
        lines = [f"{ml:.2f}" if np.isfinite(ml) else "" for ml in tissues.volumes.values()]
        rows.append([name, *lines, tissues.how])
    return text_of_rows(rows)


def read_tissues(
    volume: np.ndarray, space: Space, *, dtype: torch.dtype | None = None, withheld: str = ""
) -> Tissues:
    """Classify the tissues of a brain, by the tissue network where it knows the grid.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z)
        0 outside the brain, 1 the 99.5th percentile inside it; what lies beyond is clipped.
    space : Space
        Its grid.
    dtype : torch.dtype, optional
        Precision of the network, float32 by default; lower ones are for the screen.
    withheld : str
        Why nothing is told (`verdicts.withheld`): all is unknown, and `how` says this.
    """
    if withheld:
        return Tissues(dict.fromkeys(VOLUMES, np.nan), withheld, {})
    segmenter, why = _network(space)
    if segmenter is None:
        return _by_intensity(volume, space, why)
    import torch

    found = segmenter.segment(volume, space, dtype=dtype or torch.float32)
    told = found.volumes
    is_brain = told["brain"] >= LEAST_BRAIN_ML
    volumes = {key: told[key.removesuffix("_ml")] if is_brain else np.nan for key in VOLUMES}
    names = {"ventricles": "ventricle", "grey matter": "grey", "white matter": "white"}
    masks = {
        name: found.labels == CLASSES.index(tissue) for name, tissue in names.items() if is_brain
    }
    how = f"by the tissue network {segmenter.name} ({segmenter.hash[:8]})"
    return Tissues(volumes, how, masks)


def measure_attributes(volume: np.ndarray, space: Space) -> dict[str, float]:
    """`attributes.measure_volume`, its tissues by the network where that knows the grid.

    What directions are fitted to. With the size of the head held fixed, white matter by intensity
    hardly agrees with the network's (r = 0.22 of 249 subjects): it follows brightness more than
    extent, and so would an edit.
    """
    measured = measure_volume(volume, space)
    if _network(space)[0] is not None:
        found = read_tissues(volume, space).volumes
        measured |= {key: found[key] for key in BY_NETWORK}
    return measured


def _network(space: Space) -> tuple[Segmenter | None, str]:
    """The tissue network, or why it cannot be used."""
    from stylegan3d.segmentation import inference

    try:
        segmenter = inference.bundled_segmenter()
    except StyleGAN3DError as error:
        return None, str(error)
    if segmenter.fits(space):
        return segmenter, ""
    expected = " x ".join(f"{mm:g}" for mm in segmenter.card["space"]["voxel_mm"])
    return None, f"the tissue network labels voxels of {expected} mm on axes RAS only"


def _by_intensity(volume: np.ndarray, space: Space, why: str) -> Tissues:
    """By thresholds that follow the brain's own intensities."""
    measured, masks = measure_tissues(volume, space)
    volumes = dict.fromkeys(VOLUMES, float("nan"))
    volumes |= {key: float(measured[key]) for key in ("ventricle_ml", "grey_ml", "white_ml")}
    volumes["brain_ml"] = volumes["grey_ml"] + volumes["white_ml"]
    how = f"{BY_INTENSITY}: {why.rstrip('.')}"
    return Tissues(volumes, how, masks)
