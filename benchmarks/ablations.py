"""What each part of the training buys: short runs that differ in one thing.

    python benchmarks/ablations.py DATA [--voxels 4|8] [--images N] [--seeds K] [--out FOLDER]

DATA is a data set of `stylegan3d prepare` at 2 mm; it is averaged down to 4 or 8 mm. At 4 mm the
networks are those of `brain-4mm`, which on a CPU ask what anatomy and details buy. At 8 mm they are
StyleGAN layers over linear images without a deformation, small enough to train adversarially for
thousands of volumes on a CPU: they ask what discriminator, regularisers and augmentation buy.

Printed are medians of the seeds, after the same number of volumes each: reconstruction of nine
validation people by the encoder; variety of random brains; their Fréchet distance to as many people
on the first 32 principal components of people, as a multiple of that between halves of people; and
the shares of them near people and of people near them (precision, recall).
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
from stylegan3d.networks.config import EncoderConfig
from stylegan3d.training.config import TrainConfig, brain_4mm, tiny
from stylegan3d.training.monitor import Monitor
from stylegan3d.training.opening import ANATOMY
from stylegan3d.training.state import TrainState
from stylegan3d.training.stylegan import train

COLUMNS = {
    "validation_psnr": "PSNR",
    "validation_ssim": "SSIM",
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


def anatomical(images: int) -> dict[str, TrainConfig]:
    """Settings at 4 mm by what is different about them."""
    plan = brain_4mm()
    network = replace(plan.generator, channels=(32, 32, 16))
    whole = plan.with_(
        generator=network, warm_start_images=images, total_images=images, log_images=images
    )
    # Without a deformation the encoder is a convolutional one, trained by reconstruction.
    plain = replace(
        network, deformation=0, detail_basis=0, refine_layers=0, image_basis=128, w_dim=128
    )
    encoder = EncoderConfig(
        base=network.base,
        channels=(64, 128, 96),
        w_dim=128,
        num_layers=network.num_layers,
        linear=128,
    )
    return {
        "all": whole,
        "no deformation": whole.with_(
            generator=replace(plain, z_dim=128), encoder=encoder, generator_lr=0.02, batch=4
        ),
        "no detail images": whole.with_(generator=replace(network, detail_basis=0)),
        "no mirror images": whole.with_(mirror=False),
    }


def adversarial(images: int) -> dict[str, TrainConfig]:
    """Settings at 8 mm by what is different about them."""
    small = tiny()
    channels, latent = (48, 32), 64
    whole = small.with_(
        generator=replace(
            small.generator, channels=channels, z_dim=latent, w_dim=latent, image_basis=32
        ),
        discriminator=replace(small.discriminator, channels=channels),
        encoder=replace(small.encoder, channels=channels, w_dim=latent, linear=32),
        batch=8,
        warm_start_images=images // 4,
        coarse_images=0,
        total_images=images,
        log_images=images,
    )
    return {
        "all": whole,
        "no discriminator": whole.with_(adversarial_weight=0.0),
        "discriminator x 3": whole.with_(adversarial_weight=3 * whole.adversarial_weight),
        "no reconstruction first": whole.with_(warm_start_images=0),
        "R1 / 10": whole.with_(r1_gamma=whole.r1_gamma / 10),
        "R1 x 10": whole.with_(r1_gamma=whole.r1_gamma * 10),
        "R1 every step": whole.with_(r1_interval=1),
        "no path length": whole.with_(path_length_weight=0.0),
        "no mirror images": whole.with_(mirror=False),
        "augmented (adaptive)": whole.with_(d_augment="adaptive", d_augment_images=2000),
        "augmented (p = 0.5)": whole.with_(d_augment="fixed", d_augment_p=0.5),
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
def random_brains(state: TrainState, count: int) -> Iterator[np.ndarray]:
    """uint8 [1, X, Y, Z] each, with noise of its own; the same latents and noise each time."""
    network = state.config.generator
    z = torch.randn(count, network.z_dim, generator=torch.Generator().manual_seed(1))
    for number, row in enumerate(state.averages["mapping"](z).split(1)):
        w = row[:, None].expand(-1, network.num_layers, -1)
        volume = to_display(state.averages["synthesis"](w, number))
        yield np.rint(np.clip(volume, 0, 1) * 255).astype(np.uint8)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--voxels", type=int, choices=(4, 8), default=8, help="millimetres")
    parser.add_argument("--images", type=int, default=6000)
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
    monitor, people = Monitor(pack, torch.float32), People(pack)
    real = monitor.of_people
    baseline = [real["ms_ssim"], real["pair_correlation"], 1.0]
    baseline += [measure(people.second, people.first) for measure in (precision, recall)]
    print(f"{'people':26s}" + " " * 26 + "".join(f"{x:13.3f}" for x in baseline), flush=True)
    variants = anatomical if options.voxels == 4 else adversarial
    wanted = options.only.split(",") if options.only else None
    for name, config in variants(options.images).items():
        if wanted is not None and name not in wanted:
            continue
        rows = [
            _run(pack, out, name, config.with_(seed=seed), monitor, people)
            for seed in range(options.seeds)
        ]
        print(f"{name:26s}" + _text(np.median(rows, axis=0)), flush=True)
        if len(rows) > 1:
            print(
                f"{'  half the range of seeds':26s}" + _text(np.ptp(rows, axis=0) / 2), flush=True
            )


def _run(
    pack: Pack, out: Path, name: str, config: TrainConfig, monitor: Monitor, people: People
) -> list[float]:
    """The figures of one run, in the order of `COLUMNS`."""
    folder = out / f"{name.replace(' ', '-').replace('/', 'by')}-{config.seed}"
    # The registrations are the same for all but one; the first run finds them.
    shared, own = out / "all-0" / ANATOMY, folder / ANATOMY
    if shared.is_dir() and config.deformed and config.mirror and own != shared:
        shutil.copytree(shared, own, dirs_exist_ok=True)
    resume = (folder / "checkpoint.pt").is_file()
    state = train(pack.path, folder, config, device="cpu", resume=resume)
    made = np.concatenate(list(random_brains(state, len(people.first))))
    values = monitor.measure(state) | people.compare(made)
    return [values[column] for column in COLUMNS]


def _text(values: np.ndarray) -> str:
    return "".join(f"{value:13.3f}" for value in values)


if __name__ == "__main__":
    main()
