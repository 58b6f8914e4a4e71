# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One point for each cube of space that a depth image sees.

Neighbours in a row mostly share their voxel, so runs of pixels are added up first, and only what is
left is sorted.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from depth_anything_ros.cloud.viewpoint import Viewpoint

_UNKNOWN_M = 1000.0  # what a standard deviation that is not known counts as
_TOGETHER_PX = 16384  # whose numbers stay in the cache


@dataclass(frozen=True, eq=False)
class Voxels:
    """A thinned cloud of V points.

    Attributes:
        xyz_m: Vx3 float32, the mean of each voxel's points, weighted by 1 / stddev^2.
        pixel: V, flat index of one of the pixels of each, by which it is coloured.
        stddev_m: V float32, root of the mean of the variances under the same weights; NaN where
            none is known. More points do not make it smaller: the errors of neighbouring pixels
            are mostly one and the same.
    """

    xyz_m: NDArray[np.float32]
    pixel: NDArray[np.int32]
    stddev_m: NDArray[np.float32]


class VoxelGrid:
    """Averages depth images of one size; what it writes into is kept, since pages are dear."""

    def __init__(self, rows: int, columns: int) -> None:
        """Take the size of the depth images."""
        self._points = np.empty((rows, columns, 4), np.float32)
        self._weights = np.empty((rows, columns), np.float32)
        self._voxels = np.empty((rows, columns, 4), np.int16)
        self._every = np.arange(rows * columns, dtype=np.int32)

    def means(
        self,
        z_m: NDArray[np.float32],
        view: Viewpoint,
        stddev_m: NDArray[np.float32],
        size_m: float,
    ) -> Voxels:
        """Average the points of a depth image voxel by voxel.

        A point p belongs to voxel floor(p / size) of its frame, rounded as float32 from where the
        camera is.

        Args:
            z_m: HxW depth in metres, NaN where there is none, all nearer than size_m
                / config.FINEST_VOXEL.
            view: where each pixel looks, and in which frame the points are given.
            stddev_m: HxW of the depth in metres.
            size_m: edge of the voxels.
        """
        corner = np.floor(view.origin_m / size_m)  # voxels are counted from the camera's
        inside_m = (view.origin_m - corner * size_m).astype(np.float32)
        self._take(z_m, view.directions, inside_m, stddev_m, size_m)
        keys = self._voxels.view(np.int64).ravel()
        runs = _changes(keys)
        sums = _sums(self._points.reshape(-1, 4), self._weights.ravel(), self._every, runs)
        firsts = runs[:-1]
        order = np.argsort(keys[firsts])
        groups = _changes(keys[firsts[order]])
        totals = _sums(sums, np.ones(len(order), np.float32), order.astype(np.int32), groups)
        pixels = np.add.reduceat(np.diff(runs)[order], groups[:-1])
        firsts = firsts[order[groups[:-1]]]
        seen = totals[:, 3] > 0
        totals, pixels, firsts = totals[seen], pixels[seen], firsts[seen]
        weights = totals[:, 3:] / np.float32(2 * size_m)
        stddevs_m = np.sqrt(pixels / weights[:, 0]).astype(np.float32)
        stddevs_m[stddevs_m > 0.99 * _UNKNOWN_M] = np.nan
        xyz_m = totals[:, :3] / weights + (corner * size_m).astype(np.float32)
        return Voxels(xyz_m, firsts, stddevs_m)

    def _take(
        self,
        z_m: NDArray[np.float32],
        directions: NDArray[np.float32],
        inside_m: NDArray[np.float32],
        stddev_m: NDArray[np.float32],
        size_m: float,
    ) -> None:
        """Write x, y, z and twice the size of each pixel, its weight and its voxel.

        Where there is no depth the fourth is 0, and so is that of its voxel, which no point shares.
        """
        per_m, twice = np.float32(1 / size_m), np.float32(2 * size_m)
        step = max(1, _TOGETHER_PX // z_m.shape[1])
        for top in range(0, len(z_m), step):
            part = slice(top, top + step)
            points, weights = self._points[part], self._weights[part]
            known = np.isfinite(z_m[part])
            z = np.where(known, z_m[part], np.float32(0))
            planes = [direction[part] * z for direction in directions]
            for plane, offset in zip(planes, inside_m):
                if offset:
                    plane += offset
            cv2.merge([*planes, known * twice], points)
            scaled = points * per_m
            self._voxels[part] = np.floor(scaled, out=scaled)
            np.multiply(stddev_m[part], stddev_m[part], out=weights)
            np.reciprocal(weights, out=weights)
            np.fmax(weights, np.float32(_UNKNOWN_M**-2), out=weights)


def _changes(values: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return where runs of equal values begin, and the end of the last."""
    inner = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.concatenate([[0], inner, [len(values)]]).astype(np.int32)


def _sums(
    rows: NDArray[np.float32],
    weights: NDArray[np.float32],
    which: NDArray[np.int32],
    starts: NDArray[np.int32],
) -> NDArray[np.float32]:
    """Return the weighted sums of rows[which] from each start to the next."""
    matrix = csr_matrix((weights, which, starts), shape=(len(starts) - 1, len(rows)))
    sums: NDArray[np.float32] = matrix @ rows
    return sums
