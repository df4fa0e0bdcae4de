"""Measures of similarity and quality.

`evaluation` brings the others together; what it needs is imported from the modules themselves, so
that comparing two volumes does not load a generator.
"""

from stylegan3d.measures.similarity import similarity, ssim_map

__all__ = ["similarity", "ssim_map"]
