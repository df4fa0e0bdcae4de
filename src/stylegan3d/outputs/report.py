"""A one-page report of a case: pictures, provenance and measurements."""

from __future__ import annotations

import datetime
import io
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy.special import ndtr

from stylegan3d.base import Doubt, JsonView
from stylegan3d.geometry.space import Upright
from stylegan3d.measures.attributes import TOLD, VOLUMES, read_tissues
from stylegan3d.outputs.results import name_beside
from stylegan3d.pages.page import filled
from stylegan3d.recipe.description import describe_recipe, to_link
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.render.figures import SYNTHETIC, Look, draw_planes, lightbox
from stylegan3d.render.recipes import carried_detail, render_recipe
from stylegan3d.scans.person import SEXES, Person
from stylegan3d.scans.verdicts import (
    NO_FIGURES,
    SIMILARITY,
    VERDICTS,
    beside_verdicts,
    doubts_of_scan,
    listed_findings,
    similarity_text,
    withheld,
)
from stylegan3d.segmentation import classes
from stylegan3d.segmentation.curves import AgeCurve, curve_of
from stylegan3d.segmentation.norms import UNKNOWN_SHIFT, Norms
from stylegan3d.settings.option import ReportSettings
from stylegan3d.storage.about import EDITED_SCAN, ORIGIN_NAMES, WORN_DETAIL, Origin, version
from stylegan3d.storage.formats import scan_stem

if TYPE_CHECKING:
    from stylegan3d.geometry.space import Space
    from stylegan3d.model.generator import Generator
    from stylegan3d.render.renderer import Renderer
    from stylegan3d.segmentation.numbers import Numbers

SUFFIX = ".pdf"
#: 300 dpi where a picture of three planes is as wide as the page.
PICTURE_LOOK = Look(pixels_per_mm=4.5, letter_mm=11.0)
#: Where two pictures share the width: as many dots of paper, and slices that can be told apart.
HALF = 0.55
LIGHTBOX_LETTER_MM, HALF_LETTER_MM = 12.0, 17.0
JPEG_QUALITY = 92
SCAN, EDITED, WORN = "Scan", "Edited scan", "With a scan's detail"
#: On the pictures of volumes by their titles; on all others that they are synthetic.
CAPTIONS = {SCAN: "Real scan", EDITED: EDITED_SCAN, WORN: WORN_DETAIL}
#: On those of a scan by what its files say that it is.
OF_ORIGIN = {"acquired": CAPTIONS[SCAN], "synthetic": SYNTHETIC, "edited": EDITED_SCAN}
DIFFERENCE_LIMIT = 0.3
WARNING = (
    "SYNTHETIC - NOT FOR DIAGNOSIS. For research and teaching. A generated brain belongs to no "
    "patient; a reconstruction is the model's closest approximation of a scan and may lack its "
    "findings."
)


