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
_LATTICE = (96, 64)  # rows, columns of single pixels: the ground is told by its rows


@dataclass(frozen=True, eq=False)
class Glance:
    """A prediction as the host sees it, NaN where the image shows nothing.

    Attributes:
        at_anchors: N float64 at the anchors, bilinear between pixels; none without anchors.
        lattice: rows x columns float64 of pixels that are spread over the image, see lattice().
        pooled: M float64 averages over parts of the image.
        thumbnail: small gray image, None where there was none.
    """

    at_anchors: NDArray[np.float64]
    lattice: NDArray[np.float64]
    pooled: NDArray[np.float64]
    thumbnail: NDArray[np.float32] | None


def glance(prediction: Tensor, anchors: Anchors | None, image: Tensor | None = None) -> Glance:
    """Fetch what is needed of a prediction; the host waits for the device here, and only here.

    Args:
        prediction: HxW float32.
        anchors: where it is looked at.
        image: small gray image.
    """
    height, width = prediction.shape
    rows, columns = _pixels(height, width, prediction.device)
    parts = [
        prediction.new_empty(0) if anchors is None else sample(prediction, anchors),
        prediction[rows, columns],
        F.adaptive_avg_pool2d(prediction[None, None], _POOLED)[0, 0],
        prediction.new_empty(0) if image is None else image,
    ]
    at_anchors, seen, pooled, thumbnail = download(parts)
    return Glance(
        at_anchors.astype(np.float64),
        seen.astype(np.float64),
        pooled.ravel().astype(np.float64),
        None if image is None else thumbnail,
    )


def lattice(height: int, width: int, rows: int, columns: int) -> tuple[NDArray[np.int64], ...]:
    """Return the pixel rows (R x 1) and columns (1 x C) of a lattice from corner to corner."""
    row = np.linspace(0, height - 1, rows).astype(np.int64)
    column = np.linspace(0, width - 1, columns).astype(np.int64)
    return row[:, None], column[None, :]


@lru_cache(maxsize=4)
def _pixels(height: int, width: int, device: torch.device) -> tuple[Tensor, ...]:
    pixels = lattice(height, width, min(_LATTICE[0], height), min(_LATTICE[1], width))
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
