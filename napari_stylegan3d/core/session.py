"""What the explorer is looking at: the generator, the current recipe and the way it came about.

The one value everything else is derived from is the recipe. A widget reads it and replaces it; it
never holds a part of it.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.core.favourites import Favourites
from napari_stylegan3d.widgets.text import _
from stylegan3d.errors import OutputError
from stylegan3d.recipe.history import History
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.storage.leftovers import new_temporary_folder

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.recipe import Mix

#: Changes of one control that follow each other faster than this are one step of undo.
SAME_GESTURE_S = 0.8


@dataclass(frozen=True, eq=False)
class Projected:
    """A scan that was projected in this session.

    Attributes
    ----------
    name
        The scan's.
    source
        Its latent, for recipes.
    aligned
        The `AlignedScan`.
    similarity, mean_brain
        psnr, ssim, ncc, mae between the aligned scan and the reconstruction, or the mean brain.
    remarks
        What else a person should know, in sentences.
    trust
        How far to believe it, as `stylegan3d.projection.trust.Trust`.
    found
        The `AlignedScan` before a person moved it.
    filled
        What was allowed for and filled in, as `filling.Filled`; None where nothing was.
    """

    name: str
    source: Source
    aligned: Any
    similarity: dict[str, float] = field(default_factory=dict)
    mean_brain: dict[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    trust: Mapping[str, Any] = field(default_factory=dict)
    found: Any = None
    filled: Any = None


@dataclass(frozen=True)
class LayerGroup:
    """Consecutive rows of w that govern structures of similar size; `key` is for programs."""

    key: str
    name: str
    meaning: str
    layers: tuple[int, ...]
    sizes_mm: tuple[float, ...]

    @property
    def size_in_words(self) -> str:
        """Such as '32–16 mm'."""
        high, low = max(self.sizes_mm), min(self.sizes_mm)
        return f"{high:.0f} mm" if round(high) == round(low) else f"{high:.0f}–{low:.0f} mm"


class Session(QObject):
    """The current recipe with undo and redo, the generator, and scans projected so far."""

    recipeChanged = Signal(object, bool)
    """(recipe, live): `live` while a slider is being dragged."""
    historyChanged = Signal()
    modelChanged = Signal(object)
    projectedChanged = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.generator: Generator | None = None
        self.projected: list[Projected] = []
        #: What Mix offers as the second brain before anything has been mixed.
        self.second = Source("seed", 1)
        self.favourites = Favourites(self)
        self.history = History()
        self._recipe = self.history.current
        self._last_gesture: tuple[str, float] = ("", 0.0)
        #: Makes the folder for latents that are not saved yet.
        self.make_folder: Callable[[], Path] | None = None
        self._folder: Path | None = None

    @property
    def recipe(self) -> Recipe:
        """What is shown now."""
        return self._recipe

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier recipe."""
        return self.history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether an undone recipe can come back."""
        return self.history.can_redo

    @property
    def folder(self) -> Path:
        """Where latents lie until they are saved elsewhere.

        It lasts as long as the session is kept, or as long as the window where it cannot be kept.
        """
        if self.make_folder is not None:
            with suppress(OutputError):
                return self.make_folder()
        if self._folder is None:
            self._folder = new_temporary_folder()
        return self._folder

    def set_generator(self, generator: Generator) -> None:
        """Use another model; recipes with layers or latents of the old one are let go."""
        self.generator = generator
        self.projected.clear()
        if self.second.kind != "seed":
            self.second = Source("seed", 1)
        self._recipe = fitting(self._recipe, generator)
        self.history = History([self._recipe])
        self.favourites.use_model(generator.hash)
        self.modelChanged.emit(generator)
        self.projectedChanged.emit()
        self.historyChanged.emit()
        self.recipeChanged.emit(self._recipe, False)

    def place(self, generator: Generator) -> None:
        """The same model with its voxels elsewhere: the recipe and its history stay."""
        self.generator = generator
        self.modelChanged.emit(generator)
        self.projectedChanged.emit()
        self.recipeChanged.emit(self._recipe, False)

    def change(self, recipe: Recipe, *, live: bool = False, gesture: str = "") -> None:
        """Replace the current recipe.

        Parameters
        ----------
        recipe
            The new one.
        live
            In the middle of a drag: shown, but no step of undo.
        gesture
            Name of the control; quick changes of the same control are one step of undo.
        """
        self._recipe = recipe
        if not live:
            self._commit(recipe, gesture)
        self.recipeChanged.emit(recipe, live)

    def undo(self) -> None:
        """Go back one step."""
        self.go_to(self.history.position - 1)

    def redo(self) -> None:
        """Take back an undo."""
        self.go_to(self.history.position + 1)

    def go_to(self, index: int) -> None:
        """Go back or forth to a state of the history; does nothing if there is none."""
        if self.history.go_to(index):
            self._take_current()

    def restore(self, history: History) -> None:
        """Take over a history, such as that of an earlier session with this model."""
        self.history = history
        self._take_current()

    def add_projected(self, projected: Projected) -> None:
        """Remember a projection, show it, and offer it as a source."""
        self.projected.append(projected)
        self.projectedChanged.emit()
        self.change(self._recipe.replace(source=projected.source, mix=None, edits=()))

    def find_projected(self, source: Source) -> Projected | None:
        """The projection behind a source, if it was made in this session and the model's voxels
        lie where they lay then.
        """
        found = next((p for p in self.projected if p.source.sha256 == source.sha256), None)
        if found is None or self.generator is None:
            return found
        return found if self.generator.space.same_as(found.aligned.space) else None

    def replace_source(self, old: Source, new: Source) -> None:
        """The latent behind `old` was saved as `new`: point the recipe to the file that stays."""
        self.projected = [
            dataclasses.replace(p, source=new) if p.source == old else p for p in self.projected
        ]
        self.projectedChanged.emit()
        self.change(self._recipe.with_paths(lambda s: new if s == old else s))

    def mix_or_none(self) -> Mix:
        """The recipe's mix, or one that takes nothing from the second brain yet."""
        from stylegan3d.recipe.recipe import Mix

        count = self.generator.num_layers if self.generator else 1
        return self._recipe.mix or Mix(self.second, (0.0,) * count)

    def layer_groups(self) -> list[LayerGroup]:
        """The generator's layers as coarse, middle and fine."""
        return layer_groups(self.generator) if self.generator else []

    def close(self) -> None:
        """Delete latents that were not saved and cannot be kept."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _commit(self, recipe: Recipe, gesture: str) -> None:
        now = time.monotonic()
        name, when = self._last_gesture
        self._last_gesture = (gesture, now)
        follows = bool(gesture) and gesture == name and now - when < SAME_GESTURE_S
        if self.history.commit(recipe, merge=follows):
            self.historyChanged.emit()

    def _take_current(self) -> None:
        self._recipe = self.history.current
        self._last_gesture = ("", 0.0)
        self.historyChanged.emit()
        self.recipeChanged.emit(self._recipe, False)


def fitting(recipe: Recipe, generator: Generator) -> Recipe:
    """What of a recipe makes sense for another model: the seed, truncation and noise."""
    source = recipe.source if recipe.source.kind == "seed" else Source("seed", 0)
    truncation = recipe.truncation
    if truncation.cutoff is not None and truncation.cutoff > generator.num_layers:
        truncation = dataclasses.replace(truncation, cutoff=None)
    return Recipe(source, truncation, noise=recipe.noise)


GROUPS = (
    ("coarse", _("Coarse"), _("size and shape of the head and its large structures")),
    ("middle", _("Middle"), _("lobes, ventricles and large sulci")),
    ("fine", _("Fine"), _("fine folding, tissue contrast and texture")),
)


#: As a group of layers, of a model that has no others.
WHOLE = ("whole", _("Brain"), _("everything at once, from the head's shape to the texture"))


def layer_groups(generator: Generator) -> list[LayerGroup]:
    """Split the layers by the size in mm of a voxel of the grid that each governs.

    A model without per-layer styles has one group: the whole brain.
    """
    if not generator.can("layers"):
        size = float(np.mean(generator.voxel_size))
        return [LayerGroup(*WHOLE, (0,), (size,))]
    field_of_view = np.asarray(generator.shape) * np.asarray(generator.voxel_size)
    sizes = [float((field_of_view / grid).mean()) for grid in generator.layer_resolutions]
    levels = sorted(set(sizes), reverse=True)
    groups = []
    for names, members in zip(GROUPS, np.array_split(levels, 3), strict=True):
        layers = tuple(i for i, size in enumerate(sizes) if size in members)
        if layers:
            groups.append(LayerGroup(*names, layers, tuple(sizes[i] for i in layers)))
    return groups
