"""Names for plain data: what JSON holds, read or to be written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: A JSON object, such as a model's card, a report or the row of a table.
Json = dict[str, Any]
#: One that is only read.
JsonView = Mapping[str, Any]
