"""What the package offers; `__init__.py` imports each name when it is first used."""

from .budgets import estimate_seconds as estimate_seconds
from .projector import Projection as Projection
from .projector import ProjectionState as ProjectionState
from .projector import project as project
from .selftest import self_test as self_test
from .settings import BUDGETS as BUDGETS
from .trust import Trust as Trust
from .uncertainty import Uncertainty as Uncertainty
from .uncertainty import uncertainty as uncertainty
