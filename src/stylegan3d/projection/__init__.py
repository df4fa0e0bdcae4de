"""Projection: the latent of a generator whose volume is most like a given one."""

from stylegan3d.projection.budgets import estimate_seconds
from stylegan3d.projection.projector import Projection, ProjectionState, project
from stylegan3d.projection.selftest import self_test
from stylegan3d.projection.trust import Trust
from stylegan3d.projection.uncertainty import Uncertainty, uncertainty
from stylegan3d.settings.projection import BUDGETS

__all__ = [
    "BUDGETS",
    "Projection",
    "ProjectionState",
    "Trust",
    "Uncertainty",
    "estimate_seconds",
    "project",
    "self_test",
    "uncertainty",
]
