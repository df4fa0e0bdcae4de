"""Export of a training run to a model folder: averaged weights, card, template, directions.

A generator that can be calibrated (`calibration.py`) is calibrated last, after loading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stylegan3d.base import Json, StyleGAN3DError
from stylegan3d.checkpoints.folder import ModelFiles, check_target, write_folder
from stylegan3d.dataset.pack import TEMPLATE as PACK_TEMPLATE
from stylegan3d.dataset.pack import Pack
from stylegan3d.directions.attributes import build_directions
from stylegan3d.geometry.space import to_display
from stylegan3d.measures.similarity import similarity
from stylegan3d.metrics.diversity import pair_correlation
from stylegan3d.model.card import card_text
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.family import ANATOMY, STYLEGAN
from stylegan3d.model.generator import Generator
from stylegan3d.model.loading import load
from stylegan3d.networks.config import AnatomyConfig
from stylegan3d.networks.encoder import FittingEncoder, TaughtEncoder
from stylegan3d.projection.assessment import FILE as RESIDUAL
from stylegan3d.projection.calibration import LEAST_PEOPLE
from stylegan3d.projection.calibration import calibrate as calibrate_trust
from stylegan3d.recipe.latents import save_directions
from stylegan3d.storage.files import atomic_write_bytes, atomic_write_text
from stylegan3d.storage.places import DIRECTIONS, TEMPLATE
from stylegan3d.training.anatomy import FittedAnatomy, State, latent_scales, scale_latent
from stylegan3d.training.calibration import calibrate, can_be_calibrated
from stylegan3d.training.data import fixed_volumes
from stylegan3d.training.run import Run
from stylegan3d.training.stylegan import StyleGANRun

NOT_STATED = "not stated"
MODALITY = "T1-weighted MR, brain extracted"
EXACT = ("image_", "detail_", "velocity_", "flow.")
INTENDED_USE = (
    "Research, teaching and software development. The volumes are synthetic: they must not be used "
    "for diagnosis, nor passed off as scans of patients."
)


def export_stylegan(
    run: StyleGANRun,
    pack: Pack,
    out: str | Path,
    name: str,
    *,
    teacher: Generator | None = None,
    licence: str | None = None,
    attribution: str | None = None,
    overwrite: bool = False,
) -> Generator:
    """Export the averaged networks of a run to a model folder, and load it.

    Parameters
    ----------
    pack : Pack
        The data set of the run, for grid, licences and validation.
    teacher : Generator or None
        That of the run, whose encoder the pupil is given.
    licence : str or None
        Licence of the weights; by default the licences of the training data, joined.
    attribution : str or None
        Attribution required by the data's licences.
    overwrite : bool
        Replace an existing model.

    Returns
    -------
    Generator
        The generator as loaded from the folder.
    """
    out = Path(out)
    check_target(out, overwrite)
    settings = run.task.settings
    tensors = _tensors(run.averages["mapping"].state_dict(), run.averages["synthesis"].state_dict())
    lessons = min(run.steps, settings.teacher_steps) if run.task.teacher else 0
    architecture: Json = {"family": STYLEGAN, "generator": settings.generator.to_dict()}
    if run.steps > lessons:
        discriminator = run.networks["discriminator"].state_dict()
        tensors |= halves({f"discriminator.{k}": v for k, v in discriminator.items()})
        architecture["discriminator"] = settings.discriminator.to_dict()
    tensors["w_avg"] = run.extra["w_avg"].float()
    encoder = None
    if teacher is not None and isinstance(teacher.encoder, FittingEncoder):
        shared = run.extra["teacher"]
        plans, encoder = taught_encoder(teacher, shared["centre"], shared["scale"])
        architecture |= plans
    told = asdict(settings)
    learned = {"hash": run.task.teacher, "images": lessons * settings.batch}
    training = ({"teacher": learned} if lessons else {}) | {
        "images_seen": run.steps * settings.batch,
        "steps_done": run.steps,
        "settings": {k: v for k, v in told.items() if k not in ("generator", "discriminator")},
    }
    card = card_of(pack, name, licence, architecture, training, attribution, labels=run.task.schema)
    return finish(out, card, tensors, encoder, pack, overwrite=overwrite)


def taught_encoder(teacher: Generator, centre: Tensor, scale: Tensor) -> tuple[Json, State]:
    """Entries of the architecture and tensors of a pupil's encoder, see `TaughtEncoder`."""
    config = teacher.config
    assert isinstance(config, AnatomyConfig)
    assert isinstance(teacher.encoder, FittingEncoder)
    config = replace(
        config, detail_basis=0, detail_slope=0.0, flow_channels=(), flow_curves=False, fine_taps=()
    )
    encoder = TaughtEncoder(teacher.encoder.config, config)
    known = anatomy_network(teacher).state_dict()
    encoder.anatomy.load_state_dict({k: known[k] for k in encoder.anatomy.state_dict()})
    encoder.encoder.load_state_dict(teacher.encoder.state_dict())
    plans = {"encoder": encoder.config.to_dict(), "teacher": config.to_dict()}
    return plans, halves(encoder.cpu().state_dict()) | {
        "centre": centre.cpu(),
        "scale": scale.cpu(),
    }


