"""What the package offers; `__init__.py` imports each name when it is first used."""

from .assessment import Assessment as Assessment
from .projector import ProjectionResult as ProjectionResult
from .projector import Uncertainty as Uncertainty
from .projector import estimate_seconds as estimate_seconds
from .projector import project as project
from .projector import uncertainty as uncertainty
from .search import ProjectionState as ProjectionState
from .settings import BUDGETS as BUDGETS
