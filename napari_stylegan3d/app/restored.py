"""Saving and restoring the history of a session with views, cases and models."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_stylegan3d.project.kept import SavedScan, ScanRestorer
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.recipe.history import History, are_parents
from stylegan3d.recipe.model import MadeWith
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.session.case import Case, Choice
from stylegan3d.session.shown import FOLLOWING, Entry, Shown, What

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.session.file import SessionState


def of_session(session: Session, scans: ScanRestorer) -> dict[str, Any]:
    """Plain data of a session besides its recipes; empty without scans and other models."""
    kept, places = scans.of_session()
    states = session.history.states
    models = list(dict.fromkeys(entry.model for entry in states if entry.model is not None))
    parents = list(session.history.parents)
    forked = parents != [None, *range(len(states) - 1)]
    if not kept and len(models) < 2:
        return {"parents": parents} if forked else {}
    steps = [
        {
            "what": entry.shown.what,
            "case": place,
            "model": None if entry.model is None else models.index(entry.model),
        }
        for entry, place in zip(states, places, strict=True)
    ]
    plain: dict[str, Any] = {
        "cases": [one.to_plain() for one in kept],
        "models": [dataclasses.asdict(model) for model in models],
        "steps": steps,
        "parents": parents,
    }
    if session.case is not None and kept:
        plain["open"] = 0  # `ScanRestorer.of_session` puts the open case first
    return plain


def restored(state: SessionState, session: Session, scans: ScanRestorer) -> None:
    """Restore a session: history, projections, and the open scan."""
    assert session.generator is not None
    view, made = state.view, state.model or MadeWith.of(session.generator)
    kept = _kept(view, state.scan)
    cases = [None if one is None else one.case() for one in kept]
    sources = list({s.sha256: s for s in projected_sources(state.states)}.values())
    projected: list[Case] = []
    for one, case in zip(kept, cases, strict=True):
        if one is not None and case is not None:
            projected += one.projected(case, sources, session.generator.space)
            scans.know(case, one, first=one is kept[0])
    places = {source.sha256: place for place, source in enumerate(sources)}
    projected.sort(key=lambda case: places[case.source.sha256] if case.source else -1)
    entries = _entries(state.states, view, made, cases, projected)
    parents = view.get("parents")
    valid = isinstance(parents, list) and are_parents(parents, len(entries))
    session.restore(History(entries, state.position, parents if valid else None), projected)
    opened = cases[0] if cases else None
    if opened is None or not (view.get("open") == 0 or "steps" not in view):
        return
    if session.case is None:
        session.open_case(opened, show=False)
    elif session.case.key != opened.key and "steps" not in view:
        # An old session that showed one patient's brain with another's scan open.
        at = session.history.position
        session.history.append(Entry(Shown(session.recipe, "scan"), opened, made))
        session.history.go_to(at)
        session.historyChanged.emit()


def scans_of(state: SessionState) -> list[str]:
    """The scans of a session, the open one first: sha256, or path in old sessions."""
    kept = [one for one in _kept(state.view, state.scan) if one is not None]
    return [one.sha256 or str(one.choice.path) for one in kept]


def projected_sources(recipes: Iterable[Recipe]) -> Iterable[Source]:
    """Projected scans among the recipes' sources."""
    for recipe in recipes:
        for source in recipe.sources:
            if source.kind == "projected":
                yield source


def _kept(view: Any, scan: str | None) -> list[SavedScan | None]:
    """The cases of a session; for old sessions only the open scan."""
    plain = view.get("cases")
    if isinstance(plain, list):
        return [SavedScan.from_plain(one) for one in plain]
    if scan is None or not Path(scan).exists():
        return []
    return [SavedScan.from_plain(view.get("scan")) or SavedScan(Choice(Path(scan)))]


def _entries(
    recipes: Sequence[Recipe],
    view: Any,
    made: MadeWith,
    cases: list[Case | None],
    projected: list[Case],
) -> list[Entry]:
    """The history; invalid parts are dropped, since files can be edited."""
    steps = view.get("steps")
    if not isinstance(steps, list) or len(steps) != len(recipes):
        steps = [{}] * len(recipes)
    models = _models(view)
    entries = []
    for recipe, step in zip(recipes, steps, strict=True):
        plain = step if isinstance(step, dict) else {}
        told = plain.get("what")
        what: What = told if told in ("scan", *FOLLOWING) else "recipe"
        model = _at(models, plain.get("model")) or made
        case = _at(cases, plain.get("case"))
        result = next((p for p in projected if p.is_of(recipe.source)), None)
        if result is not None and (case is None or result.key == case.key) and what != "scan":
            case = result
        entries.append(Entry(Shown(recipe, what), case, model))
    return entries


def _models(view: Any) -> list[MadeWith | None]:
    plain = view.get("models")
    found: list[MadeWith | None] = []
    for one in plain if isinstance(plain, list) else ():
        try:
            found.append(MadeWith(**one))
        except (TypeError, StyleGAN3DError):
            found.append(None)
    return found


def _at(things: Sequence[Any], index: Any) -> Any:
    whole = isinstance(index, int) and not isinstance(index, bool)
    return things[index] if whole and 0 <= index < len(things) else None
