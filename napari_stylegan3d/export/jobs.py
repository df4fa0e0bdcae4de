"""Saving volumes, pictures, films and reports with all that their recipes need, as long jobs.

What a saved picture shows: whose it is, what its file is called, and what is written beside it.

Taken from what is on the screen when the picture is made: the current recipe may be of another
patient whose scan is not shown, or of a brain that is still being drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QBuffer, QByteArray, QIODevice
from qtpy.QtGui import QImage

from napari_stylegan3d.core.jobs import Loaded
from napari_stylegan3d.views.canvases import PRINT_DPI
from napari_stylegan3d.views.display import KEY, OVER
from stylegan3d.base import OutputError, Progress
from stylegan3d.outputs import results
from stylegan3d.recipe.description import describe_recipe
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.render.recipes import edited_scan, render_recipe
from stylegan3d.session import provenance
from stylegan3d.session.case import Case, Choice
from stylegan3d.session.provenance import Over, Provenance, scan_file_of, titled
from stylegan3d.storage.encoding import to_json
from stylegan3d.storage.files import check_output, write_together

if TYPE_CHECKING:
    from napari_stylegan3d.core.rendering import DisplayController
    from stylegan3d.model.generator import Generator
    from stylegan3d.outputs.films import Film
    from stylegan3d.session.state import State
    from stylegan3d.session.workspace import Workspace
    from stylegan3d.settings.option import ReportSettings


@dataclass(frozen=True)
class Pictured:
    """What a picture shows.

    Attributes
    ----------
    recipe : Recipe or None
        The brain; None for a scan that no recipe made.
    file : Path or None
        Of a recipe that edits a scan, the scan's file.
    scan : Case or None
        Whose scan, where there is no recipe.
    kind : str
        Of a scan: "" as recorded, "unusual" with what stands out in it, "painted" to fit edited
        labels.
    aligned : bool
        Whether that scan is on the model's grid.
    synthetic : bool
        Whether any part of the picture was made by a model.
    painted : bool
        Whether the recipe's brain was painted to fit edited labels.
    comparison : str
        How it is compared with a second picture; "off" if it is not.
    second : Recipe or Case or None
        That second picture.
    over : dict or None
        A second image that lies over it, or in its place, for the sidecar.
    title : str
        What it shows, in words.
    columns : sequence of Pictured
        The columns to its left.
    """

    recipe: Recipe | None
    file: Path | None = None
    scan: Case | None = None
    kind: str = ""
    aligned: bool = True
    synthetic: bool = True
    painted: bool = False
    comparison: str = "off"
    second: Recipe | Case | None = None
    over: dict[str, Any] | None = None
    title: str = ""
    columns: Sequence[Pictured] = ()

    @property
    def every(self) -> list[Pictured]:
        """Each picture alone, from the left."""
        return [*self.columns, replace(self, columns=())]

    def name(self, what: str) -> str:
        """File name, with the view as its last part; of columns it names all patients."""
        if self.columns:
            names = dict.fromkeys(one.name(what).split("_")[0][:40] for one in self.every)
            return f"{'_'.join(names)}_comparison_{what}.png"
        if self.scan is None:
            assert self.recipe is not None
            return results.picture_name(self.recipe, what, scan=self.file)
        return results.scan_picture_name(self.scan, what, self.kind, self.aligned)

    def sidecar(self, folder: Path, generator: Generator) -> dict[str, Any]:
        """The JSON sidecar of the picture in `folder`; of columns with that of each."""
        if self.columns:
            told_of = [{"Name": one.title, **one.sidecar(folder, generator)} for one in self.every]
            return results.columns_sidecar(told_of)
        if self.scan is not None:
            told = results.scan_picture_sidecar(self.scan, folder, self.kind, made=self.synthetic)
            if self.recipe is not None:
                told["MadeUpFrom"] = describe_recipe(self.recipe)
        else:
            assert self.recipe is not None
            told = results.picture_sidecar(self.recipe, generator, folder)
            if self.painted:
                told |= {"Description": results.PAINTED}
            if not self.synthetic:
                told |= {
                    "Description": results.RECORDED,
                    "IntendedUse": results.OF_A_SCAN,
                    "SyntheticImage": False,
                }
        if self.comparison not in ("off", "row"):
            told["Comparison"] = {"Mode": self.comparison, **self._second(folder)}
        if self.over is not None:
            told["SecondImage"] = self.over
        return told

    def _second(self, folder: Path) -> dict[str, Any]:
        """The picture that it is compared with."""
        if isinstance(self.second, Recipe):
            return {"Recipe": self.second.relative_to(folder).replace(model=None).to_dict()}
        if self.second is None:
            return {}
        return {"Scan": self.second.name, "ScanSHA256": self.second.sha256}


def pictured(comparison: DisplayController, *, alone: bool = False) -> Pictured:
    """What the views show now; `alone` leaves out what is compared with it or lies over it.

    Raises
    ------
    OutputError
        If what is shown is not there in full yet.
    """
    session, layer = comparison.session, comparison.stage.layer
    told = None if layer is None else layer.metadata.get(KEY)
    if not isinstance(told, Provenance):
        raise OutputError("Nothing to save yet: wait for the first brain.")
    if isinstance(told, provenance.Side) and told.letter == "A":
        raise OutputError("Let go of the key that shows A, then save the picture.")
    shown = _on_stage(comparison, told, alone)
    row = () if alone or session.state.comparison != "row" else session.state.row
    columns = [_column(session, column) for column in row]
    return replace(shown, title=titled(told, shown.recipe), columns=columns)


def _column(session: Workspace, column: State) -> Pictured:
    """What a column shows."""
    told, case, recipe = provenance.provenance_of_state(session, column), column.case, column.drawn
    made, title = told.made_as != "scan", titled(told, recipe)
    if recipe is None or (case is not None and column.what == "scan"):
        return Pictured(None, None, case, synthetic=made, title=title)
    return Pictured(recipe, scan_file_of(session, recipe), synthetic=made, title=title)


def _on_stage(comparison: DisplayController, told: Provenance, alone: bool) -> Pictured:
    """The current picture, without the columns."""
    session = comparison.session
    view, shown = comparison.view, session.state
    over = None if alone else _over(comparison)
    case, recipe = {"scan": session.case, "unusual": session.result}.get(view), shown.drawn
    is_compared = not alone and (case is None or comparison.bare is not None)
    how = shown.comparison if is_compared else "off"
    second = None if how in ("off", "row") else shown.second
    recorded = second is None or (isinstance(second, Case) and second.origin == "acquired")
    if case is not None:
        kind = "" if view == "scan" else view
        aligned = view == "unusual" or session.placed is not None
        made = case.origin != "acquired" or not recorded
        one = Pictured(None, None, case, kind, aligned=aligned, synthetic=made, over=over)
        return replace(one, comparison=how, second=second)
    if view == "painted" and comparison.painted is not None:
        scan = comparison.painted.scan
        if scan is not None:
            of = scan.aligned.scan
            found = Case(told.name, Choice(of.path), aligned=scan.aligned, stored_sha256=of.sha256)
            return Pictured(None, None, found, view, over=over)
    elif view == "filled" and comparison.filled is not None and (case := session.result):
        return Pictured(recipe, None, case, case.filled.desc, over=over)
    elif view == "filled" or shown.what == "search" or not comparison.is_current:
        raise OutputError("Wait for the full volume, then save the picture.")
    if recipe is None:
        raise OutputError("Wait until the scan is open, then save the picture.")
    return Pictured(
        recipe,
        scan_file_of(session, recipe),
        synthetic=told.made_as != "scan" or not recorded,
        painted=view == "painted",
        comparison=how,
        second=second,
        over=over,
    )


def _over(comparison: DisplayController) -> dict[str, Any] | None:
    """The second image: over the picture, in its place, or beside it."""
    second = comparison.session.annotations.overlay
    image = None if second is None else second.image
    note = {} if image is None else {"Note": str(image.note), "Doubts": image.doubts}
    for layer in comparison.stage.viewer.layers:
        over, told = layer.metadata.get(OVER), layer.metadata.get(KEY)
        if not layer.visible:
            continue
        if isinstance(over, Over):
            return {
                "Name": over.name,
                "OpenedWith": over.patient,
                "SamePatientConfirmed": over.confirmed,
                "Mode": "overlay",
                **note,
            }
        if isinstance(told, Provenance) and told.kind == "second":
            return {"Name": told.name, "Mode": "alone", **note}
    if second is not None and image is not None and second.look.way == "side":
        return {"Name": second.name, "Mode": "beside", **note}
    return None


DOTS_PER_METRE = PRINT_DPI / 0.0254


@dataclass(frozen=True, eq=False)
class ExportTarget:
    """Where an export is written.

    Attributes
    ----------
    path : Path
        Its file.
    overwrite : bool
        Whether existing files may be replaced.
    session_folder : Path
        Latents in here are deleted with the session: they are saved beside the file.
    dicom : AsDicom or None
        Whether volumes and reports are written as DICOM too.
    """

    path: Path
    overwrite: bool
    session_folder: Path
    dicom: AsDicom | None = None


@dataclass(frozen=True, eq=False)
class AsDicom:
    """That files are written as DICOM too, and whose study they join.

    Attributes
    ----------
    path : Path or None
        The DICOM file or folder of the patient that they are made from; None for a study of their
        own.
    series : str or None
        UID of the series in it.
    """

    path: Path | None = None
    series: str | None = None


@dataclass(frozen=True, eq=False)
class SavedFiles:
    """Files that were written, and session latents with the lasting sources they became."""

    paths: list[Path]
    moved: dict[Source, Source] = field(default_factory=dict)


def save_volume(
    report: Progress, loaded: Loaded, target: ExportTarget, recipe: Recipe, native: Path | None
) -> SavedFiles:
    """Render at full quality and write all files, or none."""

    moved, files = _latents(target, [recipe])
    targets = [target.path] if native is None else [target.path, native]
    check_output([*targets, *files], target.overwrite)
    report(0, 2, "Rendering")
    generator = loaded.generator
    rendered = render_recipe(loaded.renderer, recipe, progress=report)
    report(1, 2, "Writing")
    lasting, scan = _lasting(recipe, moved), recipe.scan()
    for path in targets:
        files |= results.rendered_files(
            path, rendered, lasting, generator, native=path == native, scan=scan
        )
    files |= _dicom(report, target, targets, files)
    return _write(target, files, moved)


def save_edited(
    report: Progress, loaded: Loaded, target: ExportTarget, recipe: Recipe
) -> SavedFiles:
    """Write an edited scan on its own grid, its change and its movement, or nothing."""
    from stylegan3d.outputs.projections import edit_files, edit_names
    from stylegan3d.storage.volumes import sidecar_path

    moved, files = _latents(target, [recipe])
    names = [*edit_names(recipe, target.path.parent).values()]
    check_output([*names, *map(sidecar_path, names), *files], target.overwrite)
    report(0, 2, "Editing the scan")
    edited = edited_scan(loaded.renderer, recipe, report)
    report(1, 2, "Writing")
    files |= edit_files(recipe, loaded.renderer, target.path.parent, edited)
    files |= _dicom(report, target, [edit_names(recipe, target.path.parent)["Scan"]], files)
    return _write(target, files, moved)


def save_latent(
    report: Progress, loaded: Loaded, target: ExportTarget, recipe: Recipe
) -> SavedFiles:
    """Write a recipe's latent; an unedited source is copied with its metadata."""
    from stylegan3d.recipe import latents

    report(0, 1, "Writing")
    generator, source = loaded.generator, recipe.source
    plain = source.kind != "seed" and recipe.mix is None and not recipe.edits
    if plain:
        latent = latents.read_latent(str(source.path), generator)[0]
        latent = replace(latent, noise=recipe.noise)
    else:
        latent = latents.Latent.of(
            generator,
            recipe.latent(generator),
            noise=recipe.noise,
            scan=recipe.scan(),
            delta=recipe.delta(generator),
        )
    sha256 = latents.save_latent(target.path, latent, overwrite=target.overwrite)
    moved = {}
    if plain:
        moved[source] = replace(source, path=str(target.path), sha256=sha256)
    return SavedFiles([target.path], moved)


