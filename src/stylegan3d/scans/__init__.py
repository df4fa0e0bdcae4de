"""Scans: read, check, extract the brain, align it to a model, and bring results back."""

from stylegan3d.scans.aligned import AlignedScan, Step
from stylegan3d.scans.dicom import list_series
from stylegan3d.scans.label_maps import looks_like_labels
from stylegan3d.scans.native import native_image
from stylegan3d.scans.reading import SeveralVolumes, read_scan
from stylegan3d.scans.scan import Scan
from stylegan3d.scans.second import SecondImage, second_image
from stylegan3d.scans.series import Series, SeveralSeries
from stylegan3d.scans.target import Target, Template, load_template

__all__ = [
    "AlignedScan",
    "Scan",
    "SecondImage",
    "Series",
    "SeveralSeries",
    "SeveralVolumes",
    "Step",
    "Target",
    "Template",
    "list_series",
    "load_template",
    "looks_like_labels",
    "native_image",
    "read_scan",
    "second_image",
]
