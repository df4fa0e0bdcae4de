"""Brains of the tests of measures."""

from blobs import blobs, coarse_features, many_blobs, people_pack, space

__all__ = ["blobs", "coarse_features", "many_blobs", "people_pack", "space"]
