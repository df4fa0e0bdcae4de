"""The families of generators that this program knows, by the name that a model's card gives.

A family that comes with the program is one module with a `FAMILY`, named in `BUILT_IN`; any other
is made known with `register` before its models are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from stylegan3d.errors import ModelError
from stylegan3d.model.family import Family
from stylegan3d.networks.anatomy_config import is_anatomy

STYLEGAN, ANATOMY = "stylegan", "anatomy"
#: Module of each family that comes with the program; imported when a model of it is loaded.
BUILT_IN = {
    STYLEGAN: "stylegan3d.model.families.stylegan",
    ANATOMY: "stylegan3d.model.families.anatomy",
    "vae": "stylegan3d.model.families.autoencoder",
    "diffusion": "stylegan3d.model.families.diffusion",
}

_registered: dict[str, Family] = {}


def register(family: Family) -> None:
    """Make a family known; one of the same name that was registered before is replaced.

    Raises
    ------
    ValueError
        If it has the name of one that comes with the program.
    """
    if family.name in BUILT_IN:
        raise ValueError(f"The name {family.name} belongs to a built-in family; choose another.")
    _registered[family.name] = family


def forget(name: str) -> None:
    """Take back `register`."""
    _registered.pop(name, None)


def known_families() -> list[str]:
    """The names of all families."""
    return sorted({*BUILT_IN, *_registered})


def family_of(card: Mapping[str, Any]) -> Family:
    """The family of a model's card.

    Cards of StyleGANs, which were first, need not name theirs; anatomy models were taken for
    StyleGANs once, and are recognised by their settings.

    Raises
    ------
    ModelError
        If nothing is known of it.
    """
    return family_called(family_name(card))


def family_name(card: Mapping[str, Any]) -> Any:
    """The name of a card's family."""
    name = card["architecture"].get("family", STYLEGAN)
    plan = card["architecture"].get("generator")
    if name == STYLEGAN and isinstance(plan, Mapping) and is_anatomy(plan):
        return ANATOMY
    return name


def family_called(name: Any) -> Family:
    """The family of a name; ModelError if there is none."""
    if isinstance(name, str) and name in BUILT_IN:
        return import_module(BUILT_IN[name]).FAMILY
    if isinstance(name, str) and name in _registered:
        return _registered[name]
    raise ModelError(
        f"The model is of the family '{name}', but this program knows only "
        f"{', '.join(known_families())}: update it, or register that family first."
    )
