"""Directions from files, from tables of values and from groups of subjects.

Long work on directions as plain functions, for `LongJob` and `LatestWins`: no Qt.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy import QtWidgets
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QDropEvent, QHideEvent

from napari_stylegan3d.core.jobs import Loaded, latent_of, screen_dtype
from napari_stylegan3d.core.panel import Context
from napari_stylegan3d.core.scans import files_in
from napari_stylegan3d.core.session import Session, report_error, sentence, telling
from napari_stylegan3d.core.thumbnails import Gallery, PictureButton, Thumbnails
from napari_stylegan3d.core.worker import JobStatus, LongJob, Newest, on_cores, step_back
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.elided import ElidedLabel
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.base import Progress, StyleGAN3DError
from stylegan3d.directions import catalogue
from stylegan3d.evaluation.settings import GroupSettings
from stylegan3d.recipe.description import describe_source
from stylegan3d.recipe.latents import Latent, save_directions, save_latent
from stylegan3d.recipe.recipe import Edit, Recipe, Source

if TYPE_CHECKING:
    from napari_stylegan3d.directions.panel import DirectionsPanel
    from stylegan3d.directions.edit_effects import EditEffect, WayBack
    from stylegan3d.directions.people import ValueTable
    from stylegan3d.evaluation.groups import GroupComparison
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.directions import Directions
    from stylegan3d.render.renderer import Renderer


#: Of the thread that measures; pictures are drawn at 10.
NICENESS = 19
#: Number of unedited brains that are cached; users switch between few of them.
KEPT = 3
#: Bytes of layers the renderer of these keeps.
LAYERS_KEPT = 0


@dataclass(frozen=True, eq=False)
class EffectRequest:
    """What to measure: the brain as it is shown, against the one without an edit.

    Attributes
    ----------
    recipe, after : Recipe, ndarray
        What is shown, and its volume at full resolution.
    direction : str or None
        Reference of the edit that is taken away; None for all.
    attribute, withheld : str
        What that edit is about, see `edit_effects.ABOUT`; see `read_tissues`.
    stop : threading.Event
        Set when the result is no longer needed.
    made_of : Hashable
        Equal for all requests that would find the same.
    """

    recipe: Recipe
    after: np.ndarray
    loaded: Loaded
    direction: str | None
    attribute: str
    stop: threading.Event
    made_of: Hashable = None
    withheld: str = ""


@dataclass(frozen=True, eq=False)
class MeasuredEffect:
    """What was found, and the difference after minus before, (X, Y, Z)."""

    effect: EditEffect
    back: WayBack
    change: np.ndarray


@dataclass(frozen=True)
class SeenRequest:
    """A brain without its edits, and the directions along which to look for it."""

    recipe: Recipe
    generator: Generator
    entries: tuple[catalogue.CatalogueEntry, ...]


def seen_from(request: SeenRequest) -> dict[str, tuple[float, float]]:
    """How far the training subjects reach to both sides of a brain, in sd, by reference.

    Directions of which that is not known are left out; all of them, if the brain cannot be made.
    """

    try:
        w = latent_of(request.recipe, request.generator)
    except StyleGAN3DError:  # the views say why
        return {}
    mean, found = w.detach().double().cpu().numpy().mean(axis=0), {}
    for entry in request.entries:
        seen = entry.directions.seen.get(entry.name)
        if seen is not None:
            at = entry.directions.position(entry.name, mean)
            found[entry.reference] = (seen[0] - at, seen[1] - at)
    return found


@dataclass(frozen=True, eq=False)
class Compared:
    """Groups of people compared.

    Attributes
    ----------
    found : GroupComparison
    generator : Generator
        Of their latents.
    about : dict
        Table and model, for the files.
    told : str
        The result in sentences.
    contrasts : list of str
        What is compared with what.
    changes : list of ndarray
        For each, the difference in percent of volume, 0 where none is found, on the model's grid.
    """

    found: GroupComparison
    generator: Generator
    about: dict[str, Any]
    told: str
    contrasts: list[str]
    changes: list[np.ndarray]

    def average(self, folder: Path) -> Source:
        """The average of all brains, as a latent file in a folder."""
        import torch

        assert self.found.mean is not None
        latent = Latent.of(self.generator, torch.from_numpy(self.found.mean).float())
        name = sha256(self.found.mean.tobytes()).hexdigest()[:8]
        path = folder / f"average-{name}_latent.safetensors"
        return Source("latent", path=str(path), sha256=save_latent(path, latent, overwrite=True))


def compare_people(
    report: Progress,
    generator: Generator,
    table: ValueTable,
    by: str,
    hold_fixed: Sequence[str],
    projected: Mapping[str, Source],
    settings: GroupSettings,
) -> Compared:
    """Compare groups of subjects, as `stylegan3d compare` does."""
    from stylegan3d.evaluation.groups import (
        compare_table,
        contrasts,
        difference,
        summarised,
        verdict_of,
    )

    doing = "Measuring brains"
    found = compare_table(
        table,
        by,
        hold_fixed,
        generator,
        projected=projected,
        settings=settings,
        report=report.part(0, len(table.brains), len(table.brains), text=lambda _: doing),
    )
    names, changes = contrasts(found), []
    for k in range(len(names)):
        assert found.average is not None
        effect, sure = difference(found, k, found.average, generator.space)
        changes.append(np.where(sure, effect, 0).astype(np.float32))
    about = {"Table": table.path.name, "Model": {"name": generator.name, "sha256": generator.hash}}
    text = " ".join([verdict_of(summarised(found)), *found.notes])
    if found.direction is not None:
        text += f" The direction: {verdict(found.direction.checks[0]).lower()}"
    return Compared(found, generator, about, text, names, changes)


def save_compared(report: Progress, compared: Compared, folder: Path) -> Path:
    """Write the files of a comparison to a folder; the path of its page."""
    from stylegan3d.evaluation.groups import save_comparison

    report(0, 1, "Saving")
    save_comparison(compared.found, folder, compared.generator, compared.about, overwrite=False)
    return folder / "groups.html"


class EffectMeasurer:
    """Renders brains without edits and measures; one thread uses it."""

    def __init__(self) -> None:
        self._renderer: tuple[Loaded, Renderer] | None = None
        self._before: Newest[Recipe, np.ndarray] = Newest(KEPT)

    def __call__(self, request: EffectRequest) -> MeasuredEffect:
        """Measure; `Cancelled` if the request is not wanted any more."""
        from stylegan3d.directions.edit_effects import measure_effect, way_back

        generator = request.loaded.generator

        check = Progress(cancelled=request.stop.is_set).check
        before = self._rendered(request)
        space, about, dtype = generator.space, request.attribute, screen_dtype()
        effect = measure_effect(before, request.after, space, about, check, dtype, request.withheld)
        check()
        back = way_back(request.recipe, generator, before, request.after, request.direction)
        return MeasuredEffect(effect, back, request.after - before)

    def _rendered(self, request: EffectRequest) -> np.ndarray:
        from stylegan3d.directions.edit_effects import without_edits
        from stylegan3d.render.recipes import render_recipe

        if self._renderer is None or self._renderer[0].renderer is not request.loaded.renderer:
            on_cores(1)
            step_back(NICENESS)
            self._renderer = request.loaded, request.loaded.renderer.companion(LAYERS_KEPT)
            self._before.clear()
        start = without_edits(request.recipe, request.direction)
        if start not in self._before:
            progress = Progress(cancelled=request.stop.is_set)
            self._before[start] = render_recipe(self._renderer[1], start, progress=progress).volume
        return self._before.get(start)


def make_between(
    report: Progress,
    generator: Generator,
    less: Sequence[Recipe],
    more: Sequence[Recipe],
    name: str,
) -> Directions:
    """The direction from one group of brains to another."""
    from stylegan3d.directions.custom import direction_between
    from stylegan3d.directions.people import latents_of_recipes, subject_of

    report(0, 2, "Computing the direction")
    less_of, more_of = ([subject_of(recipe.source) for recipe in group] for group in (less, more))
    w_less, w_more = (latents_of_recipes(generator, recipes) for recipes in (less, more))
    report(1, 2, "Computing the direction")
    return direction_between(generator, w_less, w_more, name, (less_of, more_of))


def verdict(told: dict[str, Any]) -> str:
    """What the check means, in a sentence."""
    figure, chance = told.get("auc", told.get("r")), told.get("chance")
    if figure is None or chance is None:
        return "Not validated."
    if "auc" in told and "r" in told:
        figure = told["r"]
    if figure <= chance:
        return "Not better than chance: the direction may be meaningless. More brains are needed."
    return f"Better than chance ({chance:.2f}) in brains not used for the fit."


def make_free(
    report: Progress,
    generator: Generator,
    entry: catalogue.CatalogueEntry,
    others: Sequence[catalogue.CatalogueEntry],
    told_as: str,
) -> Directions:
    """A direction without its parts along others."""
    from stylegan3d.directions.custom import orthogonalised

    report(0, 1, "Computing the direction")
    steps = [other.step for other in others]
    return orthogonalised(generator, entry.directions, entry.name, steps, told_as)


def keep(report: Progress, folder: Path, directions: Directions) -> Path:
    """Write a direction to a new file among the user's own."""

    report(0, 1, "Saving the direction")
    path = catalogue.free_name(folder, directions.names[0])
    save_directions(path, directions)
    return path