def export_anatomy(
    fit: FittedAnatomy,
    out: str | Path,
    name: str,
    *,
    licence: str | None = None,
    attribution: str | None = None,
    overwrite: bool = False,
) -> Generator:
    """Export an anatomy model to a model folder, and load it; see `export_stylegan`."""
    out = Path(out)
    check_target(out, overwrite)
    pack, settings, network = fit.pack, fit.settings, fit.settings.generator
    mapping, synthesis, encoder, w_avg = (
        fit.mapping.state_dict(),
        fit.synthesis.state_dict(),
        fit.encoder.state_dict(),
        fit.w_avg.float(),
    )
    if network.detail_basis:
        synthesis["detail_basis.weight"] = synthesis["detail_basis.weight"] * settings.detail_gain
    if network.mapping_linear_output:
        scales = latent_scales(fit.synthesis)
        mapping, synthesis, encoder, w_avg = scale_latent(
            scales, mapping, synthesis, encoder, w_avg
        )
    tensors = _tensors(mapping, synthesis) | {"w_avg": w_avg}
    encoding = halves(encoder)
    architecture = {
        "family": ANATOMY,
        "generator": network.to_dict(),
        "discriminator": None,
        "encoder": settings.encoder.to_dict(),
    }
    told = {k: v for k, v in settings.to_dict().items() if k not in architecture}
    card = card_of(
        pack, name, licence, architecture, {"settings": told}, attribution, labels=fit.schema
    )
    if settings.calibrate and can_be_calibrated(network):
        extra = {TEMPLATE: pack.path / PACK_TEMPLATE}
        write_folder(out, card, tensors, encoding, extra, overwrite=overwrite)
        _calibrate(load(out, device="cpu"), pack, card, tensors)
        overwrite = True
    return finish(out, card, tensors, encoding, pack, overwrite=overwrite)


def _tensors(mapping: State, synthesis: State) -> State:
    """Tensors of a generator as they are stored.

    The mapping stays in float32: it is small, and its layers may have offsets that must cancel.
    """
    tensors = {f"mapping.{k}": v.float() for k, v in mapping.items()}
    return tensors | halves({f"synthesis.{k}": v for k, v in synthesis.items()})


def _calibrate(generator: Generator, pack: Pack, card: Json, tensors: dict[str, Tensor]) -> None:
    """Update `card` and `tensors` with a calibrated synthesis network; the rest is unchanged."""
    synthesis = calibrate(generator, pack)
    new = halves({f"synthesis.{k}": v for k, v in synthesis.state_dict().items()})
    known = anatomy_network(generator).state_dict()
    for name, value in new.items():
        before = known.get(name.removeprefix("synthesis."))
        if before is None or not torch.equal(value.to(before), before):
            tensors[name] = value
    card["architecture"] |= {"generator": synthesis.config.to_dict()}


