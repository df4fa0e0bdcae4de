"""The interface of a family of generators.

A family turns a model folder into `Parts`: networks that map random numbers to latents and latents
to volumes, and statistics of the latents. For every unsupported feature it gives a reason in one
sentence, which the engine raises and the window shows at the control.

Registry of generator families, by the name in a model's card.

A built-in family is listed in `BUILT_IN`; others are added with
`register` before their models are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from stylegan3d.base import JsonView, ModelError
from stylegan3d.networks.config import Grid, is_anatomy
from stylegan3d.recipe.model import Sizes

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from stylegan3d.networks.memo import Maps, Memo, Noise


#: Features that a generator may lack, with the default reasons.
#: Tensors by name, as a file holds them.
Tensors = Mapping[str, "Tensor"]

LACKS = {
    "layers": "This model has no per-layer styles: one latent describes the whole brain.",
    "noise": "This model has learned no texture of its own.",
    "noise_maps": "This model has no layer noise that could be fitted to a scan.",
    "tuning": "This model cannot be tuned to a single scan.",
    "score": "This model was saved without its discriminator, so it cannot score volumes.",
    "encode": "This model has no encoder to estimate the latent of a scan.",
}


class Shape(Sizes, Protocol):
    """Sizes of a generator's latents and images; `OneRow` is an implementation."""

    @property
    def image_grids(self) -> list[Grid]:
        """Grids of the image levels, each twice the one before; the last is the full grid."""

    @property
    def layer_grids(self) -> list[Grid]:
        """The grid that each row of the latent controls."""


@dataclass(frozen=True)
class OneRow:
    """Shape of a family whose latent has one row; `coarse` are grids besides the full one."""

    z_dim: int
    w_dim: int
    grid: Grid
    image_channels: int = 1
    label_dim: int = 0
    coarse: tuple[Grid, ...] = ()

    @property
    def num_layers(self) -> int:
        """One."""
        return 1

    @property
    def image_grids(self) -> list[Grid]:
        """Coarse to fine."""
        return [*self.coarse, self.grid]

    @property
    def layer_grids(self) -> list[Grid]:
        """The full grid."""
        return [self.grid]


class Synthesis(Protocol):
    """Latent to volume; a torch module."""

    def __call__(
        self,
        w: Tensor,
        noise: Noise | Maps = "fixed",
        level: int = -1,
        dtype: torch.dtype = ...,
        *,
        draft: bool = False,
        memo: Memo | None = None,
    ) -> Tensor:
        """Volumes [N, C, X, Y, Z] float32, about in [-1, 1]; differentiable in w.

        Deterministic, and its operations do not depend on the values of w: on a GPU it is
        recorded once and replayed.

        Parameters
        ----------
        w : Tensor, shape (N, num_layers, w_dim)
        noise : Noise or list of (Tensor or None)
            "fixed", "none", or a seed; ignored by families without noise. Also the result of
            `noise_maps`, if there is one.
        level : int
            Index of the shape's `image_grids`; -1 is the full one.
        dtype : torch.dtype
            Precision of the computation, if supported; float32 is exact.
        draft : bool
            A cheaper picture suffices; may be ignored.
        memo : Memo or None
            Cache of earlier calls; may be ignored. Long computations call `memo.check()` regularly,
            which raises if the picture is no longer needed.
        """


class HasSynthesis(Protocol):
    """A name and a synthesis network, as a `Generator` has."""

    synthesis: Synthesis

    @property
    def name(self) -> str:
        """For messages."""


@runtime_checkable
class HasNoiseMaps(Protocol):
    """A synthesis with noise maps, which a projection can fit."""

    def noise_maps(self, noise: Noise, batch: int = 1) -> Maps:
        """The maps of a kind of noise, to be passed to the synthesis as noise."""


@runtime_checkable
class DrawsTexture(Protocol):
    """A synthesis whose noise adds texture to every brain; reconstructions are shown without it."""

    @property
    def draws_texture(self) -> bool:
        """Whether this one does; drafts have no texture, either."""


@runtime_checkable
class MixesEvenly(Protocol):
    """A synthesis in which a straight line between two latents does not change a brain evenly."""

    def evened(self, mixed: Tensor, first: Tensor, second: Tensor, strength: Tensor) -> Tensor:
        """The mix [num_layers, w_dim] to show instead of a straight one, see `Generator.mix`."""


@runtime_checkable
class HasInverse(Protocol):
    """A mapping that can be inverted."""

    def invert(self, w: Tensor) -> Tensor:
        """Latents [N, w_dim] -> z [N, z_dim], approximately."""


@runtime_checkable
class HasVariations(Protocol):
    """A mapping that makes variations of a latent, with the artefacts of random ones."""

    def varied(self, w: Tensor, z: Tensor, strength: float) -> Tensor:
        """Latents w [N, w_dim] and standard normal z [N, z_dim or w_dim] -> w [N, w_dim].

        With strength 0 the latents themselves, towards 1 those of `z` alone.
        """


@runtime_checkable
class HasFeatures(Protocol):
    """A synthesis without coarse images whose features allow previews (see `renderer.Readout`)."""

    @property
    def has_features(self) -> bool:
        """Whether this one has them."""

    def last_features(
        self, w: Tensor, noise: Noise, dtype: torch.dtype = ..., memo: Memo | None = None
    ) -> Tensor:
        """Features before the last level, [N, channels, X, Y, Z] at half the image's resolution."""