def joined(entries: Sequence[catalogue.CatalogueEntry], labels: Sequence[str]) -> Directions:
    """Directions of the catalogue as one set, by their user-given names."""

    from stylegan3d.directions.custom import renamed
    from stylegan3d.recipe.directions import join

    each = [renamed(e.directions, e.name, label) for e, label in zip(entries, labels, strict=True)]
    return reduce(join, each)


def save_entries(
    report: Progress, path: Path, entries: Sequence[catalogue.CatalogueEntry], labels: Any
) -> Path:
    """Write directions to a file the user chose, replacing an existing one."""

    report(0, 1, "Saving the directions")
    save_directions(path, joined(entries, labels), overwrite=True)
    return path


ABOUT = (
    "A CSV or TSV file with a row for each brain. The first column names the brains: a latent file "
    "(.safetensors, in the folder of the table), a scan projected in this session, or a number. "
    "Compare a column of words (two or more groups) or of numbers; participant_id identifies scans "
    "of the same subject. You can also drop the table here."
)
TABLES = (".csv", ".tsv", ".txt")
#: Of false discovery, below which a region is written in bold.
RATE = 0.05


class PeopleDialog(QtWidgets.QDialog):
    """Open a table, choose columns, compare, look, save.

    Parameters
    ----------
    parent : QWidget
        The dock.
    """

    #: Directions: the way from group to group, which the user adds.
    kept = Signal(object)
    #: (Compared, number of the contrast) to show on the average brain.
    wanted = Signal(object, int)

    def __init__(self, session: Session, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.session = session
        self.setObjectName("directions.people_window")
        self.setWindowTitle("Compare groups of subjects")
        dialogs.DropOn(self, _table_in, self.open_table)
        self.job = LongJob(
            self,
            self._on_finished,
            self._on_failed,
            progressed=self._on_progress,
            runningChanged=self._on_running,
        )
        self.table: ValueTable | None = None
        self.compared: Compared | None = None
        button = controls.push_button
        self.open = button("directions.people_table")
        self.path = controls.hint(name="directions.people_path")
        self.by = controls.combo("directions.people_by")
        self.fixed = controls.named(QtWidgets.QListWidget(), "directions.people_fixed")
        self.fixed.setMaximumHeight(controls.scaled(84))
        self.form = Form(GroupSettings, "directions.people_", only=("permutations",))
        self.start = button("directions.people_start", role="primary")
        self.cancel = button("directions.people_cancel")
        self.told = controls.hint(name="directions.people_text")
        self.contrast = controls.combo("directions.people_contrast")
        self.regions = controls.ResultTable(
            "directions.people_regions",
            "Mean volume, difference in %, p and false discovery rate q; bold: q at most 0.05.",
        )
        self.show_it = button("directions.people_show")
        self.keep = button("directions.people_keep")
        self.save = button("directions.people_save")
        self._lay_out()
        self._connect()
        self._show_result(None)
        self._offer_start()

    def _lay_out(self) -> None:
        controls.dialog(
            controls.hint(ABOUT),
            controls.row(self.open, self.path, stretch=1),
            controls.form(
                ("Compare", self.by), ("Adjust for", self.fixed), self.form.row("permutations")
            ),
            controls.row(QtWidgets.QWidget(), self.start, self.cancel, stretch=0),
            self.told,
            controls.form(("Difference", self.contrast)),
            self.regions,
            controls.row(QtWidgets.QWidget(), self.show_it, self.keep, self.save, stretch=0),
            on=self,
            stretch=6,
        )
        self.resize(controls.scaled(560), controls.scaled(660))

    def _connect(self) -> None:
        self.open.clicked.connect(self._open)
        self.start.clicked.connect(self._start)
        self.cancel.clicked.connect(self.job.cancel)
        self.by.currentIndexChanged.connect(self._on_by)
        self.fixed.itemChanged.connect(lambda _: self._show_result(None))
        self.form.changed.connect(lambda: self._show_result(None))
        self.job.cancelled.connect(lambda: self.told.setText("Cancelled."))
        self.show_it.clicked.connect(
            lambda: self.wanted.emit(self.compared, self.contrast.currentIndex())
        )
        self.keep.clicked.connect(self._keep)
        self.save.clicked.connect(self._save)
        # What was compared is of the model before.
        self.session.modelChanged.connect(lambda _: self.hide())
        self.session.modelChanged.connect(lambda _: self._show_result(None))

    def open_table(self, path: Path) -> None:
        """Read a table and list its columns."""
        from stylegan3d.directions.people import read_value_table
        from stylegan3d.evaluation.groups import HEAD_SIZE

        self.job.cancel()
        self._show_result(None)
        try:
            self.table = read_value_table(path)
        except StyleGAN3DError as error:
            self._on_failed(error)
            return
        count = len(self.table.brains)
        self.path.setText(f"{path.name}: {count} brains")
        self.by.clear()
        self.by.addItems(list(self.table.columns))
        self.fixed.clear()
        for name in (*self.table.columns, HEAD_SIZE):
            item = QtWidgets.QListWidgetItem(name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Unchecked)
            self.fixed.addItem(item)
        self._on_by()
        self._offer_start()

    def hold_fixed(self) -> list[str]:
        """The columns that are ticked, without the one that is compared."""
        items = [self.fixed.item(k) for k in range(self.fixed.count())]
        ticked = [item.text() for item in items if item.checkState() == Qt.CheckState.Checked]
        return [name for name in ticked if name != self.by.currentText()]

    def hideEvent(self, event: QHideEvent) -> None:
        """The dialog was closed: cancel the job."""
        self.job.cancel()
        super().hideEvent(event)

    def _open(self) -> None:
        path = dialogs.open_file(self, "Open a table of people", dialogs.TABLES)
        if path is not None:
            self.open_table(path)

    def _on_by(self, _index: int = 0) -> None:
        """What is compared cannot be held fixed."""
        self._show_result(None)
        for k in range(self.fixed.count()):
            item = self.fixed.item(k)
            item.setHidden(item.text() == self.by.currentText())

    def _start(self) -> None:
        generator = self.session.generator
        self._show_result(None)
        if self.table is None or generator is None:
            return
        projected = {scan.name: scan.source for scan in self.session.projected if scan.source}
        by, fixed = self.by.currentText(), self.hold_fixed()
        self.job.start(compare_people, generator, self.table, by, fixed, projected, self.form.value)

    def _save(self) -> None:
        folder = dialogs.choose_folder(self, "Save the comparison to a folder", Path.home())
        if folder is not None and self.compared is not None:
            self.job.start(save_compared, self.compared, folder)

    def _keep(self) -> None:
        if self.compared is not None and self.compared.found.direction is not None:
            self.kept.emit(self.compared.found.direction)

    def _on_progress(self, progress: JobStatus) -> None:
        self.told.setText(f"{progress.text}: {progress.done:.0f} of {progress.total:.0f}")

    def _on_finished(self, result: Any) -> None:
        if isinstance(result, Path):
            self.told.setText(f"Saved: {result}")
        elif self.session.generator is result.generator:
            self._show_result(result)

    def _on_failed(self, error: Exception) -> None:
        self.told.setText(sentence(error, "comparing groups"))

    def _on_running(self, running: bool) -> None:
        self.cancel.setEnabled(running)
        permutations = self.form.native("permutations")
        controls.enable(not running, self.open, self.by, self.fixed, permutations)
        self._offer_start()

    def _offer_start(self) -> None:
        """A comparison needs a table."""
        self.start.setEnabled(self.table is not None and not self.job.running)
        self.start.setToolTip(
            "Open a table of subjects first."
            if self.table is None
            else "Compare; a second or two for each brain."
        )

    def _show_result(self, compared: Compared | None) -> None:
        """Write what was found; None empties the table."""
        self.compared = compared
        names = compared.contrasts if compared is not None else []
        self.told.setText(compared.told if compared is not None else "")
        self.contrast.clear()
        self.contrast.addItems(names)
        direction = compared is not None and compared.found.direction is not None
        controls.enable(compared is not None, self.show_it, self.save)
        self.keep.setEnabled(direction)
        self.cancel.setEnabled(self.job.running)
        rows = compared.found.regions if compared is not None else []
        heads = ["difference, %"] if len(names) == 1 else [f"{name}, %" for name in names]
        columns = [(head, "") for head in ("Region", "ml", *heads, "p", "q")]
        self.regions.show_rows(columns, [(_cells(row), row["q"] <= RATE) for row in rows])


def _table_in(event: QDropEvent) -> Path | None:
    """The table that is dragged or dropped."""
    files = map(Path, files_in(event))
    return next((file for file in files if file.suffix.lower() in TABLES), None)


def _cells(row: Mapping[str, Any]) -> list[str]:
    """What is written of a region."""
    effects = [f"{effect:+.1f}" for effect in row["effect_percent"]]
    return [row["region"], f"{row['ml']:.1f}", *effects, _chance(row["p"]), _chance(row["q"])]


def _chance(value: float) -> str:
    """A probability with three decimals."""
    return f"{value:.3f}" if value >= 0.0005 else "< 0.001"


SIDE = 56
NEITHER, LESS, MORE = "neither", "less", "more"
ABOUT_GROUPS = (
    "The direction leads from the mean of group A to the mean of group B. Each group needs "
    "at least three brains; with fewer than ten the result is unreliable. From a table of "
    "brains: ⋯, Compare groups of subjects…"
)
NO_FAVOURITES = "No favourites yet: add brains with the star below the views."


class NewDirection(QtWidgets.QDialog):
    """A window beside the panel: assign favourites to two groups, find, read its check, keep.

    Parameters
    ----------
    parent : QWidget
        The dock.
    """

    #: Directions: a new direction that the user keeps.
    found = Signal(object)

    def __init__(self, session: Session, thumbnails: Thumbnails, parent: QtWidgets.QWidget) -> None:
        super().__init__(parent)
        self.session = session
        self.setObjectName("directions.new_window")
        self.setWindowTitle("New direction")
        self.job = LongJob(self, self._on_found, self._on_failed)
        self._directions: Directions | None = None
        self.name = controls.named(QtWidgets.QLineEdit(), "directions.new_name")
        self.name.setPlaceholderText("e.g. Cortical atrophy")
        self.gallery = Gallery(thumbnails, "directions.groups", self)
        #: Each favourite and the group it is in.
        self.choices: list[tuple[Recipe, QtWidgets.QComboBox]] = []
        self.count = controls.hint(name="directions.new_count")
        self._area = QtWidgets.QScrollArea()
        self._area.setWidgetResizable(True)
        self.told = controls.hint(name="directions.new_text")
        self.find = controls.push_button("directions.new_find", role="primary")
        self.keep = controls.push_button("directions.new_keep")
        self._lay_out()
        self._connect()
        self._offer()

    def _lay_out(self) -> None:
        controls.dialog(
            controls.form(("Name", self.name)),
            controls.hint(ABOUT_GROUPS),
            self._area,
            self.count,
            self.told,
            controls.row(QtWidgets.QWidget(), self.find, self.keep, stretch=0),
            on=self,
            stretch=2,
        )
        self.setMinimumSize(controls.scaled(460), controls.scaled(460))

    def _connect(self) -> None:
        self.find.clicked.connect(self._find)
        self.keep.clicked.connect(self._keep)
        self.job.runningChanged.connect(lambda _running: self._offer())
        self.session.modelChanged.connect(lambda _: self.hide())

    def open_beside(self, widget: QtWidgets.QWidget) -> None:
        """Open left of a widget, over the views."""
        self._forget()
        self._show_favourites()
        self._offer()
        self.told.setText("" if self.choices else NO_FAVOURITES)
        self.resize(controls.scaled(480), controls.scaled(520))
        dialogs.open_beside(self, widget)

    def hideEvent(self, event: QHideEvent) -> None:
        """The dialog was closed: cancel the job."""
        self.job.cancel()
        self.gallery.stop()
        super().hideEvent(event)

    def groups(self) -> tuple[list[Recipe], list[Recipe]]:
        """The brains of group A and of group B."""
        chosen = [(recipe, box.currentData()) for recipe, box in self.choices]
        less, more = ([r for r, group in chosen if group == kind] for kind in (LESS, MORE))
        return less, more

    def _show_favourites(self) -> None:
        """Show the favourites, each in the group it was in before."""
        before = {recipe: box.currentData() for recipe, box in self.choices}
        inner = QtWidgets.QWidget()
        column = controls.stack(on=inner, spacing=4, margins=(0, 0, 6, 0))
        self.choices, pictures = [], {}
        for index, favourite in enumerate(self.session.favourites.items):
            recipe = favourite.recipe
            picture = PictureButton(f"directions.new_picture.{index}", "A favourite.", SIDE)
            pictures[picture] = recipe
            box = controls.combo(
                f"directions.new_group.{index}",
                "Group of this brain.",
                (("Neither", NEITHER), ("Group A", LESS), ("Group B", MORE)),
            )
            box.setCurrentIndex(max(box.findData(before.get(recipe, NEITHER)), 0))
            box.currentIndexChanged.connect(lambda _: self._forget())
            picture.clicked.connect(
                lambda _=False, b=box: b.setCurrentIndex((b.currentIndex() + 1) % 3)
            )
            self.choices.append((recipe, box))
            text = ElidedLabel(favourite.note or _text_of(recipe))
            column.addLayout(controls.row(picture, text, box, stretch=1))
        column.addStretch(1)
        self._area.setWidget(inner)
        self.gallery.show(pictures)

    def _forget(self) -> None:
        self.job.cancel()
        self._directions = None
        self.told.clear()
        self.keep.setEnabled(False)
        self._offer()

    def _offer(self) -> None:
        """A direction needs brains."""
        less, more = self.groups()
        self.count.setText(f"{len(less)} in group A, {len(more)} in group B")
        self.find.setEnabled(bool(self.choices) and not self.job.running)
        self.find.setToolTip(
            "Compute and validate the direction." if self.choices else NO_FAVOURITES
        )

    def _find(self) -> None:
        from stylegan3d.directions.custom import checked_name

        self._forget()
        generator = self.session.generator
        if generator is None:
            return
        try:
            name = checked_name(self.name.text())
        except StyleGAN3DError as error:
            self._on_failed(error)
            return
        self.told.setText("Computing the direction…")
        self.job.start(make_between, generator, *self.groups(), name)

    def _on_found(self, directions: Directions) -> None:
        self._directions = directions
        name = directions.names[0]
        record = directions.checks[0] if directions.checks else {}
        self.told.setText(f"{name}: {directions.descriptions.get(name, '')}. {verdict(record)}")
        self.keep.setEnabled(True)

    def _on_failed(self, error: Exception) -> None:
        self._forget()
        self.told.setText(sentence(error, "computing the direction"))

    def _keep(self) -> None:
        if self._directions is not None:
            self.found.emit(self._directions)
            self.name.clear()
            self.hide()


def _text_of(recipe: Recipe) -> str:
    parts = ["mixed"] if recipe.worn_mix is not None else []
    parts += ["edited"] if recipe.edits else []
    return ", ".join([describe_source(recipe.source), *parts])


#: Heading of the directions that were made here.
OWN = "Your own"


def notes_path() -> Path:
    """The file of labels, pins and files, for all models."""
    import platformdirs

    return platformdirs.user_config_path("napari-stylegan3d") / "directions.json"


def own_folder(model_hash: str) -> Path:
    """Folder of the user's own directions for a model."""
    import platformdirs

    return platformdirs.user_data_path("napari-stylegan3d") / "directions" / model_hash[:8]


class DirectionFiles(QObject):
    """Keeps the panel's notes and files; new directions are made off the GUI thread."""

    def __init__(self, context: Context, panel: DirectionsPanel) -> None:
        super().__init__(context.dock)
        self.panel, self.session = panel, context.session
        failed = partial(report_error, doing="working on a direction")
        self.job = LongJob(self, lambda made: made[0](made[1]), failed)
        self._queue: list[Callable[..., Any]] = []
        self.job.runningChanged.connect(self._go_on)
        self.dialog = NewDirection(self.session, context.thumbnails, context.dock)
        self.people = PeopleDialog(self.session, context.dock)
        menus = panel.menus
        menus.opened.connect(self._open)
        menus.saved.connect(self._save)
        menus.freed.connect(self._free)
        menus.dropped.connect(self._forget)
        panel.missing.findRequested.connect(self._find)
        panel.missing.forgetRequested.connect(self._forget)
        panel.noted.connect(self._note)
        panel.new.clicked.connect(lambda: self.dialog.open_beside(panel))
        self.dialog.found.connect(self._keep)
        menus.compared.connect(lambda: dialogs.open_beside(self.people, panel))
        self.people.kept.connect(self._keep)
        self.session.modelChanged.connect(lambda _: self._load())

    def add(self, path: Path) -> None:
        """List the directions of a file, from now on.

        Raises
        ------
        RecipeError
            If it cannot be used with this model.
        """

        assert self.session.generator is not None
        path = path.absolute()
        catalogue.file_entries(path, self.session.generator)
        self._note(self.panel.notes.with_file(str(path)))

    @property
    def _model(self) -> str:
        return "" if self.session.generator is None else self.session.generator.hash

    def _load(self) -> None:
        """Read what was noted of the model that is open now."""

        notes = catalogue.DirectionNotes()
        with telling(report_error, "reading the settings of directions"):
            notes = catalogue.read_notes(notes_path(), self._model)
        self._show(notes)

    def _show(self, notes: catalogue.DirectionNotes) -> None:

        generator = self.session.generator
        if generator is None:
            return
        entries: list[catalogue.CatalogueEntry] = []
        problems: dict[str, str] = {}
        for file in notes.files:
            try:
                found = catalogue.file_entries(file, generator)
            except StyleGAN3DError as error:
                problems[file] = str(error)
                continue
            if Path(file).parent == own_folder(generator.hash):
                found = [dataclasses.replace(entry, section=OWN) for entry in found]
            entries += found
        self.panel.missing.show_files(problems)
        self.panel.show_files(entries, notes)

    def _note(self, notes: catalogue.DirectionNotes) -> None:
        """Keep notes, and show what they say."""

        same_files = notes.files == self.panel.notes.files
        with telling(report_error, "saving the settings of directions"):
            catalogue.write_notes(notes_path(), self._model, notes)
        if same_files:
            self.panel.show_notes(notes)
        else:
            self._show(notes)

    def _open(self) -> None:
        path = dialogs.open_file(self.panel, "Open a directions file", dialogs.DIRECTIONS)
        if path is not None:
            with telling(report_error, "opening a directions file"):
                self.add(path)

    def _forget(self, file: str) -> None:
        """Take a file off the list; edits along its directions stay in the recipe."""
        self._note(self.panel.notes.without_file(file))

    def _find(self, file: str) -> None:
        """Use a file from where it is now; recipes that name the very same one follow."""

        generator, name = self.session.generator, Path(file).name
        path = dialogs.open_file(self.panel, f"Locate {name}", dialogs.DIRECTIONS)
        if path is None or generator is None:
            return
        place = str(path.absolute())

        def follow(part: Any) -> Any:
            same = isinstance(part, Edit) and (part.file, part.sha256) == (file, sha256)
            return part.with_file(place, sha256) if same else part

        with telling(report_error, "opening a directions file"):
            sha256 = catalogue.file_entries(path, generator)[0].sha256
            self._note(self.panel.notes.moved(file, place))
            self.session.edit(lambda recipe: recipe.with_paths(follow))

    def _save(self, entries: list[catalogue.CatalogueEntry]) -> None:
        path = dialogs.save_file(self.panel, "Save directions as", dialogs.DIRECTIONS)
        if path is not None:
            labels = [self.panel.notes.label_of(entry) for entry in entries]
            self._start(lambda _: None, save_entries, path, entries, labels)

    def _free(self, entry: catalogue.CatalogueEntry) -> None:
        others = self.panel.menus.others_in_use(entry)
        told_as = " and ".join(self.panel.notes.label_of(other) for other in others)
        self._start(self._keep, make_free, self.session.generator, entry, others, told_as)

    def _keep(self, directions: Directions) -> None:
        """Write a new direction to the user's own, and list it."""
        self._start(self._on_kept, keep, own_folder(directions.model_hash), directions)

    def _on_kept(self, path: Path) -> None:
        with telling(report_error, "adding a direction"):  # another model may be open by now
            self.add(path)

    def _start(self, then: Callable[[Any], None], function: Callable[..., Any], *args: Any) -> None:
        self._queue.append(lambda report: (then, function(report, *args)))
        self._go_on()

    def _go_on(self, _running: bool = False) -> None:
        """Begin what waits for the job before it."""
        if self._queue and not self.job.running:
            self.job.start(self._queue.pop(0))
