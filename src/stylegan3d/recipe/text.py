"""Recipes as text to share: a shell command, JSON, a link, or a file.

A link is `stylegan3d:recipe?` and the JSON, percent-encoded, so that it survives chats and e-mails.
"""

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from stylegan3d.errors import RecipeError
from stylegan3d.plain import Json
from stylegan3d.recipe.model import MadeWith
from stylegan3d.recipe.parts import Source, leads_out
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.storage.jsontext import LARGEST, from_json, short_repr
from stylegan3d.storage.tensorfiles import read_bytes

LINK = "stylegan3d:recipe?"
#: A recipe with many edits has some thousand characters.
LONGEST_TEXT = 4_000_000
OPTION = "--recipe"


def to_link(recipe: Recipe) -> str:
    """The recipe as a link without spaces; `from_link` is the inverse."""
    return LINK + quote(recipe.to_json(), safe="")


def from_link(link: str) -> Recipe:
    """The recipe of a link; RecipeError if it is invalid."""
    link = "".join(link.split())  # mail programs break long lines
    if not link.startswith(LINK):
        raise RecipeError(f"This is not a link to a recipe: it should begin with {LINK}.")
    return _from_json(unquote(link.removeprefix(LINK)), "link")


def from_text(text: str) -> Recipe:
    """A recipe from pasted text: a link, JSON, the text of a sidecar, or a command.

    Raises
    ------
    RecipeError
        If there is no recipe in it.
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


def read_recipe(text_or_path: str | Path) -> Recipe:
    """A recipe from JSON text or a link, from a JSON file, or from a saved volume's sidecar.

    Paths of latent and directions files in a recipe file are relative to it; files that it names
    by name and hash are also found in the folders beside its own.

    Raises
    ------
    RecipeError
        If it is none of these, or not a valid recipe.
    """
    if str(text_or_path).lstrip().startswith("{"):
        return Recipe.from_json(str(text_or_path))
    if str(text_or_path).lstrip().startswith("stylegan3d:"):
        return from_link(str(text_or_path))
    path = Path(text_or_path)
    try:
        data = from_json(read_bytes(path, RecipeError, LARGEST))
    except ValueError:
        raise RecipeError(f"{path} is not a recipe: choose a JSON file of stylegan3d.") from None
    if isinstance(data, dict) and "SyntheticImage" in data:
        if "Recipe" not in data:
            raise RecipeError(f"{path} describes a volume that was not made from a recipe.")
        recipe = of_sidecar(data)
    else:
        recipe = Recipe.from_dict(data)
    return recipe.with_paths(lambda part: _beside(part, path))


def _beside(part: Any, path: Path) -> Any:
    """A part of the recipe at `path` with its file resolved; RecipeError if it is elsewhere.

    A recipe from someone else must not cause files outside its folder to be opened.
    """
    found = part.within(path.parent)
    written, name = (p.path if isinstance(p, Source) else p.file for p in (part, found))
    if name and written and all(leads_out(path.parent, n) for n in (str(written), str(name))):
        raise RecipeError(
            f"{path} refers to the file {short_repr(name)} outside the folder of the recipe: "
            "move that file beside the recipe, or give the recipe as text."
        )
    return found


def of_sidecar(data: Json) -> Recipe:
    """The recipe in a sidecar's content, with the model recorded there."""
    recipe, model = Recipe.from_dict(data["Recipe"]), data.get("Model")
    if recipe.model is None and isinstance(model, dict) and model.get("SHA256"):
        made = MadeWith(model["SHA256"], model.get("Name", ""), model.get("LabelsSHA256"))
        recipe = recipe.replace(model=made)
    return recipe
