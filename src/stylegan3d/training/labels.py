"""Learn labels after training: random brains conditioned on age, sex or volumes.

Subjects of the dataset are encoded and their tissues measured; the relation of labels to latents
or volumes is estimated by cross-validation, and the better predictor is used
(`networks/linear_prior.py`). The relation of latents to volumes is estimated from random brains.
Random latents are then moved accordingly (`model/labelled_mapping.py`). No weight of the model
changes: without a label every seed gives the same brain, bit for bit, and the model keeps its hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.base import SILENT, Json, JsonView, ModelError, Progress, followed
from stylegan3d.directions.people import LOGARITHMIC, UNITS, encoded, group_numbers
from stylegan3d.geometry.space import unit
from stylegan3d.measures.attributes import MEASURES, measure_attributes, read_tissues
from stylegan3d.model.card import card_text
from stylegan3d.model.random_latents import random_w
from stylegan3d.recipe.model import encode_known, encode_labels, known_schema, seed_latents
from stylegan3d.storage.files import LOCK, atomic_write_bytes, atomic_write_text
from stylegan3d.storage.places import CARD, LABELS
from stylegan3d.training.options import LabelSettings

if TYPE_CHECKING:
    from torch import Tensor

    from stylegan3d.dataset.pack import Pack
    from stylegan3d.model.generator import Generator
    from stylegan3d.networks.linear_prior import LabelKnowledge, Measured

#: Volumes are measured in the scans as in synthetic brains, ignoring the table.
MEASURED = frozenset(measure.key for measure in MEASURES if measure.unit == "ml")
#: Random brains for the distribution of latents, and the maximum number of values.
SAMPLES, MOST_NUMBERS = 20_000, 24_000_000
#: First seed of the random brains whose tissues are measured, outside the usual range.
FIRST_SEED = 3_000_000
#: Volumes used on a logarithmic scale, if measurable on the model's grid.
TISSUES = ("csf_ml", "ventricle_ml", "grey_ml", "white_ml", "other_ml")
#: Least number of random brains.
FEWEST_BRAINS = 20
#: Names of the predictors in a card.
LATENTS, VOLUMES = "latents", "tissue volumes"
#: Least variance of a principal direction, as a share of the first one's.
LEAST_VARIANCE = 1e-6
# Entries of a card that concern labels or are rewritten.
STALE = ("format", "format_version", "files", "labels")


def learn_labels(
    folder: str | Path,
    pack: Pack,
    labels: Sequence[str],
    out: str | Path | None = None,
    *,
    latents: Tensor | None = None,
    brains: int = LabelSettings.brains,
    overwrite: bool = False,
    report: Progress = SILENT,
) -> Generator:
    """Add labels to a trained model.

    Parameters
    ----------
    folder : path-like
        Model folder of any family with an encoder, trained without labels. Labels learned before
        are replaced.
    pack : Pack
        The dataset it was trained on; validation subjects are not used.
    labels : sequence of str
        Columns of the dataset's table, such as "age" and "sex" (a code such as "site:category"),
        and volumes, such as "ventricle_ml", which are measured in the scans.
    out : path-like or None
        Output folder; by default the model's own.
    latents : Tensor, shape (training subjects, w_dim), or None
        Latents of the subjects, if known; otherwise they are encoded.
    brains : int
        Number of random brains whose tissues are measured; 0 to use latents only.
    overwrite : bool
        Replace a model in `out`, or existing labels of the model.
    report : Progress
        Called with brains done and total.

    Returns
    -------
    Generator
        The model with its labels; its hash is unchanged.

    Raises
    ------
    ModelError, OutputError
        If the model cannot learn labels, a column is unusable, a label cannot be predicted in
        held-out subjects, or the folder cannot be written.
    """
    import torch

    from stylegan3d.checkpoints.folder import check_target
    from stylegan3d.model.generator import load
    from stylegan3d.model.labelled_mapping import tensors_of
    from stylegan3d.networks.linear_prior import LabelKnowledge

    folder = Path(folder)
    generator = load(folder, device="cpu")
    own = generator.needed_folder()
    target = own if out is None else Path(out)
    _check(generator, pack, latents is None)
    check_columns(pack, labels)
    if target != own or generator.labels_hash:
        check_target(target, overwrite)
    people = pack.indices("train")
    rows = _rows(pack, people, labels, report)
    schema = known_schema(rows, labels, tuple(LOGARITHMIC))
    if latents is None:
        latents = _encode(generator, pack, people, report)
    centre, components = principal(generator)
    variances = components.square().sum(dim=1)
    known = LabelKnowledge.of(
        _scores(latents, centre, components),
        encode_known(schema, rows),
        [len(entry["average"]) for entry in schema],
        encode_labels(schema)[0],
        variances=variances,
        groups=torch.from_numpy(
            group_numbers([row.get("source") for row in rows], np.ones(len(rows), dtype=bool))
        ),
        measured=_measured(generator, pack, people, centre, components, brains, report),
    )
    told = _record(schema, known, rows)
    write_labels(generator, target, told, tensors_of(known, centre, components))
    return load(target, device="cpu")


def check_columns(pack: Pack, labels: Sequence[str]) -> None:
    """Check the columns of labels before any work is done.

    Raises
    ------
    ModelError
        If there is none, one is given twice, or a column is missing or unusable.
    """
    if not labels:
        raise ModelError("There is no label to learn: name columns of the table, such as age,sex.")
    if len(set(labels)) < len(labels):
        raise ModelError(f"A label is named twice among {', '.join(labels)}: name each once.")
    rows = [pack.table[row] for row in pack.indices("train")]
    known_schema(rows, [name for name in labels if name not in MEASURED])


def principal(generator: Generator) -> tuple[Tensor, Tensor]:
    """Distribution of random brains in w: float64 mean [w_dim] and principal directions [K, w_dim].

    Each direction has the length of one standard deviation.
    """
    import torch

    if generator.components is not None:
        return generator.w_avg.double().cpu(), generator.components.double().cpu()
    samples = min(SAMPLES, MOST_NUMBERS // generator.w_dim)
    w = torch.from_numpy(random_w(generator, samples, 0))
    centre = w.mean(dim=0)
    w -= centre
    _, lengths, rows = torch.linalg.svd(w / (len(w) - 1) ** 0.5, full_matrices=False)
    kept = lengths.square() > LEAST_VARIANCE * lengths.square().max()
    return centre, rows[kept] * lengths[kept, None]


def _check(generator: Generator, pack: Pack, encodes: bool) -> None:
    """Check that a model can learn labels of these subjects."""
    if generator.config.label_dim:
        raise ModelError(
            f"The model '{generator.name}' was trained with labels, which cannot be replaced: "
            "learn labels with a model that was trained without."
        )
    if encodes:
        generator.require("encode")
    pack.check_grid(generator.space, generator.name)


def _rows(pack: Pack, people: np.ndarray, labels: Sequence[str], report: Progress) -> list[Json]:
    """Rows of the subjects, with volumes measured in their scans."""
    rows = [dict(pack.table[row]) for row in people]
    wanted = [name for name in labels if name in MEASURED]
    for number, row in enumerate(followed(rows if wanted else [], report)):
        found = measure_attributes(unit(pack.volumes[people[number]]), pack.space)
        row |= {name: found[name] if np.isfinite(found[name]) else None for name in wanted}
    return rows


def _encode(generator: Generator, pack: Pack, people: np.ndarray, report: Progress) -> Tensor:
    """w of subjects [n, w_dim], averaged over each and its mirror image."""
    import torch

    found = []
    for row in followed(people, report):
        intensity = unit(pack.volumes[row])
        both = (intensity, np.flip(intensity, pack.space.sideways))
        found.append(np.mean([encoded(generator, image) for image in both], axis=0))
    return torch.from_numpy(np.stack(found))


def _measured(
    generator: Generator,
    pack: Pack,
    people: np.ndarray,
    centre: Tensor,
    components: Tensor,
    brains: int,
    report: Progress,
) -> Measured | None:
    """Tissue volumes of subjects and random brains; None if there are too few."""
    import torch

    from stylegan3d.model.generator import packed_synthesis
    from stylegan3d.networks.linear_prior import Measured

    if brains < FEWEST_BRAINS:
        return None
    volumes = (unit(pack.volumes[row]) for row in followed(people, report))
    of_people = torch.tensor(np.stack([_log_volumes(volume, generator) for volume in volumes]))
    latents, found = [], []
    for seed in followed(range(FIRST_SEED, FIRST_SEED + brains), report):
        w = seed_latents(generator, [seed])
        latents.append(w[0, 0].cpu())
        found.append(_log_volumes(unit(packed_synthesis(generator, w, seed)), generator))
    of_brains = torch.tensor(np.stack(found))
    usable = of_people.isfinite().any(dim=0) & (of_brains.isfinite().sum(dim=0) > brains // 2)
    if not usable.any():
        return None
    scores = _scores(torch.stack(latents), centre, components)
    return Measured(of_people[:, usable], scores, of_brains[:, usable])


def _scores(latents: Tensor, centre: Tensor, components: Tensor) -> Tensor:
    """Scores of latents [n, w_dim] along principal directions, [n, K] in standard deviations."""
    return (latents.double() - centre) @ components.T / components.square().sum(dim=1)


def _log_volumes(volume: np.ndarray, generator: Generator) -> np.ndarray:
    """Logarithms of a brain's `TISSUES`, NaN where unknown."""
    found = read_tissues(volume, generator.space).volumes
    ml = np.array([found[name] for name in TISSUES])
    return np.log(np.where(ml > 0, ml, np.nan))