def save_picture(
    report: Progress,
    loaded: Loaded,
    target: ExportTarget,
    shown: Pictured,
    picture: QImage | Callable[[], Any],
) -> SavedFiles:
    """Write a picture, made in the window or drawn here by a function, and its JSON sidecar."""
    from stylegan3d.render import figures

    every = shown.every
    recipes = [r for one in every for r in (one.recipe, one.second) if isinstance(r, Recipe)]
    made = {one.synthetic for one in every}
    if shown.scan is not None and shown.scan.origin == "acquired":
        made.add(False)  # as it is, whatever is beside it
    moved, files = _latents(target, recipes)
    report(0, 1, "Rendering")
    marked = figures.SYNTHETIC if True in made else ""
    if isinstance(picture, QImage):
        png = _png(picture, marked)
    else:
        png = figures.png_bytes(picture(), dpi=PRINT_DPI, description=marked)
    if True in made:
        kind = figures.COMPOSITE if False in made else figures.source_type(*recipes)
        png = figures.with_source_type(png, ".png", kind)
    lasting = [
        replace(one, recipe=_lasting(one.recipe, moved), second=_lasting(one.second, moved))
        for one in every
    ]
    told = replace(lasting[-1], columns=lasting[:-1]).sidecar(target.path.parent, loaded.generator)
    scans = [part for one in every for part in (one.scan, one.second) if isinstance(part, Case)]
    told |= results.doubts_entry(*recipes)
    if scans:
        told["Doubts"] = [*told.get("Doubts", ()), *(d for c in scans for d in c.known_doubts)]
    files |= {target.path: png, results.json_path(target.path): to_json(told).encode()}
    return _write(target, files, moved)


