# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""All that the device is told of a frame's anchors, worked out on the host and sent in one copy.

What depends on the places of anchors alone (distances, the outline, what lies beyond it) needs no
device, and what is known at anchors is known on the host since the glance.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.extrapolation import outside, upper
from depth_anything_ros.metric_depth.membrane import Grid
from depth_anything_ros.metric_depth.uncertainty import (
    beyond_one_ring,
    beyond_rings,
    growth,
    LARGEST_ERROR,
)
from depth_anything_ros.transfer import upload_together

FOLDS = 4
# Anchors are splatted by fold, those in the upper quarter apart; membranes go through sums of these
# groups: all but one fold, four times, all but the upper ones, and all.
_SPLATTED = 2 * FOLDS
BELOW, ALL = FOLDS, FOLDS + 1
_MEMBRANES = np.array([
    *([group % FOLDS != fold for group in range(_SPLATTED)] for fold in range(FOLDS)),
    [group < FOLDS for group in range(_SPLATTED)],
    [True] * _SPLATTED,
], dtype=np.float32)
_CAPACITY_STEP = 1024  # anchors are as many as a multiple of this
_REACH = 5.0  # the correction fades over so many times the largest gap it was tested on


@dataclass(frozen=True, eq=False)
class Sheet:
    """What the device is told, float32 but for cells.

    N is the number of anchors up to a multiple of 1,024. Some anchors are told twice to get there,
    and count for nothing the second time. The two spaces are inverse depth in 1/m and its
    logarithm.

    Attributes:
        cells: 2xN int64, cells of the coarse grid by fold and height, and of the fine one.
        places: 2Nx2 on the coarse grids of the membranes: of those without the anchor's own fold,
            and of the one without the upper anchors.
        weight: 2xN, in the mean error of left-out anchors, and of upper ones predicted from below.
        data: 5xN, weight, and weight times inverse depth in both spaces, measured and predicted.
        network: 2xN, predicted in both spaces.
        depth_m: N, measured.
        log_growth: N, see uncertainty.growth(), by the distance to the nearest anchor of another
            fold.
        given: 2xN, twice 1 where an anchor is told for the first time.
        correction: 3xN, the same once, and what is measured in both spaces.
        regions: 3 x coarse grid, 1 within the outline of the anchors, below and above it.
        beyond: 2 x coarse grid, the standard deviation of log depth there, see beyond_rings().
        above: fine grid, 1 above the outline.
        inside: 2 x fine grid, where the correction reaches: not, and how far.
        growth: fine grid, by the distance to the nearest anchor.
        near: fine grid, 1 close by anchors.
    """

    cells: Tensor
    places: Tensor
    weight: Tensor
    data: Tensor
    network: Tensor
    depth_m: Tensor
    log_growth: Tensor
    given: Tensor
    correction: Tensor
    regions: Tensor
    beyond: Tensor
    above: Tensor
    inside: Tensor
    growth: Tensor
    near: Tensor


