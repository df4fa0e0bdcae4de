"""The user's own directions: create, open, save and remember them, with labels and pins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_stylegan3d.core.context import report_error
from napari_stylegan3d.core.worker import LongJob
from napari_stylegan3d.directions.jobs import keep, make_free, save_entries
from napari_stylegan3d.directions.new import NewDirection
from napari_stylegan3d.directions.people import PeopleDialog
from napari_stylegan3d.widgets import dialogs
from stylegan3d.directions.catalogue import DirectionNotes, Entry
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.recipe.recipe import Edit

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.directions.panel import DirectionsPanel
    from stylegan3d.recipe.directions import Directions

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
        self.job = LongJob(self)
        self._then: Callable[[Any], None] = lambda _: None
        self.dialog = NewDirection(self.session, context.thumbnails, context.dock)
        self.people = PeopleDialog(self.session, context.dock)
        self.job.finished.connect(lambda result: self._then(result))
        self.job.failed.connect(lambda error: report_error(error, "working on a direction"))
        menus = panel.menus
        menus.opened.connect(self._open)
        menus.saved.connect(self._save)
        menus.freed.connect(self._free)
        menus.dropped.connect(self._drop)
        panel.missing.findRequested.connect(self._find)
        panel.missing.forgetRequested.connect(self._forget)
        panel.noted.connect(self._note)
        panel.new.clicked.connect(lambda: self.dialog.open_beside(panel))
        self.dialog.found.connect(self._keep)
        menus.compared.connect(lambda: self.people.open_beside(panel))
        self.people.kept.connect(self._keep)
        self.session.modelChanged.connect(lambda _: self._load())

    def shutdown(self) -> None:
        """Stop; results of running jobs are discarded."""
        self.dialog.shutdown()
        self.people.shutdown()
        self.job.shutdown()

    def add(self, path: Path) -> None:
        """List the directions of a file, from now on.

        Raises
        ------
        RecipeError
            If it cannot be used with this model.
        """
        from stylegan3d.directions.catalogue import file_entries

        assert self.session.generator is not None
        path = path.absolute()
        file_entries(path, self.session.generator)
        self._note(self.panel.notes.with_file(str(path)))

    @property
    def _model(self) -> str:
        return "" if self.session.generator is None else self.session.generator.hash

    def _load(self) -> None:
        """Read what was noted of the model that is open now."""
        from stylegan3d.directions.catalogue import read_notes

        try:
            notes = read_notes(notes_path(), self._model)
        except StyleGAN3DError as error:
            report_error(error, "reading the settings of directions")
            notes = DirectionNotes()
        self._show(notes)

    def _show(self, notes: DirectionNotes) -> None:
        from stylegan3d.directions.catalogue import file_entries

        generator = self.session.generator
        if generator is None:
            return
        entries: list[Entry] = []
        problems: dict[str, str] = {}
        for file in notes.files:
            try:
                found = file_entries(file, generator)
            except StyleGAN3DError as error:
                problems[file] = str(error)
                continue
            if Path(file).parent == own_folder(generator.hash):
                found = [dataclasses.replace(entry, section=OWN) for entry in found]
            entries += found
        self.panel.missing.show_files(problems)
        self.panel.show_files(entries, notes)

    def _note(self, notes: DirectionNotes) -> None:
        """Keep notes, and show what they say."""
        from stylegan3d.directions.catalogue import write_notes

        same_files = notes.files == self.panel.notes.files
        try:
            write_notes(notes_path(), self._model, notes)
        except StyleGAN3DError as error:
            report_error(error, "saving the settings of directions")
        if same_files:
            self.panel.show_notes(notes)
        else:
            self._show(notes)

    def _open(self) -> None:
        path = dialogs.open_file(self.panel, "Open a directions file", dialogs.DIRECTIONS)
        if path is None:
            return
        try:
            self.add(path)
        except StyleGAN3DError as error:
            report_error(error, "opening a directions file")

    def _drop(self, entry: Entry) -> None:
        """Take a file off the list; edits along its directions stay in the recipe."""
        if entry.file is not None:
            self._forget(entry.file)

    def _forget(self, file: str) -> None:
        self._note(self.panel.notes.without_file(file))

    def _find(self, file: str) -> None:
        """Use a file from where it is now; recipes that name the very same one follow."""
        from stylegan3d.directions.catalogue import file_entries

        generator, name = self.session.generator, Path(file).name
        path = dialogs.open_file(self.panel, f"Locate {name}", dialogs.DIRECTIONS)
        if path is None or generator is None:
            return
        try:
            sha256 = file_entries(path, generator)[0].sha256
        except StyleGAN3DError as error:
            report_error(error, "opening a directions file")
            return
        place = str(path.absolute())
        self._note(self.panel.notes.moved(file, place))

        def follow(part: Any) -> Any:
            same = isinstance(part, Edit) and (part.file, part.sha256) == (file, sha256)
            return part.with_file(place, sha256) if same else part

        recipe = self.session.recipe
        if recipe.with_paths(follow) != recipe:
            self.session.change(recipe.with_paths(follow))

    def _save(self, entries: list[Entry]) -> None:
        path = dialogs.save_file(self.panel, "Save directions as", dialogs.DIRECTIONS)
        if path is None:
            return
        if path.suffix != ".safetensors":
            path = path.with_name(path.name + ".safetensors")
        labels = [self.panel.notes.label_of(entry) for entry in entries]
        self._start(lambda _: None, save_entries, path, entries, labels)

    def _free(self, entry: Entry) -> None:
        others = self.panel.menus.others_in_use(entry)
        told_as = " and ".join(self.panel.notes.label_of(other) for other in others)
        generator = self.session.generator
        self._start(self._keep, make_free, generator, entry, others, told_as)

    def _keep(self, directions: Directions) -> None:
        """Write a new direction to the user's own, and list it."""
        self._start(self._on_kept, keep, own_folder(directions.model_hash), directions)

    def _on_kept(self, path: Path) -> None:
        try:
            self.add(path)
        except StyleGAN3DError as error:  # another model was opened meanwhile
            report_error(error, "adding a direction")

    def _start(self, then: Callable[[Any], None], function: Callable[..., Any], *args: Any) -> None:
        self._then = then
        self.job.start(function, *args)
