"""From a training run to a generator's folder: averaged weights, card, template, directions.

Where a generator can be calibrated (`calibration.py`) that is done last, on the generator as it is
loaded; `calibrate_folder` does it for a folder that is there.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from stylegan3d.checkpoints.folder import check_target, read_folder, write_folder
from stylegan3d.checkpoints.places import DIRECTIONS, TEMPLATE
from stylegan3d.dataset.pack import TEMPLATE as PACK_TEMPLATE
from stylegan3d.dataset.pack import Pack
from stylegan3d.directions.attributes import build_directions
from stylegan3d.geometry.intensity import to_display
from stylegan3d.measures.similarity import similarity
from stylegan3d.model.card import card_text
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.generator import Generator
from stylegan3d.model.loading import load
from stylegan3d.model.registry import ANATOMY, STYLEGAN
from stylegan3d.networks.anatomy_config import AnatomyConfig
from stylegan3d.networks.anatomy_layers import split_layers
from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.networks.leveled import LeveledSynthesis
from stylegan3d.projection.calibration import LEAST_PEOPLE
from stylegan3d.projection.calibration import calibrate as calibrate_trust
from stylegan3d.recipe.direction_file import save_directions
from stylegan3d.storage.volumes import atomic_write_text
from stylegan3d.training.calibration import calibrate, can_be_calibrated
from stylegan3d.training.data import fixed_volumes
from stylegan3d.training.scaling import latent_scales, scale_latent
from stylegan3d.training.state import TrainState
from stylegan3d.training.warm_start import fit_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

NOT_STATED = "not stated"
IMAGES = ("image_", "detail_", "velocity_")
INTENDED_USE = (
    "Research, teaching and software development. The volumes are synthetic: they must not be used "
    "for diagnosis, nor passed off as scans of patients."
)


def export_generator(
    state: TrainState,
    pack: Pack,
    out: str | Path,
    name: str,
    *,
    licence: str | None = None,
    attribution: str | None = None,
    overwrite: bool = False,
) -> Generator:
    """Write the averaged networks of a run as a generator's folder, and open it.

    Parameters
    ----------
    pack : Pack
        The data set of the run: its grid, licences and validation volumes go into the card.
    licence : str or None
        Terms of the weights; by default the licences of the training data, joined.
    attribution : str or None
        Whom users of the weights must name, where the data's licences ask for it.
    overwrite : bool
        Replace a model that is there.

    Returns
    -------
    Generator
        The generator as anybody will load it.
    """
    out = Path(out)
    check_target(out, overwrite)
    if not state.warm_started:
        # Of a run that is still in its reconstruction phase: fit a copy, the run goes on unchanged.
        state = copy.deepcopy(state)
        if not state.config.deformed:
            fit_mapping(state, pack, torch.float32)
    mapping, synthesis, encoder = (state.averages[part].state_dict() for part in state.nets)
    w_avg = state.w_avg.float()
    network = state.config.generator
    if isinstance(network, AnatomyConfig) and network.detail_basis:
        gain = state.config.detail_gain
        synthesis["detail_basis.weight"] = synthesis["detail_basis.weight"] * gain
    if state.config.generator.mapping_linear_output:
        averaged = state.averages["synthesis"]
        assert isinstance(averaged, LeveledSynthesis)
        scales = latent_scales(averaged)
        mapping, synthesis, encoder, w_avg = scale_latent(
            scales, mapping, synthesis, encoder, w_avg
        )
    if isinstance(network, AnatomyConfig):
        network, synthesis, _ = split_layers(network, synthesis)
    # The mapping stays in float32: it is small, and its layers may carry offsets that must cancel.
    tensors = {f"mapping.{k}": v.float() for k, v in mapping.items()}
    tensors |= halves({f"synthesis.{k}": v for k, v in synthesis.items()})
    if judge_has_learned(state):
        judge = state.discriminator.state_dict()
        tensors |= halves({f"discriminator.{k}": v for k, v in judge.items()})
    tensors["w_avg"] = w_avg
    encoder = halves(encoder)
    card = _card(state, network, pack, name, licence)
    if state.label_schema:
        card["labels"] = state.label_schema
    if attribution:
        card["attribution"] = attribution
    template = pack.path / PACK_TEMPLATE
    if state.config.calibrate and can_be_calibrated(state.config.generator):
        write_folder(out, card, tensors, encoder, {TEMPLATE: template}, overwrite=overwrite)
        _calibrate(load(out, device="cpu"), pack, card, tensors)
        overwrite = True
    return finish(out, card, tensors, encoder, template, pack, overwrite=overwrite)


def calibrate_folder(
    folder: str | Path, pack: Pack, out: str | Path, *, overwrite: bool = False
) -> Generator:
    """Calibrate a generator's folder, find its directions and measure it again.

    Parameters
    ----------
    folder : path-like
        A generator exported without calibration.
    pack : Pack
        The data set that it was trained on.
    out : path-like
        The folder to write; it may be the same one.

    Returns
    -------
    Generator
        The calibrated generator. Its hash is another one: latents of the old one do not fit it.
    """
    out = Path(out)
    check_target(out, overwrite)
    files = read_folder(Path(folder))
    # What was measured before, and the files, are those of another generator.
    stale = ("format", "format_version", "files", "evaluation", "montage", "trust")
    card = {k: v for k, v in files.card.items() if k not in stale}
    tensors = dict(files.tensors)
    _calibrate(load(folder, device="cpu"), pack, card, tensors)
    template = pack.path / PACK_TEMPLATE
    return finish(
        out, card, tensors, files.encoder, template, pack, overwrite=overwrite, labels=files.labels
    )


def _calibrate(
    generator: Generator, pack: Pack, card: dict[str, Any], tensors: dict[str, Tensor]
) -> None:
    """Put a calibrated synthesis network into `card` and `tensors`; the rest stays bit for bit."""
    synthesis = calibrate(generator, pack)
    new = halves({f"synthesis.{k}": v for k, v in synthesis.state_dict().items()})
    known = anatomy_network(generator).state_dict()
    for name, value in new.items():
        before = known.get(name.removeprefix("synthesis."))
        if before is None or not torch.equal(value.to(before), before):
            tensors[name] = value
    card["architecture"] |= {"generator": synthesis.config.to_dict()}


def finish(
    out: Path,
    card: dict[str, Any],
    tensors: dict[str, Tensor],
    encoder: dict[str, Tensor] | None,
    template: Path,
    pack: Pack,
    *,
    overwrite: bool,
    labels: dict[str, Tensor] | None = None,
) -> Generator:
    """Write a folder with directions, figures and the page.

    `labels` are those that a model with the same latents learned after its training.
    """
    card = {k: v for k, v in card.items() if k not in ("quality", "directions")}
    extra = {TEMPLATE: template}
    write_folder(out, card, tensors, encoder, extra, overwrite=overwrite, labels=labels)
    (out / DIRECTIONS).unlink(missing_ok=True)
    generator = load(out, device="cpu")
    directions = build_directions(generator, pack)
    save_directions(out / DIRECTIONS, directions, overwrite=True)
    # The card again, now with what the written weights measure and the directions' hash.
    card["quality"] = measure(generator, pack)
    card["directions"] = list(directions.checks)
    if len(pack.indices("validation")) >= LEAST_PEOPLE:
        card["trust"] = calibrate_trust(generator, pack)
    extra[DIRECTIONS] = out / DIRECTIONS
    write_folder(out, card, tensors, encoder, extra, overwrite=True, labels=labels)
    atomic_write_text(out / "README.md", card_text(card), overwrite=True)
    return load(out, device="cpu")


def judge_has_learned(state: TrainState) -> bool:
    """Whether the discriminator can score volumes.

    Before the adversarial phase it is noise, and one that saw patches knows no whole brains.
    """
    begun = state.warm_started and state.images > state.config.warm_start_images
    return begun and not state.config.patched


def halves(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """bfloat16: the range of float32 at half its size; float16 for what is added to the image.

    There the range is known, and eight bits of mantissa would show as steps of grey.
    """
    halves = {}
    for name, value in state.items():
        image = name.removeprefix("synthesis.").startswith(IMAGES)
        half = torch.float16 if image else torch.bfloat16
        halves[name] = value.to(half) if value.is_floating_point() else value
    return halves


def _card(
    state: TrainState, network: GeneratorConfig, pack: Pack, name: str, licence: str | None
) -> dict[str, Any]:
    config = state.config
    architecture = {
        "family": ANATOMY if isinstance(network, AnatomyConfig) else STYLEGAN,
        "generator": network.to_dict(),
        "discriminator": config.discriminator.to_dict() if judge_has_learned(state) else None,
        "encoder": config.encoder.to_dict(),
    }
    training = {
        "images_seen": state.images,
        "warm_start_images": min(config.warm_start_images, state.images),
        "settings": {
            k: v
            for k, v in config.to_dict().items()
            if k not in ("generator", "discriminator", "encoder")
        },
    }
    return card_of(pack, name, licence, architecture, training)


def card_of(
    pack: Pack,
    name: str,
    licence: str | None,
    architecture: dict[str, Any],
    training: dict[str, Any],
) -> dict[str, Any]:
    """Card of a generator of any family: what it is, and what its data set says.

    Parameters
    ----------
    architecture, training : dict of str to object
        Of the network and of its run.
    licence : str or None
        Licence of the weights; by default the licences of the data, joined.
    """
    rows = [pack.table[i] for i in pack.indices("train")]
    sources: dict[str, dict[str, Any]] = {}
    for row in rows:
        about: dict[str, Any] = {"people": set(), "licence": row.get("licence") or NOT_STATED}
        source = sources.setdefault(str(row.get("source") or "unnamed"), about)
        source["people"].add(row.get("person", row["name"]))
    licences = sorted({str(row.get("licence")) for row in rows if row.get("licence")})
    return {
        "name": name,
        "version": "0.1",
        "modality": "T1-weighted MR, brain extracted",
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
        "training_data": [
            {"source": name, "people": len(about["people"]), "licence": about["licence"]}
            for name, about in sorted(sources.items())
        ],
        "training": {"people": len({row.get("person", row["name"]) for row in rows})} | training,
        "licence": licence or "; ".join(licences) or NOT_STATED,
        "intended_use": INTENDED_USE,
    }


@torch.no_grad()
def measure(generator: Generator, pack: Pack, samples: int = 32) -> dict[str, Any]:
    """What the card says of a generator, each figure with something to compare it to.

    Reconstruction: validation subjects through the encoder alone (no optimisation), medians inside
    the brain, beside the mean brain's. Diversity: mean correlation, inside the mean brain, of pairs
    of random brains and of pairs of real ones; higher means more alike.
    """
    volumes = fixed_volumes(pack, "validation")
    if not len(volumes) or generator.encoder is None:
        return {}
    encoded, mean_brain = [], []
    for volume in volumes.split(1):
        real = to_display(volume)[0]
        w = generator.encoder(volume)
        made = to_display(generator.synthesize(w, noise="none"))[0]
        encoded.append(similarity(made, real, real > 0.05))
        mean_brain.append(similarity(generator.template, real, real > 0.05))
    z = torch.from_numpy(np.random.RandomState(0).randn(samples, generator.z_dim)).float()
    fakes = [to_display(generator.synthesize(generator.map(row[None])))[0] for row in z]
    mask = generator.template > 0.05
    reals = [to_display(v)[0] for v in volumes.split(1)]
    return {
        "validation_people": len(reals),
        "encoder_reconstruction": _medians(encoded),
        "mean_brain": _medians(mean_brain),
        "pair_correlation": {
            "synthetic": mean_pair_correlation(fakes, mask),
            "real_validation": mean_pair_correlation(reals, mask),
        },
    }


def mean_pair_correlation(volumes: Sequence[np.ndarray], mask: np.ndarray) -> float:
    """Mean Pearson correlation over all pairs of volumes inside a mask."""
    matrix = np.corrcoef(np.stack([v[mask] for v in volumes]))
    return round(float(matrix[np.triu_indices(len(volumes), 1)].mean()), 4)


def _medians(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {k: round(float(np.median([r[k] for r in rows])), 4) for k in rows[0]}
