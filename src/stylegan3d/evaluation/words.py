"""Results of an evaluation in plain words: an answer for each metric of the `table`."""

from __future__ import annotations

from collections.abc import Iterator

from stylegan3d.plain import Json

# Accuracy of guessing.
GUESSING = 0.5


def collapsed(part: Json) -> list[str]:
    """Warnings about mode collapse."""
    return list(part.get("collapse", {}).get("alarms", []))


def copied(part: Json) -> Iterator[str]:
    """Warnings about copies of subjects."""
    copies = part.get("copies", {})
    if copies.get("alarm"):
        yield (
            f"Memorisation: {copies['copies']} of {copies['n']} random brains were classified as "
            "copies of training subjects; look at the closest pairs."
        )


def faithful(part: Json) -> str:
    """Of `parts.fidelity`."""
    fid, bounds = part["fid"], part["fid"]["ratio_interval"]
    if fid["ratio"] is None:
        return "There is no reference for their distance from real ones."
    text = (
        f"The Fréchet distance between synthetic and real brains is {fid['ratio']:.2f} times that "
        f"between real and other real brains ({bounds[0]:.2f} to {bounds[1]:.2f}; 1 is perfect)."
    )
    if "precision" in part:
        made, real = (100 * part["precision"][key] for key in ("synthetic", "real"))
        text += f" {made:.0f} % lie in the distribution of real brains ({real:.0f} % of real ones)."
    return text


def distinguished(part: Json) -> str:
    """Of `parts.two_sample_part`."""
    found = part["accuracy"]
    low, high = (100 * bound for bound in found["synthetic_interval"])
    sees = low > 100 * GUESSING
    verdict = "it finds a difference" if sees else "it finds no difference"
    return (
        f"A small network trained to tell them apart is right for {100 * found['synthetic']:.0f} % "
        f"of unseen brains ({low:.0f} to {high:.0f} %; 50 % is chance): {verdict}. Between two "
        f"groups of real subjects it is right for {100 * found['real']:.0f} %."
    )


def shaped(part: Json) -> str:
    """Of `tissue_shape.tissue_shape`."""
    if "left_out" in part:
        return str(part["left_out"])
    worst = max(part["measures"].values(), key=lambda measure: abs(measure["shift"]))
    found, shift = part["accuracy"], worst["shift"]
    low, high = (100 * bound for bound in found["synthetic_interval"])
    missing = part.get("unmeasured", {}).get("synthetic", {"count": 0})
    text = (
        f"From measures of tissue shape alone {100 * found['synthetic']:.0f} % of unseen brains "
        f"({low:.0f} to {high:.0f} %; 50 % is chance) are classified correctly, between two groups "
        f"of real subjects {100 * found['real']:.0f} %. What differs most: {worst['name']}, "
        f"{abs(shift):.2f} standard deviations {'above' if shift > 0 else 'below'} real brains."
    )
    if missing["count"]:
        text += f" {missing['count']} of {missing['n']} synthetic brains cannot be measured."
    return text


def cubes(part: Json) -> str:
    """Of `cubes.cubes`."""
    if "left_out" in part:
        return str(part["left_out"])
    worst = max(part["regions"], key=lambda name: part["regions"][name]["synthetic"])
    found = part["accuracy"]
    return (
        f"Of cubes of 32 mm {100 * found['synthetic']:.0f} % are classified correctly "
        f"(between two groups of real brains {100 * found['real']:.0f} %; 50 % is chance), "
        f"most of all in the {worst} ({100 * part['regions'][worst]['synthetic']:.0f} %)."
    )


def diverse(part: Json) -> str:
    """Of `parts.diversity`."""
    found = part["pair_correlation"]
    text = (
        f"The mean correlation between two synthetic brains is {found['synthetic']:.2f}, between "
        f"two real brains {found['real']:.2f}."
    )
    if "recall" in part:
        made, real = (100 * part["recall"][key] for key in ("synthetic", "real"))
        text += f" {made:.0f} % of real brains lie within the distribution of synthetic ones "
        text += f"(within that of other real ones {real:.0f} %)."
    return " ".join([text, *(collapsed(part) or ["No sign of collapse."])])


def plausible(part: Json) -> str:
    """Of `parts.plausibility`."""
    made, people = part["synthetic"], part["validation"]
    return (
        f"{made['passed']} of {made['n']} synthetic brains have plausible shape, size, asymmetry "
        f"and tissue contrast (held-out subjects: {people['passed']} of {people['n']})."
    )


