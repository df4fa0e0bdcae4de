"""Rows of the table for anatomy, privacy and utility; see `table`."""

from __future__ import annotations

from collections.abc import Iterator

from stylegan3d.evaluation.figure import Figure, figure, times, with_interval
from stylegan3d.plain import Json
from stylegan3d.segmentation.words import title_of

# Figures of the tissue-shape test: name and target.
TOLD = {
    "accuracy": ("distinguished from {} by tissue shape, accuracy", 0.70),
    "auc": ("  area under the curve, against {}", 0.75),
}
CUBES = 0.75
LABEL_R = 0.7  # between requested and estimated age


def anatomy(part: Json) -> Iterator[Figure]:
    """Tissue volumes, by `anatomy_volumes.tissue_volumes`."""
    distance = part["mean_distance"]
    yield figure(
        f"tissue volumes, mean Wasserstein distance in SD (n = {distance['n']})",
        distance,
        3,
        compared=times(distance["ratio"], distance["ratio_interval"]),
    )
    for name, found in part["measures"].items():
        if not name.endswith("_ml"):
            continue
        shift = with_interval(found["shift"], found["shift_interval"], 2)
        spread = times(found["spread"], found["spread_interval"])
        yield Figure(
            f"  {volume_name(name)}: mean (SD)",
            f"{found['synthetic_mean']:.0f} ({found['synthetic_sd']:.0f})",
            f"{found['real_mean']:.0f} ({found['real_sd']:.0f})",
            f"shift {shift} SD, SD {spread}",
            value=found["shift"],
            low=found["shift_interval"][0],
            high=found["shift_interval"][1],
        )
    failed = part["unsegmentable"]
    yield Figure("cannot be segmented", _count(failed["synthetic"]), _count(failed["validation"]))


def volume_name(key: str) -> str:
    """Such as "grey matter, ml" for "grey_ml"."""
    title = title_of(key)
    return f"{title[0].lower()}{title[1:]}, ml"


def tissue_shape(part: Json) -> Iterator[Figure]:
    """By `tissue_shape.tissue_shape`."""
    if "left_out" in part:
        return
    for prefix, whom in (("", "real brains"), ("held_out_", "held-out subjects")):
        for key, (name, aim) in TOLD.items():
            found = part.get(f"{prefix}{key}")
            if found is not None:
                n = " and ".join(map(str, dict.fromkeys(found["n"])))
                yield figure(
                    f"{name.format(whom)} (n = {n})",
                    found,
                    2,
                    aim=f"<= {aim}",
                    reached=found["synthetic"] <= aim,
                )
    missing = part.get("unmeasured", {})
    if any(found["count"] for found in missing.values()):
        made, real = (f"{missing[k]['count']} of {missing[k]['n']}" for k in ("synthetic", "real"))
        yield Figure("  tissue shape cannot be measured", made, real)
    for found in part["measures"].values():
        shift = with_interval(found["shift"], found["shift_interval"], 2)
        yield Figure(
            f"  {found['name']}: mean (SD)",
            f"{found['synthetic_mean']:.3g} ({found['synthetic_sd']:.2g})",
            f"{found['real_mean']:.3g} ({found['real_sd']:.2g})",
            f"shift {shift} SD, held-out subjects {found['held_out_shift']:+.2f}",
            value=found["shift"],
            low=found["shift_interval"][0],
            high=found["shift_interval"][1],
        )


def cubes(part: Json) -> Iterator[Figure]:
    """By `cubes.cubes`."""
    if "left_out" in part:
        return
    yield figure(
        f"cubes of 32 mm distinguished from real ones, accuracy (n = {part['n']})",
        part["accuracy"],
        2,
        aim=f"<= {CUBES}",
        reached=part["accuracy"]["synthetic"] <= CUBES,
    )
    yield figure("  area under the curve of cubes", part["auc"], 2)
    for name, found in part["regions"].items():
        yield figure(f"  cubes, {name}", found, 2)


def _count(found: Json) -> str:
    share = with_interval(found["share"], found["interval"], 1, 100)
    return f"{found['count']} of {found['n']}, {share} %"


