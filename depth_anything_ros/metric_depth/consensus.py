# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which anchors are believed before anything is interpolated from them: those with witnesses."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.fitting import median

_PER_CELL = 5.0  # anchors that share a cell of the image; a cell and its neighbours are compared
_MOST_CELLS = 20_000  # small objects far apart, alone in the image, would want millions
_OWN_CELL = np.float32(4.0)  # weight of a cell where the next ones along an axis have 1
_ROUNDS = 3
_TOLERANCE = 0.15  # log depth: two anchors closer than this speak of one surface
_BIN = 2 * _TOLERANCE / 3  # with its neighbours as wide as the tolerance to both sides
_MOST_BINS = 128
_NEAR_LINE = 0.4  # log depth: residuals beyond do not tell how rough the network is
_VOICE_OFF_LINE = 0.3  # what the word of an anchor off the line is worth, however many agree
_SUPPORT = (0.2, 0.45)  # share of agreeing neighbours at which belief starts and is full
_LARGEST = 2.0  # residual, in their median: larger ones say no more
_IN_COMMON = (0.3, 0.5)  # autocorrelation of residuals from which on they are shared, and fully so
_ROUGH = (0.6, 0.8)  # the same of all together, from which on all are shared, and fully so
_FROM_ALL = 0.5  # weight of the mean of all cells beside those around an anchor
_NOISY = 1.5  # spread of residuals, in that of depth


