"""The description of an option, and what can be chosen for comparisons, labels, files and films.

A description is what a form, `--help` and a check need to know of an option.

An option is declared in the type of a field of a frozen dataclass:

    seconds: Annotated[float, Option("Transition", "From brain to brain.", (0.1,), "s")]
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, NewType, Union, get_args, get_origin, get_type_hints

from stylegan3d.base import StyleGAN3DError
from stylegan3d.geometry.space import PLANES, Plane
from stylegan3d.recipe.keyframes import Easing, How

#: A number that is chosen by sliding; the window registers its row for it with magicgui.
Sliding = NewType("Sliding", float)


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes
    ----------
    label : str
        One to three words, for a form.
    help : str
        A sentence or two, for tooltips and `--help`.
    span : tuple of float
        Of a number: the least value, the greatest, and the step in a form, as far as there are any.
    unit : str
        Of a number; empty for none.
    choices : mapping or None
        Values that are allowed, each with the words for it.
    flag : str or None
        On the command line; empty for one after the field's name, None for none.
    """

    label: str
    help: str
    span: tuple[float, ...] = ()
    unit: str = ""
    choices: Mapping[Any, str] | None = None
    flag: str | None = ""

    @property
    def range(self) -> str:
        """The range in words, such as "0.1 to 60 s" or "at least 1"; empty if there is none."""
        if not self.span:
            return ""
        low, *more = self.span
        ends = f"{low:g} to {more[0]:g}" if more else f"at least {low:g}"
        return f"{ends}{self.unit and ' '}{self.unit}"

    def problem(self, value: Any) -> str:
        """Why a value is invalid, such as "is 0, but must be 1 to 60"; empty if valid.

        None is a value that was left out.
        """
        if value is None:
            return ""
        if self.choices is not None and value not in [*self.choices]:
            return f"is {value!r}, but must be one of {', '.join(map(str, self.choices))}"
        ends = [value, *self.span[1:2]]
        if self.span and not (value >= self.span[0] and all(value <= end for end in ends)):
            return f"is {value}, but must be {self.range}"
        return ""


@dataclass(frozen=True)
class Described:
    """A field of a settings class with its option."""

    name: str
    kind: type
    option: Option
    default: Any

    def misfit(self, value: Any) -> str:
        """Why a value is of another type, such as "is 1.5, but must be a whole number"."""
        several = get_origin(self.kind) in (Union, UnionType)
        kinds = set(get_args(self.kind) if several else [self.kind])
        if value is None:
            return "" if type(None) in kinds else "is None, but must be given"
        wanted = "a whole number" if int in kinds else "a number" if float in kinds else ""
        fits = isinstance(value, Integral if int in kinds else Real)
        return f"is {value!r}, but must be {wanted}" if wanted and not fits else ""


def options_of(settings: type) -> Iterator[Described]:
    """The options of a settings class, in the order of its fields; others are left out."""
    hints = get_type_hints(settings, include_extras=True)
    for field in dataclasses.fields(settings):
        hint = hints[field.name]
        if get_origin(hint) is Annotated:
            kind, *notes = get_args(hint)
            for option in (note for note in notes if isinstance(note, Option)):
                yield Described(field.name, kind, option, field.default)


def check_options(settings: Any) -> None:
    """Refuse a value that its option does not allow.

    Raises
    ------
    StyleGAN3DError
        One sentence with the option, its value and the allowed ones.
    """
    for described in options_of(type(settings)):
        value = getattr(settings, described.name)
        problem = described.misfit(value) or described.option.problem(value)
        if problem:
            raise StyleGAN3DError(f"{described.name} {problem}.")


@dataclass(frozen=True)
class ComparisonSettings:
    """How A and B are shown."""

    curtain: Annotated[
        Sliding,
        Option(
            "Line position",
            "Position of the line, in % of the field of view from the left.",
            (0, 100, 1),
            "%",
        ),
    ] = Sliding(50.0)
    rate: Annotated[
        Sliding, Option("Rate", "Cycles of A and B per second.", (0.5, 4, 0.5), "Hz")
    ] = Sliding(1.0)
    threshold: Annotated[
        Sliding,
        Option("Threshold", "Hide differences smaller than this, in % of white.", (0, 50, 1), "%"),
    ] = Sliding(5.0)


@dataclass(frozen=True)
class LabelTools:
    """Brush and border; see `stylegan3d.translation.files.resized`."""

    brush: Annotated[
        float, Option("Brush", "Diameter of the spherical brush.", (2, 40, 1), "mm")
    ] = 8.0
    resize: Annotated[
        Sliding,
        Option(
            "Resize",
            "Move the border of the tissue inwards or outwards. Surrounding tissue is displaced, "
            "less with distance; the outline of the brain is unchanged.",
            (-6, 8, 0.5),
            "mm",
        ),
    ] = Sliding(0.0)


@dataclass(frozen=True)
class ExportSettings:
    """Which files are saved beside a volume, and whether existing ones are replaced."""

    overwrite: Annotated[
        bool,
        Option("Replace files of the same name", "Otherwise existing files are never changed."),
    ] = False
    native: Annotated[
        bool,
        Option(
            "Also in the scan's native space",
            "A second file with the grid, orientation and intensities of the projected scan.",
            flag=None,
        ),
    ] = False
    dicom: Annotated[
        bool,
        Option(
            "Also as DICOM",
            "Volumes and reports as DICOM too, in a folder beside the file, for an archive (PACS). "
            "What is made from a patient's DICOM series joins that patient and study.",
            flag=None,
        ),
    ] = False


