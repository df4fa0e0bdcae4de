"""Names of all measures of a brain, and how their values and scores are written.

One text for one number: window, reports, tables and the console take it from here.
"""

from __future__ import annotations

from stylegan3d.scans.person import OLDEST as OLDEST
from stylegan3d.scans.person import Person as Person
from stylegan3d.segmentation.classes import MEASURES, PAIRED, REGIONS, TITLES, region_title

#: The brain with its fluid.
HEAD = "head_ml"
HEAD_TITLE = "Head size (brain with its fluid)"
#: Ages that percentiles are given for.
AGES = (18.0, 80.0)
#: Regions that are measured as tissues already.
AS_TISSUES = ("csf", "brain_stem")
REGION_VOLUMES = tuple(n for n in REGIONS.classes[1:] if n not in AS_TISSUES)
REGION_MEASURES = (
    *(f"{name}_ml" for name in REGION_VOLUMES),
    *(f"{name}_asymmetry" for name in PAIRED),
)
#: All measures, in the order of tables.
ALL_MEASURES = (HEAD, *MEASURES, *REGION_MEASURES)


def title_of(measure: str) -> str:
    """Such as "Hippocampus, left" or "Asymmetry of the hippocampus"."""
    if measure == HEAD:
        return HEAD_TITLE
    name, _, unit = measure.rpartition("_")
    if unit == "asymmetry":
        of = PAIRED[name][0] if name in PAIRED else TITLES[name]
        return f"Asymmetry of {of[0].lower()}{of[1:]}"
    if measure == "grey_white_ratio":
        return "Grey over white matter"
    return TITLES[name] if name in TITLES else region_title(name)


def unit_of(measure: str) -> str:
    """Unit of a measure: "ml", "%" or none."""
    return {"ml": "ml", "asymmetry": "%"}.get(measure.rpartition("_")[2], "")


def value_text(measure: str, value: float) -> str:
    """A value as it is shown everywhere: three or four digits, asymmetries with their sign."""
    unit = unit_of(measure)
    if unit == "%":
        return f"{value:+.1f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def score_text(z: float, percentile: float) -> tuple[str, str]:
    """z and percentile as they are shown everywhere."""
    text = "<1" if percentile < 1 else ">99" if percentile > 99 else f"{percentile:.0f}"
    words = f"{z:+.1f}"
    return "0.0" if float(words) == 0 else words, text