def agreement(anchors: Anchors, inverse_prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weigh each anchor by how many of those next to it agree with it.

    Dust, rain, mirrors and crosstalk put points where nothing is, in no order; a surface is seen by
    neighbours alike. Two anchors agree when their depths do, or when both are off the network by
    the same factor: a thin post that the network sees agrees with the wall behind it that way, and
    the points of a box that the network missed with each other.
    Those who are believed count as witnesses for the others, so a few rounds settle it.

    The witnesses of all anchors are counted at once, in histograms over cells of the image.

    Args:
        anchors: N known depths.
        inverse_prior: N inverses of the globally fitted depth in 1/m at the anchors; may be
            negative, and NaN where nothing is known and nothing is believed.

    Returns:
        N weights from 0 to 1.
    """
    known = np.isfinite(inverse_prior)
    if not known.all():
        weight = np.zeros(len(anchors))
        if known.any():
            weight[known] = agreement(anchors[known], inverse_prior[known])
        return weight
    depth = np.log(anchors.z_m.astype(np.float64))
    low, high = 0.5 / anchors.z_m.max(), 2 / anchors.z_m.min()
    residual = np.log(np.clip(inverse_prior, low, high)) + depth
    # A line through most of the points is a first witness; one that is rough speaks for all.
    off = np.abs(residual)
    near_line = off[off < _NEAR_LINE]
    spread = 1.4826 * median(near_line) if len(near_line) else _NEAR_LINE
    on_line = off < max(4 * spread, 0.3)
    voice = np.where(on_line, 1.0, _VOICE_OFF_LINE)
    cell, shape = _cells(anchors)
    by_depth, by_residual = _Witnesses(cell, shape, depth), _Witnesses(cell, shape, residual)
    low, high = _SUPPORT
    belief: NDArray[np.float64]
    belief = np.ones_like(voice)
    for _ in range(_ROUNDS):
        # At an edge the network's pixels are a mixture: who is off the line alone stands there.
        weight = voice * belief
        support = np.maximum(np.where(on_line, by_depth(weight), 0.0), by_residual(weight))
        belief = np.clip((support - low) / (high - low), 0.0, 1.0)
    return belief


def shared(
    anchors: Anchors, residual: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how much of its residual each anchor has in common with those next to it.

    What a network gets wrong it gets wrong over a surface, so that neighbours are off alike; noise
    of the sensor, and what is in no order, is off by itself. The measure is the local spatial
    autocorrelation of the residuals (Anselin, Geographical Analysis 27, 1995), bounded, about zero:
    pairs in a cell against the squares of both. Where depth itself varies less from neighbour to
    neighbour than the residual does, it is the network that is noisy, and all is in common.

    Args:
        anchors: N anchors.
        residual: N of log depth.
        weight: N.

    Returns:
        N from 0, where each is off by itself, to 1, where neighbours are off alike.
    """
    limit = _LARGEST * median(np.abs(residual))
    bounded = np.clip(residual, -limit, limit)
    depth = np.log(anchors.z_m.astype(np.float64))
    cell, shape = _cells(anchors)

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over each cell."""
        return np.bincount(cell, values, math.prod(shape)).astype(np.float64)

    count = total(weight)

    def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = total(weight * values) / np.maximum(count, 1e-9)
        return total(weight * np.square(values - mean[cell]))

    own = weight * bounded
    pairs = np.square(total(own)) - total(np.square(own))
    squares = total((count[cell] - weight) * own * bounded)
    sums = np.stack([pairs, squares, spread(bounded), spread(depth)])
    near = _blurred(_blurred(sums.astype(np.float32).reshape(4, *shape), 1), 2)
    # Where there are few pairs, those of all cells help.
    near += np.float32(_FROM_ALL / np.count_nonzero(count)) * near.sum(axis=(1, 2), keepdims=True)
    around = near.reshape(4, -1)[:, cell].astype(np.float64)
    in_common = np.interp(around[0] / np.maximum(around[1], 1e-12), _IN_COMMON, (0.0, 1.0))
    # A network that is off nearly everywhere is off by more than any sensor.
    in_common = np.maximum(
        in_common, np.interp(pairs.sum() / max(squares.sum(), 1e-12), _ROUGH, (0.0, 1.0))
    )
    shares: NDArray[np.float64] = np.where(around[2] > _NOISY * around[3], 1.0, in_common)
    return shares


def _cells(anchors: Anchors) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Return the cell of each anchor, and how many rows and columns of cells there are.

    Between few rings most of an image is empty: what counts is how many share a cell with others.
    """
    u, v = anchors.u - anchors.u.min(), anchors.v - anchors.v.min()
    area_px = (float(u.max()) + 1) * (float(v.max()) + 1)
    side_px = math.sqrt(_PER_CELL * area_px / len(u))
    for _ in range(2):
        side_px = max(side_px, math.sqrt(area_px / _MOST_CELLS))
        row, column = (v / side_px).astype(np.int64) + 1, (u / side_px).astype(np.int64) + 1
        rows, columns = int(row.max()) + 2, int(column.max()) + 2  # with a border of empty cells
        cell = row * columns + column
        occupied = np.count_nonzero(np.bincount(cell))
        side_px *= math.sqrt(_PER_CELL * occupied / len(u))
    return cell, (rows, columns)


class _Witnesses:
    """Counts, for each anchor, the neighbours whose value is about its own."""

    def __init__(
        self, cell: NDArray[np.int64], shape: tuple[int, int], value: NDArray[np.float64]
    ) -> None:
        """Sort the anchors into bins of cells and values."""
        first = value.min()
        bins = np.minimum(((value - first) / _BIN).astype(np.int64) + 1, _MOST_BINS)
        self._shape = (*shape, int(bins.max()) + 2)
        self._index = cell * self._shape[2] + bins
        self._cell = cell

    def __call__(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of the neighbours' weight that agrees with each anchor, N."""
        counts = np.bincount(self._index, weight, math.prod(self._shape)).astype(np.float32)
        near = _blurred(_blurred(counts.reshape(self._shape), 0), 1)
        every = near.sum(axis=2).ravel()[self._cell]
        agree = near.copy()
        agree[..., 1:] += near[..., :-1]
        agree[..., :-1] += near[..., 1:]
        own = _OWN_CELL**2 * weight
        share: NDArray[np.float64] = (agree.ravel()[self._index] - own) / np.maximum(
            every - own, 2.0
        )
        return share


def _blurred(counts: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Return each cell, weighted, plus its two neighbours along an axis."""
    counts = np.moveaxis(counts, axis, 0)
    blurred = _OWN_CELL * counts
    blurred[1:] += counts[:-1]
    blurred[:-1] += counts[1:]
    return np.moveaxis(blurred, 0, axis)
