"""Small work of each kind that takes long in earnest, to be killed: `python doomed.py KIND FOLDER`.

Inputs are made once in FOLDER/inputs; each kind works into FOLDER/KIND and goes on there.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil

#: Kind to a pattern below its folder: what is there is finished, and must not be done again.
KEPT = {
    "train": "",
    "segmentation": "",
    "flow": "",
    "autoencoder": "",
    "diffusion": "",
    "encoder": "",
    "translation": "",
    "matching": "",
    "anatomy": "anatomy/*",
    "prepare": "pack/.parts/*.json",
    "evaluate": "out/wor[k]/*",  # a pattern like the others
    "cohort": "out/.cohort/*.json",
    "privacy": "model/.privacy-index/*.z",
}
KINDS = tuple(KEPT)
#: Those that train by steps, which several processes can share.
TRAININGS, LEARNING = KINDS[:7], KINDS[:9]
SHAPE = (20, 28, 24)
STEPS: Any = {"steps": 10, "validate_every": 5, "save_seconds": 0.0, "warm_up": 2}


def make_inputs(folder: Path, people: int = 8, study_of: int = 8) -> Path:
    """A model with a mean brain, a dataset, scans, labelled people; the folder of all.

    Each scan of the study takes a second or two to prepare.
    """
    from labelled_phantoms import write_labelled
    from studies import MEAN_BRAIN, save_prepared
    from tiny import tiny_generator

    from stylegan3d.checkpoints.folder import write_folder
    from stylegan3d.dataset.pack import write_pack
    from stylegan3d.geometry.space import Space
    from stylegan3d.scans import load_template
    from stylegan3d.storage.places import TEMPLATE

    inputs = folder / "inputs"
    inputs.mkdir(parents=True)
    affine = np.diag([8.0, 8, 8, 1])
    affine[:3, 3] = [-8 * (n - 1) / 2 for n in SHAPE]
    space = Space(SHAPE, affine)
    axes = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    draw = np.random.default_rng(0)

    def head(size: Any, core: float) -> np.ndarray:
        radius = np.sqrt(((axes / np.asarray(size)[:, None, None, None]) ** 2).sum(axis=0))
        folds = 20 * np.sin(9 * axes[1]) * np.cos(7 * axes[2])
        return np.clip((200.0 + folds) * (radius < 1) - 120.0 * (radius < core), 0, 255)

    rows = [
        {
            "name": f"sub-{i:02d}",
            "person": f"sub-{i:02d}",
            "split": "validation" if i % 4 == 3 else "train",
            "licence": "CC0",
            "size": draw.uniform(0.7, 0.9, 3).tolist(),
            "core": float(draw.uniform(0.2, 0.4)),
        }
        for i in range(people)
    ]
    write_pack(
        inputs / "pack",
        rows,
        lambda row: head(row["size"], row["core"]).astype(np.uint8),
        space,
        {"refused": []},
    )
    write_pack(  # of axes that can be halved three times
        inputs / "halved",
        rows,
        lambda row: head(row["size"], row["core"]).astype(np.uint8)[2:18, 2:26],
        Space((16, 24, 24), affine),
        {"refused": []},
    )
    generator = tiny_generator(0)
    tensors = {"w_avg": generator.w_avg}
    for part in ("mapping", "synthesis"):
        state = getattr(generator, part).state_dict()
        tensors |= {f"{part}.{key}": value for key, value in state.items()}
    template = inputs / "mean.nii.gz"
    mean = (head((0.8, 0.8, 0.8), 0.3) / 255).astype(np.float32)
    nib.Nifti1Image(mean, affine).to_filename(template)
    card = {**generator.card, "space": {"shape": list(SHAPE), "affine": affine.tolist()}}
    write_folder(inputs / "model", card, tensors, extra_files={TEMPLATE: template})
    for i in range(2):
        scan = (400 * head(rows[i]["size"], rows[i]["core"]) / 255).astype(np.float32)
        nib.Nifti1Image(scan, affine).to_filename(inputs / f"scan-{i}_T1w.nii.gz")
    study = inputs / "study"
    study.mkdir()
    target = load_template(MEAN_BRAIN)
    for i in range(study_of):
        save_prepared(study / f"sub-{i:02d}_T1w.nii.gz", target, i)
    (study / "template_T1w.nii.gz").write_bytes(MEAN_BRAIN.read_bytes())
    (inputs / "labelled").mkdir()
    write_labelled(inputs / "labelled")
    return folder


def work(kind: str, folder: Path, *, slowly: float = 0.0) -> None:
    """Do the work of a kind, or go on with it; `slowly` waits so many seconds between pieces."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in another order differ in their last bits
    try:
        globals()[f"_{kind}"](folder / "inputs", folder / kind, slowly)
    finally:
        torch.set_num_threads(before)


