"""Anatomy model with StyleGAN layers, whose output is added to the linear images.

The levels of a StyleGAN run in parallel to those of the anatomy model, and the output of their
ToRGB layers is added to its image, level by level, in the common anatomy. Refining layers of the
last level also get the current image as input, to sharpen it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn

from stylegan3d.networks.anatomy import AnatomyNetwork, SilentLayers
from stylegan3d.networks.anatomy_config import AnatomyConfig
from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.networks.layers import Conv3d
from stylegan3d.networks.leveled import LeveledSynthesis, sum_low
from stylegan3d.networks.memo import Memo, NoMemo
from stylegan3d.networks.noise import Noise
from stylegan3d.networks.resampling import CHANNELS_LAST
from stylegan3d.networks.synthesis import Level, StyleLayers, SynthesisLayer, SynthesisNetwork

# Margin in voxels around a cube for its convolutions.
PATCH_MARGIN = 4
#: Prefixes of the layers' tensor names.
LAYERS = ("const", "base_dense.", "levels.", "to_rgb.")


class RefinedLevel(Level):
    """A level whose refining layers also get the current image as input."""

    def __init__(self, config: GeneratorConfig, index: int) -> None:
        super().__init__(config, index)
        assert isinstance(config, AnatomyConfig)
        outputs, grid = config.channels[index], config.grid(index)
        refine = config.refine_layers if index == config.num_levels - 1 else 0
        self.refine = nn.ModuleList(
            SynthesisLayer(outputs, outputs, grid, config, up=False) for _ in range(refine)
        )
        if refine:
            self.feedback = Conv3d(config.image_channels, outputs, 1, activate=False)

    @property
    def layers(self) -> list[SynthesisLayer]:
        """The level's modulated layers in order; refining ones share the last row of w."""
        return super().layers + cast("list[SynthesisLayer]", list(self.refine))

    def _layer(
        self,
        i: int,
        x: Tensor,
        w: Tensor,
        noise: Tensor | None,
        seen: Callable[[], Tensor] | None,
    ) -> Tensor:
        if self.refine and seen is not None and i == len(self.layers) - len(self.refine):
            x = self._fed_back(x, seen())
        return super()._layer(i, x, w, noise, seen)

    def _fed_back(self, x: Tensor, seen: Tensor) -> Tensor:
        """Features combined with the current image."""
        if seen.shape[1] > 1:
            return x + self.feedback(seen.to(x.dtype).contiguous(memory_format=CHANNELS_LAST))
        # One channel: a 1x1x1 convolution is an outer product, which fuses with the sum.
        weight = self.feedback.weight[:, 0].to(x.dtype)
        x = torch.addcmul(x, seen.to(x.dtype), weight)
        return (
            x
            if self.feedback.bias is None
            else x + self.feedback.bias.to(x.dtype)[:, None, None, None]
        )


