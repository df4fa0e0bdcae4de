"""Labels and lesions of a scan, and their files: as it is on a model's grid, or prepared."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import nibabel as nib
import numpy as np

from stylegan3d.base import SILENT, Doubt, Json, JsonView, Note, Progress, ScanError, doubts_in
from stylegan3d.geometry.space import Shown
from stylegan3d.measures.lesions import suspect_lesions
from stylegan3d.measures.regions import find
from stylegan3d.projection.assessment import outline_doubts
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.scans.alignment import bundled_template
from stylegan3d.scans.person import Person
from stylegan3d.scans.scan import Scan, ScanData
from stylegan3d.scans.verdicts import NO_FIGURES, withheld
from stylegan3d.segmentation.classes import REGION_MEASURES, TISSUES, TITLES, Scheme, region_title
from stylegan3d.segmentation.inference import Segmenter, bundled_lesions, bundled_regions
from stylegan3d.segmentation.norms import Norms
from stylegan3d.segmentation.numbers import COLUMNS, Labelled, Numbers, label_brain, lines_of
from stylegan3d.segmentation.scans import OnGrid, map_files
from stylegan3d.storage.about import Origin
from stylegan3d.storage.checked import answering
from stylegan3d.storage.encoding import to_json
from stylegan3d.storage.files import table_text as text_of_rows


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
        of_numbers = self.numbers.doubts if self.numbers.measures else []
        return [*doubts_in(self.steps), *of_numbers]

    @property
    def cells(self) -> Json:
        """A row of a table, by `COLUMNS`."""
        return dict.fromkeys(COLUMNS) | self.numbers.cells()

    @property
    def lines(self) -> list[str]:
        """Whom the numbers compare with, and a line of text for each."""
        hidden = REGION_MEASURES if self.scheme is TISSUES else ()
        told, among = [doubt.sentence for doubt in self.doubts], self.numbers.among
        return [*([] if among in told else [among]), *lines_of(self.numbers, hidden)]

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
        A brain that was prepared for the bundled generator is taken as it is, unless it does not
        lie there as its header says; any other scan is prepared (`Scan.align`), and the labels are
        carried back to its own grid.
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
    placed = OnGrid.of(scan, bundled_template(), skull, progress)
    labelled = label_brain(placed.volume, placed.space, segmenter, confidence=True)
    found = labelled.regions if wanted.regions else labelled.tissues
    person = wanted.person(placed.scan)
    notes = [*placed.notes, *outline_doubts(placed)]
    why = withheld(doubts_in(notes))
    none = Numbers({}, person, among=NO_FIGURES.format(why))
    numbers = none if why else labelled.numbers(person, wanted.norms)
    image = placed.on_scan(found.labels)
    return LabelledScan(image, labelled, numbers, notes, found.scheme, placed.scan.origin)


def table_text(path: Path, result: JsonView, cells: JsonView) -> str:
    """A result as JSON, or its name, cells and doubts as CSV, by the ending of `path`.

    The CSV has a header and one row, so that the rows of many scans can be put together.
    """
    if path.suffix == ".json":
        return to_json(result)
    row = {"name": result["name"], **cells, "doubts": " | ".join(map(str, result["doubts"]))}
    return text_of_rows([list(row), list(row.values())])


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
            f"{place['place']}: {place['ml']:.1f} ml, {place['unusual']:.1f} times the reporting "
            "threshold"
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
    volume, brain = placed.volume, placed.brain_mask
    notes = [*placed.notes, *outline_doubts(placed)]
    if why := withheld(doubts_in(notes)):
        raise ScanError(f"Lesions of {scan.path.name} {why}; give a whole T1-weighted brain.")
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
    return LesionsOfScan(placed.on_scan(mask), places, ml, notes)
