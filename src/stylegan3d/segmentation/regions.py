"""Regions of the brain that a network labels, each side by itself.

They are merged from the numbers of the Neuromorphometrics protocol (http://neuromorphometrics.com),
as hand-drawn label maps and MUSE (Doshi et al. 2016, doi:10.1016/j.neuroimage.2015.11.073) use
them: gyri to the cortex of a lobe, white matter of all lobes to one region of each side.
"""

from __future__ import annotations

from stylegan3d.segmentation.classes import CLASSES, Scheme

#: Regions that have one on each side, with the title and the tissue that they mostly are.
PAIRED = {
    "lateral_ventricle": ("lateral ventricle", "ventricle"),
    "temporal_horn": ("temporal horn", "ventricle"),
    "hippocampus": ("hippocampus", "grey"),
    "amygdala": ("amygdala", "grey"),
    "thalamus": ("thalamus", "grey"),
    "caudate": ("caudate", "grey"),
    "putamen": ("putamen", "grey"),
    "pallidum": ("pallidum", "grey"),
    "accumbens": ("accumbens", "grey"),
    "ventral": ("ventral diencephalon", "white"),  # with the basal forebrain
    "cerebellum": ("cerebellar hemisphere", "grey"),
    "frontal_cortex": ("frontal cortex", "grey"),
    "parietal_cortex": ("parietal cortex", "grey"),
    "temporal_cortex": ("temporal cortex", "grey"),
    "occipital_cortex": ("occipital cortex", "grey"),
    "cingulate_cortex": ("cingulate cortex", "grey"),
    "insular_cortex": ("insular cortex", "grey"),
    "cerebral_white": ("cerebral white matter", "white"),
}
#: Regions across the midline, likewise.
MIDLINE = {
    "csf": ("fluid outside the ventricles", "csf"),
    "third_ventricle": ("third ventricle", "ventricle"),
    "fourth_ventricle": ("fourth ventricle", "ventricle"),
    "brain_stem": ("brain stem", "other"),
    "vermis": ("cerebellar vermis", "grey"),
    "corpus_callosum": ("corpus callosum", "white"),
}
SIDES = ("left", "right")
#: What the network labels: background, the midline, then left and right of each pair.
REGIONS = Scheme(
    "regions",
    ("background", *MIDLINE, *(f"{side}_{name}" for name in PAIRED for side in SIDES)),
    (
        0,
        *(CLASSES.index(tissue) for _, tissue in MIDLINE.values()),
        *(CLASSES.index(tissue) for _, tissue in PAIRED.values() for _ in SIDES),
    ),
)

# (right, left) of structures, by region.
_PAIRS = {
    "accumbens": [(23, 30)],
    "amygdala": [(31, 32), (33, 34)],
    "caudate": [(36, 37)],
    "cerebellum": [(38, 39), (40, 41)],
    "cerebral_white": [
        (44, 45),
        (63, 64),
        (81, 82),
        (83, 84),
        (85, 86),
        (87, 88),
        (89, 90),
        (42, 43),
        (91, 92),
        (93, 94),
    ],
    "hippocampus": [(47, 48)],
    "temporal_horn": [(49, 50)],
    "lateral_ventricle": [(51, 52)],
    "pallidum": [(55, 56)],
    "putamen": [(57, 58)],
    "thalamus": [(59, 60)],
    "ventral": [(61, 62), (76, 75)],
    "insular_cortex": [(66, 65)],
}
_MIDLINE = {
    "third_ventricle": [4],
    "fourth_ventricle": [11],
    "brain_stem": [35, 69],
    "csf": [1, 46],
    "vermis": [71, 72, 73],
    "corpus_callosum": [95],
}
# Gyri, the right one of each pair; the left has the next number.
_GYRI = {
    "frontal_cortex": "104 112 118 120 124 126 130 136 140 142 146 150 152 158 162 164 178 182 186 "
    "190 192 204",
    "parietal_cortex": "106 148 168 174 176 194 198",
    "temporal_cortex": "116 122 132 154 170 180 184 200 202 206",
    "occipital_cortex": "108 114 128 134 144 156 160 188 196",
    "cingulate_cortex": "100 110 138 166",
    "insular_cortex": "102 172",
}


def region_of_label() -> dict[int, int]:
    """Index in `REGIONS` of each number of the protocol; 0 is background."""
    found = {0: 0}
    for name, numbers in _MIDLINE.items():
        found |= dict.fromkeys(numbers, REGIONS.classes.index(name))
    pairs = [(name, pair) for name, known in _PAIRS.items() for pair in known]
    for name, gyri in _GYRI.items():
        pairs += [(name, (right, right + 1)) for right in map(int, gyri.split())]
    for name, (right, left) in pairs:
        found[right] = REGIONS.classes.index(f"right_{name}")
        found[left] = REGIONS.classes.index(f"left_{name}")
    return found


def region_title(name: str) -> str:
    """Such as "Hippocampus, left" for "left_hippocampus"."""
    side, _, rest = name.partition("_")
    if side in SIDES:
        title = PAIRED[rest][0]
        return f"{title[0].upper()}{title[1:]}, {side}"
    title = MIDLINE[name][0]
    return title[0].upper() + title[1:]
