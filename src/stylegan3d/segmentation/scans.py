"""A scan on the grid of the networks, and the files of the labels that they find in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from stylegan3d.base import SILENT, Json, JsonView, Note, Progress, doubts_in, facts_in
from stylegan3d.dataset.volume_set import MAX_OFF_CENTER_MM
from stylegan3d.geometry.space import Space, as_packed
from stylegan3d.scans.aligned import AlignedScan, contrast_doubts
from stylegan3d.scans.alignment import REFUTED, Target, centroid, header_doubts
from stylegan3d.scans.intensity import brightest, stored_in_8_bits, to_unit
from stylegan3d.scans.resampling import parts, resample, with_geometry
from stylegan3d.scans.scan import Scan, ScanData
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.storage.about import PROGRAM, version
from stylegan3d.storage.bids import OWN_GRID, source_uri
from stylegan3d.storage.volumes import make_image, volume_files

NOTICE = "Labels by a network; not a medical device, not for diagnosis."


@dataclass(frozen=True, eq=False)
class OnGrid:
    """A scan on the grid of the networks: as it is, or aligned to it."""

    scan: ScanData
    volume: np.ndarray
    aligned: AlignedScan | None
    notes: list[Note]

    @property
    def space(self) -> Space:
        """The grid."""
        return self.scan.space if self.aligned is None else self.aligned.space

    @property
    def brain_mask(self) -> np.ndarray:
        """(X, Y, Z), bool."""
        return self.volume > 0 if self.aligned is None else self.aligned.brain_mask

    @classmethod
    def of(
        cls,
        scan: Scan | AlignedScan,
        target: Target,
        skull: str = "auto",
        progress: Progress = SILENT,
        *,
        bias_correction: bool = True,
    ) -> OnGrid:
        """Aligned unless it was prepared for the target already, and the image agrees."""
        if isinstance(scan, AlignedScan):
            return cls(scan.scan, scan.volume, scan, scan.notes)
        volume = prepared_volume(scan, target)
        seen = [] if volume is None else header_doubts(scan, target)
        if volume is not None and REFUTED.isdisjoint(doubt.kind for doubt in seen):
            seen += contrast_doubts(volume, target.template, volume > 0, scan.contrast)
            return cls(scan, volume, None, [*scan.notes, *seen])
        aligned = scan.align(
            target, skull=skull, bias_correction=bias_correction, progress=progress
        )
        return cls(scan, aligned.volume, aligned, aligned.notes)

    def on_scan(self, labels: np.ndarray) -> nib.Nifti1Image:
        """Labels of the grid, on the scan's own."""
        if self.aligned is None:
            return make_image(labels, self.scan.affine)
        return native_labels(labels, self.aligned)


def prepared_volume(scan: ScanData, target: Target) -> np.ndarray | None:
    """The volume of an already prepared scan, float32 (X, Y, Z), see `to_unit`, else None.

    Prepared means: on the target's grid, uint8, within [-1, 1] or made by a program (up to 1.5),
    only a brain, in the right place.
    """
    in_range = scan.data.max() <= brightest(scan, 1.1) or stored_in_8_bits(scan.path)
    if not (in_range and target.space.same_as(scan.space)):
        return None
    volume = to_unit(scan)
    # An extracted brain leaves well over a third of the grid empty; a whole head does not.
    if not 0.35 < np.mean(as_packed(volume) == 0) < 0.98:
        return None
    offset = centroid(volume > 0, target.space) - centroid(target.template > 0.05, target.space)
    return volume if np.linalg.norm(offset) < MAX_OFF_CENTER_MM else None


def native_labels(labels: np.ndarray, aligned: AlignedScan) -> nib.Nifti1Image:
    """Labels (X, Y, Z) of a prepared scan on the scan's own grid, uint8.

    Each label is carried there by itself, linearly, and the one that holds most of a voxel gets
    it: edges come out smoother than by nearest neighbour. A voxel that is less than half
    labelled is background.
    """
    scan, rigid, space = aligned.scan, aligned.rigid, aligned.space
    found = np.zeros(scan.data.shape, np.uint8)
    # A part after the other: a grid of 0.3 mm has 200 million voxels.
    for box, part in parts(scan.space, labels, np.linalg.inv(space.affine) @ rigid):
        most, total = (np.zeros(part.shape, np.float32) for _ in range(2))
        for index in np.unique(labels[labels > 0]):
            share = resample(labels == index, space, part, rigid)
            found[box][share > most] = index
            np.maximum(most, share, out=most)
            total += share
        inside = resample(aligned.brain_mask, space, part, rigid) > 0.5
        found[box][~inside | (total < 0.5)] = 0
    return with_geometry(found, scan.affine, scan.geometry)


def made_by(network: Segmenter) -> Json:
    """BIDS' GeneratedBy: this program and the network."""
    described = f"network {network.name}, sha256 {network.hash}"
    return {"GeneratedBy": [{"Name": PROGRAM, "Version": version(), "Description": described}]}


def map_files(
    path: Path,
    image: nib.Nifti1Image,
    scan: Scan,
    network: Segmenter,
    what: str,
    titles: Mapping[int, str],
    more: JsonView,
    steps: Sequence[Note],
) -> dict[Path, bytes]:
    """A label map of a scan with its sidecar.

    Parameters
    ----------
    what : str
        First words of the description.
    titles : mapping
        Of each label.
    more : mapping
        Further entries of the sidecar.
    steps : sequence of str or Doubt
        How the scan was prepared, and what is in doubt.
    """
    sidecar = {
        "Description": f"{what} of {scan.path.name}. {NOTICE}",
        "Labels": {str(i): title for i, title in titles.items()},
        "Sources": [source_uri(path.parent, scan.path)],
        "SpatialReference": OWN_GRID,
        "SourceSHA256": scan.sha256,
        **made_by(network),
        "Network": {"Name": network.name, "SHA256": network.hash},
        **more,
        "Preparation": facts_in(steps),
        "Doubts": doubts_in(steps),
    }
    return volume_files(
        path,
        image,
        description=f"{PROGRAM} {network.name} {network.hash[:8]}",
        sidecar=sidecar,
        synthetic=scan.origin != "acquired",
    )