def privacy(part: Json) -> Iterator[Figure]:
    """Nearest training subjects, by `privacy_part.privacy`."""
    if "copies" in part:
        yield from _copies(part["copies"])
    found = part["features"]
    yield Figure(
        "nearest training brain, feature distance: least",
        f"{found['synthetic'][0]:.4f} of {found['n']}",
        f"{found['validation'][0]:.4f} of {found['n_validation']}",
    )
    yield Figure(
        "  nearer than the nearest validation brain",
        f"{found['closer_than_closest']} of {found['n']}",
        f"{found['expected_by_chance']:.0f} by chance",
    )
    relative = found["relative"]
    yield Figure(
        "  distance to the nearest over that to the nearest of anybody else: least",
        f"{relative['synthetic'][0]:.3f}",
        f"{relative['validation'][0]:.3f}",
        f"{relative['closer_than_closest']} below",
    )


def _copies(found: Json) -> Iterator[Figure]:
    if found["alarm"] is None:
        yield Figure("copies of training brains", "not known", "", found["why"])
        return
    share = with_interval(found["share"], found["interval"], 1, 100)
    planted = found["planted"]
    yield Figure(
        "copies of training brains",
        f"{found['copies']} of {found['n']}, {share} %",
        "",
        f"{planted['found']} of {planted['n']} planted ones found",
        "none",
        not found["alarm"],
    )


def membership(part: Json) -> Iterator[Figure]:
    """Attacks, by `membership.membership`."""
    for found in part["attacks"]:
        yield Figure(
            f"membership inference by {found['attack']}: AUC",
            with_interval(found["auc"], found["interval"], 3),
            "0.5 by chance",
            f"{found['members']} members, {found['others']} others",
            value=found["auc"],
            low=found["interval"][0],
            high=found["interval"][1],
            real_value=0.5,
        )


def utility(part: Json) -> Iterator[Figure]:
    """Utility of synthetic training data, by `utility.utility`."""
    tasks = (
        ("age", "brain age, error in years in held-out subjects", "mae", 1),
        ("tissues", "tissues, Dice in held-out subjects", "dice", 3),
    )
    for task, name, key, digits in tasks:
        if task not in part:
            continue
        found = part[task]
        change = found["difference"]
        text = with_interval(change["value"], change["interval"], digits)
        yield figure(
            f"{name}: trained on synthetic (n = {found['synthetic']['n']})",
            {
                "synthetic": found["synthetic"][key],
                "synthetic_interval": found["synthetic"][f"{key}_interval"],
                "real": found["real"][key],
                "real_interval": found["real"][f"{key}_interval"],
            },
            digits,
            compared=f"difference {text}",
        )
        both = with_interval(found["both"][key], found["both"][f"{key}_interval"], digits)
        yield Figure("  trained on both", both, "")


def edits(part: Json) -> Iterator[Figure]:
    """Directions, by `edits.edits`."""
    for found in part["directions"]:
        low, high = found["effect_interval"]
        yield Figure(
            f"direction {found['name']}: measured over expected change",
            with_interval(found["effect"], found["effect_interval"], 2),
            f"{found['effect_people']:.2f} of a true difference between subjects",
            value=found["effect"],
            low=low,
            high=high,
            real_value=found["effect_people"],
        )
        right = with_interval(found["right_way"], found["right_way_interval"], 0, 100)
        yield Figure("  in the intended direction, %", right, "")
        if found["drift"]:
            name, drift = max(found["drift"].items(), key=lambda item: abs(item[1]))
            yield Figure("  other attributes: most", f"{drift:+.2f} SD", "", name)
        if found["left"] is not None:
            left = with_interval(found["left"], found["left_interval"], 2)
            yield Figure("  error after undoing", left, "0 fully undone, 1 not at all")


def conditions(part: Json) -> Iterator[Figure]:
    """Labels, by `conditions.conditions`."""
    for found in part["labels"]:
        low, high = found["r_interval"]
        yield Figure(
            f"label {found['name']}: requested and estimated, r",
            with_interval(found["r"], found["r_interval"], 2),
            f"{found['r_people']:.2f} for subjects (n = {found['n_people']})",
            aim=f">= {LABEL_R:g}" if found["name"] == "age" else "",
            reached=found["r"] >= LABEL_R if found["name"] == "age" else None,
            value=found["r"],
            low=low,
            high=high,
            real_value=found["r_people"],
        )
        slope = with_interval(found["slope"], found["slope_interval"], 2)
        yield Figure("  share of the difference between subjects", slope, "1")
