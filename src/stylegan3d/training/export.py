"""Export of a training run to a model folder: averaged weights, card, template, directions.

A generator that can be calibrated is calibrated last, after loading: three properties of the
training brains are measured, and an anatomy model's output gets them without training, see
`networks/flow.py`:

- *Saturation*: the detail images are scaled to unit variance at each voxel, passed through a
  sigmoid, since tissue never reaches the extremes of a sum of many textures, and rescaled to their
  variance. Marginals and spectra are matched as in texture synthesis (Heeger, Bergen 1995).
- *Contrast*: the strength of fine structure differs between subjects (scanner, age). A ridge
  regression predicts it from the basis images' weights, and the details are scaled accordingly.
- *Outline*: extracted brains have a sharp edge. The toe is chosen such that random brains are as
  bright as subjects in the first voxel outside their surface.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from stylegan3d.base import Json, ModelError, StyleGAN3DError
from stylegan3d.checkpoints.folder import UNFINISHED, ModelFiles, check_target, write_folder
from stylegan3d.dataset.pack import TEMPLATE as PACK_TEMPLATE
from stylegan3d.dataset.pack import Pack
from stylegan3d.directions.attributes import build_directions
from stylegan3d.directions.people import encoded
from stylegan3d.geometry.space import dilated, eroded, to_display, unit
from stylegan3d.measures.similarity import similarity
from stylegan3d.metrics.diversity import pair_correlation
from stylegan3d.model.card import card_text
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.family import ANATOMY, STYLEGAN
from stylegan3d.model.generator import Generator, load
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import AnatomyConfig, GeneratorConfig
from stylegan3d.networks.encoder import FittingEncoder, TaughtEncoder
from stylegan3d.networks.flow import DetailTexture
from stylegan3d.networks.resampling import haar, inverse_haar
from stylegan3d.projection.assessment import FILE as RESIDUAL
from stylegan3d.projection.calibration import LEAST_PEOPLE
from stylegan3d.projection.calibration import calibrate as calibrate_trust
from stylegan3d.recipe.latents import save_directions
from stylegan3d.recipe.model import seed_latents
from stylegan3d.storage.files import atomic_write_bytes, atomic_write_text
from stylegan3d.storage.places import DIRECTIONS, PAGE, TEMPLATE
from stylegan3d.training.anatomy import FittedAnatomy, State, latent_scales, scale_latent
from stylegan3d.training.data import fixed_volumes
from stylegan3d.training.run import Run
from stylegan3d.training.stylegan import StyleGANRun

# Steepness of the sigmoid for unit variance. A steep one (4) makes edges between two greys, but not
# at the edges of the basis images.
SLOPE = 1.0
# Smoothing of the details' standard deviations, which come from few images.
DEVIATION_SMOOTHING = 1.0
SAMPLES = 32
BRAIN = 0.05
# Fine structure: residual of a Gaussian with this sigma, this many voxels inside the brain.
FINE, DEPTH = 1.6, 3
# Threshold of the brain's surface, above which the toe has no effect.
SURFACE = 0.25
TOES = np.linspace(0, SURFACE, 26)
PENALTIES = np.logspace(-3, 4, 15)


def can_be_calibrated(config: GeneratorConfig) -> bool:
    """Whether `calibrate` applies to such a generator."""
    return isinstance(config, AnatomyConfig) and bool(config.deformation and config.detail_basis)


@torch.no_grad()
def calibrate(generator: Generator, pack: Pack) -> AnatomyNetwork:
    """The generator's synthesis network, calibrated to a dataset's training subjects.

    Parameters
    ----------
    generator : Generator
        Generator with a deformation and detail images, not calibrated yet.
    pack : Pack
        The dataset it was trained on.

    Raises
    ------
    ModelError
        If it is already calibrated, or has nothing to calibrate.
    """
    network = anatomy_network(generator)
    before = network.config
    if before.detail_slope or before.toe:
        raise ModelError(
            f"The generator '{generator.name}' is calibrated already; export its run again without "
            "calibration to begin anew."
        )
    if not can_be_calibrated(before):
        raise ModelError(
            f"The generator '{generator.name}' cannot be calibrated: it has no deformation or no "
            "detail images."
        )
    synthesis = AnatomyNetwork(replace(before, detail_slope=SLOPE, toe=True))
    assert isinstance(synthesis, AnatomyNetwork)
    missing = synthesis.load_state_dict(network.state_dict(), strict=False)
    assert all(k.startswith(("detail_texture.", "image_toe.")) for k in missing.missing_keys)
    synthesis = synthesis.to(generator.device).eval().requires_grad_(False)
    latents = seed_latents(generator, range(SAMPLES))
    set_edges(synthesis, seed_latents(generator, range(512))[:, 0, before.details].std(dim=0))
    if generator.encoder is not None:
        set_contrast(synthesis, generator, pack)
    synthesis.image_toe.ends.copy_(torch.tensor([-1.0, 0.0]))
    made = [to_display(synthesis(w[None], "fixed"))[0] for w in latents]
    people = [unit(pack.volumes[row]) for row in pack.indices("train", SAMPLES)]
    synthesis.image_toe.ends.copy_(torch.tensor(find_toe(made, people)))
    return synthesis


def set_edges(synthesis: AnatomyNetwork, deviations: Tensor) -> None:
    """Scale the detail images to unit variance at each voxel, and set the sigmoid's scale.

    Parameters
    ----------
    synthesis : AnatomyNetwork
        With details of the linear model; modified in place.
    deviations : Tensor, shape (detail_basis,)
        Standard deviations of the details' weights among random brains.
    """
    basis, texture = synthesis.detail_basis, synthesis.detail_texture
    assert isinstance(texture, DetailTexture)
    fields, inside = basis.fields.cpu(), basis.inside.cpu()
    if texture.haar_head:
        fields = inverse_haar(fields)
    weighed = fields * deviations.cpu()[:, None, None, None, None]
    old = _deviation(weighed)
    fields = fields / old
    whole = fields * deviations.cpu()[:, None, None, None, None]
    if texture.haar_head:
        fields, old = haar(fields), torch.nn.functional.avg_pool3d(old[None], 2)[0]
        texture.within.copy_(haar(whole)[:, 1:].square().sum(dim=(0, 1))[inside].mean())
    basis.set_fields(fields.to(basis.weight), inside.to(basis.inside.device))
    normal = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    texture.scale.copy_(old / torch.tanh(texture.slope * normal).std())


def set_contrast(synthesis: AnatomyNetwork, generator: Generator, pack: Pack) -> None:
    """Set how the strength of details depends on w, from the subjects' fine structure."""
    from sklearn.linear_model import RidgeCV

    config = synthesis.config
    codes, contrast = [], []
    for row in pack.indices("train"):
        volume = unit(pack.volumes[row])
        codes.append(encoded(generator, volume))
        contrast.append(fine_contrast(volume))
    used = slice(config.deformation, config.deformation + config.image_basis)
    x, y = np.stack(codes)[:, used], np.log(np.maximum(contrast, 1e-6))
    if not used.stop > used.start or len(x) < 4:
        return
    found = RidgeCV(PENALTIES).fit(x - x.mean(axis=0), y - y.mean())
    texture = synthesis.detail_texture
    texture.contrast[used] = torch.from_numpy(found.coef_).to(texture.contrast)
    texture.centre.copy_(generator.w_avg)


