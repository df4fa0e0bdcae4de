"""A low-rank normal distribution of latents, unconditional or given labels.

Principal components of subjects' latents with what is known of the subjects: the distribution for
an age or a sex is that of the linear Gaussian model given the label (Bishop 2006, "Pattern
Recognition and Machine Learning", eq. 2.81, 2.82), whose covariance of labels and scores is
estimated so that it holds for held-out subjects (`foreseen_share`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

#: Penalties, relative to the mean squared length of a subject's scores.
PENALTIES = np.logspace(-3, 3, 19)
FOLDS = 5
#: Least number of subjects, and probability of what passes for chance.
FEWEST, CHANCE = FOLDS + 1, 0.01


def foreseen_share(x: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """Ridge regression of a label on scores.

    Parameters
    ----------
    x : Tensor, shape (n, K), float64
        Centred scores of subjects, scaled by importance: weights along short directions are shrunk
        more.
    y : Tensor, shape (n,), float64
        Centred label.

    Returns
    -------
    weights : Tensor, shape (K,)
        With the penalty of the least leave-one-out error.
    share : float
        Share of the variance of y predicted in held-out subjects by nested cross-validation, 0 to
        1; 0 if that may be by chance, too (p above `CHANCE`).
    """
    # Loaded only where a prior is made.
    from scipy.stats import pearsonr
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict

    none = torch.zeros(x.shape[1], dtype=x.dtype), 0.0
    if len(y) < FEWEST or not float(y.square().sum()) > 0 or not float(x.square().sum()) > 0:
        return none
    penalties = PENALTIES * float(x.square().sum()) / len(y)
    line = RidgeCV(alphas=penalties, fit_intercept=False)
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    guesses = torch.from_numpy(cross_val_predict(line, x.numpy(), y.numpy(), cv=folds))
    share = 1 - float((y - guesses).square().sum() / y.square().sum())
    if share <= 0 or pearsonr(guesses, y, alternative="greater").pvalue > CHANCE:
        return none
    return torch.from_numpy(line.fit(x.numpy(), y.numpy()).coef_), share


def within(values: Tensor, groups: Tensor) -> Tensor:
    """Rows [n, m] minus their group's mean, ignoring NaN."""
    which = groups.unique(return_inverse=True)[1]
    of = torch.nn.functional.one_hot(which).to(values)  # [n, groups]
    return values - (of.T @ values.nan_to_num() / (of.T @ values.isfinite().to(values)))[which]


# Of a score's variance, what labels leave open at the least.
LEAST_LEFT = 1e-3
# A label vector's part is open if no number of it is further from that of nobody in particular.
SAME = 1e-5


@dataclass(frozen=True)
class Measured:
    """Measures of brains, such as logarithms of tissue volumes.

    Attributes
    ----------
    people : Tensor, shape (subjects, M)
        In those whose labels are known.
    scores : Tensor, shape (brains, K)
        Scores of random brains, standard normal; random : [brains, M] measured in them.
    """

    people: Tensor
    scores: Tensor
    random: Tensor


