"""The tissues of many scans: label maps beside each other, volumes in one table."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from stylegan3d.cohort.run import FIRST, LAST, RECORDS, Table
from stylegan3d.cohort.scans import Item
from stylegan3d.errors import ModelError
from stylegan3d.plain import Json, JsonView
from stylegan3d.scans.reading import read_scan
from stylegan3d.segmentation.numbers import COLUMNS
from stylegan3d.storage.bids import describe
from stylegan3d.storage.files import check_output, write_together
from stylegan3d.storage.formats import scan_stem
from stylegan3d.storage.volumes import sidecar_path

if TYPE_CHECKING:
    from stylegan3d.segmentation.inference import Segmenter
    from stylegan3d.segmentation.norms import Norms

SEGMENTATIONS = Table(
    "segmentations.tsv",
    (*FIRST, *COLUMNS, *LAST, "labels"),
    f"{RECORDS}/segmentations",
)


def segment_item(
    settings: JsonView,
    item: Item,
    folder: Path,
    overwrite: bool,
    *,
    network: str | None,
    norms: Norms | None,
) -> tuple[list[Path], Json]:
    """Label one scan of a cohort (`cohort.run.Work`).

    Parameters
    ----------
    settings : mapping of str to object
        "skull", as of `Scan.align`; "orientation", as of `read_scan`; "network", the
        network's hash; "regions", whether these are labelled in the map.
    item : Item
    folder : Path
        For `<name>_dseg.nii.gz` and its sidecar.
    overwrite : bool
    network : str or None
        Folder of the network; the bundled one by default.
    norms : Norms or None
        The bundled ones by default.

    Returns
    -------
    files : list of Path
    row : dict
        See `SEGMENTATIONS`.
    """
    from stylegan3d.segmentation.scans import Wanted, label_files, made_by, segment_scan

    segmenter = _segmenter(network, settings["network"])
    scan = read_scan(item.path, orientation=settings["orientation"])
    labels = folder / f"{scan_stem(item.path)}_dseg.nii.gz"
    check_output([labels, sidecar_path(labels)], overwrite)
    wanted = Wanted(norms=norms, regions=settings["regions"])
    found = segment_scan(segmenter, scan, wanted, skull=settings["skull"])
    describe(item.root(folder), made_by(segmenter))
    write_together(label_files(labels, found, scan, segmenter), overwrite=overwrite)
    row = {
        **found.numbers.cells(),
        "warnings": found.warnings,
        "labels": labels,
    }
    return [labels, sidecar_path(labels)], row


@lru_cache(maxsize=1)
def _segmenter(network: str | None, sha256: str) -> Segmenter:
    """Opened once in a process; ModelError if it is not the network that the run began with."""
    from stylegan3d.segmentation.inference import load_segmenter

    segmenter = load_segmenter(network)
    if segmenter.hash != sha256:
        raise ModelError(
            f"The network at {network or 'its bundled place'} is not the one this run began with: "
            "give all workers the same files and run it again."
        )
    return segmenter
