"""The training loop: phases, logging, checkpoints, clean stop."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan3d.devices import choose_device, fast_dtype
from stylegan3d.errors import ModelError, OutputError
from stylegan3d.memory import keep_large_blocks
from stylegan3d.metrics import similarity
from stylegan3d.training.adversarial import adversarial_step
from stylegan3d.training.config import TrainConfig, brain_2mm
from stylegan3d.training.data import Batches, fixed_volumes
from stylegan3d.training.pack import Pack, load_pack
from stylegan3d.training.start import start_from_data
from stylegan3d.training.state import CHECKPOINT, TrainState
from stylegan3d.training.warm_start import fit_mapping, reconstruction_step
from stylegan3d.volumes import atomic_write_text

LOG = "log.jsonl"
SETTINGS = "settings.json"


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever shows it."""

    phase: str
    images: int
    total_images: int
    seconds_left: float
    values: dict[str, float]


def train(
    data: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    resume: bool = False,
    device: str = "auto",
    changes: dict[str, Any] | None = None,
    report: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainState:
    """Train a generator on a packed data set.

    Parameters
    ----------
    data : folder written by `stylegan3d prepare`.
    out : the run's folder: `checkpoint.pt`, `log.jsonl`, `settings.json`.
    config : settings of a new run.
    resume : go on from the last checkpoint in `out` (`config` is then ignored, `changes` may
        override single settings, such as `total_images`).
    report : called after every logged step.
    should_stop : asked after every step; a SIGTERM or SIGINT stops just as cleanly.

    Returns
    -------
    The state at the end, which has been written to the checkpoint.
    """
    keep_large_blocks()
    out = Path(out)
    pack = load_pack(data)
    state = _open_run(out, config, resume, choose_device(device), changes or {}, pack)
    dtype = training_dtype(state.config.precision, state.device)
    with _stop_signals() as interrupted:
        _run(
            state,
            pack,
            out,
            dtype,
            report,
            lambda: interrupted() or bool(should_stop and should_stop()),
        )
    state.save(out)
    return state


def _run(
    state: TrainState,
    pack: Pack,
    out: Path,
    dtype: torch.dtype,
    report: Callable[[Progress], None] | None,
    stop: Callable[[], bool],
) -> None:
    config = state.config
    batches = Batches(pack, config).stream(state.steps)
    saved = logged = time.monotonic()
    since_log = 0
    sums: dict[str, list[float]] = {}
    for real in batches:
        if not state.warm_started and state.images >= config.warm_start_images:
            _finish_warm_start(state, pack, dtype)
            state.save(out)
        if state.images >= config.total_images or stop():
            break
        started = time.monotonic()
        warm = not state.warm_started
        step = reconstruction_step if warm else adversarial_step
        values = step(state, real, dtype)
        state.steps += 1
        state.images += len(real)
        state.update_averages()
        state.seconds += time.monotonic() - started
        for name, value in values.items():
            sums.setdefault(name, []).append(value)
        since_log += len(real)
        if since_log >= config.log_images:
            rate = since_log / (time.monotonic() - logged)
            means = {k: float(np.mean(v)) for k, v in sums.items()}
            means |= validate(state, pack, dtype) | {"images_per_second": rate}
            phase = "reconstruction" if warm else "adversarial"
            left = (config.total_images - state.images) / rate
            _log(out, state, phase, means)
            if report:
                report(Progress(phase, state.images, config.total_images, left, means))
            sums, since_log, logged = {}, 0, time.monotonic()
        if time.monotonic() - saved > config.checkpoint_minutes * 60:
            state.save(out)
            saved = time.monotonic()
    batches.close()  # type: ignore[attr-defined]


def _finish_warm_start(state: TrainState, pack: Pack, dtype: torch.dtype) -> None:
    """Fit the mapping network, and forget the reconstruction phase's momentum."""
    state.nets["encoder"].load_state_dict(state.averages["encoder"].state_dict())
    state.nets["synthesis"].load_state_dict(state.averages["synthesis"].state_dict())
    fit_mapping(state, pack, dtype)
    state.maker.state.clear()
    state.warm_started = True


@torch.no_grad()
def validate(state: TrainState, pack: Pack, dtype: torch.dtype, limit: int = 9) -> dict[str, float]:
    """Median PSNR and SSIM inside the brain of encoded and decoded validation volumes."""
    volumes = fixed_volumes(pack, "validation", limit)
    if not len(volumes):
        return {}
    encoder, synthesis = state.averages["encoder"], state.averages["synthesis"]
    scores = []
    for volume in volumes.split(1):
        w = encoder(volume.to(state.device), dtype)
        made = synthesis(w, "none", -1, dtype)
        a, b = ((v[0, 0].float().cpu().numpy() + 1) / 2 for v in (made, volume))
        scores.append(similarity(a, b, b > 0.05))
    return {f"validation_{k}": float(np.median([s[k] for s in scores])) for k in ("psnr", "ssim")}


def training_dtype(name: str, device: torch.device) -> torch.dtype:
    """Precision of the feature maps; "auto" is bfloat16 where the hardware multiplies it."""
    if name == "float32":
        return torch.float32
    if name == "bfloat16":
        return torch.bfloat16
    if name != "auto":
        raise ModelError(f"The precision '{name}' is unknown; use auto, float32 or bfloat16.")
    return fast_dtype(device)


def _open_run(
    out: Path,
    config: TrainConfig | None,
    resume: bool,
    device: torch.device,
    changes: dict[str, Any],
    pack: Pack,
) -> TrainState:
    """A run to go on with, or a new one whose start is written at once."""
    if resume:
        state = TrainState.load(out, device, **changes)
        _check_fit(state.config, pack)
        if state.warm_started and "warm_start_images" in changes:
            raise ModelError(
                f"The reconstruction phase of the run '{out}' is over, so its length cannot be "
                "changed any more; leave out --warm-start."
            )
        return state
    if out.is_dir() and any(out.iterdir()):
        hint = (
            "add --resume to go on with it, or choose" if (out / CHECKPOINT).exists() else "choose"
        )
        raise OutputError(f"The folder '{out}' is not empty; {hint} another folder.")
    settings = (config or brain_2mm()).with_(**changes)
    _check_fit(settings, pack)
    state = TrainState(settings, device)
    start_from_data(state, pack)
    try:
        out.mkdir(parents=True, exist_ok=True)
        atomic_write_text(out / SETTINGS, json.dumps(settings.to_dict(), indent=2))
        state.save(out)
    except OSError as error:
        raise OutputError(
            f"The run's folder '{out}' cannot be written ({error.strerror}); choose another one."
        ) from error
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


def _log(out: Path, state: TrainState, phase: str, values: dict[str, float]) -> None:
    row = {"images": state.images, "seconds": round(state.seconds, 1), "phase": phase}
    row |= {k: round(v, 5) for k, v in values.items()}
    with (out / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """SIGTERM and SIGINT ask the loop to finish its step and save, instead of killing it."""
    asked: list[int] = []
    previous = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            previous[number] = signal.signal(number, lambda n, _: asked.append(n))
        except ValueError:  # not the main thread: whoever runs the loop has `should_stop`
            break
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
