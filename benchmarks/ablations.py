"""What each part of the training buys: short runs at 4 mm that differ in one thing.

    python benchmarks/ablations.py DATA [--images N] [--out FOLDER]

DATA is a data set of `stylegan3d prepare` at 2 mm; it is averaged down to 4 mm. The figures are
those of a run's log, after the same number of volumes each: reconstruction of nine validation
people by the encoder, and variety and distance of eight random brains beside the same of people.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from stylegan3d.networks.config import EncoderConfig
from stylegan3d.training.config import TrainConfig, brain_4mm
from stylegan3d.training.loop import train
from stylegan3d.training.monitor import Monitor
from stylegan3d.training.opening import ANATOMY
from stylegan3d.training.pack import Pack, load_pack, write_pack

COLUMNS = ("validation_psnr", "validation_ssim", "ms_ssim", "pair_correlation", "bmmd2")


def halved(pack: Pack, folder: Path) -> Pack:
    """The pack on a grid of half the resolution."""
    grid = tuple(n // 2 for n in pack.space.shape)

    def volume(row: dict[str, int]) -> np.ndarray:
        blocks = pack.volumes[row["row"]].reshape(grid[0], 2, grid[1], 2, grid[2], 2)
        return np.rint(blocks.astype(np.float32).mean(axis=(1, 3, 5))).astype(np.uint8)

    rows = [{**row, "row": i} for i, row in enumerate(pack.table)]
    write_pack(folder, rows, volume, pack.space.resized(grid), {"refused": []})
    return load_pack(folder)


def variants(images: int) -> dict[str, TrainConfig]:
    """Settings by what is different about them."""
    whole = brain_4mm().with_(warm_start_images=images, total_images=images, log_images=images)
    network = whole.generator
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
        "no discriminator": whole.with_(adversarial_weight=0.0),
        "discriminator x 3": whole.with_(adversarial_weight=3 * whole.adversarial_weight),
        "R1 / 10": whole.with_(r1_gamma=whole.r1_gamma / 10),
        "R1 x 10": whole.with_(r1_gamma=whole.r1_gamma * 10),
        "R1 every step": whole.with_(r1_interval=1),
        "augmented (adaptive)": whole.with_(d_augment="adaptive", d_augment_images=2000),
        "augmented (p = 0.5)": whole.with_(d_augment="fixed", d_augment_p=0.5),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--out", type=Path, help="keep the runs here")
    parser.add_argument("--only", help="names of variants, joined by commas")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp())
    pack = halved(load_pack(options.data), out / "brains-4mm")
    print(f"{'':22s}" + "".join(f"{name.removeprefix('validation_'):>18s}" for name in COLUMNS))
    monitor = Monitor(pack, torch.float32)
    real = monitor.of_people
    people = [real["ms_ssim"], real["pair_correlation"]]
    print(f"{'people':22s}" + " " * 36 + "".join(f"{x:18.3f}" for x in people))
    # The registrations are the same for all but one; the first run finds them.
    shared = out / "all" / ANATOMY
    wanted = options.only.split(",") if options.only else None
    for name, config in variants(options.images).items():
        if wanted is not None and name not in wanted:
            continue
        folder = out / name.replace(" ", "-").replace("/", "by")
        own = folder / ANATOMY
        if shared.is_dir() and config.generator.deformation and config.mirror and own != shared:
            shutil.copytree(shared, own, dirs_exist_ok=True)
        state = train(pack.path, folder, config, device="cpu")
        values = monitor.measure(state)
        print(f"{name:22s}" + "".join(f"{values[c]:18.3f}" for c in COLUMNS), flush=True)


if __name__ == "__main__":
    main()
