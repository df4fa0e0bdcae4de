"""What an evaluation found, in plain words: an answer for each metric of the `table`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# What a network that sees no difference is right about.
GUESSING = 0.5


def collapsed(part: dict[str, Any]) -> list[str]:
    """What says that the generator makes too few brains."""
    return list(part.get("collapse", {}).get("alarms", []))


def copied(part: dict[str, Any]) -> Iterator[str]:
    """Whether random brains are copies of people."""
    copies = part.get("copies", {})
    if copies.get("alarm"):
        yield (
            f"Memorisation: {copies['copies']} of {copies['n']} random brains are taken for copies "
            "of people the model was trained on; look at the closest pairs."
        )


def faithful(part: dict[str, Any]) -> str:
    """Of `parts.fidelity`."""
    fid, bounds = part["fid"], part["fid"]["ratio_interval"]
    if fid["ratio"] is None:
        return "Their distance from real ones has nothing to be compared to."
    text = (
        f"The Fréchet distance of synthetic brains from real ones is {fid['ratio']:.2f} times that "
        f"of real ones from other real ones ({bounds[0]:.2f} to {bounds[1]:.2f}; 1 is perfect)."
    )
    if "precision" in part:
        made, real = (100 * part["precision"][key] for key in ("synthetic", "real"))
        text += f" {made:.0f} % lie where real brains lie, of real ones {real:.0f} %."
    return text


def told_apart(part: dict[str, Any]) -> str:
    """Of `parts.two_sample_part`."""
    found = part["accuracy"]
    low, high = (100 * bound for bound in found["synthetic_interval"])
    sees = low > 100 * GUESSING
    verdict = "it sees a difference" if sees else "it does not tell them apart"
    return (
        f"A small network that was trained to is right about {100 * found['synthetic']:.0f} % of "
        f"brains it has not seen ({low:.0f} to {high:.0f} %; 50 % is guessing): "
        f"{verdict}. Between real people and other real people it is right about "
        f"{100 * found['real']:.0f} %."
    )


def diverse(part: dict[str, Any]) -> str:
    """Of `parts.diversity`."""
    found = part["pair_correlation"]
    text = (
        f"Two synthetic brains correlate by {found['synthetic']:.2f} on average, two people by "
        f"{found['real']:.2f}."
    )
    if "recall" in part:
        made, real = (100 * part["recall"][key] for key in ("synthetic", "real"))
        text += f" {made:.0f} % of people lie where synthetic brains lie ({real:.0f} % where other "
        text += "people do)."
    return " ".join([text, *(collapsed(part) or ["No sign of collapse."])])


def plausible(part: dict[str, Any]) -> str:
    """Of `parts.plausibility`."""
    made, people = part["synthetic"], part["validation"]
    return (
        f"{made['passed']} of {made['n']} synthetic brains have the shape, size, asymmetry and "
        f"tissue contrast of brains, and {people['passed']} of {people['n']} people kept aside."
    )


def anatomical(part: dict[str, Any]) -> str:
    """Of `anatomy_volumes.tissue_volumes`."""
    volumes = {k: v for k, v in part["measures"].items() if k.endswith("_ml")}
    name = max(volumes, key=lambda key: abs(volumes[key]["shift"]))
    shift = volumes[name]["shift"]
    made = part["unsegmentable"]["synthetic"]
    return (
        f"Of the tissue volumes {name.removesuffix('_ml').replace('_', ' ')} is off the most: "
        f"{abs(shift):.2f} standard deviations {'above' if shift > 0 else 'below'} people. "
        f"{made['count']} of {made['n']} synthetic brains cannot be segmented."
    )


def private(part: dict[str, Any]) -> str:
    """Of `privacy_part.privacy`."""
    copies = part.get("copies", {})
    if copies.get("alarm") is None:
        return str(copies.get("why", "Whether any is a copy is not known."))
    planted = copies["planted"]
    found = f"{copies['copies']}" if copies["alarm"] else "None"
    return (
        f"{found} of {copies['n']} random brains is taken for a copy of a training person. "
        f"{planted['found']} of {planted['n']} copies that were planted in disguise were found."
    )


def members(part: dict[str, Any]) -> str:
    """Of `membership.membership`."""
    if not part["attacks"]:
        return "No attack could be made."
    worst = max(part["attacks"], key=lambda attack: attack["auc"])
    low, high = worst["interval"]
    return (
        f"The best guess who was trained on ({worst['attack']}) has an area under the curve of "
        f"{worst['auc']:.2f} ({low:.2f} to {high:.2f}); 0.5 is chance."
    )


def useful(part: dict[str, Any]) -> str:
    """Of `utility.utility`."""
    texts = []
    if "age" in part:
        made, real = (part["age"][key]["mae"] for key in ("synthetic", "real"))
        texts.append(
            f"Brain age learned from synthetic brains is {made:.1f} years off in people kept "
            f"aside, learned from real ones {real:.1f} years (always saying the mean age: "
            f"{part['age']['mean_age']:.1f})."
        )
    if "tissues" in part:
        made, real = (part["tissues"][key]["dice"] for key in ("synthetic", "real"))
        texts.append(
            f"Tissues learned from synthetic brains agree with Dice {made:.2f}, learned from real "
            f"ones {real:.2f}."
        )
    return " ".join(texts) or " ".join(part["missing"].values())


def edited(part: dict[str, Any]) -> str:
    """Of `edits.edits`."""
    found = part["directions"]
    if not found:
        return "No direction of an attribute could be checked."
    right = [row for row in found if row["effect_interval"][0] > 0]
    best = max(found, key=lambda row: row["effect"])
    return (
        f"{len(right)} of {len(found)} directions change what they name the right way beyond "
        f"doubt; the strongest, {best['name']}, by {best['effect']:.2f} of what it promises."
    )


def conditioned(part: dict[str, Any]) -> str:
    """Of `conditions.conditions`."""
    told = [
        f"{found['name']} r = {found['r']:.2f} (people: {found['r_people']:.2f})"
        for found in part["labels"]
    ]
    if not told:
        return "No label could be checked."
    return f"What was asked for and what others read off the brains: {', '.join(told)}."


def rebuilt(part: dict[str, Any]) -> str:
    """Of `reconstruction.reconstruction`."""
    way = "projected" if "projected" in part else "encoder" if "encoder" in part else "mean_brain"
    name = {"projected": "By projection", "encoder": "By the encoder alone"}.get(way, "Mean brain")
    return (
        f"{name}, {part['n']} people kept aside are rendered with SSIM {part[way]['ssim']:.2f} and "
        f"{part[way]['psnr']:.1f} dB (the mean brain: {part['mean_brain']['ssim']:.2f}, "
        f"{part['mean_brain']['psnr']:.1f} dB)."
    )
