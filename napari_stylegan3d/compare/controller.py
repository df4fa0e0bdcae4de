"""Comparing what is shown with what was pinned: the work behind the Compare tab."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.compare.hold_key import HoldKey
from napari_stylegan3d.compare.pinned import Pinned, side_of
from napari_stylegan3d.compare.row import RowController
from napari_stylegan3d.compare.views import ComparedViews
from napari_stylegan3d.core.jobs import Picture, render_beside, screen_dtype
from napari_stylegan3d.core.provenance import provenance_of
from napari_stylegan3d.core.worker import LatestWins
from napari_stylegan3d.views.captions import Provenance
from napari_stylegan3d.views.sides import Side
from stylegan3d.recipe.description import describe_recipe

if TYPE_CHECKING:
    from napari_stylegan3d.compare.panel import ComparePanel
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.views.four import FourViews
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.session.case import Case, How

THUMBNAIL = "compare"


class CompareController(QObject):
    """Holds A, and shows it with B in the mode that was chosen."""

    failed = Signal(object, str)
    """(exception, what was being done)"""

    def __init__(self, context: Context, panel: ComparePanel) -> None:
        super().__init__(context.dock)
        self.session, self.comparison, self.panel = context.session, context.comparison, panel
        self.rendering, self.thumbnails = context.render, context.thumbnails
        #: The session's second picture, with its voxels.
        self.pinned: Pinned | None = None
        #: The picture that the figures are of.
        self._measured: Picture | None = None
        self.held = False
        self.shows: ComparedViews | None = None
        self._key: HoldKey | None = None
        self._busy = False
        self._renders = LatestWins(render_beside, self)
        self._measures = LatestWins(_measure, self)
        self.row = RowController(self.comparison, panel.row, self)
        self.comparison.mark = self._mark
        self._connect()

    @property
    def mode(self) -> How:
        """How A and B are compared."""
        return self.session.shown.comparison

    def begin(self, views: FourViews) -> None:
        """The views are there."""
        self.row.begin(views)
        self.shows = ComparedViews(views, self.comparison.stage)
        panel, shows = self.panel, self.shows
        panel.curtain.valueChanged.connect(lambda value, _: shows.set_curtain(value / 100))
        self.shows.curtainMoved.connect(self.panel.show_curtain)
        panel.rate.valueChanged.connect(lambda value, _: shows.set_rate(value))
        panel.threshold.valueChanged.connect(lambda value, _: shows.set_threshold(value / 100))
        window = views.window().windowHandle()
        if window is not None:
            self._key = HoldKey(window, views, lambda: self._a_is_there, self)
            self._key.held.connect(self.hold)

    def shutdown(self) -> None:
        """Stop, and leave the views as they were."""
        self.row.shutdown()
        self._renders.shutdown()
        self._measures.shutdown()
        self.thumbnails.drop(THUMBNAIL)
        if self._key is not None:
            self._key.close()
        if self.shows is not None:
            self.shows.close()
            self.shows = None

    def pin(self, recipe: Recipe | None = None) -> None:
        """Make a recipe A; by default the one that is shown."""
        recipe = recipe or self.session.shown.drawn
        self.session.compare(self.mode, recipe)
        self._set(Pinned.of_recipe(recipe, provenance_of(self.session, recipe)))
        picture = self.comparison.picture
        if recipe == self.comparison.recipe and picture is not None and picture.quality == "full":
            self._on_rendered((None, recipe), picture)
        elif self.rendering.loaded is not None:
            self._renders.submit((self.rendering.loaded, recipe))
        self.thumbnails.want(THUMBNAIL, [recipe])
        self._show_thumbnail(recipe)

    def pin_scan(self, case: Case) -> None:
        """Make a case's scan A, in the model's space."""
        if case.aligned is None:
            return
        self.session.compare(self.mode, case)
        self._set(Pinned.of_scan(case.name, case.aligned))
        self.thumbnails.drop(THUMBNAIL)
        self._follow()

    def unpin(self) -> None:
        """Compare no longer."""
        self.set_mode("off")
        self.pinned = None
        self.session.compare("off", None)
        self.thumbnails.drop(THUMBNAIL)
        self.panel.show_pinned("", None)

    def swap(self) -> None:
        """Show A, and pin what was shown."""
        if self.pinned is not None and self.pinned.recipe is not None:
            shown, recipe = self.session.shown.drawn, self.pinned.recipe
            self.pin(shown)
            self.session.change(recipe)

    def set_mode(self, mode: How) -> None:
        """Compare in another way: "off", "side", "curtain", "flicker", "difference", "row"."""
        if self.pinned is None and mode != "row":
            mode = "off"
        self.session.compare(mode, self.session.shown.second)
        self.panel.show_mode(mode)
        self.row.show(mode == "row")
        if mode in ("off", "row") and self.shows is not None:
            self.shows.clear()
        if mode == "row":
            return
        # B's picture says which it is; a scan or a difference gives way to the brain.
        self._show_b()

    def hold(self, held: bool) -> None:
        """Show A for as long as a key is held."""
        a, shows = self.pinned, self.shows
        if shows is None or held == self.held or (held and not self._a_is_there):
            return
        self.held = held
        shows.lift(held)
        if held and a is not None and a.shown is not None:
            self.comparison.stage.show(a.shown, self._a(a).side)
            shows.views.refresh()
        else:
            self.session.look(self.session.shown.what)

    def fill(self) -> None:
        """Offer what there is to compare with."""
        menu, session = self.panel.choices, self.session
        menu.clear()
        made_from = session.history.way[1:2]
        if made_from:
            before = session.states[made_from[0]]
            words = f"Previous state: {describe_recipe(before)}"
            menu.addAction(words, partial(self.pin, before))
        case = session.case
        if case is not None and session.placed is not None:
            menu.addAction(f"The scan {case.name}", partial(self.pin_scan, case))
        for projected in session.projected:
            assert projected.source is not None
            if session.find_projected(projected.source) is None:
                continue
            plain = session.recipe.replace(source=projected.source, mix=None, edits=(), detail=None)
            scan = partial(self.pin_scan, projected)
            menu.addAction(f"The scan {projected.name}, as projected", scan)
            menu.addAction(
                f"The reconstruction of {projected.name}",
                partial(self.pin, plain),
            )
        if session.favourites.items:
            menu.addSection("Favourites")
        for item in session.favourites.items:
            words = item.note or describe_recipe(item.recipe)
            menu.addAction(words, partial(self.pin, item.recipe))
        if menu.isEmpty():
            menu.addAction("Nothing yet: star a brain, or open a scan").setEnabled(False)

    @property
    def _a_is_there(self) -> bool:
        return self.pinned is not None and self.pinned.shown is not None

    def _connect(self) -> None:
        panel = self.panel
        panel.pin.clicked.connect(lambda: self.pin())
        panel.swap.clicked.connect(self.swap)
        panel.unpin.clicked.connect(self.unpin)
        panel.modeChosen.connect(self.set_mode)
        panel.choices.aboutToShow.connect(self.fill)
        self.comparison.viewChanged.connect(self._on_view)
        self.session.modelChanged.connect(self._on_model)
        self.thumbnails.ready.connect(lambda recipe, _: self._show_thumbnail(recipe))
        self._renders.ready.connect(self._on_rendered)
        self._renders.failed.connect(lambda _request, error: self.failed.emit(error, "rendering A"))
        self._measures.ready.connect(self._on_measured)
        self._measures.failed.connect(lambda _request, error: self.failed.emit(error, "measuring"))

    def _on_model(self, _generator: object) -> None:
        """A and the columns are in another space."""
        self.row.clear()
        self.unpin()

    def _set(self, pinned: Pinned) -> None:
        self.pinned = pinned
        self.panel.show_pinned(pinned.title, pinned.recipe)
        self.panel.figures.show_figures(None)
        if self.mode != "off":
            self._show_b()

    def _on_rendered(self, request: tuple[Any, Recipe], picture: Picture) -> None:
        if self.pinned is not None and self.pinned.recipe == request[1]:
            self.pinned = self.pinned.with_picture(picture)
            self._follow()

    def _on_view(self, _view: str) -> None:
        """Something is shown: B, or a scan, with which the comparison ends."""
        if self.comparison.is_picture:
            self.panel.show_b(self._in_words)
        if self._busy or self.held:
            return
        if self.comparison.is_picture:
            self._follow()
        elif self.mode not in ("off", "row"):
            self.session.compare("off", self.session.shown.second)
            self.panel.show_mode("off")
            if self.shows is not None:
                self.shows.clear()

    def _follow(self) -> None:
        """B is another picture, or A is: show both again, and measure them."""
        picture, a = self.comparison.picture, self.pinned
        if picture is None or a is None or a.shown is None or self.shows is None:
            return
        # The figures of another B stay, dimmed, until there are new ones.
        self.panel.figures.setEnabled(picture is self._measured)
        if self.mode not in ("off", "row"):
            self.shows.show(self.mode, self._a(a), self._b(), picture.shown)
        if picture.quality == "full" and self.session.generator is not None:
            space = self.session.generator.space
            self._measures.submit((a, picture, a.volume, picture.rendered.volume, space))

    def _show_b(self) -> None:
        """Let B's own picture say which it is, and show A with it."""
        self._busy = True
        try:
            self.comparison.show_brain()
        finally:
            self._busy = False
        self._follow()

    def _a(self, pinned: Pinned) -> Pinned:
        """A, which says on its picture what B is not."""
        return replace(pinned, side=replace(pinned.side, other=self._side_of_b().title))

    def _b(self) -> Side:
        """What is said on B's picture: first what A is not."""
        other = "" if self.pinned is None else self.pinned.side.title
        return replace(self._side_of_b(), other=other)

    def _side_of_b(self) -> Side:
        recipe = self.comparison.recipe or self.session.recipe
        return side_of(recipe, "B", provenance_of(self.session, recipe))

    @property
    def _in_words(self) -> str:
        """What B is: whose brain, and whether it is the scan, edited, or the model's."""
        recipe = self.comparison.recipe or self.session.recipe
        told = provenance_of(self.session, recipe)
        return side_of(recipe, "B", told).title if told.kind != "scan" else told.caption

    def _mark(self, provenance: Provenance) -> Provenance:
        """What is said on the picture of the current brain."""
        alone = self.mode in ("off", "row") or self.pinned is None
        return provenance if alone else self._b()

    def _show_thumbnail(self, recipe: Recipe) -> None:
        image = self.thumbnails.image(recipe)
        if self.pinned is not None and self.pinned.recipe == recipe and image is not None:
            self.panel.show_picture(image)

    def _on_measured(self, request: tuple[Any, ...], figures: Any) -> None:
        a, picture = request[0], request[1]
        if a is self.pinned and picture is self.comparison.picture:
            self._measured = picture
            self.panel.figures.show_figures(figures)
            self.panel.figures.setEnabled(True)


def _measure(request: tuple[Any, ...]) -> Any:
    """In a thread."""
    from napari_stylegan3d.core.worker import beside_the_window
    from stylegan3d.measures.comparison import compare_pair

    _, _, a, b, space = request
    with beside_the_window():
        return compare_pair(a, b, space, dtype=screen_dtype())
