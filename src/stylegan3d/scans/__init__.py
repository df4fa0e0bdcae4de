"""Scans: read, check, extract the brain, align it to a model, and bring results back."""

from .aligned import AlignedScan
from .native import native_image
from .reading import read_scan
from .scan import Scan
from .target import Target, Template, load_template

__all__ = [
    "AlignedScan",
    "Scan",
    "Target",
    "Template",
    "load_template",
    "native_image",
    "read_scan",
]
