"""Label a file: a volume on a model's grid as it is, or a scan by way of its preparation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from stylegan3d.base import SILENT, Doubt, Json, JsonView, Note, Progress, doubts_in, facts_in
from stylegan3d.geometry.space import Shown
from stylegan3d.scans.aligned import AlignedScan, contrast_doubts
from stylegan3d.scans.alignment import Target, bundled_template, header_doubts, refuted
from stylegan3d.scans.intensity import to_unit
from stylegan3d.scans.person import Person
from stylegan3d.scans.resampling import parts, resample, with_geometry
from stylegan3d.scans.scan import Scan, ScanData
from stylegan3d.scans.verdicts import NO_FIGURES, withheld
from stylegan3d.segmentation.classes import REGION_MEASURES, TISSUES, TITLES, Scheme, region_title
from stylegan3d.segmentation.inference import Segmenter, bundled_regions
from stylegan3d.segmentation.norms import Norms
from stylegan3d.segmentation.numbers import COLUMNS, Labelled, Numbers, label_brain, lines_of
from stylegan3d.storage.about import PROGRAM, Origin, version
from stylegan3d.storage.bids import OWN_GRID, source_uri
from stylegan3d.storage.checked import answering
from stylegan3d.storage.encoding import to_json
from stylegan3d.storage.files import table_text as text_of_rows
from stylegan3d.storage.volumes import make_image, volume_files

NOTICE = "Labels by a network; not a medical device, not for diagnosis."


@dataclass(frozen=True, eq=False, repr=False)
class LabelledScan(Shown):
    """The labels of a file.

    Attributes
    ----------
    image : nib.Nifti1Image
        uint8 label map on the file's own grid, with its orientation and header codes.
    labelled : Labelled
        The labels as the networks gave them, on the grid of the bundled generator; what the
        measures are counted on.
    numbers : Numbers
        Measures, and where they lie among people; none of a scan that a doubt refuses.
    steps : list of str or Doubt
        What was done to the scan, and what is in doubt.
    scheme : Scheme
        What the labels of `image` mean.
    origin : {"acquired", "synthetic", "edited"}
        What the files of the scan say that it is.
    """

    image: nib.Nifti1Image
    labelled: Labelled
    numbers: Numbers
    steps: list[Note]
    scheme: Scheme
    origin: Origin = "acquired"

    @property
    def doubts(self) -> list[Doubt]:
        """What is in doubt, and why an age has no percentiles."""
        return [*doubts_in(self.steps), *self._without_norms]

    @property
    def _without_norms(self) -> list[Doubt]:
        return self.numbers.doubts if self.numbers.measures else []

    @property
    def cells(self) -> Json:
        """A row of a table, by `COLUMNS`."""
        return dict.fromkeys(COLUMNS) | self.numbers.cells()

    @property
    def lines(self) -> list[str]:
        """Whom the numbers compare with, and a line of text for each."""
        hidden = REGION_MEASURES if self.scheme is TISSUES else ()
        among = [] if self._without_norms else [self.numbers.among]
        return [*among, *lines_of(self.numbers, hidden)]

    def to_dict(self) -> Json:
        """For JSON."""
        networks, known = list(self.labelled.networks), self.numbers.to_dict()
        return {"origin": self.origin, **known, "networks": networks, "doubts": self.doubts}

    def files(self, path: Path, scan: Scan, segmenter: Segmenter) -> dict[Path, bytes]:
        """The label map and its sidecar, not yet written: name to content."""
        tissues = self.scheme is TISSUES
        kind, network = ("Tissue", segmenter) if tissues else ("Region", bundled_regions())
        titles = {0: "Background"} | {
            i: TITLES[name] if tissues else region_title(name)
            for i, name in enumerate(self.scheme.classes)
            if i > 0
        }
        more, what = {"Measures": self.numbers.measures}, f"{kind} labels"
        return map_files(path, self.image, scan, network, what, titles, more, self.steps)


@dataclass(frozen=True)
class Wanted:
    """What to measure, and among whom.

    Attributes
    ----------
    age, sex : float or None, str or None
        Of the person; None for what the scan's files say.
    norms : Norms or None
        The bundled ones by default.
    regions : bool
        The label map has regions instead of tissues.
    """

    age: float | None = None
    sex: str | None = None
    norms: Norms | None = None
    regions: bool = False

    def person(self, scan: ScanData) -> Person:
        """Whose scan it is."""
        known = scan.person
        return Person(known.age if self.age is None else self.age, self.sex or known.sex)


@answering
def segment_scan(
    segmenter: Segmenter,
    scan: Scan | AlignedScan,
    wanted: Wanted | None = None,
    *,
    skull: str = "auto",
    progress: Progress = SILENT,
) -> LabelledScan:
    """Label the brain of a scan.

    Parameters
    ----------
    scan : Scan or AlignedScan
        On the grid of the bundled generator it is taken as it is, unless it does not lie there as
        its header says; any other is prepared as for that generator (`Scan.align`), unless it is
        already, and the labels are carried back to its own grid.
    wanted : Wanted or None
        What to measure, and among whom.
    skull : str
        See `Scan.align`.

    Raises
    ------
    ScanError
        If no brain is found, or the intensities are not those of a brain volume.
    """
    wanted = wanted or Wanted()
    target = bundled_template()
    placed = OnGrid.of(scan, target, skull, progress)
    labelled = label_brain(placed.volume, target.space, segmenter, confidence=True)
    found = labelled.regions if wanted.regions else labelled.tissues
    person = wanted.person(placed.scan)
    why = withheld(doubts_in(placed.steps))
    none = Numbers({}, person, among=NO_FIGURES.format(why))
    numbers = none if why else labelled.numbers(person, wanted.norms)
    image = placed.on_scan(found.labels)
    return LabelledScan(image, labelled, numbers, placed.steps, found.scheme, placed.scan.origin)


@dataclass(frozen=True, eq=False)
class OnGrid:
    """A scan on the grid of the networks: as it is, or aligned to it."""

    scan: ScanData
    volume: np.ndarray
    aligned: AlignedScan | None
    steps: list[Note]

    @classmethod
    def of(cls, scan: Scan | AlignedScan, target: Target, skull: str, progress: Progress) -> OnGrid:
        """Aligned unless it lies on the grid of the target already, and the image agrees."""
        if isinstance(scan, AlignedScan):
            return cls(scan.scan, scan.volume, scan, scan.notes)
        seen = header_doubts(scan, target) if scan.space.same_as(target.space) else None
        if seen is not None and not refuted(seen):
            volume = to_unit(scan)
            seen += contrast_doubts(volume, target.template, volume > 0, scan.contrast)
            return cls(scan, volume, None, [*scan.notes, *seen])
        aligned = scan.align(target, skull=skull, progress=progress)
        return cls(scan, aligned.volume, aligned, aligned.notes)

    def on_scan(self, labels: np.ndarray) -> nib.Nifti1Image:
        """Labels of the grid, on the scan's own."""
        if self.aligned is None:
            return make_image(labels, self.scan.affine)
        return native_labels(labels, self.aligned)


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


def table_text(path: Path, result: JsonView, cells: JsonView) -> str:
    """A result as JSON, or its name, cells and doubts as CSV, by the ending of `path`.

    The CSV has a header and one row, so that the rows of many scans can be put together.
    """
    if path.suffix == ".json":
        return to_json(result)
    doubts = " | ".join(map(str, result["doubts"]))
    row = {"name": result["name"], **cells, "doubts": doubts}
    return text_of_rows([list(row), list(row.values())])