def write_sheet(
    anchors: Anchors,
    shared_m: NDArray[np.float64],
    believed: NDArray[np.float64],
    prior: NDArray[np.float64],
    fold: NDArray[np.int64],
    narrow: bool,
    least_reach: float,
    bounds: tuple[float, float],
    fine: Grid,
    height: int,
    device: torch.device,
) -> Sheet:
    """Work out what the device is told, and send it.

    Args:
        anchors: N known depths.
        shared_m: N depths in metres as far as neighbours share them, which is what is interpolated.
        believed: N weights, positive.
        prior: N inverses of the globally fitted depth in 1/m, positive or not.
        fold: N folds, at least two of them.
        narrow: whether the anchors are of one ring, or of one depth.
        least_reach: of the correction in image heights; 0 for no more than the gaps left out.
        bounds: of what counts as inverse depth in 1/m where its logarithm is taken.
        fine: grid of the correction; errors are learned on the next coarser one.
        height: of the image in pixels.
        device: where it goes.
    """
    coarse, count = fine.coarser(), len(anchors)
    again = np.linspace(0, count - 1, -count % _CAPACITY_STEP).astype(np.int64)
    order = np.concatenate([np.arange(count), again])
    high_up = upper(anchors)[order]
    anchors, believed, prior, fold = anchors[order], believed[order], prior[order], fold[order]
    shared_m = shared_m[order]
    given = np.arange(len(order)) < count
    u, v = anchors.u, anchors.v
    group = fold + FOLDS * high_up
    cell = coarse.cells(u, v)

    away_px = _distances_px(group, cell, coarse)
    row = np.clip((v + 0.5) / coarse.cell_px - 0.5, 0, coarse.rows - 1) + fold * coarse.rows
    column = (u + 0.5) / coarse.cell_px - 0.5
    # Maps for cv2 are at most 32,767 long.
    x, y = (at.reshape(-1, _CAPACITY_STEP).astype(np.float32) for at in (column, row))
    looked_up = cv2.remap(away_px, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    distance_px = looked_up.astype(np.float32).reshape(-1)
    gap_px = float(np.partition(distance_px[:count], int(0.9 * count))[int(0.9 * count)])
    occupied = np.zeros((fine.rows, fine.columns), dtype=np.bool_)
    fine_cell = fine.cells(u, v)
    occupied.reshape(-1)[fine_cell] = True
    to_anchor_px = _distance_px(occupied, fine)

    outer = outside(anchors, coarse)
    beyond = outer.beyond_px / height
    log_measured, log_prior = -np.log(shared_m), np.log(np.clip(prior, *bounds))
    weight = given * believed
    # What was not tested is not trusted: the correction fades beyond the gaps left out.
    reach_px = max(_REACH * gap_px, least_reach * height) if least_reach else gap_px
    if narrow:  # above as below only the network can tell, however badly
        error = np.minimum(np.abs(log_prior - log_measured), LARGEST_ERROR)
        share = np.zeros((2, *beyond.shape), dtype=np.float32)
        above = beyond_one_ring(beyond, float(weight @ error / weight.sum()))
        sigma = np.stack([above, np.zeros_like(above)])
    else:
        share = np.stack([outer.below, outer.above])
        sigma = share.sum(axis=0) * np.stack(beyond_rings(beyond))
    below, above = (cv2.resize(plane, (fine.columns, fine.rows)) for plane in share)
    within = 1 - below - above
    support = within * np.exp(np.minimum(0.5 * gap_px - to_anchor_px, 0) / reach_px)
    on_top = weight * high_up
    data = np.stack([1 / shared_m, log_measured, prior, log_prior])
    told = {
        'cells': [group * (coarse.rows * coarse.columns) + cell, fine_cell],
        'places': np.concatenate([
            coarse.places(u, v, deal, len(_MEMBRANES)) for deal in (fold, BELOW)
        ]),
        'weight': [weight / count, on_top / max(float(on_top.sum()), 1e-9)],
        'data': [weight, *(weight * data)],
        'network': data[2:],
        'depth_m': anchors.z_m,
        'log_growth': np.log(growth(distance_px, coarse)),
        'given': [given, given],
        'correction': [given, *data[:2]],
        'regions': [1 - share.sum(axis=0), *share],
        'beyond': sigma,
        'above': above,
        'inside': [within - support, support],
        'growth': growth(within * to_anchor_px, fine),
        # Half a gap above and below all anchors, a whole one between them, three cells at least.
        'near': to_anchor_px <= np.maximum((0.5 + 0.5 * within) * gap_px, 3 * fine.cell_px),
    }
    arrays = [np.asarray(told[field.name]) for field in fields(Sheet)]
    cells, *rest = upload_together(arrays, device)
    return Sheet(cells.long(), *rest)


def membrane_sums(splatted: Tensor) -> Tensor:
    """Return the sums that the membranes go through, C x 6 groups x rows x columns.

    Args:
        splatted: C x 8 groups x rows x columns, by fold and height.
    """
    sums = _membranes(splatted.device) @ splatted.flatten(2)
    return sums.view(len(splatted), len(_MEMBRANES), *splatted.shape[2:])


@lru_cache(maxsize=2)
def _membranes(device: torch.device) -> Tensor:
    return torch.from_numpy(_MEMBRANES).to(device)


def _distances_px(
    group: NDArray[np.int64], cell: NDArray[np.int64], grid: Grid
) -> NDArray[np.float32]:
    """Return distances to the nearest anchor of another fold, the grids of folds over each other.

    Args:
        group: N, of the anchors.
        cell: N, of the anchors.
        grid: of the cells.
    """
    splatted = np.zeros((_SPLATTED, grid.rows * grid.columns), dtype=np.float32)
    splatted[group, cell] = 1.0
    others = (_MEMBRANES[:FOLDS] @ splatted > 0).reshape(FOLDS, grid.rows, grid.columns)
    return np.concatenate([_distance_px(occupied, grid) for occupied in others])


def _distance_px(occupied: NDArray[np.bool_], grid: Grid) -> NDArray[np.float32]:
    """Return the distance in pixels from each cell to the nearest one that holds an anchor.

    OpenCV's last bits depend on where in memory it writes. The square of a distance in cells is a
    whole number, and its root has one value.
    """
    empty = (~occupied).view(np.uint8)
    distance = cv2.distanceTransform(empty, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    np.rint(np.square(distance, out=distance), out=distance)
    return np.multiply(np.sqrt(distance, out=distance), grid.cell_px, dtype=np.float32)
