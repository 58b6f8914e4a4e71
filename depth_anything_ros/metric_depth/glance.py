# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the host needs to see of a prediction to fit it: some thousand numbers in one download."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.transfer import download, upload

_POOLED = (24, 32)  # rows, columns of the averages that one prediction is compared with the next on
_PER_POOL = 4  # rows and columns of pixels in each; the ground is told by single rows


@dataclass(frozen=True, eq=False)
class Glance:
    """A prediction as the host sees it, NaN where the image shows nothing.

    Attributes:
        at_anchors: N float64 at the anchors, bilinear between pixels; none without anchors.
        lattice: rows x columns float64 of pixels that are spread over the image, see lattice().
    """

    at_anchors: NDArray[np.float64]
    lattice: NDArray[np.float64]

    @property
    def pooled(self) -> NDArray[np.float64]:
        """M averages over parts of the image."""
        (rows, columns), n = _POOLED, _PER_POOL
        averages: NDArray[np.float64] = self.lattice.reshape(rows, n, columns, n).mean(axis=(1, 3))
        return averages.ravel()


def glance(prediction: Tensor, anchors: Anchors | None) -> Glance:
    """Fetch what is needed of a prediction; the host waits for the device here, and only here.

    Args:
        prediction: HxW float32.
        anchors: where it is looked at.
    """
    rows, columns = _pixels(*prediction.shape, prediction.device)
    nothing = prediction.new_empty(0)
    at_anchors, seen = download([
        nothing if anchors is None else sample(prediction, anchors),
        prediction.index_select(0, rows).index_select(1, columns),
    ])
    return Glance(at_anchors.astype(np.float64), seen.astype(np.float64))


def lattice(height: int, width: int, rows: int, columns: int) -> tuple[NDArray[np.int64], ...]:
    """Return the pixel rows and the pixel columns of a lattice from corner to corner."""
    return tuple(
        np.linspace(0, size - 1, count).astype(np.int64)
        for size, count in ((height, rows), (width, columns))
    )


@lru_cache(maxsize=4)
def _pixels(height: int, width: int, device: torch.device) -> tuple[Tensor, ...]:
    pixels = lattice(height, width, *(_PER_POOL * n for n in _POOLED))
    return tuple(torch.from_numpy(index).to(device) for index in pixels)


def sample(plane: Tensor, anchors: Anchors) -> Tensor:
    """Return an HxW plane's values at the anchors, N, bilinear between pixel centres."""
    height, width = plane.shape
    u, v = anchors.u, anchors.v
    grid = np.stack([(2 * u + 1) / width - 1, (2 * v + 1) / height - 1], axis=-1)
    where = upload(grid.astype(np.float32), plane.device)[None, None]
    return F.grid_sample(plane[None, None], where, padding_mode='border', align_corners=False)[
        0, 0, 0
    ]
