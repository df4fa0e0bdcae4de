"""Scans: read, check, extract the brain, align it to a model, and bring results back."""

from .aligned import AlignedScan, Step
from .dicom import list_series
from .label_maps import looks_like_labels
from .native import native_image
from .reading import SeveralVolumes, is_scan, read_scan
from .scan import Scan
from .series import Series, SeveralSeries
from .target import Target, Template, load_template

__all__ = [
    "AlignedScan",
    "Scan",
    "Series",
    "SeveralSeries",
    "SeveralVolumes",
    "Step",
    "Target",
    "Template",
    "is_scan",
    "list_series",
    "load_template",
    "looks_like_labels",
    "native_image",
    "read_scan",
]
