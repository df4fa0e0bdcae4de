"""Registry of generator families, by the name in a model's card.

A built-in family is a module with a `FAMILY`, listed in `BUILT_IN`; others are added with
`register` before their models are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from stylegan3d.errors import ModelError
from stylegan3d.model.family import Family
from stylegan3d.networks.anatomy_config import is_anatomy
from stylegan3d.plain import JsonView

STYLEGAN, ANATOMY = "stylegan", "anatomy"
#: Modules of the built-in families, imported when a model is loaded.
BUILT_IN = {
    STYLEGAN: "stylegan3d.model.families.stylegan",
    ANATOMY: "stylegan3d.model.families.anatomy",
    "vae": "stylegan3d.model.families.autoencoder",
    "diffusion": "stylegan3d.model.families.diffusion",
}

_registered: dict[str, Family] = {}


def register(family: Family) -> None:
    """Register a family, replacing any registered one of the same name.

    Raises
    ------
    ValueError
        If it has the name of a built-in family.
    """
    if family.name in BUILT_IN:
        raise ValueError(f"The name {family.name} belongs to a built-in family; choose another.")
    _registered[family.name] = family


def forget(name: str) -> None:
    """Undo `register`."""
    _registered.pop(name, None)


def known_families() -> list[str]:
    """The names of all families."""
    return sorted({*BUILT_IN, *_registered})


def family_of(card: JsonView) -> Family:
    """The family of a model's card.

    Cards of StyleGANs may omit it; older cards of anatomy models, which omit it too, are recognised
    by their settings.

    Raises
    ------
    ModelError
        If the family is unknown.
    """
    return family_called(family_name(card))


def family_name(card: JsonView) -> Any:
    """The name of a card's family."""
    name = card["architecture"].get("family", STYLEGAN)
    plan = card["architecture"].get("generator")
    if name == STYLEGAN and isinstance(plan, Mapping) and is_anatomy(plan):
        return ANATOMY
    return name


def family_called(name: Any) -> Family:
    """The family with a name; ModelError if there is none."""
    if isinstance(name, str) and name in BUILT_IN:
        return import_module(BUILT_IN[name]).FAMILY
    if isinstance(name, str) and name in _registered:
        return _registered[name]
    raise ModelError(
        f"The model is of the family '{name}', but this program knows only "
        f"{', '.join(known_families())}: update it, or register that family first."
    )