def _record(schema: list[Json], known: LabelKnowledge, rows: Sequence[JsonView]) -> list[Json]:
    """Add how well each label is predicted to the schema; ModelError if one is not."""
    vectors, start, told = encode_known(schema, rows), 1, []
    for entry in schema:
        place = slice(start, start + len(entry["average"]))
        share = float(known.explained[place].mean())
        if share <= 0:
            raise ModelError(
                f"'{entry['name']}' cannot be predicted from latents or volumes in held-out "
                "subjects, so brains cannot be conditioned on it: leave it out."
            )
        count = int(vectors[:, start].isfinite().sum())
        by = VOLUMES if any(known.by_measures[place]) else LATENTS
        told.append(entry | {"people": count, "explained": round(share, 3), "told_by": by})
        if UNITS.get(entry["name"]):
            told[-1]["unit"] = UNITS[entry["name"]]
        start = place.stop
    return told


def write_labels(
    generator: Generator, out: Path, schema: list[Json], tensors: dict[str, Tensor]
) -> None:
    """Write a model folder with new labels and all other files unchanged.

    Parts of the card's evaluation about labels are removed.
    """
    from stylegan3d.checkpoints.folder import UNFINISHED, read_folder, write_folder

    own = generator.needed_folder()
    files = read_folder(own)
    card = {key: value for key, value in files.card.items() if key not in (*STALE, UNFINISHED)}
    if "evaluation" in card:
        card["evaluation"] = {k: v for k, v in card["evaluation"].items() if k != "conditions"}
    card["labels"] = schema
    # Copy the files unchanged, so that the model keeps its hash.
    listed = {n: files.folder / n for n in files.card.get("files", {}) if n != LABELS}
    others = [
        file
        for file in own.iterdir()
        if file.is_file() and file.name not in (*listed, CARD, LABELS, LOCK, "README.md")
    ]
    write_folder(out, card, files.tensors, files.encoder, listed, overwrite=True, labels=tensors)
    if out != own:
        for file in others:
            atomic_write_bytes(out / file.name, file.read_bytes(), overwrite=True)
    atomic_write_text(out / "README.md", card_text(card), overwrite=True)