def card_anew(card: Json) -> Json:
    """The card of a generator that is changed, without figures and files of the old one."""
    stale = ("format", "format_version", "files", "evaluation", "montage", "trust")
    return {k: v for k, v in card.items() if k not in stale}


def finish(
    out: Path,
    card: Json,
    tensors: dict[str, Tensor],
    encoder: dict[str, Tensor] | None,
    pack: Pack,
    *,
    overwrite: bool,
    before: ModelFiles | None = None,
) -> Generator:
    """Write a model folder with directions, figures and the card's page.

    `before` is a model with the same latents that is changed: its template and labels are kept.
    """
    labels = None if before is None else before.labels
    folder, name = (pack.path, PACK_TEMPLATE) if before is None else (before.folder, TEMPLATE)
    card = {k: v for k, v in card.items() if k not in ("quality", "directions")}
    assert folder is not None  # a file of another program cannot be changed
    extra = {TEMPLATE: folder / name}
    write_folder(out, card, tensors, encoder, extra, overwrite=overwrite, labels=labels)
    (out / DIRECTIONS).unlink(missing_ok=True)
    generator = load(out, device="cpu")
    directions = build_directions(generator, pack)
    save_directions(out / DIRECTIONS, directions, overwrite=True)
    # Write the card again, with figures of the stored weights and the directions' hash.
    card["quality"] = measure(generator, pack)
    card["directions"] = list(directions.checks)
    if len(pack.indices("validation")) >= LEAST_PEOPLE:
        calibration = calibrate_trust(generator, pack)
        card["trust"] = calibration.entry
        extra[RESIDUAL] = out / RESIDUAL
        atomic_write_bytes(out / RESIDUAL, calibration.maps, overwrite=True)
    extra[DIRECTIONS] = out / DIRECTIONS
    write_folder(out, card, tensors, encoder, extra, overwrite=True, labels=labels)
    atomic_write_text(out / "README.md", card_text(card), overwrite=True)
    return load(out, device="cpu")