def save_film(report: Progress, loaded: Loaded, target: ExportTarget, film: Film) -> SavedFiles:
    """Draw a film with a separate renderer, so that the window's is not blocked."""
    from stylegan3d.outputs.films import check_suffix, film_files, film_sidecar
    from stylegan3d.render.renderer import Renderer

    check_suffix(target.path)
    moved, files = _latents(target, film.recipes)
    check_output([target.path, results.json_path(target.path), *files], target.overwrite)
    report(0, film.frames, "Rendering the film")
    renderer = Renderer(loaded.generator, loaded.renderer.details)
    drawn = film_files(target.path, film, loaded.generator, renderer, report)
    lasting = replace(film, recipes=tuple(_lasting(r, moved) for r in film.recipes))
    told = film_sidecar(lasting, loaded.generator, target.path)
    told |= results.doubts_entry(*film.recipes)
    drawn[results.json_path(target.path)] = to_json(told).encode()
    return _write(target, files | drawn, moved)


def save_report(
    report: Progress,
    loaded: Loaded,
    target: ExportTarget,
    settings: ReportSettings,
    recipe: Recipe,
    about: Mapping[str, Any],
) -> SavedFiles:
    """Render, measure and write the report of a case; `about` it as `build_case` takes it."""
    from stylegan3d.outputs.report import build_case
    from stylegan3d.outputs.report_page import planned_files, report_files

    moved, files = _latents(target, [recipe])
    check_output([*planned_files(target.path, html=settings.html), *files], target.overwrite)
    report(0, 2, "Measuring")
    generator, unusual_z = loaded.generator, settings.unusual_z
    case = build_case(recipe, generator, loaded.renderer, **about, unusual_z=unusual_z)
    report(1, 2, "Writing")
    case = replace(case, recipe=_lasting(recipe, moved))
    files |= report_files(target.path, case, generator, html=settings.html)
    files |= _dicom(report, target, [target.path], files)
    return _write(target, files, moved)


