"""How work tells what is done of it: functions that it calls now and then."""

from __future__ import annotations

from collections.abc import Callable

#: With how much is done, and of how much.
Progress = Callable[[float, float], None]
#: The same, and what was done last.
NamedProgress = Callable[[float, float, str], None]
#: With what is being done, how much of it, and of how much.
TitledProgress = Callable[[str, float, float], None]
#: With the share that is done, 0 to 1, and what is being done.
ShareProgress = Callable[[float, str], None]
