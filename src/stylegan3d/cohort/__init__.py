"""Batch processing of many scans: resumable, on one machine or a Dask cluster."""

from stylegan3d.cohort.run import Outcome, run_cohort
from stylegan3d.cohort.scans import Item, find_items

__all__ = ["Item", "Outcome", "find_items", "run_cohort"]
