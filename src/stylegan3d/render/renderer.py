"""From w to a volume, at a chosen quality.

The renderer knows nothing of recipes, widgets or files. While a slider moves, volumes may be
coarse and of reduced precision; everything saved is float32 at full resolution.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.base import SILENT, ModelError, Progress, effort
from stylegan3d.devices import measured_dtype
from stylegan3d.geometry.space import Shown, Space, to_display
from stylegan3d.memory import is_out_of_memory, keep_large_blocks
from stylegan3d.model.family import HasFeatures, Synthesis, held
from stylegan3d.model.generator import Generator
from stylegan3d.networks.memo import Memo, Noise
from stylegan3d.recipe.latents import Delta
from stylegan3d.recipe.model import TRUNCATION, seed_latents
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.render.editable import Details
from stylegan3d.render.movement import Movement
from stylegan3d.storage.checked import answering

# Synthesis as a CUDA graph: recorded once, replayed with one call instead of many kernels.

#: Warm-up runs before recording, in which libraries choose kernels and allocate memory.
WARM_UPS = 3


class RecordedSynthesis:
    """`synthesize` as a CUDA graph, for latents of one shape.

    Parameters
    ----------
    synthesize : callable
        [1, num_layers, w_dim] -> image; its operations must not depend on the values.
    w : Tensor
        An example on the GPU.
    """

    def __init__(self, synthesize: Callable[[Tensor], Tensor], w: Tensor) -> None:
        self._w = w.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                synthesize(self._w)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile (a projection while the window renders): by
        # default one of their allocations would break the recording and fail itself.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._image = synthesize(self._w)

    def __call__(self, w: Tensor) -> Tensor:
        """The image of `w`."""
        self._w.copy_(w)
        self._graph.replay()
        return self._image.clone()


# Half-resolution previews for networks without coarse images: a linear readout of features.
#
# In the `orig` and `resnet` wirings only the last level makes an image. The features before it have
# half the resolution and take an eighth of the work; the final image is, at that resolution, close
# to a linear function of them. It is fitted to a few random volumes by ridge regression and tested
# on others.

#: Share of the variance of held-out volumes that a readout must explain to be used.
WORTH_SHOWING = 0.9
RIDGE = 1e-4


@dataclass(frozen=True)
class Readout:
    """image = weight @ features + bias, voxel by voxel.

    Attributes
    ----------
    weight : Tensor, shape (image channels, channels)
    bias : Tensor, shape (image channels,)
    explained : float
        Share of the variance explained in held-out volumes.
    """

    weight: Tensor
    bias: Tensor
    explained: float

    def __call__(self, features: Tensor) -> Tensor:
        """[N, C, X, Y, Z] -> float32 [N, image channels, X, Y, Z]"""
        image = F.linear(features.movedim(1, -1), self.weight.to(features.dtype))
        return (image.float() + self.bias).movedim(-1, 1)

    @classmethod
    def fit(
        cls,
        pairs: Callable[[int], tuple[Tensor, Tensor]],
        used: Iterable[int],
        kept_back: Iterable[int],
    ) -> Readout:
        """Fit to some volumes and test on others.

        Parameters
        ----------
        pairs : callable
            Maps a number to features [1, C, X, Y, Z] and full image [1, image channels, 2 X, …].
        used, kept_back : iterable of int
            Numbers of the volumes to fit to and to test on.
        """
        products = []
        for number in used:
            f, t = _rows(*pairs(number))
            products.append((f.T @ f, f.T @ t))
        gram, moment = (torch.stack(parts).sum(dim=0) for parts in zip(*products, strict=True))
        size = len(gram) - 1
        ridge = torch.full((size + 1,), RIDGE * float(gram.diagonal()[:size].mean()))
        ridge[size] = 0.0  # the intercept is not penalised
        solution = torch.linalg.solve(gram + torch.diag(ridge).to(gram), moment).float()
        made = cls(solution[:size].T.contiguous(), solution[size], 0.0)
        return cls(made.weight, made.bias, made._explained(pairs, kept_back))

    def _explained(
        self, pairs: Callable[[int], tuple[Tensor, Tensor]], numbers: Iterable[int]
    ) -> float:
        error = spread = 0.0
        for number in numbers:
            features, image = pairs(number)
            target = F.avg_pool3d(image.float(), 2)
            error += float((self(features) - target).square().mean())
            spread += float(target.var())
        return 1 - error / max(spread, 1e-12)


def _rows(features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """Voxels as rows, float64 [voxels, C + 1] with a final 1, and [voxels, image C]."""
    f = features.movedim(1, -1).flatten(0, -2).double()
    t = F.avg_pool3d(image.float(), 2).movedim(1, -1).flatten(0, -2).double()
    return torch.cat([f, f.new_ones(len(f), 1)], dim=1), t


Quality = Literal["full", "fast", "preview"]
#: Largest root mean square error of a faster method, as a share of the image's largest magnitude;
#: twice that for a preview.
TOLERATED_DIFFERENCE, TOLERATED_IN_PREVIEWS = 0.01, 0.02
#: Bytes of results in one precision that are kept while another is in use.
KEPT_ASIDE = 64 * 2**20
#: Random brains that a readout of features is fitted to and tested on.
FITTED, TRIED = range(4), range(4, 6)


@dataclass(frozen=True, repr=False)
class Rendered(Shown):
    """A rendered volume.

    Attributes
    ----------
    volume : ndarray, shape (X, Y, Z), float32
        0 is outside the brain, 1 the brightest tissue.
    space : Space
        Its grid; a preview has fewer and larger voxels.
    quality : Quality
        "full", "fast" or "preview".
    seconds : float
        Time taken.
    movement : Movement or None
        How a scan with its own detail was moved and changed; None for the model's brains.
    through : tuple of float or None
        Only the three planes of voxels through this point, RAS mm, are what was asked for.
    w : Tensor or None, shape (num_layers, w_dim)
        What it was made of.
    """

    volume: np.ndarray
    space: Space
    quality: Quality
    seconds: float
    movement: Movement | None = None
    through: tuple[float, float, float] | None = None
    w: Tensor | None = None


@dataclass(frozen=True)
class RenderMode:
    """How an image is made: level of the generator, precision, shortcuts.

    `draft` skips the last level's convolutions (see `synthesis.SynthesisNetwork`), or the
    texture (see `family.DrawsTexture`).
    """

    level: int
    dtype: torch.dtype
    draft: bool = False


EXACT = RenderMode(-1, torch.float32)


class Renderer:
    """Draws latents of one generator, one at a time; safe to call from several threads.

    A faster method than float32 at full resolution is used only if it is faster on this machine and
    its image is within 1 % of the exact one (a preview within 2 %); both are tested on the first
    preview.
    Layers whose rows of w did not change since the last call are reused.

    Attributes
    ----------
    details : Details or None
        The scans whose own detail recipes can show, see `recipes.py`.
    """

    def __repr__(self) -> str:
        return f"<Renderer of {self.generator!r}>"

    @answering
    def __init__(self, generator: Generator, details: Details | None = None) -> None:
        keep_large_blocks()
        self.generator = generator
        self.details = details
        self.memo = Memo()
        self.readout: Readout | None = None
        self._lock = threading.RLock()
        self._precision = torch.float32
        self._tuned: tuple[str, Synthesis] | None = None
        self._ways: dict[Quality, RenderMode] = {"full": EXACT}
        self._recorded: dict[object, RecordedSynthesis | None] = {}

    def companion(self, budget: int) -> Renderer:
        """A renderer of the same generator for another thread. It need not measure again what
        this one has measured; it keeps at most `budget` bytes of layers.
        """
        other = Renderer(self.generator, self.details)
        other.memo, other.readout = Memo(budget), self.readout
        other._ways = dict(self._ways)
        return other

    @property
    def preview_level(self) -> int:
        """Which of the generator's levels a preview shows: half resolution, or full if none.

        A generator without coarse images has previews once `learn_preview` has found them.
        """
        return -2 if self.readout is not None or len(self.generator.levels) > 1 else -1

    @torch.no_grad()
    @answering
    def render(
        self,
        w: Tensor,
        quality: Quality = "full",
        noise: Noise = "fixed",
        channel: int = 0,
        progress: Progress = SILENT,
        delta: Delta | None = None,
    ) -> Rendered:
        """Synthesise one volume.

        Parameters
        ----------
        w : Tensor, shape (num_layers, w_dim)
        quality : Quality
            "full": float32 at full resolution, the same bits each time on one machine with the same
            number of threads (OMP_NUM_THREADS); "fast": full resolution in the precision that is
            fastest here; "preview": as fast as possible, at half resolution.
        noise : Noise
            "fixed", "none" or a seed.
        channel : int
            Which image channel.
        progress : Progress
            Asked before each layer whether the volume is still wanted; it is told nothing.
        delta : Delta or None
            What a projection changed in the generator, see `generator.tuned`.

        Raises
        ------
        Cancelled
            If it was cancelled.
        """
        generator = self.generator
        if tuple(w.shape) != (generator.num_layers, generator.w_dim):
            raise ModelError(
                f"The latent has shape {tuple(w.shape)}; the renderer draws one volume at a time "
                f"from ({generator.num_layers}, {generator.w_dim})."
            )
        Recipe(channel=channel).check(generator)
        rows = w[None].to(generator.device, torch.float32)
        started = time.perf_counter()
        with self._lock:
            self._tune(delta)
            read_out = self.readout if quality == "preview" else None
            if read_out is not None and delta is None:
                image = read_out(self._features(rows, noise, progress))
            else:
                # A reading was learned without the delta and would not show it.
                way = self._way(quality if read_out is None else "fast", rows)
                short_of_memory = False
                try:
                    image = self._made(rows, noise, way, progress)
                except (MemoryError, RuntimeError) as error:
                    if not is_out_of_memory(error):
                        raise
                    short_of_memory = True
                if short_of_memory:  # once more, without the layers that are remembered
                    self.memo.clear()
                    self._recorded.clear()
                    image = self._made(rows, noise, way, progress)
        volume = to_display(image, channel)[0]
        grid: tuple[int, int, int] = volume.shape
        space = generator.space if grid == generator.shape else generator.space.resized(grid)
        return Rendered(volume, space, quality, time.perf_counter() - started, w=w)

    @torch.no_grad()
    def learn_preview(self, progress: Progress = SILENT) -> float | None:
        """Find previews for a generator that has no coarse images; see `Readout`.

        Takes as long as rendering six volumes; other calls may run in between.

        Returns
        -------
        float or None
            Share of the variance of half-resolution images that the previews explain; None where
            the generator has images of its own, or no features that a preview could be read from.
            Below 0.9 they are not used, and a preview has full resolution.
        """
        network = self.generator.synthesis
        whole = not isinstance(network, HasFeatures) or not network.has_features
        if len(self.generator.levels) > 1 or whole:
            return None

        def pair(number: int) -> tuple[Tensor, Tensor]:
            with effort("preview", progress.check):
                w = seed_latents(self.generator, [number], truncation=TRUNCATION)
            with self._lock:
                self._tune(None)
                image = self._made(w, "fixed", self._way("fast", w), progress)
                return self._features(w, "fixed", progress), image

        readout = Readout.fit(pair, FITTED, TRIED)
        if readout.explained >= WORTH_SHOWING:
            self.readout = readout
        return readout.explained

    @property
    def _synthesis(self) -> Synthesis:
        return self.generator.synthesis if self._tuned is None else self._tuned[1]

    def _tune(self, delta: Delta | None) -> None:
        """Draw with this delta from now on; what is kept of another one is forgotten."""
        digest = None if delta is None else delta.digest
        if digest == (None if self._tuned is None else self._tuned[0]):
            return
        tuned = None if delta is None else self.generator.tuned(delta).synthesis
        self._tuned = None if tuned is None else (str(digest), tuned)
        self.memo = Memo(self.memo.budget)
        self._recorded.clear()

    def _way(self, quality: Quality, w: Tensor) -> RenderMode:
        """How to make an image of this quality, found out by trying it on `w`."""
        if quality not in self._ways:
            dtype = measured_dtype(self.generator.device)
            if quality == "preview" and self.generator.draws_texture:
                candidates = [RenderMode(-1, dtype, draft=True)]
            elif quality == "fast" or self.preview_level == -1:
                candidates = [RenderMode(-1, dtype)]
            else:
                candidates = [RenderMode(-2, dtype, draft=True), RenderMode(-2, dtype)]
            exact = replace(candidates[-1], dtype=torch.float32)
            coarse = candidates[0].level != -1
            tolerated = TOLERATED_IN_PREVIEWS if coarse else TOLERATED_DIFFERENCE
            self._ways[quality] = self._first_close(candidates, exact, w, tolerated)
        return self._ways[quality]

    def _first_close(
        self, candidates: list[RenderMode], exact: RenderMode, w: Tensor, tolerated: float
    ) -> RenderMode:
        """The first candidate whose image is close to the exact one."""
        reference = self._made(w, "fixed", exact)
        for way in candidates:
            try:
                made = self._made(w, "fixed", way)
            except RuntimeError:  # an operation without a kernel of this precision here
                continue
            if _difference(made, reference) <= tolerated:
                return way
        return exact

    def _made(
        self, w: Tensor, noise: Noise, way: RenderMode, progress: Progress = SILENT
    ) -> Tensor:
        """The image [1, C, X, Y, Z] of w [1, num_layers, w_dim]."""
        synthesis = self._synthesis
        exact = way.dtype == torch.float32
        # By default cuDNN rounds float32 to TF32 and may pick an algorithm that sums at random.
        with torch.backends.cudnn.flags(deterministic=exact, allow_tf32=not exact):
            recorded = None if exact else self._recording(w, noise, way)
            if recorded is not None:
                return recorded(w)
            self._begin(w, noise, way.dtype, progress)
            return synthesis(w, noise, way.level, way.dtype, draft=way.draft, memo=self.memo)

    def _begin(self, w: Tensor, noise: Noise, dtype: torch.dtype, progress: Progress) -> None:
        """Make the memo ready for a synthesis."""
        if dtype != self._precision and self.memo.size > KEPT_ASIDE:
            # A large network's features in a precision that is not wanted now are in the way.
            self.memo.clear()
        self._precision = dtype
        self.memo.begin(w, noise, progress.check)

    def _features(self, w: Tensor, noise: Noise, progress: Progress) -> Tensor:
        """The features before the last level."""
        dtype = self._way("fast", w).dtype
        self._begin(w, noise, dtype, progress)
        network = self._synthesis
        assert isinstance(network, HasFeatures)
        return network.last_features(w, noise, dtype, self.memo)

    def _recording(self, w: Tensor, noise: Noise, way: RenderMode) -> RecordedSynthesis | None:
        """The synthesis as a CUDA graph; None where there is no GPU or the graph errs."""
        if w.device.type != "cuda" or noise not in ("fixed", "none"):
            return None
        key = (noise, way)
        if key not in self._recorded:
            synthesis, maps = self._synthesis, held(self._synthesis, noise)

            def synthesize(rows: Tensor) -> Tensor:
                return synthesis(rows, maps, way.level, way.dtype, draft=way.draft)

            try:
                recorded = RecordedSynthesis(synthesize, w)
                close = _difference(recorded(w), synthesize(w)) <= TOLERATED_DIFFERENCE
            except RuntimeError:  # an operation that cannot be recorded
                close = False
            self._recorded[key] = recorded if close else None
        return self._recorded[key]


def _difference(image: Tensor, reference: Tensor) -> float:
    """Root mean square difference as a share of the reference's largest magnitude."""
    error = (image - reference).square().mean().sqrt()
    return float(error / reference.abs().max().clamp(min=1e-6))
