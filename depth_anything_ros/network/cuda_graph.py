# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A network's kernels recorded once per input size and replayed with one launch."""

from __future__ import annotations

from collections.abc import Callable
import logging

import torch
from torch import Tensor

Predict = Callable[[Tensor], Tensor]

MOST = 8  # graphs that are kept: of cameras of some sizes, each alone and as a batch
_WARM_UP_RUNS = 3  # libraries choose kernels and allocate in the first ones, which a graph may not


def capture(predict: Predict, example: Tensor) -> Predict:
    """Record a function on the GPU as a CUDA graph.

    Args:
        predict: computes on the device only, always the same for inputs of one size.
        example: an input on the device; later ones have its shape and dtype.

    Returns:
        The same function for that size.

    Raises:
        RuntimeError: something in it cannot be captured.
    """
    static_input = example.clone()
    side = torch.cuda.Stream(example.device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(example.device))
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP_RUNS):
            predict(static_input)
    torch.cuda.current_stream(example.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # thread_local: what other threads do on the GPU meanwhile does not spoil the capture.
    with torch.cuda.graph(graph, stream=side, capture_error_mode='thread_local'):
        static_output = predict(static_input)

    def replay(image: Tensor) -> Tensor:
        static_input.copy_(image)
        graph.replay()
        return static_output.clone()  # the next replay writes over it

    return replay


class Graphed:
    """Calls a function through a graph of each input size, or as it is where that fails."""

    def __init__(
        self, predict: Predict, capture: Callable[[Predict, Tensor], Predict] = capture
    ) -> None:
        """Take the function; the graph of a size is recorded when the size is first seen."""
        self._predict, self._capture = predict, capture
        self._replays: dict[torch.Size, Predict] = {}  # the one used longest ago first

    def __call__(self, image: Tensor) -> Tensor:
        """Return what the function does, faster."""
        replay = self._replays.pop(image.shape, None)
        if replay is None:
            replay = self._recorded(image)
        self._replays[image.shape] = replay
        return replay(image)

    def _recorded(self, image: Tensor) -> Predict:
        if len(self._replays) >= MOST:
            del self._replays[next(iter(self._replays))]  # frees it before the next is recorded
        try:
            return self._capture(self._predict, image)
        except RuntimeError as error:
            reason = ' '.join(str(error).split())[:200]
            size = 'x'.join(map(str, image.shape[-2:]))
            logging.getLogger(__name__).warning(
                'no CUDA graph at %s (%s): the network runs without, which is slower', size, reason
            )
            return self._predict
