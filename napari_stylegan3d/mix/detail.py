"""The finest style of a mix: whose scan's own detail is shown, and how much of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_stylegan3d.core.whose import subject_of
from napari_stylegan3d.widgets import controls
from stylegan3d.recipe.recipe import Detail, Recipe, Source

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session

PERCENT = (0.0, 100.0, 1.0, 100.0)


class DetailBox(QWidget):
    """A list of the projected scans, and a slider."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.source = controls.combo(
            "mix.detail",
            "Whose detail is shown: a projected scan's, which moves along with the brain, or none.",
        )
        self.strength = controls.SliderRow(
            "mix.detail_strength",
            "Detail",
            PERCENT,
            " %",
            "How much of the scan's own detail is shown.\n0 %: the model's brain, 100 %: all.",
            label_width=48,
        )
        self.note = controls.hint(name="mix.detail_note")
        controls.stack(self.source, self.strength, self.note, on=self, spacing=5)
        self.source.activated.connect(self._on_source)
        self.strength.valueChanged.connect(self._on_strength)

    def show_recipe(self, recipe: Recipe) -> None:
        """Show whose detail a recipe has."""
        detail = recipe.detail
        sources = [case.source for case in self.session.projected if case.source is not None]
        current = None if detail is None else self._known(detail.source, sources)
        if current is not None and current not in sources:
            sources.append(current)
        entries = [(self._name(source), source) for source in sources]
        controls.fill(self.source, [("None: the model's brain", None), *entries], current)
        self.strength.set_value(100.0 if detail is None else 100 * detail.strength)
        self.strength.setEnabled(detail is not None)
        self.note.setText(self._words(recipe))

    def _words(self, recipe: Recipe) -> str:
        detail = recipe.detail
        if detail is None:
            if not self.session.projected:
                return "Project a scan to show its own detail here."
            return ""
        name = self._name(detail.source)
        if detail.source.is_same(recipe.source):
            return f"The detail of {name} moves along with what is edited and mixed."
        return subject_of(self.session, recipe)

    def _name(self, source: Source) -> str:
        case = self.session.case_of(source)
        return "" if case is None else case.name

    @staticmethod
    def _known(source: Source, sources: list[Source]) -> Source:
        """A source as the list has it."""
        return next((known for known in sources if known.is_same(source)), source)

    def _on_source(self, index: int) -> None:
        source, recipe = self.source.itemData(index), self.session.recipe
        strength = 1.0 if recipe.worn_detail is None else recipe.worn_detail.strength
        detail = None if source is None else Detail(source, strength)
        self.session.change(recipe.replace(detail=detail))

    def _on_strength(self, percent: float, live: bool) -> None:
        recipe = self.session.recipe
        if recipe.detail is not None:
            detail = Detail(recipe.detail.source, percent / 100)
            changed = recipe.replace(detail=detail)
            self.session.change(changed, live=live, gesture="mix.detail_strength")
