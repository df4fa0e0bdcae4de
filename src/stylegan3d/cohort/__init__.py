"""Batch processing of many scans: resumable, on one machine or a Dask cluster."""

from stylegan3d.cohort.run import Item, Outcome, find_items, run_cohort

__all__ = ["Item", "Outcome", "find_items", "run_cohort"]