class LayeredAnatomy(StyleLayers, AnatomyNetwork):
    """The synthesis network of an anatomy model with StyleGAN layers."""

    config: AnatomyConfig

    @property
    def has_own_noise(self) -> bool:
        """No: layers see the image that the noise would be added to."""
        return False

    def add_layers(self, level: type[Level] = RefinedLevel) -> None:
        """Create the parameters of the layers."""
        super().add_layers(level)

    @property
    def stored_noise(self) -> list[Tensor]:
        """One map per layer, followed by that of the flow, if any."""
        return [layer.noise for layer in self.layers] + super().stored_noise

    def noise_maps(self, noise: Noise, batch: int = 1) -> list[Tensor | None]:
        """One map per layer and the flow's, each [1 or N, 1, X, Y, Z]."""
        return LeveledSynthesis.noise_maps(self, noise, batch)

    @property
    def rows_read(self) -> int:
        """All: the last one controls the last image."""
        return self.config.num_layers

    def _walk(
        self,
        w: Tensor,
        maps: list[Tensor | None],
        stop: int,
        dtype: torch.dtype,
        *,
        draft: bool = False,
        memo: Memo | None = None,
    ) -> Iterator[Tensor]:
        for _, image in self._features(w, maps, stop, dtype, draft=draft, memo=memo):
            yield image

    def _features(
        self,
        w: Tensor,
        maps: list[Tensor | None],
        stop: int,
        dtype: torch.dtype,
        *,
        draft: bool = False,
        memo: Memo | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Features and image of each level up to `stop`, coarse to fine."""
        memo = memo or NoMemo()
        x, noises = self.base(w, dtype), iter(maps)
        image: Tensor | None = None
        for i, level in enumerate(self.typed_levels[: stop + 1]):
            terms = self._terms(w, i, image)
            if draft and i == self.config.num_levels - 1:
                yield x, self._drafted(w, self._low(terms, i), i)
                return
            detail = self._details(w, i)
            seen = partial(self._seen, terms, detail, i)
            x = level(x, w, list(islice(noises, len(level.layers))), memo, seen)
            make = partial(self._joined, x, w, i, terms, detail)
            image = memo.get((i, "image", dtype), 2 * i + 2, make)
            yield x, image

    def _seen(self, terms: list[Tensor], detail: Tensor | None, level: int) -> Tensor:
        """Input of refining layers: the current image, with the constant."""
        low = self._low(terms, level)
        if detail is not None:
            low = low + detail[:, : low.shape[1]]
        return self._with_constant(low, level)

    def _joined(
        self, x: Tensor, w: Tensor, level: int, terms: list[Tensor], detail: Tensor | None
    ) -> Tensor:
        """Image of a level without the constant: features, previous levels, bases."""
        image = self.to_rgb[str(level)](x, w[:, 2 * level + 1])
        for term in terms:
            image = sum_low(image, term)
        return self._completed(image, self._low(terms, level), detail, level)

    def canonical_patch(
        self,
        w: Tensor,
        noises: list[Tensor | None],
        corners: list[tuple[int, int, int]],
        size: int,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Cubes of the last level's canonical bands, at a fraction of the cost of the whole.

        Coarse levels are computed once for all cubes of a sample, the last one only within the
        cubes and a margin.

        Parameters
        ----------
        w : Tensor, shape (1, num_layers, w_dim)
        noises : list of Tensor or None
            One map per layer.
        corners : list of tuple of int
            First voxel of each cube on the last level's grid; even numbers.
        size : int
            Edge of the cubes on that grid; an even number.

        Returns
        -------
        Tensor
            [len(corners), bands, size, size, size]; equal to that part of the whole, except in the
            outermost voxel.
        """
        last = self.config.num_levels - 1
        *_, (x, image) = self._features(w, noises, last - 1, dtype)
        used = sum(len(level.layers) for level in self.typed_levels[:last])
        terms, detail = self._terms(w, last, image), self._details(w, last)
        low, known = self._low(terms, last), self._seen(terms, detail, last)
        beyond = self.continued(low, last)
        whole = [part for part in (beyond, detail) if part is not None]
        if self.config.image_const:
            whole.append(self._constant(last))
        cubes = []
        for corner in corners:
            coarse = [
                slice(max(c // 2 - PATCH_MARGIN // 2, 0), (c + size + PATCH_MARGIN) // 2)
                for c in corner
            ]
            fine = [slice(2 * s.start, 2 * s.stop) for s in coarse]
            maps = [None if m is None else _cut(m, fine) for m in noises[used:]]
            y = self.typed_levels[last](_cut(x, coarse), w, maps, seen=partial(_cut, known, fine))
            y = self.to_rgb[str(last)](y, w[:, 2 * last + 1])
            within = [
                slice(c - s.start, c - s.start + size) for c, s in zip(corner, fine, strict=True)
            ]
            inside = [slice(c, c + size) for c in corner]
            y = sum_low(_cut(y, within), _cut(low, inside))
            for part in whole:
                y = y + _cut(part, inside)
            cubes.append(y)
        return torch.cat(cubes)


def _cut(x: Tensor, place: list[slice]) -> Tensor:
    """A box out of [N, C, X, Y, Z]."""
    return x[:, :, place[0], place[1], place[2]]


def with_layers(network: AnatomyNetwork) -> AnatomyNetwork:
    """The network with its omitted layers, for tuning them.

    Shares all other tensors. Returns the network itself if nothing was omitted.
    """
    if network.silent is None:
        return network
    made = LayeredAnatomy(network.silent.config)
    device = next(network.parameters()).device
    layers = {k: v.to(device, torch.float32) for k, v in network.silent.tensors.items()}
    made.load_state_dict({**network.state_dict(), **layers}, assign=True)
    return made.eval().requires_grad_(False)


def split_layers(
    config: AnatomyConfig, state: Mapping[str, Tensor]
) -> tuple[AnatomyConfig, dict[str, Tensor], SilentLayers | None]:
    """Remove layers without effect from a configuration and state; returns them, too.

    Layers have no effect if all weights and biases of their ToRGBs are zero.
    """
    rgb = [v for k, v in state.items() if k.startswith("to_rgb.") and ".style." not in k]
    if config.channels and any(bool(v.any()) for v in rgb):
        return config, dict(state), None
    layers = {k: v for k, v in state.items() if k.startswith(LAYERS)}
    rest = {k: v for k, v in state.items() if k not in layers}
    silent = SilentLayers(config, layers) if config.channels and layers else None
    return config.without_layers(), rest, silent


def build_synthesis(config: GeneratorConfig) -> SynthesisNetwork | AnatomyNetwork:
    """Build the synthesis network of a configuration."""
    if not isinstance(config, AnatomyConfig):
        return SynthesisNetwork(config)
    return LayeredAnatomy(config) if config.channels else AnatomyNetwork(config)
