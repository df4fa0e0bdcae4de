"""Pages of HTML with one look, from templates: each holds its pictures and needs no network.

All text is escaped, and a page forbids scripts and anything from elsewhere, so a name in a file's
header can do nothing in it.
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

#: The markers of targets of a figure, by whether it is reached.
MARKS = {None: "", True: "reached", False: "missed"}


def page(template: str, **content: object) -> str:
    """The page of a template of this folder, without its ending, filled with `content`."""
    return _templates().get_template(f"{template}.html").render(**content)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["uri"] = data_uri
    found.globals["marks"] = MARKS
    return found


def data_uri(image: bytes, kind: str = "png") -> str:
    """A picture as the address that an image element shows."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"
