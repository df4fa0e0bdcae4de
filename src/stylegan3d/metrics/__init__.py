"""Metrics of synthetic and real brains as functions of arrays, used by `evaluation`."""