@dataclass(frozen=True, eq=False)
class ReportPicture:
    """Slices side by side, and what they show."""

    title: str
    image: Image.Image

    def jpeg(self) -> bytes:
        """As JPEG a report takes 0.5 MB, as a bitmap 5; at this quality no difference is seen."""
        buffer = io.BytesIO()
        self.image.save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
        return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class ReportCase:
    """Content of a report.

    Attributes
    ----------
    name : str
        Name of the scan or the brain.
    recipe : Recipe
        Recipe of the brain that is reported.
    pictures : sequence of sequence of ReportPicture
        Rows from top to bottom, of pictures side by side.
    measures : mapping of str to mapping of str to float
        By the image measured ("Scan", "Reconstruction", …), then by the keys of
        `attributes.VOLUMES`, in millilitres.
    measured : str
        How the volumes were measured, see `attributes.Tissues.how`; may be empty.
    assessment : mapping
        How far to trust the scan and its reconstruction, see `Assessment`; may be empty.
    doubts : sequence of Doubt
        What else is in doubt, of the scan, its alignment and its reconstruction.
    model : sequence of str
        Lines about the generator and the programs.
    date : datetime.date
        Date of the report.
    numbers : Numbers or None
        All numbers of the scan, or of the brain without one; None where the networks do not know
        the grid.
    scan : str
        File, grid and hash of the scan, without its folder; empty for a brain of nobody.
    origin : {"acquired", "synthetic", "edited"}
        What the files of the scan say that it is.
    person : Person
        Age and sex, as far as known.
    header_age : float or None
        Age in years as the files of the scan say it, if they do.
    unusual_z : float
        A z beyond this is marked.
    """

    name: str
    recipe: Recipe
    pictures: Sequence[Sequence[ReportPicture]]
    measures: Mapping[str, Mapping[str, float]]
    measured: str = ""
    assessment: JsonView = field(default_factory=dict)
    doubts: Sequence[Doubt] = ()
    model: Sequence[str] = ()
    date: datetime.date = field(default_factory=datetime.date.today)
    numbers: Numbers | None = None
    scan: str = ""
    person: Person = field(default_factory=Person)
    header_age: float | None = None
    unusual_z: float = ReportSettings.unusual_z
    origin: Origin = "acquired"

    @property
    def withheld(self) -> str:
        """Why no figures are told (`verdicts.withheld`); empty if they are."""
        return withheld(self.doubts, self.assessment)

    @property
    def steps(self) -> list[str]:
        """The recipe in words."""
        recipe, told = self.recipe, [describe_recipe(self.recipe) + "."]
        if recipe.has_seed:
            cutoff = recipe.truncation.cutoff
            where = "" if cutoff is None else f", the first {cutoff} layers"
            told.append(f"Truncation {recipe.truncation.psi:g}{where}.")
        if recipe.mix is not None:
            shares = ", ".join(f"{100 * share:.0f}" for share in recipe.mix.strength)
            told.append(f"Mixed per layer, coarse first, in %: {shares}.")
        told.append(f"Layer noise: {recipe.noise}.")
        return told

    def link(self, folder: Path) -> str:
        """The recipe as a link, its files named as seen from `folder`."""
        return to_link(self.recipe.relative_to(folder))


def build_case(
    recipe: Recipe,
    generator: Generator,
    renderer: Renderer,
    *,
    name: str = "",
    scan: np.ndarray | None = None,
    trust: JsonView | None = None,
    person: Person | None = None,
    header_age: float | None = None,
    norms: Norms | None = None,
    unusual_z: float = ReportSettings.unusual_z,
    look: Look = PICTURE_LOOK,
) -> ReportCase:
    """Render, draw and measure the content of a recipe's report.

    Parameters
    ----------
    recipe, generator, renderer : Recipe, Generator, Renderer
        The recipe; volumes are rendered at full quality.
    name : str
        Name of the case; by default the recipe in words.
    scan : ndarray, shape (X, Y, Z), or None
        On the generator's grid, the scan that was projected; None if there is none.
    trust : mapping of str to object or None
        `ProjectionResult.assessment` of its projection; similarity, verdicts and doubts are taken
        from it.
    person : Person or None
        Age and sex, for z and percentiles; None where unknown.
    header_age : float or None
        Age in years as the files of the scan say it; None if they do not.
    norms : Norms or None
        What z and percentiles are taken from; the bundled ones by default.
    unusual_z : float
        A z beyond this is marked.
    look : Look
        How slices are drawn.

    Raises
    ------
    RecipeError, LatentError
        If the recipe does not fit the generator.
    """
    from stylegan3d.segmentation import inference
    from stylegan3d.segmentation.numbers import label_brain

    plain = recipe.replace(mix=None, edits=(), detail=None)
    whole = "Reconstruction" if recipe.source.kind == "projected" else "Synthetic brain"
    volumes = {whole: render_recipe(renderer, plain).volume}
    if recipe.worn_detail is not None and recipe.is_edited_scan:
        scan = carried_detail(renderer, recipe.worn_detail, recipe.channel).aligned
    unedited = recipe.is_edited_scan and not recipe.changes
    if scan is not None:
        # What is edited stands beside what it is compared with.
        edited = recipe.is_edited_scan and not unedited
        volumes = volumes | {SCAN: scan} if edited else {SCAN: scan} | volumes
    if plain != recipe and not (unedited and scan is not None):  # it is the scan itself
        volumes[_changed(recipe)] = render_recipe(renderer, recipe).volume
    origin, space, person = _origin(recipe), generator.space, person or Person()
    case = ReportCase(
        name or _name(recipe),
        recipe,
        _pictures(volumes, space, look, origin),
        {},
        assessment=trust or {},
        doubts=_doubts(recipe, trust or {}),
        model=about_model(generator),
        scan=_scan(recipe),
        person=person,
        header_age=header_age,
        unusual_z=unusual_z,
        origin=origin,
    )
    if case.withheld:
        return case
    tissues = {title: read_tissues(volume, space) for title, volume in volumes.items()}
    numbers = None
    if inference.bundled_regions().fits(space):
        numbers = label_brain(volumes.get(SCAN, volumes[whole]), space).numbers(person, norms)
    return replace(
        case,
        measures={title: found.volumes for title, found in tissues.items()},
        measured=tissues[whole].how,
        numbers=numbers,
    )


