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
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

#: Kind to a pattern below its folder: what is there is finished, and must not be done again.
KEPT = {
    "train": "",
    "segmentation": "",
    "flow": "",
    "autoencoder": "",
    "prepare": "pack/.parts/*.json",
    "evaluate": "out/wor[k]/*",  # a pattern like the others
    "cohort": "out/.cohort/*.json",
    "privacy": "model/.privacy-index/*.z",
}
KINDS = tuple(KEPT)
SHAPE = (20, 28, 24)


def make_inputs(folder: Path, people: int = 8) -> Path:
    """A model with a mean brain, a data set, scans, labelled people; the folder of all."""
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
    for i in range(people):
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


def outcome(kind: str, folder: Path) -> Any:
    """What came of it, without what differs from run to run."""
    return globals()[f"_{kind}_outcome"](folder / kind)


def _train(inputs: Path, mine: Path, slowly: float) -> None:
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.options import tiny
    from stylegan3d.training.stylegan import train_stylegan

    train_stylegan(
        load_pack(inputs / "pack"),
        mine,
        replace(tiny(), steps=10, validate_every=2, save_seconds=0.0),
        resume=(mine / "checkpoint.pt").exists(),
        progress=lambda *_: time.sleep(slowly),
    )


def _train_outcome(mine: Path) -> Any:
    import torch

    data = torch.load(mine / "checkpoint.pt", weights_only=True)
    return {**_bytes_of(data["averages"]), "steps": data["counters"]["steps"]}


def _segmentation(inputs: Path, mine: Path, slowly: float) -> None:
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.options import SegmentationSettings
    from stylegan3d.training.segmentation import load_labelled, train_segmentation

    config = SegmentationSettings(widths=(8, 8), steps=10, validate_every=5, save_seconds=0.0)
    train_segmentation(
        load_labelled(load_pack(inputs / "labelled" / "pack"), inputs / "labelled"),
        mine,
        config,
        resume=(mine / "checkpoint.pt").exists(),
        progress=lambda *_: time.sleep(slowly),
    )


def _segmentation_outcome(mine: Path) -> Any:
    import torch

    data = torch.load(mine / "checkpoint.pt", weights_only=True)
    return {**_bytes_of(data["averages"]), "steps": data["counters"]["steps"]}


def _flow(inputs: Path, mine: Path, slowly: float) -> None:
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.training.flow import INFO, VOLUMES, FilledFile, Pairs, fill_files, train_flow
    from stylegan3d.training.options import FlowSettings

    pack = load_pack(inputs / "pack")
    count = len(pack.table)

    def fill(files: list[np.ndarray], index: int) -> None:
        files[0][index] = pack.volumes[index] // 2
        time.sleep(slowly / 4)

    file = FilledFile(VOLUMES, (count, 1, *SHAPE), np.uint8)
    (made,) = fill_files(mine, INFO, {"of": "phantoms"}, [file], fill)
    known = np.isin(np.arange(count), pack.indices("train"))
    pairs = Pairs(made, np.arange(count), np.zeros(count, bool), known, pack)
    config = FlowSettings(
        channels=(4, 4, 4), steps=10, cubes=2, side=16, validate_every=5, save_seconds=0.0
    )
    train_flow(
        pairs,
        mine,
        config,
        resume=(mine / "checkpoint.pt").exists(),
        progress=lambda *_: time.sleep(slowly),
    )


def _flow_outcome(mine: Path) -> Any:
    return _autoencoder_outcome(mine)


def _autoencoder(inputs: Path, mine: Path, slowly: float) -> None:
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.networks.autoencoder import AutoencoderConfig
    from stylegan3d.training.autoencoder import train_autoencoder
    from stylegan3d.training.options import AutoencoderSettings

    train_autoencoder(
        load_pack(inputs / "halved"),
        mine,
        AutoencoderConfig((16, 24, 24), 2, (4, 4, 4), (1, 1, 1)),
        AutoencoderSettings(steps=10, side=16, validate_every=5, save_seconds=0.0),
        resume=(mine / "checkpoint.pt").exists(),
        progress=lambda *_: time.sleep(slowly),
    )


def _autoencoder_outcome(mine: Path) -> Any:
    import torch

    data = torch.load(mine / "checkpoint.pt", weights_only=True)
    return _segmentation_outcome(mine) | {"measured": data["measured"]}


def _bytes_of(states: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        f"{n}.{k}": v.numpy().tobytes() for n, state in states.items() for k, v in state.items()
    }


def _prepare(inputs: Path, mine: Path, slowly: float) -> None:
    from stylegan3d.dataset.preparation import prepare

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


def start(kind: str, folder: Path, slowly: float) -> subprocess.Popen[bytes]:
    """The work in a process of its own, to be killed."""
    words = [sys.executable, __file__, kind, str(folder), str(slowly)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(words, stdout=quiet, stderr=quiet)


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
    work(sys.argv[1], Path(sys.argv[2]), slowly=float(sys.argv[3]))
