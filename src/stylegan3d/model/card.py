"""The model card as a Markdown page, generated from `card.json`.

Headings after Mitchell et al. 2019, "Model Cards for Model Reporting" (arXiv 1810.03993).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stylegan3d.base import Json, ModelError
from stylegan3d.model.family import ANATOMY, STYLEGAN, family_name, family_of

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

LIMITS = """\
- Synthetic volumes show no real person, but a generator trained on few subjects can come close to
  some of them; the evaluation shows how close.
- It knows the ages, scanners and the contrast of its training data, and no disease. A scan outside
  this range is reconstructed as if it were inside.
- A reconstruction may omit structures of a scan, and add structures that are not there."""


#: How the names of the figures begin that the page shows; `card.json` has all.
HEADLINES = (
    "FID (",
    "distinguished from real brains, accuracy",
    "distinguished from held-out subjects by",
    "cubes of 32 mm",
    "patches of 32 mm",
    "MS-SSIM of pairs",
    "plausible brains",
    "copies of training brains",
    "membership inference by encoder, fine",
    "membership inference by random brains nearby, features",
    "label age",
    "label ventricle_ml",
    "projected in",
)


def card_text(card: Json) -> str:
    """Markdown of a generator's card."""
    space = card["space"]
    size = " x ".join(str(n) for n in space["shape"])
    sections = [
        f"# {card['name']}",
        f"{card['modality']}: {size} voxels, axes {space['axes']}. {space['description']}",
        "## Intended use",
        card["intended_use"],
        "## Licence",
        f"{card['licence']}. The code that runs it has its own licence.",
        *_origin(card),
        "## Architecture",
        f"{_architecture(card)} Every setting is in `card.json`.",
        "## Measured quality",
        _quality(card.get("quality") or {}),
        *_evaluation(card),
        *_labels(card.get("labels") or []),
        *_directions(card.get("directions") or []),
        *_trust(card.get("trust")),
        "## Limits",
        LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def check_card(generator: Generator) -> None:
    """Check that a page can be written from a card, before any work is done.

    Raises
    ------
    ModelError
        If the generator has no card of its own, or it is incomplete.
    """
    if generator.folder is None:
        raise ModelError(
            f"The model '{generator.name}' is a file of another program, which has no card to "
            "write in: make a folder of it with `stylegan3d model convert` first."
        )
    try:
        card_text(generator.card)
    except KeyError as error:
        raise ModelError(
            f"The card of the model '{generator.name}' does not give {error}, so its page cannot "
            "be written: complete card.json first."
        ) from None
    except (TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        raise ModelError(
            f"The card of the model '{generator.name}' is not valid "
            f"({str(error)[:120]}), so its page cannot be written: correct card.json first."
        ) from None


def _origin(card: Json) -> list[str]:
    """Where the network comes from: trained here, or converted from another program."""
    if "origin" in card:
        origin = card["origin"]
        text = f"File `{origin['file']}`, SHA-256 `{origin['sha256']}`."
        unknown = "Unknown: the file does not name its data."
        return ["## Origin", f"{origin['description']} {text}", "## Training data", unknown]
    training = card["training"]
    if family_name(card) not in (STYLEGAN, ANATOMY):
        text = training["description"]
        if training.get("flow"):
            text += " " + _latent_flow(training["flow"])
    else:
        text = _training(training, card["architecture"]["generator"])
    if training.get("encoder"):
        told = training["encoder"]
        brains = told["steps_done"] * told["batch"]
        text += f" The encoder was trained afterwards on {brains} random brains of the generator."
    return [
        "## Training data",
        _data_table(card["training_data"]),
        *([card["attribution"]] if card.get("attribution") else []),
        "## Training",
        text,
    ]


def _architecture(card: Json) -> str:
    """The networks in a sentence; for other families the title and the card's description."""
    family = family_name(card)
    if family == ANATOMY:
        return _anatomy(card)
    if family != STYLEGAN:
        about = card["architecture"].get("description", "")
        title = family_of(card).title
        told = f"{title[:1].upper()}{title[1:]}. {about}".strip()
        flow = card["architecture"].get("flow")
        if flow:
            told += (
                f" A flow of {_steps(flow['steps'])} draws the texture that a latent leaves open."
            )
        return told
    network = card["architecture"]["generator"]
    return (
        f"StyleGAN2 in three dimensions: base grid {tuple(network['base'])}, channels "
        f"{tuple(network['channels'])}, z {network['z_dim']}, w {network['w_dim']}, "
        f"`{network['wiring']}` wiring, `{network['head']}` head."
    )


def _data_table(rows: list[Json]) -> str:
    lines = ["| source | subjects | licence |", "|---|---|---|"]
    lines += [f"| {r['source']} | {r['people']} | {r['licence']} |" for r in rows]
    return "\n".join(lines)


def _anatomy(card: Json) -> str:
    """The parts of an anatomy model, in order of evaluation."""
    network = card["architecture"]["generator"]
    parts = ["a constant image"] if network.get("image_const") else []
    if network.get("image_basis"):
        parts.append(f"{network['image_basis']} linear appearance images")
    if network.get("detail_basis"):
        parts.append(f"{network['detail_basis']} detail images")
    if network.get("detail_slope"):
        parts.append("details and outline calibrated to the training subjects")
    if network.get("deformation"):
        parts.append(f"a deformation by {network['deformation']} velocity fields")
    if network.get("flow_channels"):
        curves = ", calibrated to the training subjects" if network.get("flow_curves") else ""
        steps = _steps(network["flow_steps"])
        parts.append(f"a rectified flow of {steps} to realistic brains{curves}")
    return (
        f"Anatomy model: {', '.join(parts)}. Base grid {tuple(network['base'])}, z "
        f"{network['z_dim']}, w {network['w_dim']}, `{network['head']}` head."
    )


def _steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"


def _flow(flow: Json) -> str:
    pairs, ways = (
        sum(run["steps_done"] for run in _runs(flow) if bool(run.get("straight")) == straight)
        for straight in (False, True)
    )
    size, told = _cubes(flow), []
    if pairs:
        told.append(f"{pairs} x {size}, pairs of a linear brain and the subject with its anatomy")
    if ways:
        told.append(f"{ways} x {size} from a flow with more steps (distillation)")
    text = f"The final flow was trained on {', then on '.join(told)}."
    if "matched" in flow:
        before, after = flow["matched"]["distance"]
        text += (
            " A change of its weights was then found with which tissue shapes and features of "
            "random brains have the means of the subjects (squared distance "
            f"{before:.2f} before, {after:.2f} after); {100 * flow['matched']['share']:.0f} % of "
            "it was made."
        )
    return text


def _runs(flow: Json) -> list[Json]:
    """The training run of a flow, the run it started from, and so on."""
    begun = flow.get("begun_with")
    return [flow, *(_runs(begun) if begun else [])]


def _cubes(flow: Json) -> str:
    return f"{flow['cubes']} cubes of {flow['side']} voxels"


def _latent_flow(flow: Json) -> str:
    """A flow after a decoder, possibly initialised from another generator's."""
    text = (
        f"The flow was trained on {flow['steps_done']} x {_cubes(flow)}, pairs of a decoded brain "
        "and the subject it resembles."
    )
    before = sum(run["steps_done"] for run in _runs(flow)[1:])
    return text + (f" It began with a flow of {before} steps of training." if before else "")


def _training(training: Json, network: Json) -> str:
    """How an anatomy model or a StyleGAN was made."""
    people = f"{training['people']} subjects"
    if not network.get("deformation"):
        return (
            f"{people}; {training['images_seen']} training volumes with the adversarial objective. "
            "Volumes were mirrored and slightly stretched at random."
        )
    told = (
        f"{people}. The linear parts are the principal components of the velocity fields from the "
        "common anatomy to each subject, and of the subjects warped to it."
    )
    return told + (" " + _flow(training["flow"]) if training.get("flow") else "")


def _quality(quality: Json) -> str:
    if not quality:
        return "Not measured."
    encoded, mean = quality.get("encoder_reconstruction"), quality["mean_brain"]
    return "\n".join(
        [
            f"On {quality['validation_people']} held-out subjects, medians inside the brain:",
            "",
            "| reconstruction | PSNR (dB) | SSIM | correlation |",
            "|---|---|---|---|",
            *([f"| by the encoder, no optimisation | {_row(encoded)} |"] if encoded else []),
            f"| the mean brain, for comparison | {_row(mean)} |",
        ]
    )


def _evaluation(card: Json) -> list[str]:
    """Results of `stylegan3d evaluate --card`, each beside the value for real subjects."""
    rows = [row for part in card.get("evaluation", {}).values() for row in part]
    if not rows:
        return []
    lines = ["| figure | synthetic | real vs real |", "|---|---|---|"]
    lines += [
        f"| {r['name'].strip()} | {r['synthetic']} | {r['real']} |"
        for r in rows
        if r["name"].strip().startswith(HEADLINES)
    ]
    about = f"By `stylegan3d evaluate`; `card.json` has all {len(rows)} figures and their aims."
    parts = ["## Evaluation", about, "\n".join(lines)]
    if card.get("montage"):
        parts.append(f"![Synthetic brains beside real ones]({card['montage']})")
    return parts


def _labels(schema: list[Json]) -> list[str]:
    """Labels that were learned after training."""
    learned = [entry for entry in schema if "explained" in entry]
    if not learned:
        return []
    lines = [
        "| label | range or categories | predicted in left-out training subjects |",
        "|---|---|---|",
    ]
    for entry in learned:
        whom = ", ".join(entry.get("values", []))
        if "range" in entry:
            unit = f" {entry['unit']}" if "unit" in entry else ""
            whom = "{:g} to {:g}".format(*(round(x, 1) for x in entry["range"])) + unit
        by = entry.get("told_by", "latents")
        share = f"{100 * entry['explained']:.0f} % of its variance, by {by}"
        # Unlike "brain tissue" of an evaluation it includes CSF.
        name = "brain_ml (head size)" if entry["name"] == "brain_ml" else entry["name"]
        lines.append(f"| {name} | {whom} | {share} |")
    about = "Random brains can be generated for these."
    return ["## Labels", about, "\n".join(lines)]


def _directions(checks: list[Json]) -> list[str]:
    """Checks of attribute directions on held-out subjects."""
    if not checks:
        return []
    lines = ["| direction | r | AUC |", "|---|---|---|"]
    for check in checks:
        name = check["name"] + (" (left out)" if check.get("left_out") else "")
        figures = [f"{check[k]:.2f}" if check.get(k) is not None else "" for k in ("r", "auc")]
        lines.append(f"| {name} | {figures[0]} | {figures[1]} |")
    most = max(check["n_check"] for check in checks)
    return ["## Directions", f"In {most} held-out subjects or fewer.", "\n".join(lines)]


def _trust(trust: Json | None) -> list[str]:
    """Thresholds beyond which a scan counts as out of distribution."""
    if not trust:
        return []
    return [
        "## What it knows",
        f"Out-of-distribution score of scans: below {trust['close']:.2f} in 95 % of "
        f"{trust['people']} held-out subjects, outside what it knows from {trust['outside']:.2f} "
        f"(AUC {trust['check']['auc']:.3f} against noise, other contrasts and large lesions).",
        *_residual(trust.get("residual")),
    ]


def _residual(residual: Json | None) -> list[str]:
    """How findings are distinguished from differences between healthy subjects."""
    if not residual:
        return []
    return [
        f"Findings are where a scan differs more than theirs (`{residual['file']}`): judged by the "
        f"others, {100 * residual['people_with_findings']:.0f} % of these subjects have one."
    ]


def _row(figures: dict[str, float]) -> str:
    return f"{figures['psnr']:.2f} | {figures['ssim']:.3f} | {figures['ncc']:.3f}"