def _name(recipe: Recipe) -> str:
    """Whose brain it is: the scan's name, or the recipe in words."""
    path = str((recipe.scan() or {}).get("path", ""))
    return scan_stem(path) if path and recipe.mix is None else describe_recipe(recipe)


def _origin(recipe: Recipe) -> Origin:
    """What the scan that a recipe starts from was; projections tell it unless it was acquired."""
    told = (recipe.scan() or {}).get("origin")
    return next((origin for origin in ORIGIN_NAMES if origin == told), "acquired")


def _doubts(recipe: Recipe, told: JsonView) -> list[Doubt]:
    """Of the scan, its alignment and its assessment, without those that are verdicts."""
    found = [*doubts_of_scan(*recipe.scans()), *map(Doubt.read, told.get("doubts", ()))]
    return beside_verdicts(found, told.get("verdicts", {}))


def _titled(title: str, origin: Origin) -> str:
    """The title of a volume; a scan that was not acquired never stands as a scan alone."""
    return f"{SCAN} ({origin})" if title == SCAN and origin != "acquired" else title


def _scan(recipe: Recipe) -> str:
    """The scan that a recipe starts from; empty without, and of what is mixed of two sources."""
    scan = recipe.scan()
    if scan is None or recipe.mix is not None:
        return ""
    words = [str(scan.get("path", ""))]
    if "shape" in scan and "affine" in scan:
        sizes = np.linalg.norm(np.asarray(scan["affine"], np.float64)[:3, :3], axis=0)
        voxels = " x ".join(map(str, scan["shape"]))
        words.append(f"{voxels} voxels of {' x '.join(f'{mm:.3g}' for mm in sizes)} mm")
    if "sha256" in scan:
        words.append(f"sha256 {str(scan['sha256'])[:16]}")
    return ", ".join(filter(None, words))


def _changed(recipe: Recipe) -> str:
    """The title of a recipe's volume, beside the one that it starts from."""
    if recipe.worn_detail is not None:
        return EDITED if recipe.is_edited_scan else WORN
    return "Edited" if recipe.edits else "Mixed"


def about_model(generator: Generator) -> list[str]:
    """Lines on the generator, its geometry and the software."""
    program = f"napari-stylegan3d {version()}, Python {platform.python_version()}."
    doubt = generator.frame_doubt
    model = [f"{line}." for line in generator.lines[:2]]
    return [*model, program, *([doubt.sentence] if doubt else [])]


def report_name(recipe: Recipe, *, scan: str | Path | None = None) -> str:
    """Such as seed-0042_desc-synthetic_report.pdf; see `name_beside`.

    `scan` is the file that an edited scan shows (`edited_file`).
    """
    return name_beside(recipe, f"report{SUFFIX}", scan=scan)


