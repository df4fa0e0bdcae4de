"""What a family of generators has to offer, so that everything else works with it.

A family turns a model folder into `Parts`: networks that map random numbers to latents and latents
to volumes, and what is known of the latents. What a family cannot do it says in one sentence; the
engine refuses it with this sentence, and the window shows it where the control would be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor, nn

from stylegan3d.recipe.model import Sizes

if TYPE_CHECKING:
    import torch

    from stylegan3d.networks.config import Grid
    from stylegan3d.networks.memo import Memo
    from stylegan3d.networks.noise import Noise

#: What a generator may lack, and what is said of it where its family says nothing else.
LACKS = {
    "layers": "This model has no per-layer styles: one latent describes the whole brain.",
    "noise": "This model has learned no texture of its own.",
    "noise_maps": "This model has no layer noise that could be fitted to a scan.",
    "tuning": "This model cannot be tuned to a single scan.",
    "score": "This model was saved without its discriminator, so it cannot score volumes.",
    "encode": "This model has no encoder to estimate the latent of a scan.",
}


class Shape(Sizes, Protocol):
    """Sizes of a generator's latents and images; `OneRow` is one ready made."""

    @property
    def image_grids(self) -> list[Grid]:
        """Grids at which a volume can be had, each twice the one before; the last is the full
        one, and there may be no other.
        """
        ...

    @property
    def layer_grids(self) -> list[Grid]:
        """The grid that each row of the latent governs."""
        ...


@dataclass(frozen=True)
class OneRow:
    """The shape of a family whose latent has one row; `coarse` are grids besides the full one."""

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
        noise: Noise | list[Tensor | None] = "fixed",
        level: int = -1,
        dtype: torch.dtype = ...,
        *,
        draft: bool = False,
        memo: Memo | None = None,
    ) -> Tensor:
        """Volumes [N, C, X, Y, Z] float32, about in [-1, 1]; differentiable in w.

        The same w, noise and level give the same bits each time, and the work does not depend on
        the numbers in w: on a GPU it is recorded once and replayed.

        Parameters
        ----------
        w : Tensor, shape (N, num_layers, w_dim)
        noise : Noise or list of (Tensor or None)
            "fixed" (always the same), "none", or a seed; without meaning for a family without. With
            `noise_maps` also what these gave.
        level : int
            Which of the shape's `image_grids`; -1 is the full one.
        dtype : torch.dtype
            Precision to compute in, as far as that is possible; float32 is exact.
        draft : bool
            A cheaper picture will do; may be ignored.
        memo : Memo or None
            Results of earlier calls; may be ignored. In long work `memo.check()` is called now and
            then: it raises once the picture is not wanted any more.
        """
        ...


class HasSynthesis(Protocol):
    """What a `Generator` has: a name, and its network."""

    synthesis: Synthesis

    @property
    def name(self) -> str:
        """For messages."""
        ...


@runtime_checkable
class HasNoiseMaps(Protocol):
    """A synthesis whose noise is a list of maps, which a projection can fit."""

    def noise_maps(self, noise: Noise, batch: int = 1) -> list[Tensor | None]:
        """The maps of a kind of noise; the synthesis takes them in the place of the noise."""
        ...


@runtime_checkable
class DrawsTexture(Protocol):
    """A synthesis whose noise draws a texture over every brain, also one whose latent was found in
    a scan. Those are shown without: what is in a scan, the scan says.
    """

    @property
    def draws_texture(self) -> bool:
        """Whether this one does; a draft has no texture either."""
        ...


@runtime_checkable
class HasInverse(Protocol):
    """A mapping that finds the random numbers a latent comes from."""

    def invert(self, w: Tensor) -> Tensor:
        """Latents [N, w_dim], of random brains or of scans -> z [N, z_dim], nearly."""
        ...


@runtime_checkable
class HasVariations(Protocol):
    """A mapping that makes of a brain's latent others like it, with the faults of random ones."""

    def varied(self, w: Tensor, z: Tensor, strength: float) -> Tensor:
        """Latents w [N, w_dim] and standard normal z [N, z_dim or w_dim] -> w [N, w_dim].

        Of a strength of 0 the latents themselves, near 1 such as `z` alone leads to.
        """
        ...


@runtime_checkable
class HasFeatures(Protocol):
    """A synthesis without coarse images, from whose features before the last level previews can be
    read (see `preview.py`).
    """

    @property
    def has_features(self) -> bool:
        """Whether this one has them."""
        ...

    def last_features(
        self, w: Tensor, noise: Noise, dtype: torch.dtype = ..., memo: Memo | None = None
    ) -> Tensor:
        """[N, channels, X, Y, Z] on half the grid of the image."""
        ...


@dataclass
class Parts:
    """What a family makes of a model folder.

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
        A key of `LACKS` -> why, in one sentence, where the usual one does not say it well. What is
        seen from the parts themselves (no encoder, a single row) need not be named.
    deviations : Tensor, shape (w_dim,), or None
        Standard deviation of each number of w among random brains. With long latents it stands for
        the covariance, which could not be held in memory.
    components : Tensor, shape (K, w_dim), or None
        Principal directions of w, the most important first; the length of each is one standard
        deviation along it. Without them they are taken from random brains.
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
        """ValueError if the parts do not fit each other."""
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
        What a card's `architecture` says under `family`.
    title : str
        What people call it, such as "variational autoencoder".
    """

    name: str
    title: str

    def check(
        self,
        card: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        encoder: Mapping[str, Tensor] | None,
    ) -> None:
        """Refuse a card that no network of these weights can have, before any is built.

        A card is text that anybody can change: sizes in it are compared with the weights that
        lie beside it. The checks of `checkpoints.card_checks` help; those of what every card has
        (space, labels, tables) were made before.

        Raises
        ------
        ModelError, ValueError, KeyError
            With the half of a sentence that says why.
        """
        ...

    def build(
        self,
        card: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        encoder: Mapping[str, Tensor] | None,
    ) -> Parts:
        """Networks with these weights, float32 on the CPU; may raise as `check` does."""
        ...


def held(synthesis: object, noise: Noise) -> Noise | list[Tensor | None]:
    """Noise for many calls of a synthesis: drawn now, where it has maps, else as it is."""
    return synthesis.noise_maps(noise) if isinstance(synthesis, HasNoiseMaps) else noise
