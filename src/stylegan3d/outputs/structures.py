"""Structures of a scan of any contrast, labelled at 1 mm where the scan lies.

Nothing is aligned, extracted or corrected first: the network has learned from images of every
contrast, with and without a skull (`training.synthetic`).
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from stylegan3d.base import SILENT, Doubt, Json, Note, Progress, ScanError, doubts_in
from stylegan3d.devices import fast_dtype
from stylegan3d.geometry.space import Shown
from stylegan3d.projection.assessment import missing_brain
from stylegan3d.scans.alignment import JUDGED, align_rigid, bundled_template
from stylegan3d.scans.extraction import background, check_brain_size, edge_notes, largest_piece
from stylegan3d.scans.intensity import PERCENTILE
from stylegan3d.scans.resampling import isotropic_space, nearest, resample, with_geometry
from stylegan3d.scans.scan import Scan, averaged
from stylegan3d.scans.verdicts import withheld
from stylegan3d.segmentation import classes
from stylegan3d.segmentation.inference import Segmentation, Segmenter, bundled_structures
from stylegan3d.segmentation.scans import map_files
from stylegan3d.storage.checked import answering

NAMED = "Labelling structures"
MM, MARGIN_MM = 1.0, 6.0
#: What a brain is subtracted from for its negative, which is above 0 everywhere.
NEGATIVE = 1.05
#: Slices that are thicker leave small structures to guesswork.
THICK_MM = 3.0
# In 30 scans of people, some of them sick, halves differ by 12 % at most, and the cerebellar cortex
# has 71 ml and more. One head turned by 30 to 180 degrees in 12 ways is beyond in 11.
APART_PERCENT, CEREBELLUM_ML = 20.0, 60.0
#: Of a table: millilitres of each, and how sure the network is. Lesions, which are told from tissue
#: but not found reliably, have no volume.
COLUMNS = (
    *(f"{name}_ml" for name in classes.STRUCTURES.classes[1:] if name != classes.LESION),
    "confidence",
)
#: Brightness of each class in a T1-weighted brain, by tissue: of a scan of any contrast its labels
#: show how it lies and how large it is.
LIKE_T1 = np.array((0, 0.2, 0.65, 1, 0.2, 0.9), np.float32)[list(classes.STRUCTURES.tissues)]
_CODES = {index: code for code, index in classes.FREESURFER.items() if code != 72}

#: Of each code.
TITLES = {
    code: classes.region_title(classes.STRUCTURES.classes[i]) for i, code in sorted(_CODES.items())
}


@dataclass(frozen=True, eq=False, repr=False)
class StructuresOfScan(Shown):
    """Structures of a scan.

    Attributes
    ----------
    image : nib.Nifti1Image
        uint8 label map on the scan's own grid, with its header codes: FreeSurfer's codes.
    volumes : dict of str to float
        Millilitres of each class of `STRUCTURES` but lesions, counted at 1 mm.
    confidence : float
        Mean probability of the labels, in [0, 1].
    notes : list of str or Doubt
        How the scan was read, and what is in doubt.
    """

    image: nib.Nifti1Image
    volumes: dict[str, float]
    confidence: float
    notes: list[Note]

    @property
    def doubts(self) -> list[Doubt]:
        """What is in doubt."""
        return doubts_in(self.notes)

    @property
    def cells(self) -> dict[str, float]:
        """Rounded measures, by `COLUMNS`."""
        volumes = {f"{name}_ml": round(ml, 3) for name, ml in self.volumes.items()}
        return {**volumes, "confidence": round(self.confidence, 4)}

    def to_dict(self) -> Json:
        """`cells` and doubts, for JSON and tables."""
        return {**self.cells, "doubts": self.doubts}

    @property
    def lines(self) -> list[str]:
        """A line of text for each volume."""
        volumes = [
            f"{classes.region_title(name)}: {ml:.1f} ml" for name, ml in self.volumes.items()
        ]
        return [*volumes, f"Confidence: {self.confidence:.2f}"]

    def files(self, path: Path, scan: Scan, network: Segmenter) -> dict[Path, bytes]:
        """The label map and its sidecar, not yet written: name to content."""
        more = {"Measures": self.cells}
        return map_files(path, self.image, scan, network, "Structures", TITLES, more, self.notes)


@answering
def structures_of_scan(
    scan: Scan, network: Segmenter | None = None, *, progress: Progress = SILENT
) -> StructuresOfScan:
    """Label the structures of a head or brain in any MR contrast.

    Parameters
    ----------
    scan : Scan
        On any grid.
    network : Segmenter or None
        By default the bundled one.

    Raises
    ------
    ScanError
        If it is a CT or a phase, shows nothing, or what is found is no brain.
    """
    if withheld(scan.doubts):
        raise ScanError(
            f"{scan.path.name} is CT or an MR phase image; structures are labelled in "
            "images of tissue by MR, of any contrast."
        )
    network = network or bundled_structures()
    progress(0.0, text=NAMED)
    seen = averaged(scan)
    data = np.asarray(seen.data, np.float32) - np.float32(background(seen.data))
    shown = data > 0.01 * np.percentile(data, PERCENTILE)
    if not shown.any():
        raise ScanError(f"{scan.path.name} shows no head; give a head scan.")
    space = isotropic_space(shown, seen.space, MM, MARGIN_MM)
    volume = resample(data, seen.space, space)
    volume = np.clip(volume / np.percentile(volume[volume > 0], PERCENTILE), 0, 1)
    progress(0.2, text=NAMED)
    found = network.segment(volume, space, dtype=fast_dtype(network.device), confidence=True)
    if (dark := _negative(volume, found)) is not None:
        found = network.segment(dark, space, dtype=fast_dtype(network.device), confidence=True)
    # Where an extracted brain's surroundings are empty nothing can be known.
    labels = found.labels * largest_piece((found.labels > 0) & (volume > 0))
    fluid = classes.STRUCTURES.classes.index("csf")
    check_brain_size((labels > 0) & (labels != fluid), space)
    codes = np.array([_CODES[i] for i in range(len(_CODES))], np.uint8)[labels]
    native = nearest(codes, space, scan.space, np.eye(4))
    own = native if seen is scan else nearest(codes, space, seen.space, np.eye(4))
    own = (own > 0) & (own != _CODES[fluid])
    notes = [*scan.notes, *edge_notes(own, seen.space)]
    if (thick := max(scan.space.voxel_size)) > THICK_MM:
        said = f"Slices of {thick:.1f} mm are too thick to measure small structures."
        notes.append(Doubt("resolution", "tell", said, {"mm": round(thick, 2)}))
    image = with_geometry(native, scan.affine, scan.geometry)
    volumes = classes.volumes_ml(labels, space, classes.STRUCTURES)
    del volumes[classes.LESION]
    notes += _implausible(volumes)
    with suppress(ScanError):  # what is labelled is no brain: pose and size cannot be judged
        brain, target = LIKE_T1[labels], bundled_template()
        pose, lies = align_rigid(brain, space, target, JUDGED, moved=False)
        back, mask = np.linalg.inv(pose), (brain > 0).astype(np.float32)
        shown, inside = (resample(one, space, target.space, back) for one in (brain, mask))
        notes += [*doubts_in(lies), *missing_brain(shown, inside > 0.5)]
    assert found.confidence is not None
    progress(1.0, text=NAMED)
    return StructuresOfScan(image, volumes, found.confidence, notes)


def _negative(volume: np.ndarray, found: Segmentation) -> np.ndarray | None:
    """The negative of a labelled brain, if its fluid is brighter than white matter.

    T1-weighted images are most of what the network learned from: where fluid is bright it takes
    some, next to bright lesions, for white matter.
    """
    tissues = found.as_tissues().labels
    fluid, white = (
        volume[tissues == classes.CLASSES.index(name)] for name in ("ventricle", "white")
    )
    if not fluid.size or not white.size or np.median(fluid) <= np.median(white):
        return None
    brain = largest_piece(found.labels > 0) & (volume > 0)
    return np.where(brain, NEGATIVE - volume, np.float32(0))


def _implausible(volumes: Mapping[str, float]) -> list[Note]:
    """A doubt if the halves or the cerebellum are not as in people: nothing else finds a turn."""
    names = ("cerebellar_cortex", "cerebral_white", "cerebral_cortex")
    pairs = [[volumes[f"{side}_{name}"] for side in classes.SIDES] for name in names]
    apart, cerebellum = max(abs(classes.asymmetry_percent(*pair)) for pair in pairs), sum(pairs[0])
    if apart <= APART_PERCENT and cerebellum >= CEREBELLUM_ML:
        return []
    text = (
        f"The halves of the brain differ by up to {apart:.0f} %, and {cerebellum:.0f} ml of "
        "cerebellar cortex were found: the head may be rotated, or a part is "
        "missing or diseased. Look at the labels before you use them."
    )
    figures = {"asymmetry_percent": round(apart, 1), "cerebellar_cortex_ml": round(cerebellum, 1)}
    return [Doubt("turned", "ask", text, figures)]
