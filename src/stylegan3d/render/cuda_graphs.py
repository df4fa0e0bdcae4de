"""Synthesis as a CUDA graph: recorded once, replayed with one call instead of many kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

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
        # default # one of their allocations would break the recording and fail itself.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._image = synthesize(self._w)

    def __call__(self, w: Tensor) -> Tensor:
        """The image of `w`."""
        self._w.copy_(w)
        self._graph.replay()
        return self._image.clone()
