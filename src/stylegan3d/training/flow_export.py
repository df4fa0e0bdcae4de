"""A generator's folder with a trained flow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from stylegan3d.checkpoints.folder import check_target, read_folder
from stylegan3d.checkpoints.places import TEMPLATE
from stylegan3d.dataset.pack import Pack
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.families.autoencoder import FLOW as LATENT_FLOW
from stylegan3d.model.generator import Generator
from stylegan3d.model.loading import load
from stylegan3d.networks.autoencoder import LatentSynthesis
from stylegan3d.recipe.drawing import seed_latents
from stylegan3d.training.export import finish, halves
from stylegan3d.training.flow import FlowRun, learned

# Of Euler's method, where the flow is not a straight one.
STEPS = 4
FLOW = "synthesis.flow."
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
    """Write a generator that ends with this flow, find its directions and measure it again.

    Parameters
    ----------
    run : FlowRun
        The flow's.
    folder : path-like
        Folder of the generator that the flow starts at; a flow that it has is replaced.
    pack : Pack
        The data set that both were trained on.
    out : path-like
        The folder to write; it may be the same one.
    steps : int or None
        Along the flow, each the work of one pass through its network; by default 1 for a
        straightened flow and `STEPS` for another.

    Returns
    -------
    Generator
        The new generator. Its hash is another one: latents of the old one do not fit it.
    """
    out = Path(out)
    check_target(out, overwrite)
    generator, files = load(folder, device="cpu"), read_folder(Path(folder))
    settings = run.recipe.settings
    if steps is None:
        steps = 1 if settings.straight else STEPS
    flow = run.average
    flow.noise_strength.fill_(settings.noise)
    state = {k: v.cpu() for k, v in flow.state_dict().items()}
    plan: dict[str, Any]
    if isinstance(generator.synthesis, LatentSynthesis):
        prefix, plan = (
            LATENT_FLOW,
            {"flow": {"channels": settings.channels, "steps": steps}},
        )
        del state["noise"]  # drawn from a seed there
    else:
        before = anatomy_network(generator).config
        config = replace(before, flow_channels=settings.channels, flow_steps=steps)
        prefix, plan = FLOW, {"generator": config.to_dict()}
        state["spread"].fill_(_spread(generator))
    # What was measured before, and the files, are those of another generator.
    stale = ("format", "format_version", "files", "evaluation", "montage", "trust")
    card = {k: v for k, v in files.card.items() if k not in stale}
    card["architecture"] = card["architecture"] | plan
    card["training"] = card["training"] | {"flow": learned(run)}
    tensors = {k: v for k, v in files.tensors.items() if not k.startswith(prefix)}
    tensors |= halves({f"{prefix}{k}": v for k, v in state.items()})
    template = Path(folder) / TEMPLATE
    return finish(
        out, card, tensors, files.encoder, template, pack, overwrite=overwrite, labels=files.labels
    )


@torch.no_grad()
def _spread(generator: Generator) -> float:
    """Root mean square of the details' weights among random brains."""
    w = seed_latents(generator, range(SAMPLES))[:, -1]
    return float(w[:, anatomy_network(generator).config.details].square().mean() ** 0.5)
