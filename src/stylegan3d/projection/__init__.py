"""Projection: the latent of a generator whose volume is most like a given one."""

from stylegan3d.projection.projector import (
    BUDGETS,
    Projection,
    ProjectionState,
    project,
)

__all__ = ["BUDGETS", "Projection", "ProjectionState", "project"]
