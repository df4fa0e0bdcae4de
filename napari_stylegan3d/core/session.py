"""The session as the window sees it, with signals, and what all features of a window share."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.widgets.controls import Links
from stylegan3d.base import Doubt, OutputError, StyleGAN3DError
from stylegan3d.memory import is_out_of_memory
from stylegan3d.model.layers import LayerGroup, layer_groups
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.session.file import Favourite
from stylegan3d.session.workspace import StateChange, Workspace, moving
from stylegan3d.storage.files import new_temporary_folder

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.segmentation.norms import Norms


@contextmanager
def telling(tell: Callable[[Exception, str], object], doing: str) -> Iterator[None]:
    """Tell of an error that the program raised itself; what is left of the block is not done."""
    try:
        yield
    except StyleGAN3DError as error:
        tell(error, doing)


class Messages(QObject):
    """Collects errors from features for the window to show."""

    #: (exception, what was being done)
    failed = Signal(object, str)
    #: An earlier error is over.
    cleared = Signal()

    def fail(self, error: Exception, doing: str) -> None:
        """Report an error that occurred while `doing` something ('loading the model')."""
        self.failed.emit(error, doing)

    def slot(self, doing: str) -> Callable[..., None]:
        """What a signal calls whose last argument is such an error."""
        return lambda *args: self.fail(args[-1], doing)

    def said(self, error: Exception, doing: str) -> str:
        """The sentence of an error that the program raised itself; any other is reported."""
        if isinstance(error, StyleGAN3DError):
            return str(error)
        self.fail(error, doing)
        return ""

    def saved(self, paths: Sequence[Path]) -> None:
        """An earlier error is over: show a notification of the files that were written."""
        self.cleared.emit()
        report_done(f"Saved {' and '.join(path.name for path in paths)}.")

    def during(self, doing: str) -> AbstractContextManager[None]:
        """Report an error that the program raised itself; what is left of the block is not done."""
        return telling(self.fail, doing)


class Favourites(QObject):
    """The favourites of the current model, in the order they were added.

    Those of other models are stored separately: there, the same seed is another brain.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model = ""
        self._of: dict[str, tuple[Favourite, ...]] = {}

    @property
    def items(self) -> tuple[Favourite, ...]:
        """The favourites of the current model."""
        return self._of.get(self._model, ())

    @property
    def by_model(self) -> dict[str, tuple[Favourite, ...]]:
        """All favourites by model hash."""
        return {model: items for model, items in self._of.items() if items}

    @property
    def of_others(self) -> int:
        """Number of favourites of other models."""
        return sum(len(items) for model, items in self._of.items() if model != self._model)

    def use_model(self, model_hash: str) -> None:
        """Switch to the favourites of another model."""
        if model_hash != self._model:
            self._model = model_hash
            self.changed.emit()

    def index_of(self, recipe: Recipe | None) -> int | None:
        """Index of a recipe among the favourites; None if it is not one."""
        return next((i for i, item in enumerate(self.items) if item.recipe == recipe), None)

    def add(self, recipe: Recipe, note: str = "") -> None:
        """Add a recipe; does nothing if it already is a favourite."""
        if self.index_of(recipe) is None:
            self._set((*self.items, Favourite(recipe, note)))

    def remove(self, index: int) -> None:
        """Remove one; IndexError if there is none at `index`."""
        gone = self.items[index]
        self._set([item for item in self.items if item is not gone])

    def toggle(self, recipe: Recipe) -> None:
        """Add a recipe, or remove it if it is a favourite."""
        known = self.index_of(recipe)
        if known is None:
            self.add(recipe)
        else:
            self.remove(known)

    def set_note(self, index: int, text: str) -> None:
        """Set the note of one; IndexError if there is none at `index`."""
        changed = replace(self.items[index], note=text)
        if changed != self.items[index]:
            self._set([*self.items[:index], changed, *self.items[index + 1 :]])

    def restore(self, by_model: Mapping[str, Sequence[Favourite]]) -> None:
        """Replace all favourites of all models."""
        self._of = {model: tuple(items) for model, items in by_model.items()}
        self.changed.emit()

    def map(self, change: Callable[[Recipe], Recipe]) -> None:
        """Replace the recipes of all models."""
        for model, items in self._of.items():
            self._of[model] = tuple(replace(i, recipe=change(i.recipe)) for i in items)
        self.changed.emit()

    def _set(self, items: Sequence[Favourite]) -> None:
        self._of[self._model] = tuple(items)
        self.changed.emit()