@dataclass(frozen=True)
class LabelKnowledge:
    """Covariance of the labels of subjects and the scores of their latents.

    Attributes
    ----------
    sizes : tuple of int
        Numbers of each label in the label vector, which begins with one that is constant.
    average : Tensor, shape (L,)
        The vector that leaves everything open, see `stylegan3d.recipe.model`.
    spread : Tensor, shape (L, L)
        Covariance of label vectors.
    shared : Tensor, shape (K, L)
        Covariance of standardised scores with label vectors.
    explained : Tensor, shape (L,)
        Explained of the variance of each number of the vector, what scores, or what was measured,
        foresee in held-out subjects; 0 to 1.
    by_measures : tuple of bool
        [L] whether it was what was measured.
    """

    sizes: tuple[int, ...]
    average: Tensor
    spread: Tensor
    shared: Tensor
    explained: Tensor
    by_measures: tuple[bool, ...] = ()

    @classmethod
    def of(
        cls,
        scores: Tensor,
        labels: Tensor,
        sizes: Sequence[int],
        average: Tensor,
        *,
        variances: Tensor | None = None,
        groups: Tensor | None = None,
        measured: Measured | None = None,
    ) -> LabelKnowledge:
        """From subjects.

        A number y of the vector and standard normal scores s of which a share R2 of y's variance
        is known have the covariance R sd(y) b, where b is the unit vector along which s foresees
        y. The direction is that of a ridge regression of y on s, and R2 what this foresees in
        held-out subjects: chance explains nobody else (see `foreseen_share`).

        Where subjects differ by the place of every fold, the way from one age to another in w is a
        double exposure, and a brain that goes it hardly ages. Measures that tell more of y than
        scores do are then a better way: random brains get those of subjects with that y, along the
        scores that change these measures in random brains (regression of latents on what an
        instrument reads off images, compare Shen et al. 2020, arXiv 1907.10786).

        Parameters
        ----------
        scores : Tensor, shape (subjects, K)
            Scores of one latent for each subject: images of the same subject, such as mirrored
            ones, would be foreseen by each other. Their own variance need not be 1: what counts is
            which way they go.
        labels : Tensor, shape (subjects, L)
            NaN where a number is not known of somebody.
        sizes, average : sequence of int, Tensor
            See the attributes.
        variances : Tensor, shape (K,), or None
            What a standard deviation along each score changes, squared: the less, the more its
            weight is held back. The same for all if they are not given.
        groups : Tensor, shape (subjects,), or None
            Which scanner or study everybody is from. Differences between these are not put down to
            the labels. None if all are alike.
        measured : Measured or None
            In subjects and in random brains; None to go by the scores alone.
        """
        size = scores.shape[1]
        groups = torch.zeros(len(scores)) if groups is None else groups
        lengths = torch.ones(size) if variances is None else variances.sqrt()
        lengths = lengths.double()
        x = scores.double() * lengths
        y = within(labels.double(), groups)
        shared, explained, by_measures = [], [], []
        ruler = None if measured is None else _Ruler(measured, lengths, groups)
        for column in y.T:
            known = column.isfinite()
            inner = within(x[known], groups[known])
            weights, share = foreseen_share(inner, column[known])
            along = weights * lengths
            along = along / along.norm().clamp(min=1e-30)
            # Of a deviation along it some may lie between the groups.
            outer = ((x[known] - x[known].mean(dim=0)) @ weights).std()
            part = float((inner @ weights).std() / outer) if share else 0.0
            deviation = column[known].square().mean().sqrt()
            found = along * share**0.5 * part * deviation
            better = None if ruler is None else ruler.shared(column, known, above=share)
            by_measures.append(better is not None)
            if better is not None:
                found, share = better
            shared.append(found)
            explained.append(share)
        spread = _covariance(y)
        told = _possible(torch.stack(shared, dim=1), spread)
        return cls(
            tuple(sizes),
            average,
            spread.float(),
            told.float(),
            torch.tensor(explained),
            tuple(by_measures),
        )


class _Ruler:
    """Relation of measures to labels, and of scores of random brains to measures.

    Parameters
    ----------
    measured : Measured
        See `Measured`.
    lengths : Tensor, shape (K,)
        The effect of one standard deviation along each score.
    groups : Tensor, shape (subjects,)
    """

    def __init__(self, measured: Measured, lengths: Tensor, groups: Tensor) -> None:
        self.groups = groups
        self.people = measured.people.double()
        scores, values = measured.scores.double(), measured.random.double()
        usable = values.isfinite().all(dim=1)
        s, v = scores[usable], values[usable]
        s, v = s - s.mean(dim=0), v - v.mean(dim=0)
        # Effect of each score, [M, K], and the measures' variance unexplained by scores.
        change = torch.stack([foreseen_share(s * lengths, column)[0] * lengths for column in v.T])
        missed = v - s @ change.T
        spread = change @ change.T + missed.T @ missed / len(v)
        # The mean of scores whose brains measure so much more than others.
        self.scores_of = change.T @ torch.linalg.pinv(spread, hermitian=True)

    def shared(self, y: Tensor, known: Tensor, above: float) -> tuple[Tensor, float] | None:
        """Covariance [K] of scores with a label's number y [people], and the share of its variance
        that measures foresee in held-out subjects; None if that is not above another share.
        """
        known = known & self.people.isfinite().all(dim=1)
        values = within(self.people[known], self.groups[known])
        deviations = values.std(dim=0).clamp(min=1e-12)
        about = y[known] - y[known].mean()
        weights, share = foreseen_share(values / deviations, about)
        if share <= above:
            return None
        guesses = (values / deviations) @ weights
        return self.scores_of @ (values.T @ guesses / len(guesses)), share