@dataclass(frozen=True)
class DicomSettings:
    """How files are written as DICOM; see `stylegan3d.outputs.dicom_files.dicom_files`."""

    plane: Annotated[
        str | None,
        Option(
            "Plane",
            "Plane of the slices; default: across the longest voxel edge, or axial.",
            choices={"axial": "axial", "coronal": "coronal", "sagittal": "sagittal"},
        ),
    ] = None
    burn_in: Annotated[bool, Option("Burn in", "Write the word SYNTHETIC into the pixels too.")] = (
        False
    )
    enhanced: Annotated[
        bool, Option("Enhanced", "Each volume as one Enhanced MR image, all slices in one file.")
    ] = False


#: As it is if nothing else is chosen.
USUAL_DICOM = DicomSettings()


@dataclass(frozen=True)
class ReportSettings:
    """What a report marks, and its files; Measure marks the same."""

    unusual_z: Annotated[
        float,
        Option(
            "Mark z beyond ±",
            "Mark values whose z lies beyond this, in Measure and in reports. In any one measure "
            "5 % of healthy people lie beyond ±2.",
            (1, 5, 0.05),
            flag="--mark-z",
        ),
    ] = 2.0
    html: Annotated[
        bool,
        Option(
            "Reports also as HTML",
            "One file for each report, for a web browser.",
            flag="--html/--no-html",
        ),
    ] = True


LIGHTBOX = "lightbox-"
#: What a picture can show, each with the words for it.
PICTURES = {
    "all": "All views, as displayed",
    "Axial": "Axial view",
    "Sagittal": "Sagittal view",
    "Coronal": "Coronal view",
    "3D": "3D view",
    "lightbox-axial": "Lightbox, axial",
    "lightbox-coronal": "Lightbox, coronal",
    "lightbox-sagittal": "Lightbox, sagittal",
}
SIZES = {
    "screen": "as on the screen",
    "double": "twice as large",
    "print": "for print: 18 cm at 300 dpi",
}


@dataclass(frozen=True)
class PictureSettings:
    """Content and size of a picture."""

    view: Annotated[
        str,
        Option(
            "Show",
            "The views with letters, scale bar and caption as you see them, or a lightbox: 20 "
            "slices through the whole brain with their positions in mm.",
            choices=PICTURES,
        ),
    ] = "all"
    size: Annotated[
        str,
        Option(
            "Size",
            "Resolution of the picture. Everything is rendered again at this resolution.",
            choices=SIZES,
        ),
    ] = "screen"

    @property
    def plane(self) -> Plane | None:
        """The plane of a lightbox; None for views."""
        return next((plane for plane in PLANES if self.view == LIGHTBOX + plane), None)

    @property
    def what(self) -> str:
        """For the file's name."""
        return self.view.lower()


@dataclass(frozen=True)
class FigureSettings:
    """How slices are drawn; see `stylegan3d.render.figures`."""

    slices: Annotated[
        int,
        Option(
            "Lightbox",
            "Number of slices of one plane through the whole brain; 0 for none.",
            (0, 200),
            flag="--lightbox",
        ),
    ] = 0
    columns: Annotated[int, Option("Columns", "Columns of the lightbox.", (1,))] = 5
    scale: Annotated[
        float, Option("Scale", "11.8 is life size at 300 dpi.", (0.5, 12), "pixels per mm")
    ] = 2.0
    neurological: Annotated[
        bool, Option("Neurological", "Show the patient's left on the left.")
    ] = False


#: Planes that are drawn side by side, each with the words for it.
VIEWS: dict[tuple[Plane, ...], str] = {
    PLANES: "three planes",
    ("axial",): "axial",
    ("coronal",): "coronal",
    ("sagittal",): "sagittal",
}
#: Endings of a film's name, each with the words for it.
KINDS = {".mp4": "MP4", ".gif": "GIF", ".png": "animated PNG", ".webp": "WebP"}


@dataclass(frozen=True)
class FilmSettings:
    """How a film leads from brain to brain; see `stylegan3d.recipe.keyframes.stills`."""

    seconds: Annotated[
        float, Option("Transition", "Time from one brain to the next.", (0.1, 60, 0.5), "s")
    ] = 2.0
    fps: Annotated[
        int,
        Option(
            "Frame rate",
            "Frames per second. More are smoother, and take longer to render.",
            (1, 60),
            "per s",
        ),
    ] = 12
    easing: Annotated[
        Easing,
        Option(
            "Pace",
            "Whether the film slows down at each brain.",
            choices={"in-out": "pause at each brain", "linear": "constant speed"},
        ),
    ] = "in-out"
    how: Annotated[
        How,
        Option(
            "Path",
            "Path between two random brains: a straight line in W, where the middle is closer "
            "to the average brain, or an arc in Z, which keeps the variety.",
            choices={"linear": "straight line", "spherical": "arc"},
            flag="--way",
        ),
    ] = "linear"
    planes: Annotated[
        tuple[Plane, ...],
        Option("Show", "Slices through the crosshair's point.", choices=VIEWS, flag=None),
    ] = PLANES
    suffix: Annotated[
        str, Option("Format", "MP4 is the smallest, PNG is lossless.", choices=KINDS, flag=None)
    ] = ".mp4"
    loop: Annotated[
        bool, Option("Return to the first brain", "The film then loops without a break.")
    ] = False

    @property
    def frames_per_leg(self) -> int:
        """Pictures from one brain to the next."""
        return max(round(self.seconds * self.fps), 1)