@dataclass
class Parts:
    """The networks and statistics that a family builds from a model folder.

    Attributes
    ----------
    config : Shape
        Sizes.
    mapping : nn.Module
        z [N, z_dim], label [N, label_dim] or None -> w [N, w_dim].
    synthesis : nn.Module
        See `Synthesis`.
    w_avg : Tensor, shape (w_dim,)
        Mean of w over random brains, towards which truncation pulls.
    discriminator : nn.Module or None
        Volume [N, C, X, Y, Z], label -> logit [N].
    encoder : nn.Module or None
        Volume [N, C, X, Y, Z] in [-1, 1] -> w [N, num_layers, w_dim].
    cannot : mapping of str to str
        A key of `LACKS` to a reason that replaces the default. Features that are evidently missing
        (no encoder, a single row) need not be listed.
    deviations : Tensor, shape (w_dim,), or None
        Standard deviation of each number of w among random brains; for long latents it replaces the
        covariance, which would not fit in memory.
    components : Tensor, shape (K, w_dim), or None
        Principal directions of w, the most important first; the length of each is one standard
        deviation. If None, they are computed from random brains.
    """

    config: Shape
    mapping: nn.Module
    synthesis: nn.Module
    w_avg: Tensor
    discriminator: nn.Module | None = None
    encoder: nn.Module | None = None
    cannot: Mapping[str, str] = field(default_factory=dict)
    deviations: Tensor | None = None
    components: Tensor | None = None

    def check(self) -> None:
        """Raise ValueError if the parts do not fit each other."""
        size = self.config.w_dim
        sizes: Sequence[tuple[str, Tensor | None, tuple[int, ...]]] = (
            ("w_avg", self.w_avg, (size,)),
            ("deviations", self.deviations, (size,)),
            ("components", self.components, (*self._count(), size)),
        )
        for name, values, shape in sizes:
            if values is not None and tuple(values.shape) != shape:
                raise ValueError(f"{name} has shape {tuple(values.shape)}, not {shape}")
        if self.deviations is not None and not bool((self.deviations >= 0).all()):
            raise ValueError("deviations are negative")
        strangers = sorted(set(self.cannot) - set(LACKS))
        if strangers:
            raise ValueError(f"nothing is called {strangers[0]}")

    def _count(self) -> tuple[int, ...]:
        return () if self.components is None else tuple(self.components.shape[:1])


class Family(Protocol):
    """One way to build a generator from a model folder.

    Attributes
    ----------
    name : str
        The `family` in a card's `architecture`.
    title : str
        Displayed name, such as "variational autoencoder".
    """

    name: str
    title: str

    def check(self, card: JsonView, tensors: Tensors, encoder: Tensors | None) -> None:
        """Check that a card fits the weights, before any network is built.

        A card is text that anybody can edit: sizes in it are compared with the weights beside it.
        See `checkpoints.folder` for helpers; entries common to all cards (space, labels,
        tables) are already checked.

        Raises
        ------
        ModelError, ValueError, KeyError
            With the reason as the second half of a sentence.
        """

    def build(self, card: JsonView, tensors: Tensors, encoder: Tensors | None) -> Parts:
        """Build networks with these weights, float32 on the CPU; may raise like `check`."""


def held(synthesis: object, noise: Noise) -> Noise | Maps:
    """Noise for many calls of a synthesis: maps sampled once if it has any, else unchanged."""
    return synthesis.noise_maps(noise) if isinstance(synthesis, HasNoiseMaps) else noise


STYLEGAN, ANATOMY = "stylegan", "anatomy"
#: Module and name of each built-in family, imported when a model is loaded.
BUILT_IN = {
    STYLEGAN: "stylegan:FAMILY",
    ANATOMY: "anatomy:FAMILY",
    "vae": "autoencoder:FAMILY",
    "diffusion": "autoencoder:DIFFUSION_FAMILY",
}

_registered: dict[str, Family] = {}


def register(family: Family) -> None:
    """Register a family, replacing any registered one of the same name.

    Raises
    ------
    ValueError
        If it has the name of a built-in family.
    """
    if family.name in BUILT_IN:
        raise ValueError(f"The name {family.name} belongs to a built-in family; choose another.")
    _registered[family.name] = family


def forget(name: str) -> None:
    """Undo `register`."""
    _registered.pop(name, None)


def family_of(card: JsonView) -> Family:
    """The family of a model's card.

    Cards of StyleGANs and anatomy models may omit it: their settings tell them apart.

    Raises
    ------
    ModelError
        If the family is unknown.
    """
    return family_called(family_name(card))


def family_name(card: JsonView) -> Any:
    """The name of a card's family."""
    plan = card["architecture"].get("generator")
    anatomy = isinstance(plan, Mapping) and is_anatomy(plan)
    return card["architecture"].get("family", ANATOMY if anatomy else STYLEGAN)


def family_called(name: Any) -> Family:
    """The family with a name; ModelError if there is none."""
    if isinstance(name, str) and name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(import_module(f"stylegan3d.model.families.{module}"), attribute)
    if isinstance(name, str) and name in _registered:
        return _registered[name]
    raise ModelError(
        f"The model is of the family '{name}', but this program knows only "
        f"{', '.join(sorted({*BUILT_IN, *_registered}))}: update it, or register that family first."
    )