def _covariance(y: Tensor) -> Tensor:
    """Covariance [L, L] of columns about their mean [n, L], each pair over those known of both."""
    known = y.isfinite().to(y)
    filled = y.nan_to_num(0.0)
    found = filled.T @ filled / (known.T @ known).clamp(min=1)
    # Pairs over different subjects may contradict each other.
    values, vectors = torch.linalg.eigh(found)
    return (vectors * values.clamp(min=0)) @ vectors.T


def _possible(shared: Tensor, spread: Tensor) -> Tensor:
    """Covariances [K, L] no larger than scores of unit variance can have with the labels.

    Each label was looked at alone: together they must leave something of the scores' variance.
    """
    values, vectors = torch.linalg.eigh(spread)
    there = values > 1e-9 * values.max().clamp(min=1e-30)
    roots = values[there].sqrt()
    whitened = shared @ vectors[:, there] / roots
    left, lengths, right = torch.linalg.svd(whitened, full_matrices=False)
    lengths = lengths.clamp(max=(1 - LEAST_LEFT) ** 0.5)
    return (left * lengths) @ right * roots @ vectors[:, there].T


class LinearPrior(nn.Module):
    """Standard normal z [N, K], label [N, L] or None -> latents w [N, w_dim].

    Parameters
    ----------
    z_dim, w_dim : int
        K, and the size of a latent.
    sizes : sequence of int
        Sizes of the labels, as in `LabelKnowledge`; empty for a model without labels.
    """

    mean: Tensor
    components: Tensor
    average: Tensor
    spread: Tensor
    shared: Tensor

    def __init__(self, z_dim: int, w_dim: int, sizes: Sequence[int] = ()) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.register_buffer("mean", torch.zeros(w_dim))
        # Principal directions, each as long as one standard deviation.
        self.register_buffer("components", torch.zeros(z_dim, w_dim))
        if self.sizes:
            length = 1 + sum(self.sizes)
            self.register_buffer("average", torch.zeros(length))
            self.register_buffer("spread", torch.zeros(length, length))
            self.register_buffer("shared", torch.zeros(z_dim, length))

    @property
    def label_dim(self) -> int:
        """Numbers of a label vector; 0 without labels."""
        return 1 + sum(self.sizes) if self.sizes else 0

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """The part not determined by a label is drawn as among all subjects."""
        if label is not None and self.sizes:
            sizes, average, spread, shared = self.sizes, self.average, self.spread, self.shared
            pairs = zip(z, label, strict=True)
            z = torch.stack([given(s, of, sizes, average, spread, shared) for s, of in pairs])
        return self.mean + z @ self.components

    def varied(self, w: Tensor, z: Tensor, strength: float) -> Tensor:
        """See `family.HasVariations`."""
        kept = (1 - strength**2) ** 0.5
        return self.mean + kept * (w - self.mean) + strength * (z @ self.components)


def given(
    scores: Tensor,
    label: Tensor,
    sizes: Sequence[int],
    average: Tensor,
    spread: Tensor,
    shared: Tensor,
) -> Tensor:
    """Scores of somebody with this label, from those of somebody.

    Parameters
    ----------
    scores : Tensor, shape (..., K)
        Standard normal among all.
    label : Tensor, shape (L,)
        Elements equal to `average` are unspecified.
    sizes, average, spread, shared : sequence of int, Tensor, Tensor, Tensor
        As in `LabelKnowledge`.

    Returns
    -------
    Tensor, shape (..., K)
        The scores themselves, bit for bit, where everything is open.
    """
    apart = label - average
    places = _places(apart, sizes)
    if not len(places):
        return scores
    spread = spread[places][:, places]
    weights = shared[:, places] @ torch.linalg.pinv(spread, hermitian=True)
    values, vectors = torch.linalg.eigh(spread)
    explained = weights @ (vectors * values.clamp(min=0).sqrt())
    axes, lengths, _ = torch.linalg.svd(explained, full_matrices=False)
    left = (1 - lengths.square()).clamp(min=LEAST_LEFT).sqrt()
    return scores + ((scores @ axes) * (left - 1)) @ axes.T + weights @ apart[places]


def _places(apart: Tensor, sizes: Sequence[int]) -> Tensor:
    """Indices of the elements of the label vector whose labels are given."""
    places: list[int] = []
    start = 1
    for size in sizes:
        if bool((apart[start : start + size].abs() > SAME).any()):
            places += range(start, start + size)
        start += size
    return torch.tensor(places, dtype=torch.long, device=apart.device)