def _how(mine: Path, slowly: float) -> Any:
    """How each training is done: with the other processes, if torchrun started some."""
    from stylegan3d.training.team import join_team

    return {
        "resume": (mine / "checkpoint.pt").exists(),
        "team": join_team("cpu"),
        "progress": lambda *_: time.sleep(slowly),
    }


def outcome(kind: str, folder: Path) -> Any:
    """What came of it, without what differs from run to run."""
    return (_trained if kind in TRAININGS else globals()[f"_{kind}_outcome"])(folder / kind)


def _train(inputs: Path, mine: Path, slowly: float) -> None:
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.options import tiny
    from stylegan3d.training.stylegan import train_stylegan

    settings = replace(tiny(), batch=8, **{k: v for k, v in STEPS.items() if k != "warm_up"})
    train_stylegan(load_pack(inputs / "pack"), mine, settings, **_how(mine, slowly))


def _segmentation(inputs: Path, mine: Path, slowly: float) -> None:
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.options import SegmentationSettings
    from stylegan3d.training.segmentation import load_labelled, train_segmentation

    brains = load_labelled(load_pack(inputs / "labelled" / "pack"), inputs / "labelled")
    config = SegmentationSettings(widths=(8, 8), batch=2, **STEPS)
    train_segmentation(brains, mine, config, **_how(mine, slowly))


def _flow(inputs: Path, mine: Path, slowly: float) -> None:
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.flow import INFO, VOLUMES, FilledFile, Pairs, fill_files, train_flow
    from stylegan3d.training.options import FlowSettings

    pack, how = load_pack(inputs / "pack"), _how(mine, slowly)
    count = len(pack.table)

    def fill(files: list[np.ndarray], index: int) -> None:
        files[0][index] = pack.volumes[index] // 2
        time.sleep(slowly / 4)

    file = FilledFile(VOLUMES, (count, 1, *SHAPE), np.uint8)
    (made,) = how["team"].leader_first(
        lambda: fill_files(mine, INFO, {"of": "phantoms"}, [file], fill)
    )
    known = np.isin(np.arange(count), pack.indices("train"))
    pairs = Pairs(made, np.arange(count), np.zeros(count, bool), known, pack)
    train_flow(pairs, mine, FlowSettings(channels=(4, 4, 4), cubes=3, side=16, **STEPS), **how)


def _autoencoder(inputs: Path, mine: Path, slowly: float) -> None:
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.autoencoder import train_autoencoder
    from stylegan3d.training.options import AutoencoderSettings

    settings, pack = AutoencoderSettings(side=16, **STEPS), load_pack(inputs / "halved")
    train_autoencoder(pack, mine, _vae_shape(), settings, **_how(mine, slowly))


def _vae_shape() -> Any:
    from stylegan3d.networks.autoencoder import AutoencoderConfig

    return AutoencoderConfig((16, 24, 24), 2, (4, 4, 4), (1, 1, 1))


def _stage() -> Any:
    """An untrained autoencoder with a flow."""
    import torch

    from stylegan3d.geometry.space import Space
    from stylegan3d.model.families.autoencoder import VAE
    from stylegan3d.model.family import OneRow, Parts
    from stylegan3d.model.generator import Generator
    from stylegan3d.networks.autoencoder import Autoencoder, LatentEncoder, LatentSynthesis
    from stylegan3d.networks.flow import Flow
    from stylegan3d.networks.linear_prior import LinearPrior

    torch.manual_seed(0)
    network = Autoencoder(_vae_shape())
    prior = LinearPrior(5, network.config.w_dim)
    prior.components.normal_()
    parts = Parts(
        OneRow(5, network.config.w_dim, network.config.shape),
        prior,
        LatentSynthesis(network, Flow((4, 4, 4), (8, 12, 12))),
        prior.mean,
        encoder=LatentEncoder(network),
        deviations=torch.ones(network.config.w_dim),
        components=prior.components,
    )
    affine = np.diag([8.0, 8, 8, 1])
    affine[:3, 3] = [-8 * (n - 1) / 2 for n in SHAPE]
    space = Space((16, 24, 24), affine)
    return Generator(parts, space, card={"name": "stage"}, hash="stage", family=VAE)


