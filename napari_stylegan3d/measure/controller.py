"""Volumes of what is shown: measured in a thread once the full picture is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication

from napari_stylegan3d.core.provenance import in_words, subject_of
from napari_stylegan3d.core.tissues import make_layer
from napari_stylegan3d.core.worker import LatestWins, LongJob
from napari_stylegan3d.measure.jobs import (
    MeasuredBrain,
    Measurer,
    MeasureRequest,
    open_norms,
    start_of,
)
from napari_stylegan3d.measure.panel import as_table
from napari_stylegan3d.measure.visits import VisitsController
from napari_stylegan3d.views.display import put, upright
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.segmentation.words import Person

if TYPE_CHECKING:
    from collections.abc import Hashable

    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.core.jobs import DerivedVolume
    from napari_stylegan3d.measure.panel import MeasureBox
    from stylegan3d.scans import AlignedScan
    from stylegan3d.segmentation.norms import Norms
    from stylegan3d.segmentation.numbers import Numbers

UNPLACED = "Align the scan first (Project): volumes are measured on the model's grid."


class MeasureController(QObject):
    """Keeps the Measure box up to date while it is unfolded, but never during a drag."""

    def __init__(self, context: Context, box: MeasureBox) -> None:
        super().__init__(context.dock)
        self.session, self.comparison = context.session, context.comparison
        self.rendering, self.messages = context.render, context.messages
        self.box = box
        self.layer = TissueLayer(self.comparison.stage.viewer)
        self.measured: MeasuredBrain | None = None
        #: What `measured` is of; another subject has none until it is measured.
        self._of: MeasureRequest | None = None
        self._dragged = False
        self._work = LatestWins(Measurer(), self)
        self._work.ready.connect(self._on_measured)
        self._work.failed.connect(self._on_failed)
        #: The last request; results of others are out of date.
        self._asked: MeasureRequest | None = None
        #: Whose age and sex the fields have, as `Session.person_of`; None for nobody's.
        self._whose: Hashable | None = None
        self.box.header.toggled.connect(self._update)
        self.box.labels.toggled.connect(self._show_labels)
        self.box.copy.clicked.connect(self._copy)
        self.box.personChanged.connect(self._on_person)
        self.box.unusualChanged.connect(self._on_unusual)
        self.box.normsChanged.connect(self._on_norms)
        self._norms = LongJob(self)
        self._norms.finished.connect(self._take_norms)
        self._norms.failed.connect(lambda error: self.messages.fail(error, "opening norms"))
        self.session.recipeChanged.connect(self._on_recipe)
        self.comparison.viewChanged.connect(self._update)
        self.comparison.placedChanged.connect(self._update)
        self.session.modelChanged.connect(self._forget)
        self.visiting = VisitsController(context, box.visits)

    def shutdown(self) -> None:
        """Stop, and take the labels away."""
        self.visiting.shutdown()
        self._work.shutdown()
        self._norms.shutdown()
        self.layer.remove()

    def _on_recipe(self, _: Recipe, live: bool) -> None:
        self._dragged = live
        self._outdated()
        self._update()

    def _forget(self, _: object = None) -> None:
        self.measured = self._of = self._asked = self._whose = None
        self.layer.hide()
        self.box.show_measured(None, None)

    def _outdated(self) -> None:
        """What is written is no longer what is shown."""
        self._asked = None
        self.layer.hide()
        self.box.set_stale(True)

    def _update(self, _: Any = None) -> None:
        """Measure what is shown, if anybody looks and it is more than a preview."""
        if not self.box.open or self._dragged:
            self.layer.hide()
            return
        subject = self._subject()
        if subject is None:
            return
        if self._asked is not None and self._asked.volume is subject.volume:
            self._show_labels()
            return
        self._outdated()
        self._asked = subject
        self._show_person(subject.person, subject.key)
        self.box.show_working()
        self._work.submit(subject)

    def _subject(self) -> MeasureRequest | None:
        """What is shown, ready to be measured; None while it is not."""
        comparison, recipe = self.comparison, self.comparison.recipe
        if self.session.shown.what == "search":
            self._show_nothing()
            return None
        if comparison.view == "scan":
            return self._scan(comparison.placed)
        if comparison.view == "unusual" and (case := self.session.result) is not None:
            return self._scan(None if case.aligned is None else (case.name, case.aligned))
        if comparison.view == "painted":
            return self._made(comparison.painted)
        picture, loaded = comparison.picture, self.rendering.loaded
        if picture is None or recipe is None or not comparison.is_current:
            return None
        if comparison.view == "filled":
            return self._made(comparison.filled)
        rendered = picture.rendered
        start = start_of(recipe)
        against = "" if start is None else subject_of(self.session, start)
        title = subject_of(self.session, recipe)
        person, key = self.session.person_of(recipe)
        return MeasureRequest(
            title, rendered.volume, rendered.space, person, key, start, loaded, against
        )

    def _made(self, made: DerivedVolume | None) -> MeasureRequest | None:
        """A brain with edited labels, the one before, or a filled scan; None for a difference."""
        generator = self.session.generator
        if made is None or generator is None or made.provenance.kind == "difference":
            return None
        person, key = self._person_of(made)
        before = made.before
        against = "" if before is None else in_words(before.provenance) or before.title
        title = in_words(made.provenance) or made.title
        return MeasureRequest(
            title, made.volume, generator.space, person, key, before, against=against
        )

    def _person_of(self, made: DerivedVolume) -> tuple[Person, Hashable | None]:
        """Who it is, as for the scan or the brain that it was made from."""
        if isinstance(made.of, Recipe):
            return self.session.person_of(made.of)
        return (Person(), None) if made.of is None else self.session.person_in(made.of.scan)

    def _scan(self, placed: tuple[str, AlignedScan] | None) -> MeasureRequest | None:
        """A scan with its name, on the model's grid."""
        if placed is None:
            self._show_nothing(UNPLACED)
            return None
        name, aligned = placed
        title = f"Scan {name}"
        return MeasureRequest(
            title, aligned.volume, aligned.space, *self.session.person_in(aligned.scan)
        )

    def _show_nothing(self, why: str = "") -> None:
        """Nothing can be measured of the open scan yet; age and sex can be typed."""
        self._forget()
        self.box.show_measured(None, None, why)
        case = self.session.case
        if case is not None and case.scan is not None:
            self._show_person(*self.session.person_in(case.scan))

    @property
    def _fresh(self) -> MeasuredBrain | None:
        """What was measured, if it is of what is shown."""
        return self.measured if self._of is self._asked else None

    def _on_measured(self, subject: MeasureRequest, measured: MeasuredBrain) -> None:
        if subject is not self._asked:
            return
        self.measured, self._of = measured, subject
        self.box.set_stale(False)
        self._show_numbers()
        self._show_labels()

    def _show_person(self, person: Person, key: Hashable | None) -> None:
        """Write age and sex of a person: as typed, else as known."""
        self._whose = key
        self.box.set_person(self.session.persons.get(key, person))

    def _on_person(self) -> None:
        """Age or sex was typed: they stay with this person."""
        if self._whose is not None:
            self.session.persons[self._whose] = self.box.person
            self.visiting.show_person()
            self._on_unusual()

    def _on_unusual(self) -> None:
        if self._fresh is not None:
            self._show_numbers()

    def _on_norms(self, wanted: Norms | Path | None) -> None:
        """Norms were chosen; those of a file are used once they are read."""
        if isinstance(wanted, Path):
            self._norms.start(open_norms, wanted)
            wanted = self.session.norms
        self._take_norms(wanted)

    def _take_norms(self, norms: Norms | None) -> None:
        self.session.norms = norms
        self.box.show_norms(norms)
        self._on_unusual()

    def _numbers(self, measured: MeasuredBrain) -> Numbers:
        from stylegan3d.segmentation.numbers import numbers_of

        person, norms = self.box.person, self.session.norms
        return numbers_of(measured.measures, person, norms, measured.networks)

    def _show_numbers(self) -> None:
        assert self.measured is not None
        self.box.show_measured(self.measured, self._numbers(self.measured))

    def _on_failed(self, subject: MeasureRequest, error: Exception) -> None:
        from stylegan3d.errors import StyleGAN3DError

        if subject is not self._asked:
            return
        self.measured = self._of = None
        self.box.set_stale(False)
        known = isinstance(error, StyleGAN3DError)
        self.box.show_measured(None, None, str(error) if known else "")
        if not known:
            self.messages.fail(error, "measuring the tissues")

    def _show_labels(self, _: object = None) -> None:
        """Draw the labels of what is shown, if they are wanted and there are any."""
        fresh = self._fresh
        wanted = self.box.open and self.box.labels.isChecked()
        if wanted and fresh is not None and self.comparison.view != "difference":
            self.layer.show(fresh)
        else:
            self.layer.hide()

    def _copy(self) -> None:
        clipboard = QApplication.clipboard()
        if (fresh := self._fresh) is not None and clipboard is not None:
            clipboard.setText(as_table(fresh, self._numbers(fresh)))


class TissueLayer:
    """There while it is wanted; the 3D view leaves it out."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.layer: Labels | None = None

    def show(self, measured: MeasuredBrain) -> None:
        """Draw the labels, in place of those before."""
        shown = upright(measured.labels, measured.space.affine, nearest=True)
        data = np.ascontiguousarray(shown.data)
        if self.layer is not None and self.layer in self.viewer.layers:
            put(self.layer, data, shown.scale, shown.translate)
            self.layer.visible = True
            return
        self.layer = make_layer(data, shown.layer_kwargs())
        active = self.viewer.layers.selection.active
        self.viewer.layers.append(self.layer)
        # It is not meant to be painted on.
        self.viewer.layers.selection.active = active

    def hide(self) -> None:
        """Draw it no longer; it comes back with what is measured next."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.layer.visible = False

    def remove(self) -> None:
        """Take it away."""
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        self.layer = None
