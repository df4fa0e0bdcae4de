"""Brains of the tests of pictures."""

from blobs import blobs, space

__all__ = ["blobs", "space"]