def _pictures(
    volumes: Mapping[str, np.ndarray], space: Space, look: Look, origin: Origin
) -> list[list[ReportPicture]]:
    """Each volume, what the last one differs in from the one before it, and more slices of it."""
    turned = {title: Upright.of(volume, space) for title, volume in volumes.items()}
    alone = len(turned) == 1
    if not alone:
        look = replace(look, pixels_per_mm=HALF * look.pixels_per_mm)
    captions, shown = CAPTIONS | {SCAN: OF_ORIGIN[origin]}, []
    for title, volume in turned.items():
        drawn_as = replace(look, caption=captions.get(title, SYNTHETIC))
        drawn = draw_planes(volume, drawn_as, crop=True)
        shown.append(ReportPicture(_titled(title, origin), drawn))
    one = SCAN if SCAN in turned else list(turned)[-1]
    letter_mm = LIGHTBOX_LETTER_MM if alone else HALF_LETTER_MM
    many = replace(look, letter_mm=letter_mm, caption=captions.get(one, SYNTHETIC))
    count, columns = (18, 9) if alone else (12, 6)
    slices = lightbox(turned[one], "axial", many, slices=count, columns=columns)
    below = ReportPicture(f"{_titled(one, origin)}, from bottom to top", slices)
    if alone:
        return [shown, [below]]
    change = _difference(volumes, space, look)
    if len(shown) == 2:
        return [shown, [change, below]]
    return [shown[:2], [shown[2], change]]


def _difference(volumes: Mapping[str, np.ndarray], space: Space, look: Look) -> ReportPicture:
    """The last volume minus the one before it."""
    before, after = list(volumes)[-2:]
    what = f"{after} minus scan" if before == SCAN else "Change"
    title = f"{what}: blue darker, orange brighter, to {DIFFERENCE_LIMIT:g}"
    diverging = replace(look, diverging=True, limits=(-DIFFERENCE_LIMIT, DIFFERENCE_LIMIT))
    values = np.subtract(volumes[after], volumes[before], dtype=np.float32)
    return ReportPicture(title, draw_planes(Upright.of(values, space), diverging, crop=True))


#: Measures drawn over age, four in a row.
DRAWN = (
    "ventricle_ml",
    "left_temporal_horn_ml",
    "right_temporal_horn_ml",
    "csf_ml",
    "grey_ml",
    "white_ml",
    "left_hippocampus_ml",
    "right_hippocampus_ml",
)
#: Rows of the table of the whole brain.
WHOLE = (
    classes.HEAD,
    *TOLD,
    *(f"{name}_ml" for name in classes.MIDLINE if name not in classes.AS_TISSUES),
)
#: Marked values and findings that are named.
NAMED = 8
NOT_GIVEN = "Age and sex are not given."
ABOUT_CURVES = "Median and 95 % band for this sex and head size, by age; the dot is this brain."
RESTORE = "To restore this brain, paste this link into the explorer (Ctrl+V):"
RESTORE_BY_FILE = "To restore this brain, drop the .json beside this file on the explorer."


@dataclass(frozen=True)
class Cell:
    """Text of a table, and whether it is marked."""

    text: str = ""
    marked: bool = False


Table = list[list[Cell]]


def identity(case: ReportCase) -> list[str]:
    """Which scan this is, and of whom; empty for a brain of nobody."""
    lines = [f"{ORIGIN_NAMES[case.origin]} {case.scan}."] if case.scan else []
    person = case.person
    if not case.scan and person.age is None and person.sex is None:
        return lines
    age = "" if person.age is None else f"{person.age:g} years old"
    if age and case.header_age not in (None, person.age):
        age += f" (as entered; the header says {case.header_age:g})"
    known = ", ".join(filter(None, (SEXES[person.sex].capitalize() if person.sex else "", age)))
    return [*lines, f"{known[0].upper()}{known[1:]}." if known else NOT_GIVEN]


def verdicts(case: ReportCase) -> list[tuple[str, str, str]]:
    """Level, title and sentence of each verdict."""
    told = case.assessment.get("verdicts", {})
    return [(v["level"], VERDICTS[name], v["sentence"]) for name, v in told.items()]


def findings(case: ReportCase) -> str:
    """What stands out in the scan, in a sentence; empty without."""
    return filled("report", "findings", listed_findings(case.assessment), NAMED)


def likeness(case: ReportCase) -> str:
    """How similar the reconstruction is to the scan; empty where there is none."""
    figures = case.assessment.get("similarity", {})
    known = [
        f"{name} {similarity_text(key, figures[key])}"
        for key, (name, _, _) in SIMILARITY.items()
        if key in figures
    ]
    return f"Similarity to the scan: {', '.join(known)}." if known else ""


