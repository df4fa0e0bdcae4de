"""The evaluation of a generator or a folder of volumes, and its reports.

Where synthetic brains differ from real ones is told by classifying one cube at a time: a whole
brain may pass while its cortex does not. Boosted trees (Friedman 2001, Annals of Statistics
29) learn from the texture of cubes of 32 mm everywhere in the brain, and are tested on cubes of
brains they have not seen. The regions whose cubes are classified most surely show what to look at.
With a hundred brains on either side, the small network of `two_sample` learns nothing from single
cubes.
"""

from __future__ import annotations

import io
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.special import logit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold

from stylegan3d.base import SILENT, Json, JsonView, Progress, StyleGAN3DError
from stylegan3d.checkpoints.folder import add_to_card
from stylegan3d.dataset.pack import Pack, evenly
from stylegan3d.devices import computed
from stylegan3d.evaluation import table
from stylegan3d.evaluation.material import VERSION, Material, Store, Subject, digest_of
from stylegan3d.evaluation.privacy import closest_pairs_png
from stylegan3d.evaluation.rows import Figure
from stylegan3d.evaluation.settings import EvaluationSettings
from stylegan3d.evaluation.table import (
    figures,
    figures_by_part,
    keys,
    plain_words,
    title_of,
    warnings,
)
from stylegan3d.geometry.space import Space, draw_montage
from stylegan3d.measures.regions import NAMES, region_masks
from stylegan3d.metrics.comparison import Interval, bootstrap, side_by_side
from stylegan3d.metrics.two_sample import LEAST, areas, check_counts
from stylegan3d.model.card import card_text
from stylegan3d.model.generator import Generator
from stylegan3d.networks.resampling import haar
from stylegan3d.pages import page as pages
from stylegan3d.pages.page import Markup, curves, distributions, interval_bar
from stylegan3d.render.figures import COMPOSITE, SYNTHETIC, with_source_type
from stylegan3d.settings.option import check_options
from stylegan3d.storage.about import version
from stylegan3d.storage.checked import answering
from stylegan3d.storage.encoding import read_json, to_json
from stylegan3d.storage.files import atomic_write_bytes, reason, table_text
from stylegan3d.storage.places import LABELS, MONTAGE

SIDE_MM = 32.0
# Cubes that are tested lie this far apart.
APART_MM = 24.0
FOLDS, TREES = 3, 100
# Haar levels of a cube whose bands are measured; a side is a multiple of 2 to this power.
LEVELS = 3
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DRAWS = 200


