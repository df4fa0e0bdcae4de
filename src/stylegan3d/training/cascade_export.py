"""A generator's folder with a trained cascade of flows."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import torch

from stylegan3d.checkpoints.folder import check_target, read_folder
from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import ModelError
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.generator import Generator
from stylegan3d.model.loading import load
from stylegan3d.plain import Json
from stylegan3d.training.cascade import CascadeRun
from stylegan3d.training.flow_export import CASCADE, details_spread, ending_anew

# Of each flow, see `CascadeFlow.follow`.
STEPS = 8
# Of the noise that is stored with the model.
NOISE_SEED = 0


def export_with_cascade(
    layout: CascadeRun,
    fine: CascadeRun,
    folder: str | Path,
    pack: Pack,
    out: str | Path,
    *,
    steps: int = STEPS,
    overwrite: bool = False,
) -> Generator:
    """Write an anatomy model whose random brains a cascade draws, and measure it again.

    The runs need not have reached their last step.

    Parameters
    ----------
    layout, fine : CascadeRun
        One run of each scale, see `load_run`.
    folder : path-like
        Folder of the generator that both were trained beside; its flow is replaced.
    pack : Pack
        The data set that all was trained on.
    out : path-like
        The folder to write; it may be the same one.
    steps : int
        Along each flow, each the work of two passes through its network.

    Returns
    -------
    Generator
        The new generator. Its hash is another one: latents of the old one do not fit it.

    Raises
    ------
    ModelError
        If the runs are not one of each scale, or belong to another generator.
    """
    out = Path(out)
    check_target(out, overwrite)
    generator, files = load(folder, device="cpu"), read_folder(Path(folder))
    runs = {"layout": layout, "fine": fine}
    for scale, run in runs.items():
        if run.recipe.settings.scale != scale:
            raise ModelError(
                "A cascade takes one run with `--scale layout` and one with `--scale fine`, in "
                "this order."
            )
        if run.recipe.model != generator.hash:
            raise ModelError(f"The run of the {scale} was trained beside another generator.")
    config = replace(
        anatomy_network(generator).config,
        flow_channels=(),
        flow_curves=False,
        layout_channels=layout.recipe.settings.channels,
        fine_channels=fine.recipe.settings.channels,
        cascade_steps=steps,
    )
    shape = (1, 1, *generator.shape)
    state = {
        "noise": torch.randn(shape, generator=torch.Generator().manual_seed(NOISE_SEED)),
        "spread": torch.tensor(details_spread(generator)),
    }
    for scale, run in runs.items():
        state |= {f"{scale}.{k}": v.cpu() for k, v in run.average.state_dict().items()}
    learned: Json = {
        scale: asdict(run.settings) | {"steps_done": run.steps, "errors": run.measured}
        for scale, run in runs.items()
    }
    new = {f"{CASCADE}{k}": v for k, v in state.items()}
    plan, training = {"generator": config.to_dict()}, {"cascade": learned}
    return ending_anew(files, folder, pack, out, plan, training, new, overwrite)
