"""What the package offers; `__init__.py` imports each name when it is first used."""

from .assessment import Assessment as Assessment
from .budgets import estimate_seconds as estimate_seconds
from .projector import ProjectionResult as ProjectionResult
from .projector import project as project
from .run import ProjectionState as ProjectionState
from .settings import BUDGETS as BUDGETS
from .uncertainty import Uncertainty as Uncertainty
from .uncertainty import uncertainty as uncertainty
