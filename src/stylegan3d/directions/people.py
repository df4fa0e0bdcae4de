"""Latents and attributes of the subjects of a dataset, and checks of directions on them.

Ageing in years: edit strength along the direction of age, and expected volumes.

The apparent age of a brain is predicted from w by the regression that the direction was made from.
The expected ventricles and tissue at an age come from the same subjects; beyond their ages nothing
is expected, and the edit is reported as extrapolated.

In a user's table of values of brains the first column identifies a brain: a random one by its seed,
a latent file by its path, or a projected scan by its name. The other columns hold values; the first
row is the header.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stylegan3d.base import Doubt, Json, JsonView, ModelError, Note, RecipeError
from stylegan3d.measures.attributes import MEASURES, measure_attributes
from stylegan3d.recipe.recipe import Edit, Recipe, Source, Truncation, leads_out
from stylegan3d.storage.bids import participant_of
from stylegan3d.storage.checked import answering
from stylegan3d.storage.encoding import LONGEST_NUMBER, read_bytes, short_repr
from stylegan3d.storage.files import UNKNOWN, cell_number, separator_of, text_of

if TYPE_CHECKING:
    from torch import Tensor

    from stylegan3d.dataset.pack import Pack
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.directions import Directions


AGE, SEX = "age", "sex"
HEAD_SIZE, VENTRICLES = "brain_ml", "ventricle_ml"
NAMES = {AGE: "Age", SEX: "Sex"} | {m.key: m.name for m in MEASURES}
UNITS = {AGE: "years", SEX: ""} | {m.key: m.unit for m in MEASURES}
#: Least size of a group with its own mean; that of fewer subjects is mostly noise.
FEWEST_IN_GROUP = 5
#: What a model gets where its dataset has it.
STANDARD = (AGE, SEX, HEAD_SIZE, "ventricle_ml", "grey_ml", "white_ml")


@dataclass(frozen=True)
class People:
    """Latents and attributes of real subjects.

    Attributes
    ----------
    w : ndarray, shape (n, w_dim), float64
        From the encoder.
    held_out : ndarray, shape (n,), bool
        True for those used for checking, not for fitting.
    attributes : dict of str to ndarray
        float64 `(n,)` by attribute; NaN where unknown.
    groups : tuple
        Scanner or study of each, None where unknown.
    subjects : tuple
        Whose scan each is; each another's by default.
    """

    w: np.ndarray
    held_out: np.ndarray
    attributes: dict[str, np.ndarray]
    groups: tuple[Any, ...] | None = None
    subjects: tuple[Any, ...] | None = None


def encode_people(generator: Generator, pack: Pack, wanted: Sequence[str] = ()) -> People:
    """Latents and attributes of the subjects of a prepared dataset.

    Volumes (of `attributes.MEASURES`) are measured in the scans as in synthetic brains; everything
    else is a column of the pack's table.

    Raises
    ------
    ModelError
        If the generator has no encoder, or another grid.
    RecipeError
        If a column is neither numeric nor binary.
    """
    if generator.encoder is None:
        raise ModelError(
            f"The model {generator.name} has no encoder, so the latents of the subjects are "
            "unknown: train one with `stylegan3d train`, or request principal components only."
        )
    pack.check_grid(generator.space, generator.name)
    known = {key for row in pack.table for key in row} | {m.key for m in MEASURES} | {*STANDARD}
    if unknown := [key for key in wanted if key not in known]:
        raise RecipeError(
            f"The dataset {pack.path} has no column {unknown[0]}: add it to participants.tsv and "
            f"prepare it again, or use one of {', '.join(STANDARD)}."
        )
    rows, measured = [], []
    for volume in pack.volumes:
        intensity = np.asarray(volume, dtype=np.float32) / 255
        rows.append(encoded(generator, intensity))
        measured.append(measure_attributes(intensity, pack.space))
    values = {key: np.array([row[key] for row in measured]) for key in measured[0]}
    for key in (AGE, SEX, *wanted):
        if key not in values:
            values[key] = as_numbers(key, pack.column(key))
    held_out = np.array([row["split"] == "validation" for row in pack.table])
    whose = tuple(str(row.get("person", row["name"])) for row in pack.table)
    return People(np.stack(rows), held_out, values, tuple(pack.column("source")), whose)


def encoded(generator: Generator, intensity: np.ndarray) -> np.ndarray:
    """float64 `(w_dim,)`: the encoder's w of one volume in [0, 1], averaged over layers."""
    from stylegan3d.model.generator import encoded_volumes

    return encoded_volumes(generator, [intensity])[0].mean(dim=0).double().cpu().numpy()