def _dicom(
    report: Progress, target: ExportTarget, paths: Sequence[Path], files: dict[Path, bytes]
) -> dict[Path, bytes]:
    """The DICOM files of some that are about to be written, where they are wanted."""
    if target.dicom is None:
        return {}
    from stylegan3d.outputs.dicom import Reference
    from stylegan3d.outputs.dicom_files import dicom_files

    report(1, 2, "Writing DICOM")
    series = target.dicom
    reference = None if series.path is None else Reference.read(series.path, series.series)
    return dicom_files(paths, target.path.parent, reference, contents=files)


def _write(
    target: ExportTarget, files: dict[Path, bytes], moved: dict[Source, Source]
) -> SavedFiles:

    write_together(files, overwrite=target.overwrite)
    named = [path for path in files if path.suffix not in (".json", ".dcm")]
    # Of a series its folder.
    named += dict.fromkeys(path.parent for path in files if path.suffix == ".dcm")
    return SavedFiles(named, moved)


def _lasting(part: Any, moved: dict[Source, Source]) -> Any:
    """A recipe with the new paths; all else as it is."""
    if not isinstance(part, Recipe):
        return part
    return part.with_paths(lambda source: moved.get(source, source))


def _latents(
    target: ExportTarget, recipes: Sequence[Recipe]
) -> tuple[dict[Source, Source], dict[Path, bytes]]:
    """Sources of the session's folder with their new paths, and the files to write.

    A latent file that already exists with the same bytes is not written again.
    """
    moved: dict[Source, Source] = {}
    files: dict[Path, bytes] = {}
    for source in dict.fromkeys(source for recipe in recipes for source in recipe.sources):
        if source.path is None or Path(source.path).parent != target.session_folder:
            continue
        path = target.path.parent / Path(source.path).name
        data = Path(source.path).read_bytes()
        moved[source] = replace(source, path=str(path))
        if not (path.is_file() and path.read_bytes() == data):
            files[path] = data
    return moved, files


def _png(image: QImage, description: str) -> bytes:
    """The image as PNG, which prints at 300 dpi."""
    image = QImage(image)
    image.setText("Description", description)
    image.setDotsPerMeterX(round(DOTS_PER_METRE))
    image.setDotsPerMeterY(round(DOTS_PER_METRE))
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")
    return bytes(data)
