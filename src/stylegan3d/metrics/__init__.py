"""Measures of similarity and quality."""

from stylegan3d.metrics.similarity import similarity, ssim_map

__all__ = ["similarity", "ssim_map"]
