"""A synthesis recorded once on a GPU and replayed: hundreds of small kernels for one call."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

#: Runs before recording, in which libraries choose their kernels and memory is laid out.
WARM_UPS = 3


class RecordedSynthesis:
    """`synthesize` as a CUDA graph, for latents of one shape.

    Parameters
    ----------
    synthesize : callable
        [1, num_layers, w_dim] -> image; the same work whatever the numbers are.
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
        # Other threads may go on meanwhile (a projection beside the window's pictures): by default
        # an allocation of theirs would spoil the recording and fail itself.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._image = synthesize(self._w)

    def __call__(self, w: Tensor) -> Tensor:
        """The image of `w`."""
        self._w.copy_(w)
        self._graph.replay()
        return self._image.clone()