def group_numbers(groups: Sequence[Any] | None, fit: np.ndarray) -> np.ndarray:
    """int64 `(n,)`: the group of each subject, 0 for all in groups too small to have a mean."""
    numbers = np.zeros(len(fit), dtype=np.int64)
    if groups is None:
        return numbers
    of = np.array([str(group) for group in groups])
    for number, group in enumerate(sorted(set(of)), start=1):
        if (of[fit] == group).sum() >= FEWEST_IN_GROUP:
            numbers[of == group] = number
    return numbers


def deviations(values: np.ndarray, numbers: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """`values` `(n, ...)` minus the group mean over subjects selected by `fit`.

    NaN are ignored; subjects of a group without a value to fit get NaN.
    """
    result = np.full_like(values, np.nan, dtype=np.float64)
    for number in np.unique(numbers):
        mine = numbers == number
        known = values[mine & fit]
        known = known[np.isfinite(known.reshape(len(known), -1)).all(axis=1)]
        if len(known):
            result[mine] = values[mine] - known.mean(axis=0)
    return result


def key_of(name: str) -> str:
    """The key of an attribute given by name or column, "Head size" or "brain_ml"."""
    name = name.strip()
    by_name = {told.lower(): key for key, told in NAMES.items()}
    return by_name.get(name.lower(), name)


def as_numbers(name: str, values: Sequence[Any]) -> np.ndarray:
    """float64 `(n,)` of a column; NaN where empty, 0 and 1 for a binary column of words.

    "F" is 0 and "M" is 1; other pairs of words are in alphabetical order.

    Raises
    ------
    RecipeError
        If it contains three or more words, or words and numbers.
    """
    words = sorted({v for v in values if isinstance(v, str)})
    if not words:
        return np.array([np.nan if v is None else float(v) for v in values])
    if len(words) > 2 or any(not isinstance(v, str) for v in values if v is not None):
        raise RecipeError(
            f"The column {name} contains words such as {words[0]!r}: a direction needs "
            "numbers, or one of two words for every subject."
        )
    number = (
        {"F": 0.0, "M": 1.0}
        if set(words) <= {"F", "M"}
        else {word: float(i) for i, word in enumerate(words)}
    )
    return np.array([np.nan if v is None else number[v] for v in values])


#: Attributes on a logarithmic scale: held-out R2 of log ventricle volume was 0.94, else 0.84.
LOGARITHMIC = frozenset({"ventricle_ml"})
#: Least number of subjects for a figure.
FEWEST_TO_CHECK = 5


def name_of(key: str) -> str:
    """Displayed name of an attribute: "mini_mental" -> "Mini mental"."""
    return NAMES.get(key, key.replace("_", " ").capitalize())


def scaled(key: str, values: np.ndarray) -> np.ndarray:
    """Values as used in regressions, float64; NaN where a logarithm is undefined."""
    values = np.asarray(values, dtype=np.float64)
    if key not in LOGARITHMIC:
        return values
    return np.log(np.where(values > 0, values, np.nan))


def check(
    key: str,
    guess: np.ndarray,
    truth: np.ndarray,
    values: np.ndarray,
    held_out: np.ndarray,
    subject: Sequence[Any] | np.ndarray | None = None,
) -> Json:
    """Check the prediction of one attribute; plain data.

    Parameters
    ----------
    key : str
        The attribute.
    guess, truth : ndarray, shape (n,)
        Predicted and true deviation from the group mean, on the scale of `scaled`; NaN in `truth`
        where unknown.
    values : ndarray, shape (n,)
        The attribute itself.
    held_out : ndarray, shape (n,), bool
    subject : sequence, shape (n,), optional
        Whose scan each is; by default each is another's.

    Returns
    -------
    dict
        See `attributes.attribute_directions`.
    """
    known = np.isfinite(truth)
    fit, held = known & ~held_out, known & held_out
    record: Json = {"name": name_of(key), "attribute": key, "unit": UNITS.get(key, "")}
    record["scale"] = "factor" if key in LOGARITHMIC else "linear"
    of = np.asarray(range(len(truth)) if subject is None else subject)[held]
    record |= {"n_fit": int(fit.sum()), "n_check": len(np.unique(of))}
    true, said = truth[held], guess[held]
    if record["n_check"] < FEWEST_TO_CHECK or np.ptp(true) == 0:
        return record
    record["r"] = _rounded(np.corrcoef(true, said)[0, 1])
    record["chance"] = _rounded(_chance(true, said, of))
    if set(np.unique(values[known])) <= {0.0, 1.0}:
        if len(np.unique(values[held])) < 2:
            return record
        from sklearn.metrics import roc_auc_score

        return record | {"auc": _rounded(roc_auc_score(values[held], said)), "baseline": 0.5}
    record["r2"] = _rounded(1 - ((true - said) ** 2).sum() / (true**2).sum())
    value = values[held]
    mean = scaled(key, value) - true  # of the subject's group
    if key in LOGARITHMIC:
        mean, said = np.exp(mean), np.exp(mean + said)
    else:
        said = mean + said
    record["mae"] = _rounded(np.abs(value - said).mean())
    record["baseline"] = _rounded(np.abs(value - mean).mean())
    return record


def describe(told: JsonView) -> str:
    """Such as "+13 years per sd, head size held fixed (r = 0.84 in 27 held-out subjects)"."""
    key, per_unit = told["attribute"], told["per_unit"]
    if key == SEX:
        text = "from female to male"
    elif told["scale"] == "factor":
        text = f"+{100 * (per_unit - 1):.0f} % per sd"
    else:
        edited = told.get("edited", {})
        if key in edited.get("change", {}):  # a generator shows less than the regression asks for
            per_unit = (edited["change"][key] - edited["change_back"][key]) / 2 / edited["strength"]
        text = f"+{per_unit:.3g} {told['unit']}".rstrip() + " per sd"
    if told["held_fixed"]:
        text += f", {' and '.join(told['held_fixed']).lower()} held fixed"
    if "r" not in told:
        return text + " (not validated: too few subjects)"
    figure = f"AUC = {told['auc']:.2f}" if "auc" in told else f"r = {told['r']:.2f}"
    if "folds" in told:
        return f"{text} ({figure} in {told['folds']}-fold cross-validation, n = {told['n_check']})"
    return f"{text} ({figure} in {told['n_check']} held-out subjects)"


def _chance(truth: np.ndarray, guess: np.ndarray, of: np.ndarray, orders: int = 2000) -> float:
    """|r| that 5 % of random permutations of the subjects `of` (means of their scans) reach."""
    draw, row = np.random.RandomState(0), np.unique(of, return_inverse=True)[1].ravel()
    truth, guess = (np.bincount(row, x) / np.bincount(row) for x in (truth, guess))
    found = [abs(np.corrcoef(draw.permutation(truth), guess)[0, 1]) for _ in range(orders)]
    return float(np.percentile(found, 95))


def _rounded(value: float) -> float:
    return round(float(value), 4)


# The ridge regression that predicts an attribute from w.

#: Least number of subjects to fit a direction.
FEWEST_TO_FIT = 20
PENALTIES = np.logspace(-3, 5, 33)


def regress(key: str, w: np.ndarray, target: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """Ridge coefficients `(w_dim,)`, with the penalty chosen by leave-one-out error.

    `w` `(n, w_dim)` and `target` `(n,)` are deviations from a mean; `fit` `(n,)` selects subjects.
    RecipeError if they are too few, all equal, or w does not predict the target.
    """
    from sklearn.linear_model import RidgeCV

    known = fit & np.isfinite(target)
    if known.sum() < FEWEST_TO_FIT or np.ptp(target[known]) == 0:
        raise RecipeError(
            f"{name_of(key)} is known for only {known.sum()} subjects, or is the same in all: "
            f"a direction needs at least {FEWEST_TO_FIT} subjects that differ."
        )
    penalties = PENALTIES * w[known].var(axis=0).mean()
    beta = RidgeCV(alphas=penalties).fit(w[known], target[known]).coef_
    if not np.linalg.norm(beta) > 0:
        raise RecipeError(f"{name_of(key)} is unrelated to w in these subjects.")
    return beta


#: Measures by age, their names and units.
TISSUE = "tissue_percent"
OF_TISSUE = "Grey and white matter", "% of the brain with its CSF"
EXPECTED = {VENTRICLES: ("Ventricles", "ml"), TISSUE: OF_TISSUE}
#: Standard deviations on both sides of the mean that contain nine in ten people.
NINE_IN_TEN = 1.645
#: Ages at which it is tabulated, in years.
EVERY = 5
#: Maximum length of a trajectory to either side.
LONGEST_YEARS = 60.0


def age_reading(people: People, beta: np.ndarray) -> np.ndarray:
    """Weights of w and a constant, `(w_dim + 1,)`, that estimate the age in years.

    `beta` `(w_dim,)` are the regression's, fitted within groups; the constant is that of all people
    together, since the scanner of a brain that is asked about may be none of theirs.
    """
    age = people.attributes[AGE]
    known = ~people.held_out & np.isfinite(age)
    return np.append(beta, float((age - people.w @ beta)[known].mean()))


def ageing(people: People) -> Json:
    """Expected measures by age, as plain data for the check of the direction of age.

    Returns
    -------
    dict
        "ages" (youngest and oldest of the subjects fitted to) and "expected": by key of `EXPECTED`
        a list of [age, low, middle, high], between which nine people in ten are: a parabola of
        age within groups (of the logarithm of ventricles), and what is left about it in all.
    """
    fit = ~people.held_out
    place, age = group_numbers(people.groups, fit), people.attributes[AGE]
    tissue = people.attributes["grey_ml"] + people.attributes["white_ml"]
    values = {
        VENTRICLES: np.log(np.maximum(people.attributes[VENTRICLES], 0.1)),
        TISSUE: 100 * tissue / people.attributes[HEAD_SIZE],
    }
    known = fit & np.isfinite(age)
    ages = float(age[known].min()), float(age[known].max())
    record: Json = {"ages": [round(years, 1) for years in ages], "expected": {}}
    middle = age[known].mean()
    powers = np.stack([age - middle, (age - middle) ** 2], axis=1)
    at = np.arange(EVERY * np.floor(ages[0] / EVERY), ages[1] + EVERY, EVERY)
    for key, value in values.items():
        usable = known & np.isfinite(value)
        inner, target = deviations(powers, place, usable), deviations(value, place, usable)
        slopes = np.linalg.lstsq(inner[usable], target[usable], rcond=None)[0]
        spread = float((value - powers @ slopes)[usable].std())
        level = float((value - powers @ slopes)[usable].mean())
        curve = level + np.stack([at - middle, (at - middle) ** 2], axis=1) @ slopes
        bands = np.stack([curve + k * spread for k in (-NINE_IN_TEN, 0, NINE_IN_TEN)], axis=1)
        bands = np.exp(bands) if key == VENTRICLES else bands
        record["expected"][key] = [
            [float(years), *np.round(band, 1).tolist()]
            for years, band in zip(at, bands, strict=True)
        ]
    return record


@dataclass(frozen=True, eq=False)
class Trajectory:
    """How a model's brains age.

    Attributes
    ----------
    name : str
        Of the direction of age.
    years_per_sd : float
        Years by which one standard deviation along it ages a brain.
    youngest, oldest : float
        Age range of the subjects it was fitted to, in years.
    """

    name: str
    years_per_sd: float
    youngest: float
    oldest: float
    _reading: np.ndarray
    _expected: dict[str, np.ndarray]

    @classmethod
    def of(cls, directions: Directions) -> Trajectory | None:
        """That of a model's directions; None if they contain no ageing."""
        check = next((told for told in directions.checks if told.get("attribute") == AGE), {})
        told = check.get("ageing")
        if told is None or directions.age_reading is None or check["name"] not in directions.names:
            return None
        youngest, oldest = told["ages"]
        return cls(
            check["name"],
            float(check["per_unit"]),
            float(youngest),
            float(oldest),
            directions.age_reading,
            {key: np.array(rows, np.float64) for key, rows in told["expected"].items()},
        )

    @classmethod
    def needed(cls, generator: Generator) -> Trajectory:
        """That of a generator; RecipeError if it has none."""
        found = cls.of(generator.directions)
        if found is None:
            raise RecipeError(
                f"The model {generator.name} does not know how brains age: use the bundled model, "
                "or edit along one of its directions."
            )
        return found

    def apparent_age(self, w: Tensor) -> float:
        """The apparent age of a brain [num_layers, w_dim], in years."""
        mean = w.detach().double().cpu().numpy().mean(axis=0)
        return float(mean @ self._reading[:-1] + self._reading[-1])

    def edit(self, years: float) -> Edit:
        """The edit that makes a brain older by so many years, or younger.

        RecipeError if they are more than `LONGEST_YEARS`.
        """
        if not abs(years) <= LONGEST_YEARS:
            raise RecipeError(
                f"A brain cannot be aged by {years:g} years: give -{LONGEST_YEARS:g} to "
                f"{LONGEST_YEARS:g}."
            )
        return Edit(self.name, years / self.years_per_sd)

    def years(self, strength: float) -> float:
        """By how many years an edit of this strength ages a brain."""
        return strength * self.years_per_sd

    def is_known(self, age: float) -> bool:
        """Whether an age is within the range of the training subjects."""
        return self.youngest <= age <= self.oldest

    def expected(self, key: str, age: float) -> tuple[float, float, float] | None:
        """Low, middle and high value of a key of `EXPECTED` at an age: nine people in ten.

        None beyond the ages that are known.
        """
        if not self.is_known(age):
            return None
        table = self._expected[key]
        low, middle, high = (float(np.interp(age, table[:, 0], table[:, k])) for k in (1, 2, 3))
        return low, middle, high

    def notes(self, before: float, after: float) -> list[Note]:
        """Expected measures at both ages; none, and a doubt, at ages that are not known."""
        notes: list[Note] = []
        for key, (name, unit) in EXPECTED.items():
            expected, start = self.expected(key, after), self.expected(key, before)
            if expected is None:
                continue
            low, middle, high = expected
            since = "" if start is None else f"; at {before:.0f} years {start[1]:.0f}"
            notes.append(
                f"{name} at {after:.0f} years: {middle:.0f} {unit} on average, {low:.0f} to "
                f"{high:.0f} in 9 of 10 people{since}."
            )
        if not self.is_known(after):
            text = (
                f"{after:.0f} years is extrapolated: the reference people were {self.youngest:.0f} "
                f"to {self.oldest:.0f} years old, so expected volumes are not known."
            )
            figures = {"age": after, "youngest": self.youngest, "oldest": self.oldest}
            notes.append(Doubt("age-extrapolated", "tell", text, figures))
        return notes


#: Maximum size in bytes; a hundred thousand brains with twenty values take a fifth of this.
LARGEST_TABLE = 64_000_000
#: Names of a column that says whose brain a row is.
SUBJECTS = frozenset({"participant_id", "participant", "subject", "subject_id", "person"})


@dataclass(frozen=True)
class ValueTable:
    """The content of a table.

    Attributes
    ----------
    path : Path
        Latent files are resolved relative to it.
    brains : tuple of str
        `(n,)` first column, verbatim.
    columns : dict of str to tuple
        `(n,)` values of the other columns by name: text, or None where unknown.
    named : tuple of str or None
        `(n,)` the subjects, of a table that has a column of `SUBJECTS`.
    """

    path: Path
    brains: tuple[str, ...]
    columns: dict[str, tuple[str | None, ...]]
    named: tuple[str | None, ...] | None = None

    def values(self, column: str) -> np.ndarray:
        """float64 `(n,)`, NaN where unknown; binary words become 0 and 1.

        Raises
        ------
        RecipeError
            If there is no such column, or it contains words.
        """
        if column not in self.columns:
            raise RecipeError(
                f"{self.path.name} has no column {column}: use one of {', '.join(self.columns)}."
            )
        cells = [None if cell is None else cell_number(cell) for cell in self.columns[column]]
        values = as_numbers(column, cells)
        if np.isinf(values).any():
            raise RecipeError(
                f"The column {column} of {self.path.name} contains an infinite value: "
                "correct it, or leave the cell empty if the value is unknown."
            )
        return values

    def subjects(self, sources: Sequence[Source]) -> list[str]:
        """Whose brain each is, so that rescans of one subject are never told from each other.

        The table's own column counts, else the names of `sources` (see `subject_of`).
        """
        named = self.named or [None] * len(sources)
        return [n or subject_of(s) for n, s in zip(named, sources, strict=True)]

    def sources(self, projected: Mapping[str, Source] | None = None) -> list[Source]:
        """The brains as sources of recipes.

        Parameters
        ----------
        projected : mapping of str to Source, optional
            Projected scans by name.

        Raises
        ------
        RecipeError, LatentError
            If one is neither a number nor a scan nor a readable latent file.
        """
        return [brain_source(text, self.path.parent, projected or {}) for text in self.brains]


@answering
def read_value_table(path: str | Path) -> ValueTable:
    """Read a table separated by commas, semicolons or tabs, with a header.

    Raises
    ------
    RecipeError
        If it cannot be read or is not such a table.
    """
    path = Path(path)
    text = text_of(read_bytes(path, RecipeError, LARGEST_TABLE))
    try:
        cells = list(csv.reader(io.StringIO(text), delimiter=separator_of(text)))
    except csv.Error as reason:  # a cell of more than 128 kB, or a NUL in older Python versions
        raise RecipeError(
            f"{path.name} is not a table of values ({reason}): save it again as CSV (UTF-8)."
        ) from None
    rows = [[cell.strip() for cell in row] for row in cells]
    rows = [row for row in rows if any(row)]
    if len(rows) < 2 or len(rows[0]) < 2:
        raise RecipeError(
            f"{path.name} is not a table of values: the first row names the columns, the first "
            "column the brains (a number, a latent file or a scan), the others hold values."
        )
    header, body = rows[0], rows[1:]
    if len(set(header)) < len(header) or not all(header[1:]):
        raise RecipeError(f"The columns of {path.name} need names of their own in the first row.")
    short = next((row for row in body if len(row) != len(header)), None)
    if short is not None:
        raise RecipeError(
            f"The row of {short[0]} in {path.name} has {len(short)} cells instead of "
            f"{len(header)}: correct it."
        )
    columns = {
        name: tuple(None if row[k].lower() in UNKNOWN else row[k] for row in body)
        for k, name in enumerate(header)
        if k
    }
    named = next((columns.pop(name) for name in header[1:] if name.lower() in SUBJECTS), None)
    if not columns:
        raise RecipeError(f"{path.name} has no column of values: add one.")
    return ValueTable(path, tuple(row[0] for row in body), columns, named)


def subject_of(source: Source) -> str:
    """Whose brain a source is: the seed, or the subject in a latent file's name."""
    if source.seed is not None:
        return f"seed {source.seed}"
    return participant_of(str(source.path))


def brain_source(text: str, folder: Path, projected: Mapping[str, Source]) -> Source:
    """The source for a table's text: a seed, a projected scan, or a latent file.

    A file's path may be relative to `folder`. RecipeError or LatentError if it is none of these.
    """
    if text.isdecimal():
        return Source("seed", int(text[:LONGEST_NUMBER]))
    if text in projected:
        return projected[text]
    if text.endswith(".safetensors"):
        if leads_out(folder, text):
            raise RecipeError(
                f"The table refers to the file {short_repr(text)} outside its own folder: move "
                "the table to the folder of the latents."
            )
        return Source.from_file(folder / text)
    known = f" ({', '.join(projected)})" if projected else ""
    raise RecipeError(
        f"{short_repr(text)} is not a brain: write a number, the path of a latent file, or the "
        f"name of a scan projected in this session{known}."
    )


def latents_of(
    generator: Generator, sources: Sequence[Source], truncation: Truncation
) -> np.ndarray:
    """float64 `(n, num_layers, w_dim)` of sources with this truncation."""
    return latents_of_recipes(generator, [Recipe(source, truncation) for source in sources])


def latents_of_recipes(generator: Generator, recipes: Sequence[Recipe]) -> np.ndarray:
    """float64 `(n, num_layers, w_dim)` of recipes, with their mixes and edits."""
    latents = np.empty((len(recipes), generator.num_layers, generator.w_dim))
    for row, recipe in zip(latents, recipes, strict=True):
        row[:] = recipe.latent(generator).double().cpu().numpy()
    return latents
