"""Projection: the latent of a generator whose volume is most like a given one."""

from stylegan3d.projection.budgets import BUDGETS, estimate_seconds
from stylegan3d.projection.projector import Projection, ProjectionState, project

__all__ = ["BUDGETS", "Projection", "ProjectionState", "estimate_seconds", "project"]
