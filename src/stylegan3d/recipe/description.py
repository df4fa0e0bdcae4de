"""Recipes and what changed between two of them, in a few words.

Recipes as text to share: a shell command, JSON, a link, or a file.

A link is `stylegan3d:recipe?` and the JSON, percent-encoded, so that it survives chats and e-mails.
"""

import shlex
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

from stylegan3d.base import Json, RecipeError
from stylegan3d.recipe.directions import split_direction
from stylegan3d.recipe.model import MadeWith
from stylegan3d.recipe.recipe import Detail, Edit, HasFile, Label, Mix, Recipe, Source, leads_out
from stylegan3d.storage.about import EDITED_SCAN, WORN_DETAIL
from stylegan3d.storage.encoding import LARGEST, from_json, read_bytes, short_repr
from stylegan3d.storage.formats import scan_stem

#: Of more changes than this, the rest is counted, not listed.
MOST_NAMED = 3
NO_CHANGE = "No change"
NO_GROUPS: Mapping[tuple[int, ...], str] = MappingProxyType({})
PROJECTED = "Projected"
NO_DETAIL, REMOVED = "No detail", "Removed: "


def describe_recipe(recipe: Recipe) -> str:
    """A recipe in words, such as "Seed 12, mixed with seed 7, Ventricle volume +1.5 sd"."""
    whole = recipe.is_edited_scan and recipe.detail is not None and recipe.detail.strength == 1
    words = [f"Scan {_stem(recipe.source)}" if whole else describe_source(recipe.source)]
    if (mix := recipe.worn_mix) is not None:
        words.append(f"mixed with {_lower(describe_source(mix.source))}")
    words += [_edit(edit) for edit in recipe.edits if edit.strength]
    if recipe.worn_detail is not None and not whole:
        words.append(_lower(_detail(recipe.worn_detail)))
    return ", ".join(words)


def what_it_is(*recipes: Recipe) -> str:
    """What must be said wherever recipes with a scan's detail are shown or saved; else empty.

    Of several, such as the key frames of a film, they are an edited scan only if all are brains of
    that scan: between two brains one wears the detail of the other.
    """
    details = [recipe.worn_detail for recipe in recipes]
    return mark_of(
        any(details),
        all(d is None or d.source.is_same(recipe.source) for d in details for recipe in recipes),
    )


def mark_of(detailed: bool, own: bool) -> str:
    """What must be said of a picture; empty without a scan's detail.

    Parameters
    ----------
    detailed : bool
        Whether it shows a scan's detail.
    own : bool
        Whether that is the brain's own.
    """
    if not detailed:
        return ""
    return EDITED_SCAN if own else WORN_DETAIL


def marked(text: str, *recipes: Recipe) -> str:
    """A description or caption that begins with `what_it_is`, where there is something to say."""
    return with_mark(what_it_is(*recipes), text)


def with_mark(mark: str, text: str) -> str:
    """A text that begins with a mark, if there is one."""
    return f"{mark}. {text}" if mark else text


def describe_changes(recipe: Recipe, *, amounts: bool = True) -> str:
    """What a recipe does to its source, such as "Ventricle volume +1.5 sd"; empty for nothing.

    Without `amounts` edits are named only.
    """
    words = []
    if (mix := recipe.worn_mix) is not None:
        words.append(f"mixed with {_lower(describe_source(mix.source))}")
    edits = [edit for edit in recipe.edits if edit.strength]
    words += [_edit(edit) if amounts else _name(edit) for edit in edits]
    detail = recipe.worn_detail
    if detail is not None and detail.strength < 1:
        words.append(f"detail {100 * detail.strength:.0f} %")
    return ", ".join(words)


def describe_change(
    before: Recipe | None, after: Recipe, groups: Mapping[tuple[int, ...], str] = NO_GROUPS
) -> str:
    """What is different in `after`, such as "Ventricle volume +1.5 sd" or "Seed 12".

    Parameters
    ----------
    before : Recipe or None
        None if nothing came before: then `after` itself is described.
    after : Recipe
    groups : mapping of tuple of int to str
        Names of groups of layers, such as "Coarse" for (0, 1, 2).

    Returns
    -------
    str
        Several changes are joined by commas; of more than three the rest is counted.
    """
    if before is None:
        return describe_recipe(after)
    lines: list[str] = []
    other = before.source != after.source
    if other:
        lines.append(describe_source(after.source))
    if before.label != after.label:
        lines.append(_label(after.label))
    lines += _truncation(before, after)
    lines += _mix(before.mix, after.mix, groups)
    lines += _edits(before.edits, after.edits)
    if before.detail != after.detail:
        lines.append(NO_DETAIL if after.detail is None else _detail(after.detail))
    if before.noise != after.noise:
        lines.append(_noise(after))
    if before.channel != after.channel:
        lines.append(f"Channel {after.channel}")
    if other:  # its own detail, and that it lacks what the one before had, go without saying
        own = f"Detail of {_stem(after.source)}"
        lines = [
            one for one in lines if one not in (own, NO_DETAIL) and not one.startswith(REMOVED)
        ]
    if len(lines) > MOST_NAMED:
        lines[MOST_NAMED - 1 :] = [f"{len(lines) - MOST_NAMED + 1} more changes"]
    return ", ".join(lines) or NO_CHANGE


