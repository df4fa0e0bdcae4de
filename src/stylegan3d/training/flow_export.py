"""Export of a generator with a trained flow."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from stylegan3d.checkpoints.folder import ModelFiles, check_target, read_folder
from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import ModelError
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.families.autoencoder import FLOW as LATENT_FLOW
from stylegan3d.model.generator import Generator
from stylegan3d.model.labelled_mapping import LabelledMapping
from stylegan3d.model.loading import load
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.anatomy_config import AnatomyConfig
from stylegan3d.networks.autoencoder import LatentSynthesis
from stylegan3d.networks.flow import Flow
from stylegan3d.networks.mapping import MappingNetwork
from stylegan3d.plain import Json
from stylegan3d.recipe.model import seed_latents
from stylegan3d.storage.places import TEMPLATE
from stylegan3d.training.export import finish, halves
from stylegan3d.training.flow import FlowRun, learned
from stylegan3d.training.flow_calibration import calibrate_flow, outline_latent_flow
from stylegan3d.training.flow_pairs import flow_and_steps
from stylegan3d.training.marginals import fit_sizes
from stylegan3d.training.options import FLOW_STEPS, STRAIGHT_FLOW_STEPS, MatchSettings
from stylegan3d.training.shape_matching import MatchedFlow

FLOW, SIZES = "synthesis.flow.", "mapping.curves."
SAMPLES = 512


def export_with_flow(
    run: FlowRun,
    folder: str | Path,
    pack: Pack,
    out: str | Path,
    *,
    steps: int | None = None,
    overwrite: bool = False,
) -> Generator:
    """Export a generator with this flow, recompute its directions and evaluate it again.

    The flow is calibrated, see `flow_calibration.py` (behind a decoder only its outline); with an
    anatomy model the sizes of random brains too, see `marginals.py`.

    Parameters
    ----------
    run : FlowRun
        The flow's.
    folder : path-like
        Folder of the generator; an existing flow is replaced.
    pack : Pack
        Data set of both.
    out : path-like
        Output folder; may be the same.
    steps : int or None
        Steps along the flow, one network evaluation each; by default 1 for a straightened flow,
        else `FLOW_STEPS`.

    Returns
    -------
    Generator
        The new generator. Its hash differs: latents of the old one do not fit.
    """
    out = Path(out)
    check_target(out, overwrite)
    generator, files = load(folder, device="cpu"), read_folder(Path(folder))
    settings = run.recipe.settings
    if steps is None:
        steps = STRAIGHT_FLOW_STEPS if settings.straight else FLOW_STEPS
    # Beside the generator, and without changing the run.
    flow = copy.deepcopy(run.average).cpu()
    flow.noise_strength.fill_(settings.noise)
    state = flow.state_dict()
    plan: Json
    sizes: dict[str, Tensor] = {}
    if isinstance(generator.synthesis, LatentSynthesis):
        prefix = LATENT_FLOW
        plan = {"flow": {"channels": settings.channels, "steps": steps, "curves": True}}
        state |= _latent_curves(generator, flow, steps, pack)
        del state["noise"]  # sampled from a seed there
    else:
        before = anatomy_network(generator).config
        config = replace(
            before,
            flow_channels=settings.channels,
            flow_steps=steps,
            flow_curves=False,
        )
        state["spread"].fill_(details_spread(generator))
        prefix, plan = FLOW, {}
        generator = _with_flow(generator, config, state)
        config, curves, sizes = _calibrated(generator, pack)
        state |= curves
        plan = {"generator": config.to_dict()}
    new = {f"{prefix}{k}": v for k, v in state.items()} | sizes
    return ending_anew(files, folder, pack, out, plan, {"flow": learned(run)}, new, overwrite)


def export_calibrated(
    folder: str | Path, pack: Pack, out: str | Path, *, overwrite: bool = False
) -> Generator:
    """Export a generator whose flow is calibrated (anew), see `export_with_flow`.

    Parameters
    ----------
    folder : path-like
        Folder of the generator: an anatomy model, an autoencoder or a diffusion.
    pack : Pack
        The data set it was trained on.
    out : path-like
        Output folder; may be the same.

    Returns
    -------
    Generator
        The new generator. Its hash differs: latents of the old one do not fit.

    Raises
    ------
    ModelError
        If it has no flow.
    """
    out = Path(out)
    check_target(out, overwrite)
    generator, files = load(folder, device="cpu"), read_folder(Path(folder))
    sizes: dict[str, Tensor] = {}
    plan: Json
    if isinstance(generator.synthesis, LatentSynthesis):
        if generator.synthesis.flow is None:
            raise ModelError(
                f"'{generator.name}' has no flow to calibrate: train one with `train flow`."
            )
        prefix, steps = LATENT_FLOW, generator.synthesis.flow_steps
        curves = _latent_curves(generator, generator.synthesis.flow, steps, pack)
        plan = {"flow": files.card["architecture"]["flow"] | {"curves": True}}
    else:
        prefix = FLOW
        config, curves, sizes = _calibrated(generator, pack)
        plan = {"generator": config.to_dict()}
    flow = {k.removeprefix(prefix): v for k, v in files.tensors.items() if k.startswith(prefix)}
    new = {f"{prefix}{k}": v for k, v in (flow | curves).items()} | sizes
    training = {"flow": files.card["training"].get("flow")}
    return ending_anew(files, folder, pack, out, plan, training, new, overwrite)


def _latent_curves(generator: Generator, flow: Flow, steps: int, pack: Pack) -> dict[str, Tensor]:
    """Tensors of the outline of the flow behind a decoder, by their names in the flow."""
    curves = outline_latent_flow(generator, flow, steps, pack)
    return {f"curves.{k}": v.cpu() for k, v in curves.state_dict().items()}


def export_matched(
    found: MatchedFlow,
    folder: str | Path,
    pack: Pack,
    out: str | Path,
    *,
    share: float = MatchSettings.share,
    overwrite: bool = False,
) -> Generator:
    """Export a model whose flow draws random brains that measure like the subjects.

    Curves of bands stay; an anatomy model's of sizes are fitted anew.

    Parameters
    ----------
    found : MatchedFlow
        What `match_flow` found for the generator.
    folder : path-like
        Folder of the generator.
    pack : Pack
        The data set it was trained on.
    out : path-like
        Output folder; may be the same.
    share : float
        How much of the change of the weights is kept, above 0 and at most 1. Tissue shapes come
        close to the subjects' with most of it; what is not measured suffers from the last of it.

    Returns
    -------
    Generator
        The new generator. Its hash differs: latents of the old one do not fit.

    Raises
    ------
    ModelError
        If no step made random brains more like the subjects, or the share is out of its range.
    """
    if not 0 < share <= 1:
        raise ModelError(f"The share of a change is above 0 and at most 1, not {share:g}.")
    out = Path(out)
    check_target(out, overwrite)
    generator, files = load(folder, device="cpu"), read_folder(Path(folder))
    if not found.steps:
        raise ModelError(
            f"No change of the flow brings what is measured of random brains of '{generator.name}' "
            "closer to the subjects; nothing is written."
        )
    before, _ = flow_and_steps(generator)
    assert before is not None
    flow = _between(before, found.flow, share)
    state = {k: v.cpu() for k, v in flow.state_dict().items()}
    plan: Json = {}
    sizes: dict[str, Tensor] = {}
    if isinstance(generator.synthesis, LatentSynthesis):
        prefix = LATENT_FLOW
        del state["noise"]  # sampled from a seed there
    else:
        prefix, network = FLOW, copy.deepcopy(anatomy_network(generator))
        network.flow = flow
        config, sizes = _sized(generator, network, pack)
        plan = {"generator": config.to_dict()}
    told = {"steps": found.steps, "distance": [found.before, found.after], "share": share}
    training = {"flow": (files.card["training"].get("flow") or {}) | {"matched": told}}
    new = {f"{prefix}{k}": v for k, v in state.items()} | sizes
    return ending_anew(files, folder, pack, out, plan, training, new, overwrite)


def _between(before: Flow, after: Flow, share: float) -> Flow:
    """A flow with this share of the change of each weight."""
    flow = copy.deepcopy(before)
    with torch.no_grad():
        for weight, changed in zip(flow.parameters(), after.parameters(), strict=True):
            weight.lerp_(changed, share)
    return flow


def _with_flow(generator: Generator, config: AnatomyConfig, flow: dict[str, Tensor]) -> Generator:
    """The generator with a flow of these tensors."""
    synthesis = AnatomyNetwork(config)
    before = anatomy_network(generator).state_dict()
    known = {k: v for k, v in before.items() if not k.startswith("flow.")}
    synthesis.load_state_dict(known | {f"flow.{k}": v for k, v in flow.items()})
    flowing = copy.copy(generator)
    flowing.config, flowing.synthesis = config, synthesis.eval().requires_grad_(False)
    return flowing


def _calibrated(
    generator: Generator, pack: Pack
) -> tuple[AnatomyConfig, dict[str, Tensor], dict[str, Tensor]]:
    """Configuration with curves; their tensors by their names in the flow; those of sizes, whole.

    Sizes come last, since the flow's curves decide where a brain ends.
    """
    drawing = copy.copy(generator)
    drawing.mapping = uncurved(generator.mapping)
    network = calibrate_flow(drawing, pack)
    curves = network.flow.curves
    assert curves is not None
    tensors = {f"curves.{k}": v.cpu() for k, v in curves.state_dict().items()}
    config, sizes = _sized(drawing, network, pack)
    return config, tensors, sizes


def _sized(
    generator: Generator, network: AnatomyNetwork, pack: Pack
) -> tuple[AnatomyConfig, dict[str, Tensor]]:
    """Configuration and tensors of curves of sizes for random brains drawn by a network."""
    drawing = copy.copy(generator)
    drawing.mapping, drawing.synthesis = uncurved(generator.mapping), network
    sizes = fit_sizes(drawing, pack)
    config = replace(network.config, size_curves=len(sizes.knots) if sizes else 0)
    found = sizes.state_dict() if sizes else {}
    return config, {f"{SIZES}{k}": v.cpu() for k, v in found.items()}


def uncurved(mapping: nn.Module) -> nn.Module:
    """A mapping without labels learned later and without curves of sizes; shares its layers."""
    inner = mapping.mapping if isinstance(mapping, LabelledMapping) else mapping
    assert isinstance(inner, MappingNetwork)
    plain = copy.copy(inner)
    plain._modules = {k: v for k, v in inner._modules.items() if k != "curves"} | {"curves": None}
    return plain


def ending_anew(
    files: ModelFiles,
    folder: str | Path,
    pack: Pack,
    out: Path,
    plan: Json,
    training: Json,
    state: dict[str, Tensor],
    overwrite: bool,
) -> Generator:
    """Write a generator whose flow is replaced by a new one.

    Parameters
    ----------
    files : ModelFiles
        Content of the generator's `folder`.
    pack : Pack
        The data set that all was trained on.
    out : Path
        The folder to write.
    plan, training : dict of str to object
        New entries of the card's architecture, and what it says of the training.
    state : dict of str to Tensor
        The new tensors, by their full names.
    overwrite : bool
        Whether `out` may exist.
    """
    # Earlier figures and files belong to the old generator.
    stale = ("format", "format_version", "files", "evaluation", "montage", "trust")
    card = {k: v for k, v in files.card.items() if k not in stale}
    card["architecture"] = card["architecture"] | plan
    kept = {k: v for k, v in card["training"].items() if k != "flow"}
    card["training"] = kept | training
    gone = [FLOW, LATENT_FLOW]
    if not plan.get("generator", {}).get("size_curves"):
        gone.append(SIZES)
    # The mapping stays in float32.
    sizes = {k: v for k, v in state.items() if k.startswith(SIZES)}
    tensors = {k: v for k, v in files.tensors.items() if not k.startswith(tuple(gone))}
    template = Path(folder) / TEMPLATE
    return finish(
        out,
        card,
        tensors | halves(state) | sizes,
        files.encoder,
        template,
        pack,
        overwrite=overwrite,
        labels=files.labels,
    )


@torch.no_grad()
def details_spread(generator: Generator) -> float:
    """Root mean square of the details' weights among random brains."""
    w = seed_latents(generator, range(SAMPLES))[:, -1]
    return float(w[:, anatomy_network(generator).config.details].square().mean() ** 0.5)
