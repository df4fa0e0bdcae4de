"""An edit of a scan itself: its own detail moves with the anatomy, at its own resolution.

A reconstruction leaves out what is finer than the generator knows. An edit of its latent is a
movement psi and a slow change of intensity c (`movement.py`), and both can be put on the scan:

    S'(x) = S(psi(x)) + s(x) c(x)            S the scan, s its units and its bias field

The scan is interpolated once. Outside the brain the movement fades to none. Where another brain
wears the detail it is the same: with r(y) = S(phi_w^-1(y)) - A_w(y) the detail in the common
anatomy, A_w''(phi_w''(x)) + r(phi_w''(x)) = S(psi(x)) + c(x); only nothing fades then, for the
other brain has another outline.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np
import torch

from stylegan3d.errors import RecipeError, ScanError
from stylegan3d.geometry.intensity import to_display
from stylegan3d.plain import JsonView
from stylegan3d.render.editable import EditableScan, Original
from stylegan3d.render.movement import Movement, Mover

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.recipe.latents import Delta
    from stylegan3d.recipe.recipe import Source

#: Scans that are kept ready at once.
KEPT = 2
#: A pose that differs by less, in mm and in directions, is the same.
SAME_POSE = 1e-3


class CarriedDetail(EditableScan):
    """A scan's own detail, ready to be put on brains: what no edit changes is computed once.

    Parameters
    ----------
    original : Original
    generator : Generator
    w : Tensor [num_layers, w_dim]
        Of the projection.
    delta : Delta, optional
        What the projection tuned in the generator.
    channel : int
        Of the images.

    Raises
    ------
    ScanError
        If the description of the scan lacks something or belongs to another.
    """

    def __init__(
        self,
        original: Original,
        generator: Generator,
        w: torch.Tensor,
        delta: Delta | None = None,
        channel: int = 0,
    ) -> None:
        super().__init__(original, generator.space)
        delta = _moving(delta)
        self.generator = generator
        self._tuned = (_digest(delta), generator if delta is None else generator.tuned(delta))
        self._other = self._tuned
        self._mover = Mover(self._tuned[1], w, channel)
        self._channel = channel

    def prepare(self) -> None:
        """Find all that no edit changes now, so that the first edit need not wait for it."""
        self._mover.prepare()
        self.frame(self.movement(self._mover.w[0]))
        _ = self._aligned_spline, self._spline, self._scale

    def movement(
        self,
        w: torch.Tensor,
        delta: Delta | None = None,
        *,
        quick: bool = False,
        worn: bool = False,
    ) -> Movement:
        """What an edit does, as it is put on the scan.

        Parameters
        ----------
        w : Tensor [num_layers, w_dim]
            Of the edited brain.
        delta : Delta, optional
            What projections tuned in the generator for the edited brain (`Recipe.delta`).
        quick : bool
            It may be rougher, for a slider that moves; only generators without a deformation need
            that.
        worn : bool
            The brain is another one, which wears the detail.
        """
        near = None if worn else self._near
        moved = self._mover.to(w, self._generator_of(delta), quick=quick, near=near)
        return self.placed(moved, worn=worn)

    def _generator_of(self, delta: Delta | None) -> Generator:
        """The generator with this delta; that of the projection is always the same one."""
        delta = _moving(delta)
        digest = _digest(delta)
        if digest == self._tuned[0]:
            return self._tuned[1]
        if digest != self._other[0]:
            self._other = (digest, self.generator if delta is None else self.generator.tuned(delta))
        return self._other[1]

    def _like(self) -> np.ndarray:
        with torch.no_grad():
            made = self._tuned[1].synthesize(self._mover.w, noise="none")
        return np.asarray(to_display(made, self._channel)[0])


class Details:
    """The scans whose detail can be shown; each is made ready once.

    Parameters
    ----------
    find : callable
        From the source of a detail to its `Original`; raises if it is not at hand.
    """

    def __init__(self, find: Callable[[Source], Original]) -> None:
        self._find = find
        self._lock = RLock()
        self._ready: dict[tuple[object, ...], CarriedDetail] = {}

    def of(self, generator: Generator, source: Source, channel: int = 0) -> CarriedDetail:
        """The detail of a projected scan, ready to be put on brains of its generator.

        Raises
        ------
        RecipeError, LatentError
            If the source is not what it was, or is no projection of a scan.
        ScanError
            If another scan was found for it.
        """
        latent = source.latent(generator)
        if latent.scan is None:
            raise RecipeError(
                f"{source.path} does not say which scan it was projected from, so it has no "
                "detail to show: project the scan again."
            )
        with self._lock:
            original = self._find(source)
            _check_same(original, latent.scan)
            key = (
                latent.w.tobytes(),
                _digest(latent.delta),
                channel,
                id(generator),
                id(original.data),
            )
            known = self._ready.pop(key, None)
            if known is None:
                while len(self._ready) >= KEPT:
                    del self._ready[next(iter(self._ready))]
                w = latent.to_w(generator)
                known = CarriedDetail(original, generator, w, latent.delta, channel)
            self._ready[key] = known  # the latest is the last to go
            return known


def _digest(delta: Delta | None) -> str | None:
    return None if delta is None else delta.digest


def _moving(delta: Delta | None) -> Delta | None:
    """The delta that matters for how an edit moves tissue.

    A scan's own noise does not: the flow draws its folds again after an edit, now and then others.
    """
    return None if delta is not None and delta.has_own_noise else delta


def _check_same(original: Original, described: JsonView) -> None:
    """ScanError if an original is not the scan that a latent was projected from."""
    found = original.described
    if found.get("sha256") != described.get("sha256"):
        raise ScanError(
            f"The latent belongs to another scan ({described.get('path')}) than the one given "
            f"({found.get('path')}): give the scan that was projected."
        )
    try:
        apart = np.abs(np.subtract(found["rigid"], described["rigid"], dtype=np.float64)).max()
    except (KeyError, TypeError, ValueError):
        apart = np.inf
    if not apart <= SAME_POSE:
        raise ScanError(
            f"{described.get('path')} was not projected in the pose that it has now: project "
            "it again, or undo the change of its pose."
        )
