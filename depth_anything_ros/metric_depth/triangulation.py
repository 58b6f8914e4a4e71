# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth of points that a moving camera has seen from several places, and how sure it is.

Bundle adjustment (Triggs et al. 2000) over a window of views with odometry as prior: unknown are
the points and, as far as odometry may be wrong, where the views were. What is asked for is depth
in the newest view; the poses are eliminated by the Schur complement, and their doubt stays in the
variance of the points.
"""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

_COARSE = 64  # points that correct the poses before all are adjusted
_TAIL = 3.0  # sigmas at which an observation counts a quarter (Geman and McClure)
_LEAST_Z = 1e-3  # of a direction, so that there is a quotient
_WEAKEST = 1e-6  # of inverse depth's information, so that points without parallax have a solution


@dataclass(frozen=True, eq=False)
class Points:
    """Points in the newest view.

    Attributes:
        xy: Nx2 on the plane z = 1.
        inverse_depth: N in 1/m, negative where the views contradict a point before the camera.
        sigma: N standard deviations of inverse_depth.
        error: N largest distance on z = 1 between where a view saw the point and where it should
            have, in standard deviations of the tracking.
        noise: standard deviation of the tracking, on z = 1.
    """

    xy: Array
    inverse_depth: Array
    sigma: Array
    error: Array
    noise: float


def triangulate(
    newest: Array, views: Array, T_view_newest: Array, pose_sigma: Array, least_noise: float
) -> Points:
    """Find points from where the newest and earlier views saw them.

    A point (x, y, 1) / q of the newest view is seen by another one, whose pose is off by a small
    turn w and a small shift s, at the direction h = a + w x a + q s with a = R (x, y, 1) + q t.

    Args:
        newest: Nx2 coordinates x/z, y/z in the newest view.
        views: KxNx2 the same in earlier views, NaN where a view did not see a point.
        T_view_newest: Kx4x4, coordinates of the newest view to those of each, by odometry.
        pose_sigma: Kx6 standard deviations of these: turn in rad, then shift in metres.
        least_noise: standard deviation of tracking on z = 1 that is never gone below.

    Returns:
        N points; those that too few views saw have a sigma that says so.
    """
    R, t = T_view_newest[:, :3, :3], T_view_newest[:, :3, 3]
    views = np.ascontiguousarray(views.swapaxes(0, 1))  # N x K x 2
    seen = np.isfinite(views[..., 0])
    views = np.where(seen[..., None], views, 0.0)
    moved = np.zeros((len(R), 6))
    # Some of the points first, which correct the poses, then all.
    for some in (slice(None, None, max(1, len(newest) // _COARSE)), slice(None)):
        point, variance, change = _adjusted(
            newest[some], views[some], seen[some], R, t, moved, pose_sigma, least_noise
        )
        turn = Rotation.from_rotvec(change[:, :3]).as_matrix()
        R, t = turn @ R, (turn @ t[..., None])[..., 0] + change[:, 3:]
        moved = moved + change
    residual = _look(point, views, R, t)[1]
    noise = max(least_noise, _noise(residual, seen, free=3, measured=2))
    error = (np.linalg.norm(residual, axis=2) * seen).max(axis=1) / noise
    return Points(point[:, :2], point[:, 2], np.sqrt(variance), error, noise)


def _adjusted(
    newest: Array,
    views: Array,
    seen: NDArray[np.bool_],
    R: Array,
    t: Array,
    moved: Array,
    pose_sigma: Array,
    least_noise: float,
) -> tuple[Array, Array, Array]:
    """Solve for points, and then do one step of Gauss and Newton for points and poses together.

    Args:
        newest: Nx2 as seen by the newest view.
        views: NxKx2 as seen by the others.
        seen: NxK, whether they did.
        R: Kx3x3 turns from the newest view to the others.
        t: Kx3 shifts.
        moved: Kx6, by how much these are off odometry.
        pose_sigma: Kx6, by how much they may be.
        least_noise: as for triangulate().

    Returns:
        Nx3 points, N variances of their inverse depths, and Kx6 changes of the poses.
    """
    point = np.concatenate([newest, _linear(newest, views, seen, R, t)[:, None]], axis=1)
    there, residual = _look(point, views, R, t)
    # The newest view is taken at its word here, so that its noise is in all residuals too.
    noise = max(least_noise, math.sqrt(0.5) * _noise(residual, seen, free=1, measured=0))
    # The root of each observation's weight.
    root = seen / (noise * (1 + np.square(residual).sum(axis=2) / (_TAIL * noise) ** 2))
    residual *= root[..., None]
    J, J_pose = _derivatives(there, point[:, 2], R, t, root)
    # Normal equations: of each point, of each view, and between the two.
    flat = J.reshape(len(point), -1, 3)
    of_point = flat.swapaxes(1, 2) @ flat
    of_point[:, [0, 1], [0, 1]] += 1 / noise**2
    of_point[:, 2, 2] += _WEAKEST / noise**2
    right = (flat.swapaxes(1, 2) @ residual.reshape(len(point), -1, 1))[..., 0]
    of_view = J_pose.transpose(1, 3, 0, 2).reshape(len(R), 6, -1)  # K x 6 x 2N
    pose_right = (of_view @ residual.swapaxes(0, 1).reshape(len(R), -1, 1))[..., 0]
    pose_right -= moved / pose_sigma**2
    of_pose = of_view @ of_view.swapaxes(1, 2)
    of_pose[:, range(6), range(6)] += 1 / pose_sigma**2
    between = (J_pose.swapaxes(2, 3) @ J).reshape(len(point), -1, 3)  # N x 6K x 3
    inverse = np.linalg.inv(of_point)
    carried = between @ inverse
    reduced = np.linalg.inv(_block_diagonal(of_pose) - _summed(carried, between))
    change = reduced @ (pose_right.ravel() - _summed(carried, right[:, None])[:, 0])
    point += (inverse @ (right - change @ between)[..., None])[..., 0]
    to_depth = carried[:, :, 2]
    variance = inverse[:, 2, 2] + ((to_depth @ reduced) * to_depth).sum(axis=1)
    return point, variance, change.reshape(moved.shape)


def _linear(newest: Array, views: Array, seen: NDArray[np.bool_], R: Array, t: Array) -> Array:
    """Return inverse depth along the newest view's own rays, by linear least squares."""
    turned = _through(R, newest)
    off = turned[..., :2] - views * turned[..., 2:]
    by_depth = t[:, :2] - views * t[:, 2:]
    weight = seen / np.square(np.maximum(turned[..., 2], 0.1))
    moment = (weight * np.square(by_depth).sum(axis=2)).sum(axis=1)
    q: Array = -(weight * (off * by_depth).sum(axis=2)).sum(axis=1) / np.maximum(moment, 1e-18)
    return q


