"""How memory and time of preparing and training grow with the number of people.

    python benchmarks/scale.py FOLDER --people 2000 5000 10000
    python benchmarks/scale.py FOLDER --grid 1 --people 100 200 400

Datasets are phantoms: the bundled template, moved by known smooth fields and of different
brightness. Anatomies are written from such fields directly; registration costs the same for each
subject and is measured on two. Each part runs in a process of its own, whose anonymous memory
(RssAnon: without pages of files, which the system drops when it needs them) is sampled. More
people than `--real` have an empty file of volumes (one with holes), which is opened only.
The folder is emptied at the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from _program import write_rows

import stylegan3d
from stylegan3d.dataset.pack import Pack, load_pack, write_array, write_pack
from stylegan3d.geometry.space import Space
from stylegan3d.networks.deformation import exponential, resize, warp
from stylegan3d.training.anatomy import MANY, Anatomy, FittedAnatomy, find_anatomy, fit_networks
from stylegan3d.training.autoencoder import train_encoder
from stylegan3d.training.data import digest_of
from stylegan3d.training.options import EncoderSettings, brain_1mm, brain_2mm, stylegan_2mm
from stylegan3d.training.stylegan import train_stylegan

#: Different shapes; people of one shape differ in brightness, so that no two are the same.
SHAPES, FIELDS, REGISTERED, REAL = 50, 40, 2, 10_000
SAMPLED_S = 0.02


def settings_of(pack: Pack):
    """The preset of this grid."""
    return brain_1mm() if pack.space.shape[0] > 100 else brain_2mm()


def mean_brain(grid: int) -> tuple[np.ndarray, Space]:
    """The bundled template at 2 or 1 mm, values in [0, 1]."""
    generator = stylegan3d.load()
    shape = tuple(n * 2 // grid for n in generator.shape)
    whole = torch.from_numpy(np.array(generator.template, np.float32))[None, None]
    return resize(whole, shape)[0, 0].numpy(), generator.space.resized(shape)


def fields_of(shape: tuple[int, ...], seed: int, count: int) -> torch.Tensor:
    """Smooth velocity fields [count, 3, *shape]."""
    source = torch.Generator().manual_seed(seed)
    return resize(0.05 * torch.randn(count, 3, 5, 7, 6, generator=source), shape)


def make_pack(folder: Path, people: int, grid: int, real: int) -> None:
    """A dataset of so many phantoms, a tenth of them to validate on."""
    mean, space = mean_brain(grid)
    half = [n // 2 for n in mean.shape]
    image, shapes = torch.from_numpy(mean)[None, None], []
    rng, gains = np.random.default_rng(0), []
    for number in range(SHAPES):
        moved = exponential(fields_of(half, number, 1))
        shapes.append(warp(image, resize(moved, mean.shape))[0, 0].clamp(0, 1).numpy())
    for _ in range(-(-people // SHAPES) if people <= real else 0):
        gain = torch.from_numpy(rng.uniform(150, 255, (1, 1, 5, 7, 6))).float()
        gains.append(resize(gain, mean.shape)[0, 0].half().numpy())

    def volume_of(row) -> np.ndarray:
        gain, number = divmod(row["number"], SHAPES)
        return (shapes[number] * gains[gain]).astype(np.uint8)

    doubt = {"code": "thick", "text": "It has thick slices.", "values": {"mm": 3.0}}
    measures = {f"measure_{i}": i / 7 for i in range(12)}
    rows = [
        {
            "name": f"sub-{i:05}",
            "person": f"sub-{i:05}",
            "file": f"sub-{i:05}_T1w.nii.gz",
            "number": i,
            "key": f"{i:032}",
            "sha256": f"{i:064}",
            "age": 20 + i % 70,
            "sex": "MF"[i % 2],
            "split": "validation" if i % 10 == 9 else "train",
            "measures": dict(measures),
            "doubts": [doubt] if i % 5 == 0 else [],
        }
        for i in range(people)
    ]
    if people <= real:
        write_pack(folder, rows, volume_of, space, {"refused": []})
        return
    write_pack(folder, rows, lambda row: np.zeros(1, np.uint8), space, {"refused": []})
    (file,) = folder.glob("volumes-*.npy")
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size + people * (mean.size - 1))


def first(pack: Pack, count: int) -> Pack:
    """The dataset with so many of its training subjects."""
    keep = set(pack.indices("train")[:count].tolist())
    table = [row if i in keep else row | {"split": "-"} for i, row in enumerate(pack.table)]
    return replace(pack, table=table)


def make_anatomy(folder: Path, pack: Pack) -> Anatomy:
    """What registration would find, of known fields."""
    n, template = len(pack.indices("train")), pack.template
    half = tuple(m // 2 for m in template.shape)
    basis = fields_of(half, 0, FIELDS).flatten(1)
    coarse = tuple(m // 4 for m in half)
    places = torch.from_numpy(template > 0.05)

    def fields() -> Iterator[np.ndarray]:
        for number in range(n):
            weights = torch.randn(FIELDS, generator=torch.Generator().manual_seed(number)) / 4
            yield (weights @ basis).reshape(3, *half).numpy()

    def brains() -> Iterator[np.ndarray]:
        image = torch.from_numpy(template)
        for number in range(n):
            source = torch.Generator().manual_seed(number)
            change = resize(torch.randn(1, 1, *coarse, generator=source) * 20, template.shape)
            yield ((255 * image + change[0, 0]).clamp(0, 255) * places).byte().numpy()

    write_array(folder / "velocities.npy", fields(), (n, 3, *half), np.float16)
    write_array(folder / "canonical.npy", brains(), (n, *template.shape), np.uint8)
    return open_anatomy(folder, pack)


def open_anatomy(folder: Path, pack: Pack) -> Anatomy:
    """That was made."""
    parts = (np.load(folder / f"{name}.npy", "r") for name in ("velocities", "canonical"))
    return Anatomy(folder, pack.indices("train"), pack.template, *parts)


def opened(folder: Path) -> None:
    """Open the dataset, and read one volume."""
    load_pack(folder / "pack").volumes[0].sum()


def chosen(folder: Path) -> None:
    """Choose the subjects of a fit (half of them up to 4,000 people), and hash theirs."""
    pack = load_pack(folder / "pack")
    count = min(MANY, len(pack.indices("train")) // 2)
    fit = FittedAnatomy.blank(replace(settings_of(pack), fit_on=count), pack)
    digest_of(fit.pack.volumes[row] for row in fit.pack.indices("train"))


def registered(folder: Path) -> None:
    """Register two subjects."""
    pack = load_pack(folder / "pack")
    find_anatomy(first(pack, REGISTERED), folder / "registered", jobs=1)


def fitted(folder: Path) -> None:
    """Fit the networks to an anatomy, of at most `MANY` subjects."""
    pack = first(load_pack(folder / "pack"), MANY)
    fit = FittedAnatomy.blank(settings_of(pack), pack)
    fit_networks(fit, open_anatomy(folder, pack))


def stylegan(folder: Path) -> None:
    """One step of the training of a StyleGAN, four volumes at a time."""
    preset = stylegan_2mm()
    judge = replace(preset.discriminator, mbstd_group=4)
    settings = replace(preset, steps=1, accumulate=4, discriminator=judge)
    train_stylegan(load_pack(folder / "pack"), folder / "stylegan", settings)


def encoder(folder: Path) -> None:
    """One step of the training of an encoder, and its last measurement."""
    settings = EncoderSettings(steps=1)
    train_encoder(stylegan3d.load(), load_pack(folder / "pack"), folder / "encoder", settings)


PARTS: dict[str, Callable[[Path], None]] = {
    one.__name__: one for one in (opened, chosen, registered, fitted, stylegan, encoder)
}


def anonymous_mb(pid: int) -> float:
    """Anonymous memory of a process, in MB; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def measured(part: str, folder: Path) -> dict[str, float]:
    """Peak of anonymous memory and seconds of a part."""
    most = 0.0
    with subprocess.Popen(
        [sys.executable, __file__, str(folder), "--part", part], stdout=subprocess.PIPE, text=True
    ) as child:
        while child.poll() is None:
            most = max(most, anonymous_mb(child.pid))
            time.sleep(SAMPLED_S)
        assert child.stdout is not None
        if child.returncode:
            sys.exit(f"{part} failed")
        return {"MB": round(most), "s": round(json.loads(child.stdout.read().splitlines()[-1]), 1)}


def main() -> int:
    """Measure all parts at each number of people, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="emptied at the end; 2 MB a person at 2 mm")
    parser.add_argument("--people", type=int, nargs="+", default=[2000, 5000, 10_000])
    parser.add_argument("--grid", type=int, choices=(1, 2), default=2, help="voxel size in mm")
    parser.add_argument("--real", type=int, default=REAL, help="most people with volumes")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        begun = time.perf_counter()
        PARTS[arguments.part](arguments.folder)
        print(time.perf_counter() - begun)
        return 0
    rows = []
    for people in arguments.people:
        folder = arguments.folder / str(people)
        try:
            make_pack(folder / "pack", people, arguments.grid, arguments.real)
            parts = [
                part for part in arguments.parts if people <= arguments.real or part == "opened"
            ]
            if "fitted" in parts:
                make_anatomy(folder, first(load_pack(folder / "pack"), MANY))
            for part in parts:
                rows.append({"people": people, "part": part, **measured(part, folder)})
                print(*rows[-1].values(), sep="\t", flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    write_rows(rows, arguments.folder / f"scale-{arguments.grid}mm.tsv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
