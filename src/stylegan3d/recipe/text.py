"""Recipes as text that people hand on: a shell command, JSON, or a link.

A link is `stylegan3d:recipe?` and the JSON, percent-encoded, so that it survives chats and e-mails.
"""

from __future__ import annotations

import shlex
from itertools import pairwise
from typing import Any
from urllib.parse import quote, unquote

from stylegan3d.errors import RecipeError
from stylegan3d.recipe.recipe import Recipe, of_sidecar
from stylegan3d.storage.jsontext import from_json

LINK = "stylegan3d:recipe?"
#: A recipe with many edits has some thousand characters.
LONGEST_TEXT = 4_000_000
OPTION = "--recipe"


def to_link(recipe: Recipe) -> str:
    """The recipe as a link, without blanks; `from_link` gives back an equal recipe."""
    return LINK + quote(recipe.to_json(), safe="")


def from_link(link: str) -> Recipe:
    """The recipe of a link; RecipeError if it is none."""
    link = "".join(link.split())  # mail programs break long lines
    if not link.startswith(LINK):
        raise RecipeError(f"This is no link to a recipe: it should begin with {LINK}.")
    return _from_json(unquote(link.removeprefix(LINK)), "link")


def from_text(text: str) -> Recipe:
    """A recipe from whatever a person copied: a link, JSON, a sidecar's text, or a command.

    Raises
    ------
    RecipeError
        If there is no recipe in it, in one sentence.
    """
    text = text.strip()
    if len(text) > LONGEST_TEXT:
        raise RecipeError("This text is far too long for a recipe: copy the recipe alone.")
    if text.startswith(LINK):
        return from_link(text)
    if text.startswith("{"):
        return _from_json(text, "text")
    if OPTION in text:
        return _from_command(text)
    raise RecipeError(
        "There is no recipe in this text: copy a recipe as command, JSON or link, and paste it."
    )


def _from_json(text: str, called: str) -> Recipe:
    try:
        data: Any = from_json(text, LONGEST_TEXT)
    except ValueError:
        raise RecipeError(f"The recipe in this {called} is cut off: copy all of it.") from None
    return (
        of_sidecar(data) if isinstance(data, dict) and "Recipe" in data else Recipe.from_dict(data)
    )


def _from_command(text: str) -> Recipe:
    """The recipe of `stylegan3d generate --recipe …`, quoted or not."""
    lines = text.replace("\\\n", " ")
    try:
        words = shlex.split(lines)
    except ValueError:
        words = []
    for word, following in pairwise([*words, ""]):
        if word == OPTION and following.startswith("{"):
            return _from_json(following, "command")
        if word.startswith(f"{OPTION}={{"):
            return _from_json(word.partition("=")[2], "command")
    raise RecipeError(
        "The recipe in this command is cut off or is the name of a file: copy the whole command, "
        "or drop the file on the window."
    )
