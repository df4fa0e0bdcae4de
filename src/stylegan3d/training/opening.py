"""Opening a run's folder: a new or resumed run, on all processes."""

from __future__ import annotations

import io
import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from stylegan3d.dataset.pack import Pack
from stylegan3d.errors import ModelError, OutputError
from stylegan3d.recipe.label import encode_rows, label_dim, schema_of
from stylegan3d.storage.checkpoint import CHECKPOINT, PREVIOUS
from stylegan3d.storage.files import sweep
from stylegan3d.storage.locks import LOCK, only_run
from stylegan3d.storage.volumes import atomic_write_text
from stylegan3d.training.anatomy import find_anatomy
from stylegan3d.training.anatomy_start import start_from_anatomy
from stylegan3d.training.config import TrainConfig, brain_2mm
from stylegan3d.training.start import start_from_data
from stylegan3d.training.state import TrainState
from stylegan3d.training.team import Team

SETTINGS = "settings.json"
ANATOMY = "anatomy"


def open_run(
    out: Path,
    config: TrainConfig | None,
    resume: bool,
    team: Team,
    changes: dict[str, Any],
    pack: Pack,
    held: ExitStack,
) -> TrainState:
    """Resume a run, or create a new one and save its initial state.

    The first process opens it and shares it with the others.

    Parameters
    ----------
    config, resume, changes : TrainConfig or None, bool, dict of str to object
        As for `stylegan3d.training.stylegan.train`.
    held : ExitStack
        Holds the folder's lock until closed.

    Raises
    ------
    ModelError, OutputError
        If there is no such run, the settings do not fit the data set or the number of processes, or
        the folder cannot be used.
    """
    opened: list[TrainState] = []

    def work() -> bytes:
        held.enter_context(only_run(out))
        opened.append(_open_here(out, config, resume, team, changes, pack))
        if team.size == 1:
            return b""
        buffer = io.BytesIO()
        torch.save(opened[0].data(), buffer)
        return buffer.getvalue()

    shared = team.first(work)
    if opened:
        state = opened[0]
    else:
        data = torch.load(io.BytesIO(shared), map_location="cpu", weights_only=True)
        state = TrainState.from_data(data, team.device)
    _set_people(state, pack)
    return state


def _set_people(state: TrainState, pack: Pack) -> None:
    """Set the labels of the training subjects."""
    if state.label_schema:
        people = [pack.table[row] for row in pack.indices("train")]
        state.people = encode_rows(state.label_schema, people).to(state.device)


def _open_here(
    out: Path,
    config: TrainConfig | None,
    resume: bool,
    team: Team,
    changes: dict[str, Any],
    pack: Pack,
) -> TrainState:
    if resume:
        state = TrainState.load(out, team.device, **changes)
        _check_fit(state.config, pack)
        team.microbatches(state.config)
        if state.warm_started and "warm_start_images" in changes:
            raise ModelError(
                f"The reconstruction phase of the run '{out}' is over, so its length cannot be "
                "changed any more; leave out --warm-start."
            )
        return state
    sweep(out)
    begun = (out / CHECKPOINT).exists() or (out / PREVIOUS).exists()
    if begun or any(entry.name not in (ANATOMY, LOCK) for entry in out.iterdir()):
        # A folder with only the anatomy is a run that was stopped before its first step.
        hint = "add --resume to continue it, or choose" if begun else "choose"
        raise OutputError(f"The folder '{out}' is not empty; {hint} another folder.")
    settings = (config or brain_2mm()).with_(**changes)
    _check_fit(settings, pack)
    schema = schema_of([pack.table[r] for r in pack.indices("train")], settings.conditions)
    settings = settings.with_(
        generator=replace(settings.generator, label_dim=label_dim(schema)),
        discriminator=replace(settings.discriminator, label_dim=label_dim(schema)),
    )
    team.microbatches(settings)
    state = TrainState(settings, team.device)
    state.label_schema = schema
    _set_people(state, pack)
    if settings.deformed:
        found = find_anatomy(pack, out / ANATOMY, symmetric=settings.mirror)
        start_from_anatomy(state, pack, found)
    else:
        start_from_data(state, pack)
    # The checkpoint first: a run that is killed in between can be resumed.
    state.save(out)
    atomic_write_text(out / SETTINGS, json.dumps(settings.to_dict(), indent=2))
    return state


def _check_fit(config: TrainConfig, pack: Pack) -> None:
    shape = config.generator.image_grids[-1]
    if tuple(pack.space.shape) != shape:
        raise ModelError(
            f"The data set has volumes of {pack.space.shape} voxels, but this preset makes "
            f"{shape}; choose another preset or prepare the scans on that grid."
        )
    if not len(pack.indices("train")):
        raise ModelError("The data set has no training volumes; mark some as split 'train'.")
    sideways = pack.space.axcodes[0] not in "LR"
    off_center = abs(pack.space.center_mm[0]) > pack.space.voxel_size[0] / 2
    if config.mirror and (sideways or off_center):
        raise ModelError(
            "The data set's grid is not symmetric about the mid-sagittal plane along its first "
            "axis, so its volumes cannot be mirrored left to right; train with --no-mirror."
        )