def halves(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert to bfloat16, with the range of float32; float16 for those whose range is known.

    Of tensors added to the image, eight bits of mantissa would be visible as banding; and a flow is
    matched to subjects by changes of its weights smaller than those bits (`shape_matching.py`).
    """
    halves = {}
    for name, value in state.items():
        exact = name.removeprefix("synthesis.").removeprefix("anatomy.").startswith(EXACT)
        half = torch.float16 if exact else torch.bfloat16
        halves[name] = value.to(half) if value.is_floating_point() else value
    return halves


def card_of(
    pack: Pack,
    name: str,
    licence: str | None,
    architecture: Json,
    training: Json,
    attribution: str | None = None,
    labels: Sequence[Json] = (),
) -> Json:
    """The card of a generator of any family.

    Parameters
    ----------
    architecture, training : dict of str to object
        Entries about the network and its training.
    licence : str or None
        Licence of the weights; by default the licences of the data, joined.
    attribution : str or None
        Attribution required by the data's licences.
    labels : sequence of dict
        Labels of a conditional generator, see `stylegan3d.recipe.label`.
    """
    more: Json = {"labels": [*labels]} if labels else {}
    if attribution:
        more["attribution"] = attribution
    data, people, licences = learned_from(pack, pack.indices("train"))
    return {
        "name": name,
        "version": "0.1",
        "modality": MODALITY,
        "architecture": architecture,
        "space": {
            "shape": list(pack.space.shape),
            "affine": pack.space.affine.tolist(),
            "axes": "".join(pack.space.axcodes),
            "description": "Rigidly aligned to the mean brain, true size kept.",
        },
        "intensity": {
            "outside": 0,
            "one": "99.5th percentile inside the brain",
            "network_range": [-1, 1],
        },
        "training_data": data,
        "training": {"people": people} | training,
        "licence": licence or licences,
        "intended_use": INTENDED_USE,
    } | more


def learned_from(pack: Pack, rows: Sequence[int] | np.ndarray) -> tuple[list[Json], int, str]:
    """What a card says of the data: the sources, how many people there are, and all licences.

    Parameters
    ----------
    rows : sequence or ndarray of int
        Rows of the data set that were learned from.
    """
    people: dict[tuple[str, str], set[str]] = {}
    for row in (pack.table[i] for i in rows):
        terms = str(row.get("licence") or NOT_STATED)
        of_source = people.setdefault((str(row.get("source") or "unnamed"), terms), set())
        of_source.add(str(row.get("person", row["name"])))
    data: list[Json] = [
        {"source": source, "people": len(those), "licence": terms}
        for (source, terms), those in sorted(people.items())
    ]
    licences = sorted({terms for _, terms in people} - {NOT_STATED}) or [NOT_STATED]
    return data, len(set().union(*people.values())), "; ".join(licences)


def rounded(run: Run[Any]) -> Any:
    """The averaged network with weights as they are stored: what is measured is what is written."""
    network = run.average
    network.load_state_dict({k: v.half().float() for k, v in network.state_dict().items()})
    return network


def about(
    run: Run[Any],
    pack: Pack,
    rows: Sequence[int] | np.ndarray,
    *,
    licence: str | None,
    intended_use: str,
    training: Json,
) -> Json:
    """Entries of the card on the data and the training.

    Parameters
    ----------
    run : Run
        The run.
    pack : Pack
        The data set.
    rows : sequence or ndarray of int
        Rows of the data set that it learned from.
    licence : str or None
        Licence of the weights; those of the data by default.
    intended_use : str
        A sentence or two.
    training : dict of str to object
        Further facts of the training.
    """
    data, people, licences = learned_from(pack, rows)
    done = {"steps": run.steps, "seed": run.settings.seed}
    return {
        "modality": MODALITY,
        "intensity": {"outside": 0, "one": "99.5th percentile inside the brain"},
        "training_data": data,
        "training": {"people": people, **training, **done},
        "licence": licence or licences,
        "intended_use": intended_use,
    }


def noted(card: Json, notes: Json | None) -> Json:
    """A card with further entries.

    Raises
    ------
    StyleGAN3DError
        If one of them is an entry that the program writes itself.
    """
    taken = sorted(set(card) & set(notes or {}))
    if taken:
        raise StyleGAN3DError(f"'{taken[0]}' is an entry of the card that the program writes.")
    return card | (notes or {})


@torch.no_grad()
def measure(generator: Generator, pack: Pack, samples: int = 32) -> Json:
    """Figures for the card, with baselines.

    Reconstruction: validation subjects by the encoder alone, if there is one, medians inside the
    brain, and those of the mean brain. Diversity: mean correlation, inside the mean brain, of pairs
    of random brains and of real brains; higher means more similar.
    """
    volumes = fixed_volumes(pack, "validation")
    if not len(volumes):
        return {}
    reals = [to_display(volume)[0] for volume in volumes.split(1)]
    found: Json = {
        "validation_people": len(reals),
        "mean_brain": _medians([similarity(generator.template, r, r > 0.05) for r in reals]),
    }
    if generator.encoder is not None:
        encoded = []
        for volume, real in zip(volumes.split(1), reals, strict=True):
            made = to_display(generator.synthesize(generator.encoder(volume), noise="none"))[0]
            encoded.append(similarity(made, real, real > 0.05))
        found["encoder_reconstruction"] = _medians(encoded)
    if len(reals) < 2:
        return found  # one subject is no pair
    z = torch.from_numpy(np.random.RandomState(0).randn(samples, generator.z_dim)).float()
    fakes = [to_display(generator.synthesize(generator.map(row[None])))[0] for row in z]
    mask = generator.template > 0.05
    synthetic, real = (round(pair_correlation(brains, mask), 4) for brains in (fakes, reals))
    return found | {"pair_correlation": {"synthetic": synthetic, "real_validation": real}}


def _medians(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {k: round(float(np.median([r[k] for r in rows])), 4) for k in rows[0]}