def curves(case: ReportCase) -> list[AgeCurve]:
    """Of `DRAWN`, those that can be drawn."""
    found = ((name, curve_of(case.numbers, name)) for name in DRAWN)
    return [
        replace(curve, title=VOLUMES.get(name, curve.title))
        for name, curve in found
        if curve is not None
    ]


def whole_table(case: ReportCase) -> Table:
    """Volumes of the whole brain, first of what was compared with people, then of the others.

    Empty where they are withheld.
    """
    if not case.measures:
        return []
    scores = {} if case.numbers is None else case.numbers.scores
    first = SCAN if SCAN in case.measures else next(iter(case.measures))
    others = [title for title in case.measures if title != first]
    scored = ["z", "Pctl."] if scores else []
    heads = [_titled(title, case.origin) for title in (first, *others)]
    rows = [[Cell(text) for text in ("Volume (ml)", heads[0], *scored, *heads[1:])]]
    measures = dict(case.measures[first])
    if case.numbers is not None:
        measures |= case.numbers.measures
    for key in WHOLE:
        if key not in measures:
            continue
        title = VOLUMES.get(key, "Head size" if key == classes.HEAD else classes.title_of(key))
        row = [Cell(title), Cell(_value(key, measures[key]))]
        if scores:
            row += _scored(case, key, percentile=True)
        told = (case.measures[title].get(key) for title in others)
        rows.append([*row, *(Cell("" if v is None else _value(key, v)) for v in told)])
    return rows


def sides_table(case: ReportCase) -> Table:
    """Volumes of the paired regions and their asymmetry; empty where they are not labelled."""
    numbers = case.numbers
    if numbers is None:
        return []
    z = ["z"] if numbers.scores else []
    heads = ("Region (ml)", "Left", *z, "Right", *z, "L-R %", *z)
    rows = [[Cell(text) for text in heads]]
    for name in classes.PAIRED:
        row = [Cell(classes.region_title(name))]
        for key in (f"left_{name}_ml", f"right_{name}_ml", f"{name}_asymmetry"):
            row.append(Cell(_value(key, numbers.measures[key])))
            if z:
                row += _scored(case, key)
        rows.append(row)
    return rows


def notes(case: ReportCase) -> list[str]:
    """What is marked, whom z compares with, what was read, and how it was measured."""
    if why := case.withheld:
        return [NO_FIGURES.format(why)]
    lines = list(_marked(case))
    if case.numbers is not None:
        lines.append(case.numbers.among)
        if case.numbers.reading is not None:
            lines.append(f"By volumes: {case.numbers.reading}.")
    return [*lines, f"Volumes {case.measured}."] if case.measured else lines


def _marked(case: ReportCase) -> Iterator[str]:
    if case.numbers is None or not case.numbers.scores:
        return
    scores, limit = case.numbers.scores, case.unusual_z
    beyond = sorted(
        (name for name, score in scores.items() if abs(score.z) > limit),
        key=lambda name: -abs(scores[name].z),
    )
    lines = [
        f"{classes.title_of(n)} {_value(n, case.numbers.measures[n])} {classes.unit_of(n)}".rstrip()
        + f" (z {scores[n].words[0]})"
        for n in beyond[:NAMED]
    ]
    known = [score.scanner for score in scores.values() if score.scanner is not None]
    shift = f"up to {max(known):.1f}" if known else UNKNOWN_SHIFT
    more, by_chance = len(beyond) - len(lines), 2 * len(scores) * float(ndtr(-limit))
    yield filled("report", "marked", limit, lines, more, len(scores), by_chance, shift)


def _scored(case: ReportCase, key: str, *, percentile: bool = False) -> Sequence[Cell]:
    """z, and the percentile where it is wanted."""
    assert case.numbers is not None
    score = case.numbers.scores.get(key)
    if score is None:
        return [Cell()] * (1 + percentile)
    marked = abs(score.z) > case.unusual_z
    cells = [Cell(text, marked) for text in score.words]
    return cells if percentile else cells[:1]


def _value(key: str, value: float) -> str:
    return "not measured" if math.isnan(value) else classes.value_text(key, value)
