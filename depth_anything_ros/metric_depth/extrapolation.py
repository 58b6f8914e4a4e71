# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth above and below all anchors, where no membrane has a value to reach for.

A membrane is level beyond its last values. There, in log depth,

    y = f[y_anchor] + trust * (y_network - f[y_network at the anchors]) .

Below the rings is ground, of which the network knows more than a level continuation: trust 1.
Above them things stand upright, so that the last ring's depth continues. How far the network knows
better there is learned by predicting the upper quarter of the anchors from the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.membrane import Grid

_UPPER = 0.25  # share of the anchors that is predicted from those below
# What is tested is mostly ground, where level is wrong; what it is for is mostly upright. So the
# network must err three times less to be trusted fully.
HANDICAP = 2.0
SHARPNESS_ABOVE = 10.0  # how steeply a trust's share falls with its error
_AROUND_CELLS = 2  # columns of cells on either side that share an outline
_RAMP_CELLS = 2.0  # over so many cells past the outline the inner rule hands over to the outer one


def upper(anchors: Anchors) -> NDArray[np.bool_]:
    """Tell which of N anchors are in the upper quarter of them."""
    high_up: NDArray[np.bool_] = anchors.v < np.quantile(anchors.v, _UPPER)
    return high_up


def outline(anchors: Anchors, grid: Grid) -> NDArray[np.float32]:
    """Return the rows in pixels of the lowest and the highest anchor around each column of cells.

    In columns without any anchor the outline is that of all: what lies beside a lidar's field of
    view is not above it.

    Returns:
        2 x columns.
    """
    column = ((anchors.u + 0.5) / grid.cell_px).astype(np.int64).clip(0, grid.columns - 1)
    extremes = []
    for v in (anchors.v, -anchors.v):
        most = np.full(grid.columns, -np.inf, dtype=np.float32)
        np.maximum.at(most, column, v)
        most = maximum_filter1d(most, 2 * _AROUND_CELLS + 1, mode='nearest')
        extremes.append(np.where(np.isfinite(most), most, v.max()))
    return np.stack([extremes[0], -extremes[1]])


@dataclass(frozen=True, eq=False)
class Outside:
    """Where the rule beyond the anchors holds, each rows x columns of a grid.

    Attributes:
        below: 0 inside, 1 below the anchors, between the two on the way.
        above: the same above them.
        beyond_px: rows below the lowest anchor, negative above the highest.
    """

    below: NDArray[np.float32]
    above: NDArray[np.float32]
    beyond_px: NDArray[np.float32]


def outside(anchors: Anchors, grid: Grid) -> Outside:
    """Tell all cells of a grid how far beyond the anchors they are."""
    lowest, highest = outline(anchors, grid)
    row = ((np.arange(grid.rows, dtype=np.float32) + 0.5) * grid.cell_px - 0.5)[:, None]
    beyond_px = np.maximum(row - lowest, 0) + np.minimum(row - highest, 0)
    share = np.clip((np.abs(beyond_px) / grid.cell_px - 1) / _RAMP_CELLS, 0, 1)
    above = beyond_px < 0
    return Outside(share * ~above, share * above, beyond_px)