def fine_contrast(volume: np.ndarray) -> float:
    """Standard deviation of fine structure inside a brain (X, Y, Z) in [0, 1]."""
    brain = volume > BRAIN
    inside = eroded(brain, DEPTH)
    place = inside if inside.any() else brain
    fine = volume - ndimage.gaussian_filter(volume, FINE, truncate=3)
    return float(fine[place].std()) if place.any() else 0.0


def find_toe(made: Iterable[np.ndarray], people: Iterable[np.ndarray]) -> tuple[float, float]:
    """Ends of the toe that make brains `made` as dark outside their surface as `people`.

    Brains are (X, Y, Z) in [0, 1].

    Returns
    -------
    tuple
        0 below the first, unchanged above the second; (-1, 0) for no toe.
    """
    real = np.mean([v[_beside(v)].mean() for v in people])
    shells = [v[_beside(v)] for v in made]
    darkness = [np.mean([toed(shell, end / 2, end).mean() for shell in shells]) for end in TOES]
    best = float(TOES[int(np.argmin(np.abs(np.array(darkness) - real)))])
    return (best / 2, best) if best else (-1.0, 0.0)


def toed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Intensities after a toe: 0 below `low`, unchanged above `high`."""
    t = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    return values * t * t * (3 - 2 * t)


def _beside(volume: np.ndarray) -> np.ndarray:
    """Voxels directly outside the surface of a brain."""
    brain = volume > SURFACE
    grown = dilated(brain)
    return np.asarray(grown & ~brain if grown.sum() > brain.sum() else grown)


def _deviation(fields: Tensor) -> Tensor:
    """Smoothed standard deviation at each voxel of a sum of fields [n, 1, X, Y, Z]: [1, X, Y, Z]"""
    sigma = fields.square().sum(dim=0).sqrt()[0].numpy()
    smooth = ndimage.gaussian_filter(sigma, DEVIATION_SMOOTHING)
    return torch.from_numpy(np.maximum(smooth, 1e-3))[None]


NOT_STATED = "not stated"
MODALITY = "T1-weighted MR, brain extracted"
EXACT = ("image_", "detail_", "velocity_", "flow.", "warp.", "texture.")
INTENDED_USE = (
    "Research, teaching and software development. The volumes are synthetic: they must not be used "
    "for diagnosis, nor passed off as scans of patients."
)


@dataclass(frozen=True)
class ModelTarget:
    """Where a new model goes, and what its card says of the weights.

    Attributes
    ----------
    folder : Path
    name : str
        By default the folder's.
    licence : str or None
        Licence of the weights; by default the licences of the training data, joined.
    attribution : str or None
        Attribution required by the data's licences.
    overwrite : bool
        Replace an existing model.
    """

    folder: Path
    name: str = ""
    licence: str | None = None
    attribution: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.folder.name)

    def check(self) -> None:
        """See `check_target`."""
        check_target(self.folder, self.overwrite)


def export_stylegan(
    run: StyleGANRun, pack: Pack, to: ModelTarget, *, teacher: Generator | None = None
) -> Generator:
    """Export the averaged networks of a run to a model folder, and load it.

    Parameters
    ----------
    pack : Pack
        The dataset of the run, for grid, licences and validation.
    to : ModelTarget
        The folder, and what its card says.
    teacher : Generator or None
        That of the run, whose encoder the pupil is given.

    Returns
    -------
    Generator
        The generator as loaded from the folder.
    """
    to.check()
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
    card = card_of(pack, to, architecture, training, run.task.labels)
    return finish(to.folder, card, tensors, encoder, pack, overwrite=to.overwrite)


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


def export_anatomy(fit: FittedAnatomy, to: ModelTarget) -> Generator:
    """Export an anatomy model to a model folder, and load it; see `export_stylegan`."""
    to.check()
    out, overwrite = to.folder, to.overwrite
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
        mapping, synthesis, encoder, w_avg = scale_latent(
            latent_scales(fit.synthesis), mapping, synthesis, encoder, w_avg
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
    card = card_of(pack, to, architecture, {"settings": told}, fit.schema)
    if settings.calibrate and can_be_calibrated(network):
        extra = {TEMPLATE: pack.path / PACK_TEMPLATE}
        write_folder(out, card | {UNFINISHED: True}, tensors, encoding, extra, overwrite=overwrite)
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
    labels_follow: bool = False,
) -> Generator:
    """Write a model folder with directions, figures and the card's page.

    `before` is a model with the same latents that is changed: its template and labels are kept. One
    that is to learn labels yet stays unfinished.
    """
    labels = None if before is None else before.labels
    folder, name = (pack.path, PACK_TEMPLATE) if before is None else (before.folder, TEMPLATE)
    card = {k: v for k, v in card.items() if k not in ("quality", "directions")}
    assert folder is not None  # a file of another program cannot be changed
    extra = {TEMPLATE: folder / name}
    begun = card | {UNFINISHED: True}
    write_folder(out, begun, tensors, encoder, extra, overwrite=overwrite, labels=labels)
    (out / DIRECTIONS).unlink(missing_ok=True)
    generator = load(out, device="cpu")
    directions = build_directions(generator, pack)
    save_directions(out / DIRECTIONS, directions, overwrite=True)
    # Write the card again, with figures of the stored weights and the directions' hash.
    card["quality"] = measure(generator, pack)
    card["directions"] = list(directions.checks)
    if len(pack.indices("validation")) >= LEAST_PEOPLE:
        card["trust"], maps = calibrate_trust(generator, pack)
        extra[RESIDUAL] = out / RESIDUAL
        atomic_write_bytes(out / RESIDUAL, maps, overwrite=True)
    extra[DIRECTIONS] = out / DIRECTIONS
    atomic_write_text(out / PAGE, card_text(card), overwrite=True)
    card = begun | card if labels_follow else card
    write_folder(out, card, tensors, encoder, extra, overwrite=True, labels=labels)
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
    pack: Pack, to: ModelTarget, architecture: Json, training: Json, labels: Sequence[Json] = ()
) -> Json:
    """The card of a generator of any family.

    Parameters
    ----------
    architecture, training : dict of str to object
        Entries about the network and its training.
    labels : sequence of dict
        Labels of a conditional generator, see `stylegan3d.recipe.model`.
    """
    more: Json = {"labels": [*labels]} if labels else {}
    if to.attribution:
        more["attribution"] = to.attribution
    data, people, licences = learned_from(pack, pack.indices("train"))
    return {
        "name": to.name,
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
        "licence": to.licence or licences,
        "intended_use": INTENDED_USE,
    } | more


def learned_from(pack: Pack, rows: Sequence[int] | np.ndarray) -> tuple[list[Json], int, str]:
    """What a card says of the data: the sources, how many people there are, and all licences.

    Parameters
    ----------
    rows : sequence or ndarray of int
        Rows of the dataset that were learned from.
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
    licences = sorted({terms for _, terms in people}) or [NOT_STATED]
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
    licence: str | None,
    intended_use: str,
    **training: object,
) -> Json:
    """Entries of the card on the data and the training.

    Parameters
    ----------
    run : Run
        The run.
    pack : Pack
        The dataset.
    rows : sequence or ndarray of int
        Rows of the dataset that it learned from.
    licence : str or None
        Licence of the weights; those of the data by default.
    intended_use : str
        A sentence or two.
    training : object
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
