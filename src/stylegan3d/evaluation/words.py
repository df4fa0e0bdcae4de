"""What an evaluation found, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# What a network that sees no difference is right about.
GUESSING = 0.5


def plain_words(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What was asked and the answer, one pair for each part that was measured."""
    return [
        (question, answer(report[part]))
        for part, (question, answer) in ANSWERS.items()
        if part in report
    ]


def alarms(report: dict[str, Any]) -> list[str]:
    """Sentences that must not be overlooked."""
    return list(_alarms(report))


def _alarms(report: dict[str, Any]) -> Iterator[str]:
    yield from report.get("diversity", {}).get("collapse", {}).get("alarms", [])
    copies = report.get("privacy", {}).get("copies", {})
    if copies.get("alarm"):
        yield (
            f"Memorisation: {copies['copies']} of {copies['n']} random brains are taken for copies "
            "of people the model was trained on; look at the closest pairs."
        )


def _faithful(part: dict[str, Any]) -> str:
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


def _told_apart(part: dict[str, Any]) -> str:
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


def _diverse(part: dict[str, Any]) -> str:
    found = part["pair_correlation"]
    text = (
        f"Two synthetic brains correlate by {found['synthetic']:.2f} on average, two people by "
        f"{found['real']:.2f}."
    )
    if "recall" in part:
        made, real = (100 * part["recall"][key] for key in ("synthetic", "real"))
        text += f" {made:.0f} % of people lie where synthetic brains lie ({real:.0f} % where other "
        text += "people do)."
    collapsed = part.get("collapse", {}).get("alarms")
    return text + (" " + " ".join(collapsed) if collapsed else " No sign of collapse.")


def _plausible(part: dict[str, Any]) -> str:
    made, people = part["synthetic"], part["validation"]
    return (
        f"{made['passed']} of {made['n']} synthetic brains have the shape, size, asymmetry and "
        f"tissue contrast of brains, and {people['passed']} of {people['n']} people kept aside."
    )


def _anatomical(part: dict[str, Any]) -> str:
    volumes = {k: v for k, v in part["measures"].items() if k.endswith("_ml")}
    name = max(volumes, key=lambda key: abs(volumes[key]["shift"]))
    shift = volumes[name]["shift"]
    made = part["unsegmentable"]["synthetic"]
    return (
        f"Of the tissue volumes {name.removesuffix('_ml').replace('_', ' ')} is off the most: "
        f"{abs(shift):.2f} standard deviations {'above' if shift > 0 else 'below'} people. "
        f"{made['count']} of {made['n']} synthetic brains cannot be segmented."
    )


def _private(part: dict[str, Any]) -> str:
    copies = part.get("copies", {})
    if copies.get("alarm") is None:
        return str(copies.get("why", "Whether any is a copy is not known."))
    planted = copies["planted"]
    found = f"{copies['copies']}" if copies["alarm"] else "None"
    return (
        f"{found} of {copies['n']} random brains is taken for a copy of a training person. "
        f"{planted['found']} of {planted['n']} copies that were planted in disguise were found."
    )


def _members(part: dict[str, Any]) -> str:
    if not part["attacks"]:
        return "No attack could be made."
    worst = max(part["attacks"], key=lambda attack: attack["auc"])
    low, high = worst["interval"]
    return (
        f"The best guess who was trained on ({worst['attack']}) has an area under the curve of "
        f"{worst['auc']:.2f} ({low:.2f} to {high:.2f}); 0.5 is chance."
    )


def _useful(part: dict[str, Any]) -> str:
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


def _edited(part: dict[str, Any]) -> str:
    found = part["directions"]
    if not found:
        return "No direction of an attribute could be checked."
    right = [row for row in found if row["effect_interval"][0] > 0]
    best = max(found, key=lambda row: row["effect"])
    return (
        f"{len(right)} of {len(found)} directions change what they name the right way beyond "
        f"doubt; the strongest, {best['name']}, by {best['effect']:.2f} of what it promises."
    )


def _conditioned(part: dict[str, Any]) -> str:
    told = [
        f"{found['name']} r = {found['r']:.2f} (people: {found['r_people']:.2f})"
        for found in part["labels"]
    ]
    if not told:
        return "No label could be checked."
    return f"What was asked for and what others read off the brains: {', '.join(told)}."


def _rebuilt(part: dict[str, Any]) -> str:
    way = "projected" if "projected" in part else "encoder" if "encoder" in part else "mean_brain"
    name = {"projected": "By projection", "encoder": "By the encoder alone"}.get(way, "Mean brain")
    return (
        f"{name}, {part['n']} people kept aside are rendered with SSIM {part[way]['ssim']:.2f} and "
        f"{part[way]['psnr']:.1f} dB (the mean brain: {part['mean_brain']['ssim']:.2f}, "
        f"{part['mean_brain']['psnr']:.1f} dB)."
    )


ANSWERS = {
    "fidelity": ("Are they like real brains?", _faithful),
    "two_sample": ("Can they be told from real ones?", _told_apart),
    "diversity": ("Are they as diverse?", _diverse),
    "plausibility": ("Can they be brains?", _plausible),
    "anatomy": ("Is their anatomy that of people?", _anatomical),
    "utility": ("Can one learn from them?", _useful),
    "privacy": ("Are they copies of people?", _private),
    "membership": ("Can it be told who was trained on?", _members),
    "edits": ("Do edits do what they say?", _edited),
    "conditions": ("Are brains drawn for a label like people who have it?", _conditioned),
    "reconstruction": ("Can it render people it has not seen?", _rebuilt),
}
