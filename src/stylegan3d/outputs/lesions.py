"""Lesions of a scan, and their files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import nibabel as nib
import numpy as np

from stylegan3d.base import SILENT, Doubt, Json, JsonView, Note, Progress, ScanError, doubts_in
from stylegan3d.geometry.space import Shown
from stylegan3d.measures.lesions import suspect_lesions
from stylegan3d.measures.regions import find
from stylegan3d.scans.alignment import bundled_template
from stylegan3d.scans.scan import Scan
from stylegan3d.scans.verdicts import withheld
from stylegan3d.segmentation.inference import Segmenter, bundled_lesions
from stylegan3d.segmentation.scans import OnGrid, map_files
from stylegan3d.storage.checked import answering

NO_LESIONS = "No lesion was found; small or faint ones may be missed."


@dataclass(frozen=True, eq=False, repr=False)
class LesionsOfScan(Shown):
    """Lesions of a scan.

    Attributes
    ----------
    image : nib.Nifti1Image
        uint8 mask on the scan's own grid, with its orientation and header codes: 1 is lesion.
    places : list of mapping
        The most unusual first; `center_mm` in the space of the bundled model.
    ml : float
        Volume of all, on the grid of the bundled model.
    steps : list of str or Doubt
        What was done to the scan, and what is in doubt.
    """

    image: nib.Nifti1Image
    places: list[JsonView]
    ml: float
    steps: list[Note]
    cells: ClassVar[JsonView] = {}  # they have no table

    @property
    def doubts(self) -> list[Doubt]:
        """What is in doubt."""
        return doubts_in(self.steps)

    @property
    def lines(self) -> list[str]:
        """A line of text for each place."""
        return [
            f"{place['place']}: {place['ml']:.1f} ml, {place['unusual']:.1f} times the size that "
            "counts"
            for place in self.places
        ] or [NO_LESIONS]

    def to_dict(self) -> Json:
        """For JSON."""
        return {"lesions": self.places, "lesion_ml": self.ml, "doubts": self.doubts}

    def files(self, path: Path, scan: Scan, network: Segmenter) -> dict[Path, bytes]:
        """The mask and its sidecar, not yet written: name to content."""
        titles, more = {0: "Background", 1: "Lesion"}, {"Lesions": self.places}
        what = "Possible lesions"
        return map_files(path, self.image, scan, network, what, titles, more, self.steps)


@answering
def lesions_of_scan(
    scan: Scan,
    network: Segmenter | None = None,
    *,
    skull: str = "auto",
    progress: Progress = SILENT,
) -> LesionsOfScan:
    """Look for lesions in a scan, which is prepared as for the bundled model.

    Parameters
    ----------
    network : Segmenter or None
        By default the bundled one.
    skull : str
        See `Scan.align`.

    Raises
    ------
    ScanError
        If no brain is found, or the intensities are not those of a brain in a T1-weighted scan.
    StyleGAN3DError
        If the network was trained on voxels of another size.
    """
    target = bundled_template()
    network = network or bundled_lesions()
    network.check(target.space)
    placed = OnGrid.of(scan, target, skull, progress)
    volume = placed.volume
    brain = volume > 0 if placed.aligned is None else placed.aligned.brain_mask
    if withheld(doubts_in(placed.steps)):
        raise ScanError(
            f"{scan.path.name} does not have the contrast of a T1-weighted scan, the only one in "
            "which lesions are looked for; give a T1-weighted scan."
        )
    found = suspect_lesions(volume, brain, target.space, network)
    assert found is not None
    large = [cluster for cluster in found.clusters if cluster.size > found.limit]
    mask = np.zeros(target.space.shape, np.uint8)
    for cluster in large:
        mask.flat[cluster.index] = 1
    findings = find([(found.limit, large)], found.probability, brain, target.space)
    kept = ("place", "ml", "center_mm", "unusual")
    places: list[JsonView] = [{k: v for k, v in one.items() if k in kept} for one in findings]
    ml = round(float(mask.sum()) * target.space.voxel_ml, 2)
    return LesionsOfScan(placed.on_scan(mask), places, ml, placed.steps)