def describe_source(source: Source) -> str:
    """What a source is called: "Seed 7", "Projected sub-04", "Latent mean"."""
    if source.seed is not None:
        return f"Seed {source.seed}"
    # A synthetic brain that resembles a scan must not be called one.
    what = PROJECTED if source.kind == "projected" else "Latent"
    return f"{what} {_stem(source)}"


def _stem(source: Source) -> str:
    """What a scan or a latent is called, from the name of its file."""
    return scan_stem(str(source.path)).partition("_desc-")[0]


def _detail(detail: Detail) -> str:
    amount = "" if detail.strength == 1 else f" {100 * detail.strength:.0f} %"
    return f"Detail of {_stem(detail.source)}{amount}"


def _label(label: Label | None) -> str:
    if label is None:
        return "Labels unset"
    if label.numbers:
        return "Label " + ", ".join(f"{number:g}" for number in label.numbers)
    return ", ".join(f"{name} {value}" for name, value in label.values)


def _truncation(before: Recipe, after: Recipe) -> list[str]:
    old, new = before.truncation, after.truncation
    lines = [f"Truncation {new.psi:.3g}"] if old.psi != new.psi else []
    if old.cutoff != new.cutoff:
        where = "all layers" if new.cutoff is None else f"the first {new.cutoff} layers"
        lines.append(f"Truncation of {where}")
    return lines


def _mix(before: Mix | None, after: Mix | None, groups: Mapping[tuple[int, ...], str]) -> list[str]:
    if before == after:
        return []
    if after is None:
        return [f"{REMOVED}mix"]
    if before is not None and before.source != after.source:
        return [f"Mixed with {_lower(describe_source(after.source))}"]
    if before is None:
        before = Mix(after.source, (0.0,) * len(after.strength))
    changed = [
        layer
        for layer, pair in enumerate(zip(before.strength, after.strength, strict=False))
        if pair[0] != pair[1]
    ]
    values = {after.strength[layer] for layer in changed}
    if not changed:
        return [f"B is {_lower(describe_source(after.source))}"]
    amount = f"{100 * values.pop():.0f} %" if len(values) == 1 else "changed"
    if len(after.strength) == 1:  # of the whole brain
        return [f"Mix: {amount} of B"]
    named = groups.get(tuple(changed), "")
    if len(changed) == len(after.strength):
        named = "all"
    return [f"Mix: {_lower(named) or _layers((changed[0], changed[-1] + 1))} of B {amount}"]


def _edits(before: tuple[Edit, ...], after: tuple[Edit, ...]) -> list[str]:
    old = {edit.direction: edit for edit in before}
    new = {edit.direction: edit for edit in after}
    lines = []
    for direction, edit in new.items():
        was = old.get(direction)
        if was is None or was.strength != edit.strength:
            lines.append(_edit(edit))
        elif was.layers != edit.layers:
            lines.append(f"{_name(edit)} in {_layers(edit.layers)}")
    return lines + [f"{REMOVED}{_name(edit)}" for key, edit in old.items() if key not in new]


def _edit(edit: Edit) -> str:
    return f"{_name(edit)} {edit.strength:+.3g} sd"


def _name(edit: Edit) -> str:
    return split_direction(edit.direction)[1]


def _layers(layers: tuple[int, int] | None) -> str:
    if layers is None:
        return "all layers"
    first, stop = layers
    return f"layer {first}" if stop == first + 1 else f"layers {first} to {stop - 1}"


def _noise(recipe: Recipe) -> str:
    return {"fixed": "Texture fixed", "none": "No texture"}.get(
        str(recipe.noise), f"Texture {recipe.noise}"
    )


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


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
        "There is no recipe in this text: paste a command with --recipe, or a recipe or its link."
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


def _beside(part: HasFile, path: Path) -> HasFile:
    """A part of the recipe at `path` with its file resolved; RecipeError if it is elsewhere.

    A recipe from someone else must not cause files outside its folder to be opened.
    """
    found = part.within(path.parent)
    named = [p.file for p in (part, found) if p.file]
    if named and all(leads_out(path.parent, name) for name in named):
        raise RecipeError(
            f"{path} refers to the file {short_repr(found.file)} outside the folder of the recipe: "
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
