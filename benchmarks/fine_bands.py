"""How far the fine flow of a cascade is, on 4 mm images that it did not draw itself.

    python benchmarks/fine_bands.py MODEL PACK RUN [--brains 60] [--people 12] [--steps 4]
        [--montage PNG]

The flow draws the fine bands anew on the 4 mm images of the model's random brains and of held-out
people. Prints one JSON object: how often random brains are then told from training and from
held-out people (0.5 is chance) beside the model as it is, and by how much each measure of a
held-out person changes when only the fine bands are drawn anew, in deviations between people: with
a perfect flow by nothing, on average.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from cascade import DTYPE, packed

from stylegan3d.dataset.pack import load_pack
from stylegan3d.geometry.montage import draw_montage
from stylegan3d.measures.tissue_shape import TISSUE_SHAPE, tissue_shapes
from stylegan3d.metrics.cross_validation import classify_by_measures
from stylegan3d.model.families.anatomy import anatomy_network
from stylegan3d.model.loading import load
from stylegan3d.model.sampling import RandomBrains
from stylegan3d.networks.cascade import CascadeFlow, refined
from stylegan3d.networks.flow import FLOOR, reached
from stylegan3d.networks.resampling import haar
from stylegan3d.training.cascade import CascadeRecipe
from stylegan3d.training.run import load_run


def drawn_anew(
    flow: CascadeFlow, volume: np.ndarray, seed: int, taps: tuple[float, ...], steps: int
) -> np.ndarray:
    """A brain [X, Y, Z], uint8, with other fine bands."""
    half = haar(torch.from_numpy(volume.astype(np.float32))[None, None] / 127.5 - 1)[:, :1]
    near = reached((half > 2 * FLOOR[1] - 1).float())
    noise = torch.randn(1, 7, *half.shape[2:], generator=torch.Generator().manual_seed(seed))
    return packed(refined(flow, half, near, noise, taps, steps, DTYPE))


@torch.inference_mode()
def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "pack", "run"):
        parser.add_argument(name, type=Path)
    for name, value in (("brains", 60), ("people", 12), ("steps", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--montage", type=Path)
    wanted = parser.parse_args()
    generator, pack = load(wanted.model, device="cpu"), load_pack(wanted.pack)
    run = load_run(CascadeRecipe, wanted.run, torch.device("cpu"))
    taps = anatomy_network(generator).config.fine_taps

    def anew(volumes: list[np.ndarray]) -> list[np.ndarray]:
        flow = run.average
        return [drawn_anew(flow, v, k, taps, wanted.steps) for k, v in enumerate(volumes)]

    before = list(RandomBrains(generator, range(wanted.brains)))
    after = anew(before)
    people = {s: [pack.volumes[r] for r in pack.indices(s)] for s in ("train", "validation")}
    training, held_out, made, as_it_is = (
        tissue_shapes(v, pack.space) for v in (people["train"], people["validation"], after, before)
    )
    some = np.random.default_rng(0).permutation(len(training))[: wanted.brains]
    again = anew(people["validation"][: wanted.people])
    changed = (tissue_shapes(again, pack.space) - held_out[: len(again)]) / training.std(axis=0)
    told = {
        f"{name} from {whom}": classify_by_measures(rows, others).to_dict()
        for name, rows in (("drawn anew", made), ("as it is", as_it_is))
        for whom, others in (("training", training[some]), ("held-out", held_out))
    }
    report = {
        "steps": run.steps,
        "told": {k: {n: np.round(v, 3).tolist() for n, v in d.items()} for k, d in told.items()},
        "held-out people, change": {
            key: round(float(change), 2)
            for key, change in zip(TISSUE_SHAPE, changed.mean(axis=0), strict=True)
        },
    }
    print(json.dumps(report))
    if wanted.montage is not None:
        columns = {"anew": after[:4], "as it is": before[:4], "people": people["validation"][:4]}
        wanted.montage.write_bytes(draw_montage(columns, pack.space))


if __name__ == "__main__":
    main()