def _diffusion(inputs: Path, mine: Path, slowly: float) -> None:
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.networks.latent_diffusion import DiffusionConfig
    from stylegan3d.training.diffusion import train_diffusion
    from stylegan3d.training.options import DiffusionSettings

    pack, stage = load_pack(inputs / "halved"), _stage()
    shape = DiffusionConfig(stage.synthesis.latent_shape, (16, 16), 1, directions=8)
    settings = DiffusionSettings(people=3, **STEPS)
    train_diffusion(pack, stage, mine, shape, settings, **_how(mine, slowly))


def _encoder(inputs: Path, mine: Path, slowly: float) -> None:
    from tiny import tiny_generator

    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.autoencoder import train_encoder
    from stylegan3d.training.options import EncoderSettings

    settings = EncoderSettings(batch=3, **STEPS)
    pack, how = load_pack(inputs / "pack"), _how(mine, slowly)
    train_encoder(tiny_generator(0), pack, mine, settings, **how)


def _translation(inputs: Path, mine: Path, slowly: float) -> None:
    from painted_phantoms import SMALL, Reader

    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.options import TranslationSettings
    from stylegan3d.training.translation import load_painted, train_translation

    labelled = inputs / "labelled"
    people = load_painted(load_pack(labelled / "pack"), labelled, Reader())
    settings = TranslationSettings(side=16, people=3, **STEPS)
    train_translation(people, mine, SMALL, settings, **_how(mine, slowly))


def _matching(inputs: Path, mine: Path, slowly: float) -> None:
    from small_flow import Texture

    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.options import MatchSettings
    from stylegan3d.training.shape_matching import match_flow

    match_flow(
        _stage(),
        load_pack(inputs / "halved"),
        mine,
        measures=[Texture()],
        settings=MatchSettings(rounds=6, brains=20, slopes=2, judged=4),
        resume=(mine / "checkpoint.pt").exists(),
        report=lambda _: time.sleep(slowly / 2),
    )


def _anatomy(inputs: Path, mine: Path, slowly: float) -> None:
    import torch
    from small_anatomy import small_anatomy

    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.anatomy import fit_anatomy

    wait = lambda *_: time.sleep(slowly)  # noqa: E731
    fit = fit_anatomy(load_pack(inputs / "pack"), mine, small_anatomy(), progress=wait)
    networks = {"mapping": fit.mapping, "synthesis": fit.synthesis, "encoder": fit.encoder}
    torch.save({name: network.state_dict() for name, network in networks.items()}, mine / "fit")


def _anatomy_outcome(mine: Path) -> Any:
    import torch

    return _bytes_of(torch.load(mine / "fit", weights_only=True))


def _matching_outcome(mine: Path) -> Any:
    import torch

    data = torch.load(mine / "checkpoint.pt", weights_only=True)
    return {**_bytes_of({"flow": data["flow"]}), "counts": data["counts"]}


def _trained(mine: Path) -> Any:
    import torch

    data = torch.load(mine / "checkpoint.pt", weights_only=True)
    weights = _bytes_of(data["averages"]) | _bytes_of(data["networks"])
    return weights | {"steps": data["counters"]["steps"], "measured": data["measured"]}


def _bytes_of(states: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        f"{n}.{k}": v.numpy().tobytes() for n, state in states.items() for k, v in state.items()
    }


def _prepare(inputs: Path, mine: Path, slowly: float) -> None:
    from stylegan3d.cohort.preparation import prepare

    wait = lambda *_: time.sleep(slowly)  # noqa: E731
    prepare(inputs / "study", mine / "pack", progress=wait)


def _prepare_outcome(mine: Path) -> Any:
    return {path.name: path.read_bytes() for path in (mine / "pack").iterdir() if path.is_file()}


def _program(*words: object) -> None:
    from stylegan3d.cli import main

    try:
        main([str(word) for word in words])
    except SystemExit as end:
        if end.code:
            raise


