"""Brains of the tests of measures."""

from blobs import blobs, coarse_features, many_blobs, space

__all__ = ["blobs", "coarse_features", "many_blobs", "space"]