def anatomical(part: Json) -> str:
    """Of `anatomy_volumes.tissue_volumes`."""
    volumes = {k: v for k, v in part["measures"].items() if k.endswith("_ml")}
    name = max(volumes, key=lambda key: abs(volumes[key]["shift"]))
    shift = volumes[name]["shift"]
    made = part["unsegmentable"]["synthetic"]
    return (
        f"The tissue volume that differs most is {name.removesuffix('_ml').replace('_', ' ')}: "
        f"{abs(shift):.2f} standard deviations {'above' if shift > 0 else 'below'} real brains. "
        f"{made['count']} of {made['n']} synthetic brains cannot be segmented."
    )


def private(part: Json) -> str:
    """Of `privacy_part.privacy`."""
    copies = part.get("copies", {})
    if copies.get("alarm") is None:
        return str(copies.get("why", "It is unknown whether any is a copy."))
    planted = copies["planted"]
    found = f"{copies['copies']}" if copies["alarm"] else "None"
    return (
        f"{found} of {copies['n']} random brains classified as copies of training subjects. "
        f"Of disguised copies added as a test, {planted['found']} of {planted['n']} were detected."
    )


def members(part: Json) -> str:
    """Of `membership.membership`."""
    if not part["attacks"]:
        return "No attack was possible."
    worst = max(part["attacks"], key=lambda attack: attack["auc"])
    low, high = worst["interval"]
    return (
        f"The strongest attack ({worst['attack']}) identifies training subjects with an AUC of "
        f"{worst['auc']:.2f} ({low:.2f} to {high:.2f}); 0.5 is chance."
    )


def useful(part: Json) -> str:
    """Of `utility.utility`."""
    texts = []
    if "age" in part:
        made, real = (part["age"][key]["mae"] for key in ("synthetic", "real"))
        texts.append(
            f"Brain age learned from synthetic brains is off by {made:.1f} years in held-out "
            f"subjects, learned from real ones by {real:.1f} years (predicting the mean age: "
            f"{part['age']['mean_age']:.1f})."
        )
    if "tissues" in part:
        made, real = (part["tissues"][key]["dice"] for key in ("synthetic", "real"))
        texts.append(
            f"Tissue segmentation learned from synthetic brains reaches Dice {made:.2f}, learned "
            f"from real ones {real:.2f}."
        )
    return " ".join(texts) or " ".join(part["missing"].values())


def edited(part: Json) -> str:
    """Of `edits.edits`."""
    found = part["directions"]
    if not found:
        return "No attribute direction could be checked."
    right = [row for row in found if row["effect_interval"][0] > 0]
    best = max(found, key=lambda row: row["effect"])
    return (
        f"{len(right)} of {len(found)} directions significantly change their attribute as "
        f"intended; the strongest, {best['name']}, by {best['effect']:.2f} of the intended change."
    )


def conditioned(part: Json) -> str:
    """Of `conditions.conditions`."""
    lines = [
        f"{found['name']} r = {found['r']:.2f} (real brains: {found['r_people']:.2f})"
        for found in part["labels"]
    ]
    if not lines:
        return "No label could be checked."
    return f"Correlation of requested and estimated labels: {', '.join(lines)}."


def rebuilt(part: Json) -> str:
    """Of `reconstruction.reconstruction`."""
    way = "projected" if "projected" in part else "encoder" if "encoder" in part else "mean_brain"
    name = {"projected": "By projection", "encoder": "By the encoder alone"}.get(way, "Mean brain")
    found, mean = part[way], part["mean_brain"]
    return (
        f"{name}, {part['n']} held-out subjects are reconstructed with SSIM {found['ssim']:.2f} "
        f"and {found['psnr']:.1f} dB (the mean brain: {mean['ssim']:.2f}, {mean['psnr']:.1f} dB)."
    )


def compared_with_voxels(part: Json) -> str:
    """Of `shape_statistics.shape_statistics`."""
    found, counts = part["generalisation"], part["components"]
    better = sum(change < 0 for change in found["difference"])
    return (
        f"With {counts[-1]} components {part['held_out']} held-out subjects are reconstructed with "
        f"an error of {found['model'][-1]:.3f} (principal components of voxels: "
        f"{found['voxels'][-1]:.3f}); the error is smaller at {better} of {len(counts)} numbers of "
        "components."
    )