def _evaluate(inputs: Path, mine: Path, slowly: float) -> None:
    from stylegan3d.metrics import features

    features.FEATURE_MM = 5.0
    with _slowed("stylegan3d.evaluation.material", slowly):
        _program(
            *("evaluate", inputs / "pack", "--model", inputs / "model"),
            *("--out", mine / "out", "--overwrite"),
            *("--only", "fidelity,diversity", "--budget", "none", "--samples", 4),
        )


def _evaluate_outcome(mine: Path) -> Any:
    report = json.loads((mine / "out" / "report.json").read_text())
    for part in ("date", "seconds"):
        report["program"].pop(part)
    return report


def _cohort(inputs: Path, mine: Path, slowly: float) -> None:
    scans = sorted(inputs.glob("scan-*.nii.gz"))
    words = ("--steps", 2, "--skull", "keep", "--space", "w", "--pose", "keep")
    with _slowed("stylegan3d.cohort.run", slowly):
        _program("project", *scans, *words, "--model", inputs / "model", "--out", mine / "out")


def _cohort_outcome(mine: Path) -> Any:
    with (mine / "out" / "projections.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    return [{k: v for k, v in row.items() if k not in ("seconds", "status")} for row in rows]


def _privacy(inputs: Path, mine: Path, slowly: float) -> None:
    import shutil

    from stylegan3d.evaluation import privacy_index
    from stylegan3d.metrics import features

    features.FEATURE_MM, privacy_index.BLOCK = 5.0, 3
    if not (mine / "model" / "card.json").exists():
        shutil.copytree(inputs / "model", mine / "model", dirs_exist_ok=True)
    with _slowed("stylegan3d.evaluation.material", slowly):
        _program(
            "model", "privacy-index", inputs / "pack", "--model", mine / "model", "--overwrite"
        )


def _privacy_outcome(mine: Path) -> Any:
    return {path.name: path.read_bytes() for path in (mine / "model").iterdir()}


class _slowed:
    """Lets a module's atomic writes take a while longer: something is there to be killed."""

    def __init__(self, module: str, seconds: float) -> None:
        from importlib import import_module

        self.module, self.seconds = import_module(module), seconds
        self.names = [n for n in vars(self.module) if n.startswith("atomic_write")]

    def __enter__(self) -> None:
        self.before = {name: getattr(self.module, name) for name in self.names}
        for name, write in self.before.items():

            def slow(*args: Any, _write: Any = write, **options: Any) -> None:
                _write(*args, **options)
                time.sleep(self.seconds)

            setattr(self.module, name, slow)

    def __exit__(self, *_: object) -> None:
        for name, write in self.before.items():
            setattr(self.module, name, write)


def begun(kind: str, folder: Path) -> list[Path]:
    """What an interrupted run has finished so far."""
    return sorted((folder / kind).glob(KEPT[kind] or "checkpoint.pt"))


def reached(kind: str, folder: Path) -> int | None:
    """Steps that a training, or rounds that a search, has saved; None if there is no checkpoint."""
    import torch

    if not (folder / kind / "checkpoint.pt").exists():
        return None
    data = torch.load(folder / kind / "checkpoint.pt", weights_only=True)
    return int(data["counters"]["steps"] if "counters" in data else data["counts"][1])


def start(kind: str, folder: Path, slowly: float, processes: int = 1) -> subprocess.Popen[bytes]:
    """The work in processes of its own, to be killed; it writes a line when it begins."""
    many = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    words = [*(many if processes > 1 else ()), __file__, kind, str(folder), str(slowly)]
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen([sys.executable, *words], stdout=pipe, stderr=quiet)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill it and all that it started, at once."""
    with suppress(psutil.NoSuchProcess):
        for worker in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                worker.kill()
    process.kill()
    process.communicate()


def half_written(folder: Path) -> list[Path]:
    """Hidden files of a write that did not come to its end, and files that cannot be read."""
    wrong = [p for p in folder.rglob(".*") if p.suffix in (".part", ".old", ".new")]
    for path in folder.rglob("*.json"):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            wrong.append(path)
    for path in folder.rglob("*.nii.gz"):
        try:
            np.asarray(nib.load(path).dataobj)
        except (OSError, EOFError, ValueError, zlib.error):
            wrong.append(path)
    return wrong


if __name__ == "__main__":
    print("begun\n", end="", flush=True)  # at once: lines of two processes do not mix
    work(sys.argv[1], Path(sys.argv[2]), slowly=float(sys.argv[3]))
