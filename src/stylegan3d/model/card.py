"""The model card as a Markdown page, generated from `card.json`."""

from stylegan3d.base import Json
from stylegan3d.model.family import family_name, family_of
from stylegan3d.pages.page import plain


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
