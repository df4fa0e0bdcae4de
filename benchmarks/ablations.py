"""What each part of the training buys: short runs that differ in one thing.

    python benchmarks/ablations.py DATA [--voxels 4|8] [--steps N] [--seeds K] [--out FOLDER]

DATA is a data set of `stylegan3d prepare` at 2 mm; it is averaged down to 4 or 8 mm. At 4 mm
anatomy models are fitted, which ask what details and mirror images buy. At 8 mm a StyleGAN is
trained, small enough for a CPU: it asks what regularisers and augmentation buy.

Printed are medians of the seeds, after the same number of steps each: variety of random brains;
their Fréchet distance to as many people on the first 32 principal components of people, as a
multiple of that between halves of people; and the shares of them near people and of people near
them (precision, recall).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA

from stylegan3d.dataset.pack import TABLE, Pack, load_pack, write_pack
from stylegan3d.geometry.intensity import to_display
from stylegan3d.metrics.distances import frechet_distance, precision, recall
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.mapping import MappingNetwork
from stylegan3d.networks.synthesis import SynthesisNetwork
from stylegan3d.training.anatomy_fit import ANATOMY, fit_anatomy
from stylegan3d.training.config import AnatomySettings, StyleGANSettings, brain_4mm, tiny
from stylegan3d.training.monitor import variety
from stylegan3d.training.stylegan import train_stylegan

COLUMNS = {
    "ms_ssim": "MS-SSIM",
    "pair_correlation": "correlation",
    "frechet": "FID ratio",
    "precision": "precision",
    "recall": "recall",
}
COMPONENTS = 32


def halved(pack: Pack, folder: Path) -> Pack:
    """The pack on a grid of half the resolution."""
    grid = tuple(n // 2 for n in pack.space.shape)

    def volume(row: dict[str, int]) -> np.ndarray:
        blocks = pack.volumes[row["row"]].reshape(grid[0], 2, grid[1], 2, grid[2], 2)
        return np.rint(blocks.astype(np.float32).mean(axis=(1, 3, 5))).astype(np.uint8)

    rows = [{**row, "row": i} for i, row in enumerate(pack.table)]
    write_pack(folder, rows, volume, pack.space.resized(grid), {"refused": []})
    return load_pack(folder)


def anatomical(_: int) -> dict[str, AnatomySettings]:
    """Settings at 4 mm by what is different about them."""
    whole = brain_4mm()
    return {
        "all": whole,
        "no detail images": replace(whole, generator=replace(whole.generator, detail_basis=0)),
        "no mirror images": replace(whole, mirror=False),
    }


def adversarial(steps: int) -> dict[str, StyleGANSettings]:
    """Settings at 8 mm by what is different about them."""
    small = tiny()
    channels, latent = (48, 32), 64
    whole = replace(
        small,
        generator=replace(small.generator, channels=channels, z_dim=latent, w_dim=latent),
        discriminator=replace(small.discriminator, channels=channels),
        batch=8,
        steps=steps,
        validate_every=steps,
    )
    return {
        "all": whole,
        "R1 / 10": replace(whole, r1_gamma=whole.r1_gamma / 10),
        "R1 x 10": replace(whole, r1_gamma=whole.r1_gamma * 10),
        "path length": replace(whole, path_length_weight=2.0),
        "no mirror images": replace(whole, mirror=False),
        "augmented (adaptive)": replace(whole, d_augment="adaptive", d_augment_images=2000),
        "augmented (p = 0.5)": replace(whole, d_augment="fixed", d_augment_p=0.5),
    }


class People:
    """What random brains are compared to: two halves of the training people, as components."""

    def __init__(self, pack: Pack) -> None:
        self.mask = pack.template > 0.05
        rows = pack.indices("train")
        order = np.random.default_rng(0).permutation(rows)
        values = self._values(np.array(pack.volumes[order]))
        self.components = PCA(COMPONENTS, random_state=0).fit(values)
        found = self.components.transform(values)
        self.first, self.second = found[: len(rows) // 2], found[len(rows) // 2 :]
        self.baseline = frechet_distance(self.first, self.second)

    def _values(self, volumes: np.ndarray) -> np.ndarray:
        return volumes[:, self.mask].astype(np.float32) / 255

    def compare(self, made: np.ndarray) -> dict[str, float]:
        """Figures of random brains, uint8 [n, X, Y, Z], as many as there are in a half."""
        found = self.components.transform(self._values(made))
        return {
            "frechet": frechet_distance(found, self.first) / self.baseline,
            "precision": precision(found, self.first),
            "recall": recall(found, self.first),
        }


@torch.no_grad()
def random_brains(
    mapping: MappingNetwork, synthesis: SynthesisNetwork | AnatomyNetwork, count: int
) -> Iterator[np.ndarray]:
    """uint8 [1, X, Y, Z] each, with noise of its own; the same latents and noise each time."""
    network = synthesis.config
    z = torch.randn(count, network.z_dim, generator=torch.Generator().manual_seed(1))
    for number, row in enumerate(mapping(z).split(1)):
        w = row[:, None].expand(-1, network.num_layers, -1)
        volume = to_display(synthesis(w, number))
        yield np.rint(np.clip(volume, 0, 1) * 255).astype(np.uint8)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--voxels", type=int, choices=(4, 8), default=8, help="millimetres")
    parser.add_argument("--steps", type=int, default=750)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="keep the runs here, and take them up again")
    parser.add_argument("--only", help="names of variants, joined by commas")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp())
    pack = load_pack(options.data)
    for voxels in (4, 8)[: 1 + (options.voxels == 8)]:
        folder = out / f"brains-{voxels}mm"
        # Its table comes last: without one it was not finished.
        pack = load_pack(folder) if (folder / TABLE).is_file() else halved(pack, folder)
    print(f"{'':26s}" + "".join(f"{name:>13s}" for name in COLUMNS.values()))
    people = People(pack)
    real = variety(np.array(pack.volumes[pack.indices("train")]), people.mask)
    baseline = [real["ms_ssim"], real["pair_correlation"], 1.0]
    baseline += [measure(people.second, people.first) for measure in (precision, recall)]
    print(f"{'people':26s}" + "".join(f"{x:13.3f}" for x in baseline), flush=True)
    variants = anatomical if options.voxels == 4 else adversarial
    wanted = options.only.split(",") if options.only else None
    for name, config in variants(options.steps).items():
        if wanted is not None and name not in wanted:
            continue
        rows = [
            _run(pack, out, name, replace(config, seed=seed), people)
            for seed in range(options.seeds)
        ]
        print(f"{name:26s}" + _text(np.median(rows, axis=0)), flush=True)
        if len(rows) > 1:
            print(
                f"{'  half the range of seeds':26s}" + _text(np.ptp(rows, axis=0) / 2), flush=True
            )


def _run(
    pack: Pack, out: Path, name: str, settings: AnatomySettings | StyleGANSettings, people: People
) -> list[float]:
    """The figures of one run, in the order of `COLUMNS`."""
    folder = out / f"{name.replace(' ', '-').replace('/', 'by')}-{settings.seed}"
    if isinstance(settings, AnatomySettings):
        # The registrations are the same for all but one; the first run finds them.
        shared, own = out / "all-0" / ANATOMY, folder / ANATOMY
        if shared.is_dir() and settings.mirror and own != shared:
            shutil.copytree(shared, own, dirs_exist_ok=True)
        fit = fit_anatomy(pack, folder, settings)
        networks = fit.mapping, fit.synthesis
    else:
        resume = (folder / "checkpoint.pt").is_file()
        run = train_stylegan(pack, folder, settings, resume=resume)
        networks = run.averages["mapping"], run.averages["synthesis"]
    made = np.concatenate(list(random_brains(*networks, len(people.first))))
    values = variety(made, people.mask) | people.compare(made)
    return [values[column] for column in COLUMNS]


def _text(values: np.ndarray) -> str:
    return "".join(f"{value:13.3f}" for value in values)


if __name__ == "__main__":
    main()