class Session(QObject, Workspace):
    """What is shown and of whom; tells of each change once, after all of it is there."""

    generator: Generator | None
    #: `StateChange`
    changed = Signal(object)
    #: (recipe or None, live): `live` while a slider is being dragged.
    recipeChanged = Signal(object, bool)
    #: Another picture is to be seen, of the same recipe or of another case.
    lookChanged = Signal()
    #: The case, or the list of patients, is another, or more is known of one.
    caseChanged = Signal()
    historyChanged = Signal()
    #: An age or sex was typed.
    personChanged = Signal()
    modelChanged = Signal(object)
    projectedChanged = Signal()
    framesChanged = Signal()
    normsChanged = Signal()
    #: Key of a patient who is about to be closed.
    closing = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        QObject.__init__(self, parent)
        Workspace.__init__(self)
        #: Key frames, by what they are of and the model's hash: another's would be other brains.
        self.frames: dict[str, tuple[Recipe, ...]] = {}
        #: What z and percentiles are taken from, and their file; None for the bundled norms.
        self.norms: Norms | None = None
        self.norms_file = ""
        self.favourites, self.messages = Favourites(self), Messages(self)
        #: Creates the folder for unsaved latents.
        self.make_folder: Callable[[], Path] | None = None
        self._folder: Path | None = None
        #: Of what is deleted with the window.
        self.links = Links()

    def tell(self, change: StateChange) -> None:
        """Emit what changed; everybody who hears of it sees the whole new state."""
        parts = change.parts
        if "model" in parts and self.generator is not None:
            self.favourites.use_model(self.generator.hash)
            self.modelChanged.emit(self.generator)
        self.changed.emit(change)
        for part in ("case", "projected", "person", "history"):
            if part in parts:
                getattr(self, f"{part}Changed").emit()
        if "recipe" in parts:
            self.recipeChanged.emit(self.recipe, change.live)
        if "look" in parts:
            self.lookChanged.emit()

    @property
    def folder(self) -> Path:
        """Folder of latents that are not saved elsewhere.

        It is kept as long as the session, or the window if the session cannot be stored.
        """
        if self.make_folder is not None:
            with suppress(OutputError):
                return self.make_folder()
        if self._folder is None:
            self._folder = new_temporary_folder()
            self.links.callback(shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def add_favourite(self) -> None:
        """Keep the brain on the screen; a scan that was not projected has none."""
        if self.recipe is not None:
            self.favourites.add(self.recipe)

    def key_frames(self, of: str) -> tuple[Recipe, ...]:
        """Those of the "film", or of the "path" between brains, of the current model."""
        return self.frames.get(f"{of} {self._hash}", ())

    def keep_key_frames(self, of: str, recipes: tuple[Recipe, ...]) -> None:
        """Keep these of the current model."""
        self.keep_frames({**self.frames, f"{of} {self._hash}": recipes})

    def keep_frames(self, frames: Mapping[str, Iterable[Recipe]]) -> None:
        """Keep these key frames of all models."""
        found = {model: kept for model, recipes in frames.items() if (kept := tuple(recipes))}
        if found != self.frames:
            self.frames = found
            self.framesChanged.emit()

    def keep_norms(self, file: str, norms: Norms | None) -> None:
        """Compare with these norms of a file from now on."""
        self.norms_file, self.norms = file, norms
        self.normsChanged.emit()

    def close_patient(self, key: str) -> None:
        """See `Workspace`; key frames of the patient go, too."""
        self.closing.emit(key)
        self.keep_frames(
            {of: (r for r in some if not self.is_of(key, r)) for of, some in self.frames.items()}
        )
        super().close_patient(key)

    def replace_source(self, old: Source, new: Source) -> None:
        """See `Workspace`."""
        super().replace_source(old, new)
        self.favourites.map(moving(old, new))
        self.keep_frames({of: map(moving(old, new), some) for of, some in self.frames.items()})

    def layer_groups(self) -> list[LayerGroup]:
        """The generator's layers as coarse, middle and fine."""
        return layer_groups(self.generator) if self.generator else []


logger = logging.getLogger("napari_stylegan3d")


def sentence(error: BaseException, doing: str) -> str:
    """The message for an error that occurred while `doing` something ('loading the model')."""
    if is_out_of_memory(error):
        return f"There was not enough memory while {doing}: close other programs and try again."
    if isinstance(error, StyleGAN3DError):
        return str(error)
    return (
        f"Unexpected error while {doing} ({type(error).__name__}). Try again, and report it if it "
        "happens again; the details are in the terminal."
    )


def report_error(error: BaseException, doing: str) -> str:
    """Show a notification for an error, log an unexpected one, and return the sentence."""
    text = sentence(error, doing)
    if not isinstance(error, StyleGAN3DError) and not is_out_of_memory(error):
        logger.error("Failed while %s", doing, exc_info=error)
    show_error(text)
    return text


def report_doubts(doubts: Iterable[Doubt]) -> None:
    """Show a notification of what is in doubt, if anything is."""
    if lines := [doubt.sentence for doubt in doubts]:
        show_warning("\n".join(lines))


def report_done(text: str) -> None:
    """Show a notification that something was done."""
    show_info(text)