def _through(R: Array, xy: Array) -> Array:
    """Return K turns of N directions on z = 1, NxKx3."""
    turned: Array = (_homogeneous(xy) @ R.transpose(2, 0, 1).reshape(3, -1)).reshape(len(xy), -1, 3)
    return turned


def _look(point: Array, views: Array, R: Array, t: Array) -> tuple[Array, Array]:
    """Return NxKx3 directions of points in the views, and NxKx2 what is seen minus that."""
    there = _through(R, point[:, :2]) + point[:, 2, None, None] * t
    there[..., 2] = np.where(np.abs(there[..., 2]) > _LEAST_Z, there[..., 2], _LEAST_Z)
    return there, views - there[..., :2] / there[..., 2:]


def _derivatives(
    there: Array, q: Array, R: Array, t: Array, weight: Array
) -> tuple[Array, Array]:
    """Return derivatives of (x/z, y/z) by the point and by the view's pose, times a weight.

    Args:
        there: NxKx3 directions of the points in the views.
        q: N inverse depths.
        R: Kx3x3 turns from the newest view to the others.
        t: Kx3 shifts.
        weight: NxK.

    Returns:
        NxKx2x3 by (x, y, q) and NxKx2x6 by turn and shift.
    """
    by_point = np.concatenate([R[:, :, :2], t[:, :, None]], axis=2)
    scale = (weight / there[..., 2])[..., None]
    x, y = there[..., :1] / there[..., 2:], there[..., 1:2] / there[..., 2:]
    J = np.stack([by_point[:, 0] - x * by_point[:, 2], by_point[:, 1] - y * by_point[:, 2]], axis=2)
    J *= scale[..., None]
    J_pose = np.zeros((*weight.shape, 2, 6))
    turn, shift = J_pose[..., :3], J_pose[..., 3:]
    turn[..., 0, :] = np.concatenate([-x * y, 1 + x * x, -y], axis=2)
    turn[..., 1, :] = np.concatenate([-1 - y * y, x * y, x], axis=2)
    turn *= weight[..., None, None]
    by_shift = q[:, None, None] * scale
    shift[..., 0, 0] = shift[..., 1, 1] = by_shift[..., 0]
    shift[..., 2] = -by_shift * np.concatenate([x, y], axis=2)
    return J, J_pose


def _noise(residual: Array, seen: NDArray[np.bool_], free: int, measured: int) -> float:
    """Return the standard deviation of residuals, by the MAD, of what was free to begin with.

    Args:
        residual: NxKx2.
        seen: NxK, which of them are any.
        free: unknowns of each point.
        measured: numbers of each point that are measured beside these.
    """
    if not seen.any():
        return 0.0
    known = 2 * np.count_nonzero(seen) + measured * len(seen)
    spread = 1.4826 * float(np.median(np.abs(residual[seen])))
    return spread * math.sqrt(known / max(known - free * len(seen), 1))


def _summed(a: Array, b: Array) -> Array:
    """Return the sum over points of a @ b.T, for NxIx3 and NxJx3: IxJ."""
    matrix: Array = a.swapaxes(0, 1).reshape(a.shape[1], -1) @ (
        b.swapaxes(0, 1).reshape(b.shape[1], -1).T
    )
    return matrix


def _homogeneous(xy: Array) -> Array:
    return np.concatenate([xy, np.ones((len(xy), 1))], axis=1)


def _block_diagonal(blocks: Array) -> Array:
    count, size = blocks.shape[:2]
    matrix = np.zeros((count, size, count, size))
    matrix[range(count), :, range(count)] = blocks
    return matrix.reshape(count * size, -1)
