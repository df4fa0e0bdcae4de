"""What can be chosen for the projection of a scan."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal

from stylegan3d.base import Json, JsonView, StyleGAN3DError
from stylegan3d.settings.option import Option

#: One w for all layers, one for each, or the layers' noise too.
Space = Literal["w", "w+", "w+noise"]
#: This program's search, or the projector of the original 3D-StyleGAN.
Method = Literal["stylegan3d", "original"]
Budget = Literal["draft", "standard", "thorough"]
Skull = Literal["auto", "extract", "keep"]
#: Steps of the search from an encoder's guess; "thorough" is followed by pivotal tuning.
BUDGETS: dict[str, int] = {"draft": 12, "standard": 60, "thorough": 120}
#: Budgets, each with the words for it.
TITLES: dict[str, str] = {"draft": "Draft", "standard": "Standard", "thorough": "Thorough"}
TUNED = ("thorough",)
#: What a projection is at, and the words for it.
Phase = Literal["search", "tuning", "own noise"]
PHASES: dict[Phase, str] = {
    "search": "Projecting",
    "tuning": "Tuning the model to the scan",
    "own noise": "Inverting the scan's noise",
}
#: The budget of auxiliary searches, such as those for an uncertainty.
QUICK = "draft"


@dataclass(frozen=True)
class Choices:
    """How to project; each as `Scan.align`, `read_scan` and `project` take it.

    `pose` is in the words of `pose.parse_pose`, `operator` in those of `operators.parse`; `site` is
    the name of a calibrated site (`calibration.save_site`); `uncertainty` is how many more searches
    tell what is left open, see `projector.uncertainty`.
    """

    space: Annotated[
        Space,
        Option(
            "Latent space",
            "In W+ all layers are free, so that the result follows the scan more closely; in W one "
            "style serves all layers, so that it remains a typical brain of the model. With noise, "
            "fine texture of this scan is fitted too, and saved in the latent file. Where a flow "
            "draws the folds, as in the bundled anatomy model and StyleGAN, the folds are those of "
            "the scan, and edits and mixes move them; layer noise stays in place.",
            choices={
                "w+": "Closest to the scan (W+)",
                "w+noise": "Inverted noise",
                "w": "Most typical brain (W)",
            },
        ),
    ] = "w+"
    budget: Annotated[
        str,
        Option(
            "Search",
            "Effort of the search. Draft: quick. Standard: until improvement stalls. Thorough: "
            "longer, then with the scan's noise inverted, or the model tuned slightly to the scan.",
            choices=TITLES,
        ),
    ] = "standard"
    steps: Annotated[
        int | None, Option("Steps", "Number of steps, instead of the budget's.", (1,))
    ] = None
    method: Annotated[
        Method,
        Option(
            "Method",
            "Method of the search.",
            choices={
                "stylegan3d": "this program's method",
                "original": "that of the original 3D-StyleGAN",
            },
        ),
    ] = "stylegan3d"
    skull: Annotated[
        str,
        Option(
            "Skull stripping",
            "What to do about the skull.",
            choices={
                "auto": "extract the brain if it has one",
                "extract": "extract the brain",
                "keep": "keep the image",
            },
        ),
    ] = "auto"
    pose: Annotated[
        str | None,
        Option(
            "Alignment",
            "Correct the alignment by a shift in mm (right, anterior, superior), then a rotation "
            "in degrees about these axes, such as 0,0,4 or 0,0,4:10,0,0. Or keep, if the scan is "
            "in the model's space already; or centre, to only centre it there.",
        ),
    ] = None
    volume: Annotated[
        int | None, Option("Volume", "Volume of a 4D series, counted from 0.", (0,))
    ] = None
    series: Annotated[
        str | None,
        Option("Series", "Series of a DICOM folder: number, UID, its uid-… or part of its name."),
    ] = None
    orientation: Annotated[
        str | None,
        Option(
            "Orientation",
            "What decides left and right where the header is ambiguous: sform, qform, or the axes "
            "of the array, such as LAS.",
        ),
    ] = None
    channel: Annotated[int, Option("Channel", "Image channel of the model, counted from 0.")] = 0
    operator: Annotated[
        str | None,
        Option(
            "Degradation",
            "Degradation of the scan to allow for: thick:5mm:S (axial slices of 5 mm), blur:3mm "
            "or contrast; kspace:4x:A simulates undersampling. Can be combined with --mask.",
        ),
    ] = None
    site: Annotated[
        str | None,
        Option(
            "Site",
            "Calibrated site that the scan comes from, by its name; see stylegan3d model site. "
            "Without it, ranges are wider.",
        ),
    ] = None
    uncertainty: Annotated[
        int | None,
        Option(
            "Repetitions",
            "Repetitions of the search from other starting points, to map where results differ.",
            (2,),
        ),
    ] = None

    def changed(self, changes: JsonView) -> Choices:
        """With other values; StyleGAN3DError where one is of no option."""
        if strange := sorted(changes.keys() - vars(self).keys()):
            known = ", ".join(vars(self))
            raise StyleGAN3DError(f"There is no option {strange[0]}: the options are {known}.")
        return replace(self, **changes)

    def to_dict(self) -> Json:
        """Plain values; unset options are left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


#: Everything as by default.
USUAL = Choices()