@dataclass(frozen=True, eq=False)
class CubeClassification:
    """What `classify_cubes` found.

    Attributes
    ----------
    scores : ndarray
        [brains, cubes] logits of cubes not learned from, above 0 for the first set.
    corners : ndarray, int
        [cubes, 3] first voxel of each; the same in every brain.
    side : int
        Voxels along an edge.
    regions : list of str
        Where the middle of each lies.
    counts : tuple of int
        Brains of the first and the second set.
    """

    scores: np.ndarray
    corners: np.ndarray
    side: int
    regions: list[str]
    counts: tuple[int, int]

    def accuracy(self, region: str | None = None) -> tuple[float, Interval]:
        """Share of cubes classified correctly, mean of both sets; interval by a bootstrap.

        Parameters
        ----------
        region : str or None
            Of cubes there only.
        """
        right = self.scores[:, [region in (None, name) for name in self.regions]] > 0
        n = self.counts[0]
        first, second = right[:n].mean(axis=1), 1 - right[n:].mean(axis=1)

        def share(a: np.ndarray, b: np.ndarray) -> float:
            return float(a.mean() + b.mean()) / 2

        return share(first, second), bootstrap(share, first, second)

    def auc(self) -> tuple[float, Interval]:
        """Area under the curve of all cubes together; interval by a bootstrap over brains."""

        def area(a: np.ndarray, b: np.ndarray) -> float:
            return float(areas(a.ravel(), b.ravel()))

        first, second = self.scores[: self.counts[0]], self.scores[self.counts[0] :]
        return area(first, second), bootstrap(area, first, second, draws=DRAWS)

    def surest(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Brain and cube of those classified most surely of each set, at most one of each brain."""
        n = self.counts[0]
        found = []
        for rows, sign in ((range(n), 1), (range(n, sum(self.counts)), -1)):
            best = [(row, int(np.argmax(sign * self.scores[row]))) for row in rows]
            best.sort(key=lambda place: -sign * self.scores[place])
            found.append(best[:count])
        return found[0], found[1]


def classify_cubes(
    first: np.ndarray,
    second: np.ndarray,
    people: Sequence[object],
    mask: np.ndarray,
    space: Space,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> CubeClassification:
    """How well cubes of two sets are distinguished, three-fold cross-validated by person.

    Parameters
    ----------
    first, second : ndarray, shape (n, X, Y, Z), (m, X, Y, Z), uint8
        Volumes of a pack.
    people : sequence of object
        Whose brain each row of both is; a person's brains are never on both sides of a fold.
    mask : ndarray, shape (X, Y, Z), bool
        Where brains are.
    space : Space
        The grid.
    seed : int
        Of folds, weights and cubes.
    progress : callable or None
        Called with how many trainings are done, of how many.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than ten of either, or the grid holds no such cube.
    """
    counts = len(first), len(second)
    check_counts(*counts)
    unit = 2**LEVELS
    side = unit * max(round(SIDE_MM / float(np.mean(space.voxel_size)) / unit), 1)
    corners, regions = _tested(mask, space, side)
    if not len(corners):
        raise StyleGAN3DError("This grid is too small for patches of 32 mm.")
    y = np.repeat([1, 0], counts)
    x = np.stack(computed(lambda volume: texture(volume, corners, side), [*first, *second]))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(y, y, list(people))
    scores = np.zeros((len(x), len(corners)))
    for done, (known, held) in enumerate(folds, 1):
        judge = HistGradientBoostingClassifier(
            max_iter=TREES, random_state=seed, early_stopping=False
        )
        judge.fit(x[known].reshape(-1, x.shape[2]), np.repeat(y[known], len(corners)))
        found = judge.decision_function(x[held].reshape(-1, x.shape[2]))
        # As if both kinds were equally frequent. Weights would do the same: with them, scikit-learn
        # takes ten times as long to find the bins of a measure.
        scores[held] = found.reshape(len(held), -1) - logit(y[known].mean())
        progress(done, FOLDS)
    return CubeClassification(scores, corners, side, regions, counts)


def _tested(mask: np.ndarray, space: Space, side: int) -> tuple[np.ndarray, list[str]]:
    """First voxels of the cubes whose middle lies in the brain, and the regions there."""
    apart = max(round(APART_MM / float(np.mean(space.voxel_size))), 1)
    axes = [np.arange((n - side) % apart // 2, n - side + 1, apart) for n in mask.shape]
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    middles = corners + side // 2
    corners = corners[mask[tuple(middles.T)]]
    names = np.zeros(mask.size, int)
    for name, where in region_masks(mask, space).items():
        names[where] = 1 + NAMES.index(name.removeprefix("left ").removeprefix("right "))
    flat = np.ravel_multi_index(tuple((corners + side // 2).T), mask.shape)
    return corners, [NAMES[number - 1] for number in names[flat]]


@torch.no_grad()
def texture(volume: np.ndarray, corners: np.ndarray, side: int) -> np.ndarray:
    """What is measured of each cube of a volume uint8 (X, Y, Z), float32 [cubes, measures].

    Of the Haar bands of three levels the energy (logarithm) and how evenly it is spread; of the
    intensities mean, deviation, skewness, kurtosis and quantiles; mean steps along the axes.
    """
    whole = torch.from_numpy(np.ascontiguousarray(volume)).float() / 255
    cubes = torch.stack(
        [whole[x : x + side, y : y + side, z : z + side] for x, y, z in corners.tolist()]
    )[:, None]
    found, low = [], cubes
    for _ in range(LEVELS):
        bands = haar(low)
        fine, low = bands[:, 1:].flatten(2), bands[:, :1]
        energy = fine.square().mean(dim=2)
        found += [(energy + 1e-6).log(), fine.abs().mean(dim=2) / (energy.sqrt() + 1e-4)]
    flat = cubes.flatten(1)
    mean, deviation = flat.mean(dim=1, keepdim=True), flat.std(dim=1, keepdim=True) + 1e-4
    scaled = (flat - mean) / deviation
    found += [mean, deviation, *(scaled.pow(k).mean(dim=1, keepdim=True) for k in (3, 4))]
    found.append(torch.quantile(flat, torch.tensor(QUANTILES), dim=1).T)
    found += [cubes.diff(dim=k).abs().flatten(1).mean(dim=1, keepdim=True) for k in (2, 3, 4)]
    return torch.cat(found, dim=1).numpy()


# Cubes of each kind in the picture, and how much they are enlarged.
SHOWN, ENLARGED, GAP = 8, 6, 4


def cubes(material: Material) -> Json:
    """How well cubes of 32 mm of random brains are distinguished from people's.

    Returns
    -------
    dict
        "n" brains on either side, half of the people; "accuracy" and "auc" of cubes, "synthetic"
        and, of the other half of the people, "real", each with "_interval"; "regions", the accuracy
        by region in the same form; "surest", "synthetic" and "real" cubes classified most surely:
        "seed" or "row" of the dataset, "corner", "side" and "region". "left_out" alone, a
        sentence, where it cannot be measured.
    """
    drawn, half, other = material.groups()
    n, names = len(drawn), material.names
    if n < LEAST:
        return {"left_out": f"Patches need {LEAST} synthetic and {2 * LEAST} real volumes."}
    people = np.stack(material.volumes(material.subjects[half]))
    seeds = material.seeds(material.settings.samples)

    def told(first: np.ndarray, whose: Iterable[str], what: str) -> CubeClassification:
        return classify_cubes(
            first,
            people,
            [*whose, *names[half]],
            material.mask,
            material.pack.space,
            seed=material.settings.seed,
            progress=material.progress(f"Patches of {what} brains"),
        )

    made = told(material.synthetic[drawn], [f"synthetic {k}" for k in drawn], "random")
    real = told(np.stack(material.volumes(material.subjects[other])), names[other], "real")
    synthetic, surest = made.surest(SHOWN)
    return {
        "n": n,
        "accuracy": side_by_side(made.accuracy(), real.accuracy()),
        "auc": side_by_side(made.auc(), real.auc()),
        "regions": {
            name: side_by_side(made.accuracy(name), real.accuracy(name))
            for name in dict.fromkeys(made.regions)
        },
        "surest": {
            "synthetic": [
                {"seed": int(seeds[drawn[row]])} | _place(made, cube) for row, cube in synthetic
            ],
            "real": [
                {"row": int(material.subjects[half[row - n]])} | _place(made, cube)
                for row, cube in surest
            ],
        },
    }


def _place(told: CubeClassification, cube: int) -> Json:
    corner = [int(c) for c in told.corners[cube]]
    return {"corner": corner, "side": told.side, "region": told.regions[cube]}


def surest_png(material: Material, part: JsonView) -> bytes:
    """Cubes classified most surely, enlarged: synthetic ones above, real ones below; PNG.

    Each is cut through its middle: axial, coronal and sagittal, one below the other.
    """
    seeds = [cube["seed"] for cube in part["surest"]["synthetic"]]
    rows = np.array([cube["row"] for cube in part["surest"]["real"]], int)
    strips = [
        _strip(list(material.random_brains(seeds)), part["surest"]["synthetic"]),
        _strip(list(material.volumes(rows)), part["surest"]["real"]),
    ]
    gap = np.full((4 * GAP, strips[0].shape[1]), 128, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate([strips[0], gap, strips[1]])).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _strip(volumes: list[np.ndarray], places: list[JsonView]) -> np.ndarray:
    columns = []
    for volume, place in zip(volumes, places, strict=True):
        side, (x, y, z) = place["side"], place["corner"]
        cube = volume[x : x + side, y : y + side, z : z + side]
        middle = side // 2
        tiles = []
        for flat in (cube[:, :, middle], cube[:, middle], cube[middle]):
            picture = Image.fromarray(np.rot90(flat))
            size = (side * ENLARGED, side * ENLARGED)
            tiles.append(np.pad(np.asarray(picture.resize(size, Image.Resampling.BICUBIC)), GAP))
        columns.append(np.concatenate(tiles))
    return np.concatenate(columns, axis=1)


# Subfolder of the output folder from which a stopped evaluation resumes.
WORK = "work"
# Key of a part's duration in stored results.
SECONDS = "measured_in_s"

# The part that depends on labels learned after training.
LABELLED = "conditions"


@answering
def evaluate(
    subject: Subject | Generator,
    pack: Pack,
    settings: EvaluationSettings | None = None,
    report: Progress = SILENT,
    out: Path | None = None,
) -> Json:
    """Evaluate synthetic brains against real ones.

    Parameters
    ----------
    subject : Subject or Generator
        A generator, or a folder of volumes (`material.VolumesSubject`).
    pack : Pack
        Real brains on the same grid, with training and validation subjects.
    settings : EvaluationSettings or None
        Options.
    report : Progress
    out : Path or None
        Folder for finished parts and brains (in `work`), from which a stopped evaluation resumes.

    Returns
    -------
    dict
        "model", "data", "settings", "program" (with "seconds" of each part), "left_out" (part to
        sentence), "notes" and one entry per part; plain enough for JSON.

    Raises
    ------
    StyleGAN3DError
        If a part is unknown, the grids differ, or there are too few subjects or samples.
    """
    return evaluate_material(open_material(subject, pack, settings, report, out))


def evaluate_material(material: Material) -> Json:
    """`evaluate` for an open `Material`."""
    chosen = material.settings
    pack, card = material.pack, material.generator.card if material.has_generator else {}
    # Labels that are learned later change one part only, see below.
    files = {name: v for name, v in card.get("files", {}).items() if name != LABELS}
    about = digest_of([dict(row) for row in pack.table])  # once: it may be long
    key = (material.subject.hash, pack.volumes_id, about, files, _kept_settings(chosen))
    result = _head(material)
    for metric in table.METRICS:
        part = metric.key
        if part not in chosen.parts:
            continue
        if metric.needs_generator and not material.has_generator:
            why = f"{material.subject.name} is a folder of volumes, not a generator."
            result["left_out"][part] = why
            continue
        # Labels learned after training do not affect unconditional samples.
        labels = material.generator.labels_hash if part == LABELLED else ""
        kept = (*key, labels) if labels else key
        found = material.store.result(part, kept, partial(_timed, metric.function(), material))
        result["program"]["seconds"][part] = found.pop(SECONDS)
        if "left_out" in found:
            result["left_out"][part] = found["left_out"]
        else:
            result[part] = found
        for what, why in found.get("missing", {}).items():
            result["left_out"][f"{part}, {what}"] = why
    return result


def _timed(measure: Callable[[Material], Json], material: Material) -> Json:
    """Run a part and measure its duration.

    Brains and features shared by several parts count for the first.
    """
    begun = time.monotonic()
    return measure(material) | {SECONDS: round(time.monotonic() - begun, 1)}


def finish(material: Material) -> None:
    """Remove the stored random brains; figures and features stay."""
    material.store.forget("brains")


def open_material(
    subject: Subject | Generator,
    pack: Pack,
    settings: EvaluationSettings | None = None,
    report: Progress = SILENT,
    out: Path | None = None,
) -> Material:
    """Open the brains of an evaluation; see `evaluate`."""
    store, settings = Store(None if out is None else out / WORK), settings or EvaluationSettings()
    check_options(settings)
    return Material(subject, pack, settings, report, store)


def _head(material: Material) -> Json:
    """Model, data and program of the report."""
    subject, pack, settings = material.subject, material.pack, material.settings
    learned = material.has_generator and material.generator.labels_hash
    shown = _kept_settings(settings) | {"parts": settings.parts}
    if not material.has_generator:  # what generators are asked for says nothing of a folder
        shown = {k: v for k, v in shown.items() if k not in ("truncation", "budget")}
    return {
        "model": {
            "name": subject.name,
            "hash": subject.hash,
            **({"labels": learned} if learned else {}),
            "kind": "generator" if material.has_generator else "folder of volumes",
        },
        "data": {
            "name": pack.path.name,
            "volumes": pack.volumes_id,
            "training_people": material.known,
            "validation_people": len(material.subjects) - material.known,
            "shape": list(pack.space.shape),
            "voxel_mm": [round(size, 4) for size in pack.space.voxel_size],
            "axes": "".join(pack.space.axcodes),
        },
        "settings": shown,
        "random_brains": len(material.seeds(settings.samples)),
        "program": {
            "version": version(),
            "measures": VERSION,
            "date": datetime.now().astimezone().isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "device": material.device,
            "seconds": {},
        },
        "notes": [*subject.notes, *pack.info.get("notes", []), *_repeats(material)],
        "left_out": {},
    }


def _repeats(material: Material) -> list[str]:
    """A note where persons have several scans."""
    scans, subjects = len(material.people), len(material.subjects)
    if scans == subjects:
        return []
    return [
        f"There are {scans} scans of {subjects} subjects. Only the first scan of each subject is "
        "in the groups of real brains that synthetic ones are compared with; plausibility, "
        "privacy and parts in which something is learned or reconstructed use all scans."
    ]


def _kept_settings(settings: EvaluationSettings) -> Json:
    """Settings that affect the results."""
    return {k: v for k, v in asdict(settings).items() if k not in ("cache", "parts")}


#: Rows of the picture of the closest pairs.
PAIRS = 5


def page(report: JsonView, pictures: Mapping[str, bytes]) -> str:
    """The page.

    Parameters
    ----------
    report : mapping of str to object
        Report of `evaluation.evaluate`.
    pictures : mapping of str to bytes
        Title to PNG, the montage first.
    """
    record = dict(report)
    parts = figures_by_part(record)
    left_out = [f"{title_of(part)}: {why}" for part, why in record["left_out"].items()]
    return pages.page(
        "evaluation",
        source_type=COMPOSITE,
        report=record,
        mark=SYNTHETIC,
        warnings=warnings(record),
        answers=dict(plain_words(record)),
        pictures=pictures,
        closest=CLOSEST,
        nearest=record.get("privacy", {}).get("copies", {}).get("nearest", [])[:PAIRS],
        distributions=_distributions(record),
        curves=_curves(record),
        parts={title_of(k): [(row, bar(row)) for row in rows] for k, rows in parts.items()},
        left_out=[*left_out, *record["notes"]],
        title_of=title_of,
    )


def bar(row: Figure) -> Markup:
    """The intervals of a row, drawn."""
    label = f"{row.name.strip()}: synthetic {row.synthetic}, real {row.real}"
    real = row.real_low, row.real_value, row.real_high
    return interval_bar(label, (row.low, row.value, row.high), real)


def _distributions(report: Json) -> list[Markup]:
    drawn = []
    for metric in table.METRICS:
        values = report.get(metric.key, {}).get("values", {})
        for name, title in (metric.plots or {}).items():
            if name in values:
                both = values[name]
                drawn.append(distributions(title, both["synthetic"], both["real"]))
    return [plot for plot in drawn if plot]


def _curves(report: Json) -> list[Markup]:
    """The shape statistics against the number of components."""
    part = report.get("shape_statistics")
    titles = {
        "generalisation": "error in held-out subjects",
        "specificity": "distance of random ones to a subject",
        "compactness": "share of variance",
    }
    return [
        curves(title, part["components"], part[key]["model"], part[key]["voxels"])
        for key, title in titles.items()
        if part
    ]


REPORT = "report.json"
#: Maximum size of a report in bytes; one of a thousand brains has a fiftieth of this.
LARGEST = 50_000_000
# What must be equal for figures to be comparable, and the wording if it differs.
ALIKE = {
    "data": "real brains",
    "measures": "versions of the measures",
    "samples": "numbers of random brains",
    "truncation": "truncations",
    "budget": "budgets of the projection",
}


@dataclass(frozen=True)
class Evaluated:
    """Content of one report.

    Attributes
    ----------
    name : str
        Model name with family.
    settings : dict of str to object
        Settings that must be equal for a comparison, by the keys of `ALIKE`.
    parts : dict of str to list of Figure
        Part -> figures.
    """

    name: str
    settings: Json
    parts: dict[str, list[Figure]]


def read_evaluation(path: Path) -> Evaluated:
    """Read a report of `stylegan3d evaluate`, given as folder or file.

    Raises
    ------
    StyleGAN3DError
        If it is not a report.
    """
    file = path / REPORT if path.is_dir() else path
    try:
        report = read_json(file, LARGEST)
        data = report["data"]
        record = {
            "data": f"{data['name']}, {data['volumes']}",
            "measures": str(report["program"]["measures"]),
            "samples": report.get("random_brains", report["settings"]["samples"]),
            "truncation": report["settings"].get("truncation"),
            "budget": report["settings"].get("budget") if "reconstruction" in report else None,
        }
        return Evaluated(str(report["model"]["name"]), record, figures_by_part(report))
    except OSError as error:
        raise StyleGAN3DError(
            f"'{file}' cannot be read ({reason(error)}); give the folder that `stylegan3d "
            "evaluate --out` has written."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise StyleGAN3DError(
            f"'{file}' is not a report of `stylegan3d evaluate`; evaluate the model again."
        ) from error


@dataclass(frozen=True)
class SideBySide:
    """A comparison of models.

    Attributes
    ----------
    names : list of str
        Names of the models.
    notes : list of str
        Reasons why figures are not comparable.
    parts : dict of str to list
        Part to rows: name of the figure and, for each model, the figure or None.
    """

    names: list[str]
    notes: list[str]
    parts: dict[str, list[tuple[str, list[Figure | None]]]]

    @classmethod
    def of(cls, models: Sequence[Evaluated]) -> SideBySide:
        """Compare models; rows are in order of first occurrence."""
        notes = []
        for key, what in ALIKE.items():
            values = {str(model.settings[key]) for model in models} - {"None"}
            if len(values) > 1:
                notes.append(
                    f"The models were measured with different {what}: {'; '.join(sorted(values))}."
                )
        parts: dict[str, list[tuple[str, list[Figure | None]]]] = {}
        for part in keys():
            found = [dict(_placed(model.parts.get(part, []))) for model in models]
            places = dict.fromkeys(place for figures in found for place in figures)
            if places:
                parts[part] = [(name, [f.get((of, name)) for f in found]) for of, name in places]
        return cls([model.name for model in models], notes, parts)


def _placed(figures: Sequence[Figure]) -> Iterator[tuple[tuple[str, str], Figure]]:
    """Each figure with the row that it stands under, which tells rows of one name apart."""
    under = ""
    for figure in figures:
        under = under if figure.name.startswith(" ") else figure.name
        yield (under, figure.name), figure


def comparison_page(table: SideBySide) -> str:
    """The table as a self-contained HTML page."""
    parts = {
        title_of(part): [(name, figures, _real(figures)) for name, figures in rows]
        for part, rows in table.parts.items()
    }
    return pages.page("comparison", table=table, parts=parts, mark=SYNTHETIC)


def _real(figures: Sequence[Figure | None]) -> str:
    """The reference value; a single text if it is the same for all models."""
    return " / ".join(dict.fromkeys(f.real for f in figures if f and f.real))


def comparison_csv(table: SideBySide) -> str:
    """The table as comma-separated values."""
    rows = [["part", "figure", *table.names, "real"]]
    for part, lines in table.parts.items():
        for name, known in lines:
            told = [(f.synthetic or f.compared) if f else "" for f in known]
            rows.append([part, name.strip(), *told, _real(known)])
    return table_text(rows)


def comparison_json(table: SideBySide) -> Json:
    """The table with numbers."""
    parts: dict[str, list[Mapping[str, Any]]] = {
        part: [
            {"name": name.strip(), "models": [f and asdict(f) for f in figures]}
            for name, figures in rows
        ]
        for part, rows in table.parts.items()
    }
    return {"models": table.names, "notes": table.notes, **parts}


# Rows of the montage and pixels of each picture in it: thumbnails of any brain pass for real.
ROWS, CELL = 12, 256
BESIDE = "Synthetic brains beside real ones"
CLOSEST = "Closest pairs"
SUREST = "Patches classified most surely, synthetic above, real below"


def pictures_of(material: Material, report: JsonView) -> dict[str, bytes]:
    """Title to PNG: a montage, and the closest pairs if privacy was measured."""
    pictures = {BESIDE: montage_png(material)}
    if "copies" in report.get("privacy", {}):
        pictures[CLOSEST] = closest_pairs_png(material, dict(report["privacy"]))
    if "surest" in report.get("cubes", {}):
        pictures[SUREST] = surest_png(material, report["cubes"])
    return pictures


def montage_png(material: Material) -> bytes:
    """Random brains on the left, validation subjects on the right, one of each per row; PNG."""
    people = material.validation
    seeds = material.seeds(min(ROWS, len(people)))
    people = people[evenly(len(people), len(seeds))]
    return draw_montage(
        {
            "synthetic - not for diagnosis": list(material.random_brains(seeds)),
            "real (validation subjects)": material.volumes(people),
        },
        material.pack.space,
        cell=CELL,
    )


def report_files(
    paths: Sequence[Path], report: JsonView, pictures: Mapping[str, bytes]
) -> dict[Path, bytes]:
    """Content of a report's files by path (.json and .html), not written yet."""
    kinds = {".json": lambda: to_json(report), ".html": lambda: page(report, pictures)}
    return {path: kinds[path.suffix]().encode() for path in paths}


def add_figures(generator: Generator, report: JsonView, picture: bytes) -> None:
    """Write a report's figures and a montage to the model's card."""
    folder, marked = generator.needed_folder(), with_source_type(picture, ".png", COMPOSITE)
    atomic_write_bytes(folder / MONTAGE, marked, overwrite=True)
    # Parts that were not measured this time are kept.
    found = dict(generator.card.get("evaluation", {}))
    for part in keys():
        if part in report:
            found[part] = [
                {
                    key: value
                    for key, value in asdict(row).items()
                    if value is not None or key == "reached"
                }
                for row in figures({part: report[part]})
            ]
    found = {part: found[part] for part in (*keys(), *found) if part in found}
    add_to_card(folder, {"evaluation": found, "montage": MONTAGE}, card_text)
