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

import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.membrane import Grid
from depth_anything_ros.metric_depth.uncertainty import mean_error

_UPPER = 0.25  # share of the anchors that is predicted from those below
# What is tested is mostly ground, where level is wrong; what it is for is mostly upright. So the
# network must err three times less to be trusted fully.
_HANDICAP = 2.0
_SHARPNESS = 10.0  # how steeply a trust's share falls with its error
_EXACT = 1e-5  # log depth: errors below are none, and nothing is divided by them
_AROUND_CELLS = 2  # columns of cells on either side that share an outline
_RAMP_CELLS = 2.0  # over so many cells past the outline the inner rule hands over to the outer one


def upper(anchors: Anchors) -> Tensor:
    """Return 1 for anchors in the upper quarter, else 0: N float32."""
    return (anchors.v < torch.quantile(anchors.v, _UPPER)).to(anchors.z_m)


@dataclass(frozen=True, eq=False)
class Outside:
    """The rule beyond the anchors on a grid, each 1 x rows x columns.

    Attributes:
        log_factor: inverse depth in 1/m is exp(log_factor) * network ** trust.
        trust: in the network.
        share: 0 inside, 1 outside, between the two on the way.
        beyond_px: rows beyond the outermost anchor, negative above it.
    """

    log_factor: Tensor
    trust: Tensor
    share: Tensor
    beyond_px: Tensor


def upward_trust(
    measured: Tensor, network: Tensor, unseen: Tensor, weight: Tensor, trusts: Tensor
) -> tuple[Tensor, Tensor]:
    """Learn how far to trust the network above the anchors.

    Args:
        measured: N log inverse depths at anchors.
        network: N of the network's.
        unseen: 2xN membranes of the two through the other anchors, from below.
        weight: N, 0 for anchors that are not to be predicted.
        trusts: T candidates.

    Returns:
        The trust and the mean error of log depth that it leaves.
    """
    candidates = unseen[0] + trusts[:, None] * (network - unseen[1])
    error = mean_error(candidates - measured, weight)
    loss = (error + _EXACT) * (1 + _HANDICAP * trusts)
    share = (loss.min() / loss) ** _SHARPNESS
    share = share / share.sum()
    return (share * trusts).sum(), (share * error).sum()


def outside(fields: Tensor, trust_above: Tensor, anchors: Anchors, grid: Grid) -> Outside:
    """Set the rule for all cells.

    Args:
        fields: 2 x rows x columns membranes of the anchors' log inverse depths and of the network's
            there.
        trust_above: scalar.
        anchors: N, whose outline is looked for.
        grid: of the fields.
    """
    beyond_px = rows_beyond(anchors, grid)
    trust = torch.where(beyond_px < 0, trust_above, 1.0)
    share = (beyond_px.abs() / grid.cell_px - 1).div(_RAMP_CELLS).clamp(0.0, 1.0)
    log_factor = fields[0] - trust * fields[1]
    return Outside(log_factor[None], trust[None], share[None], beyond_px[None])


def rows_beyond(anchors: Anchors, grid: Grid) -> Tensor:
    """Return by how many rows in pixels each cell lies below the lowest anchor around its column.

    Negative above the highest and 0 between the two. In columns without any anchor the outline is
    that of all: beside a lidar's field of view is not above it.
    """
    column = ((anchors.u + 0.5) / grid.cell_px).long().clamp(0, grid.columns - 1)
    lowest = _largest(anchors.v, column, grid)
    highest = -_largest(-anchors.v, column, grid)
    row = (torch.arange(grid.rows, device=lowest.device) + 0.5)[:, None] * grid.cell_px - 0.5
    return (row - lowest).clamp(min=0) + (row - highest).clamp(max=0)


def _largest(value: Tensor, column: Tensor, grid: Grid) -> Tensor:
    """Return the largest of N values in and around each column of cells, of all where none is."""
    none = value.new_full((grid.columns,), -torch.inf)
    largest = none.scatter_reduce(0, column, value, 'amax')
    width = 2 * _AROUND_CELLS + 1
    largest = F.max_pool1d(largest[None, None], width, stride=1, padding=_AROUND_CELLS)[0, 0]
    return torch.where(largest.isfinite(), largest, value.max())
