"""The model card as a Markdown page, generated from `card.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import UndefinedError

from stylegan3d.base import Json, ModelError
from stylegan3d.model.family import family_name, family_of
from stylegan3d.pages.page import plain

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator


def card_text(card: Json) -> str:
    """Markdown of a generator's card, by the template `pages/card.md`."""
    figures = [row for part in card.get("evaluation", {}).values() for row in part]
    return plain(
        "card.md",
        card=card,
        family=family_name(card),
        title=family_of(card).title,
        figures=figures,
        learned=[entry for entry in card.get("labels") or [] if "explained" in entry],
        steps_before=lambda flow: sum(run["steps_done"] for run in _runs(flow)[1:]),
        steps_by_kind=_steps_by_kind,
    )


def check_card(generator: Generator) -> None:
    """Check that a page can be written from a card, before any work is done.

    Raises
    ------
    ModelError
        If the generator has no card of its own, or it is incomplete.
    """
    generator.needed_folder()  # a file of another program has no card to write in
    try:
        card_text(generator.card)
    except (KeyError, UndefinedError) as error:
        missing = str(error).rpartition("attribute ")[2]
        raise ModelError(
            f"The card of the model '{generator.name}' does not give {missing}, so its page cannot "
            "be written: complete card.json first."
        ) from None
    except (TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise ModelError(
            f"The card of the model '{generator.name}' is not valid "
            f"({str(error)[:120]}), so its page cannot be written: correct card.json first."
        ) from None


def _steps_by_kind(flow: Json) -> tuple[int, int]:
    """Steps that a flow was trained on pairs, and on the ways of a flow with more steps."""
    pairs, ways = (
        sum(run["steps_done"] for run in _runs(flow) if bool(run.get("straight")) == straight)
        for straight in (False, True)
    )
    return pairs, ways


def _runs(flow: Json) -> list[Json]:
    """The training run of a flow, the run it started from, and so on."""
    begun = flow.get("begun_with")
    return [flow, *(_runs(begun) if begun else [])]
