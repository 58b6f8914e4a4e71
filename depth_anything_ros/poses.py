# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rigid transforms: 4x4 matrices, x y z qx qy qz qw, and what lies between two of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Matrix = NDArray[np.float64]


def pose_to_matrix(pose: Sequence[float]) -> Matrix:
    """Return x y z qx qy qz qw as a 4x4 matrix; the quaternion need not be normalised exactly.

    Raises:
        ValueError: the quaternion is zero.
    """
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(pose[3:]).as_matrix()
    matrix[:3, 3] = pose[:3]
    return matrix


def matrix_to_pose(matrix: Matrix) -> list[float]:
    """Return a 4x4 rigid transform as x y z qx qy qz qw."""
    quaternion = Rotation.from_matrix(matrix[:3, :3]).as_quat()
    return [float(x) for x in (*matrix[:3, 3], *quaternion)]


def interpolate(T_start: Matrix, T_end: Matrix, fraction: NDArray[np.float64]) -> Matrix:
    """Interpolate between two poses at constant velocity and constant turn rate.

    Args:
        T_start: 4x4 pose at fraction 0.
        T_end: 4x4 pose at fraction 1, less than half a turn from the first.
        fraction: N positions between them; beyond [0, 1] extrapolates.

    Returns:
        Nx4x4 poses.
    """
    start, end = (Rotation.from_matrix(T[:3, :3]) for T in (T_start, T_end))
    turn = (start.inv() * end).as_rotvec()
    poses: Matrix = np.tile(np.eye(4), (len(fraction), 1, 1))
    poses[:, :3, :3] = (start * Rotation.from_rotvec(fraction[:, None] * turn)).as_matrix()
    poses[:, :3, 3] = T_start[:3, 3] + fraction[:, None] * (T_end[:3, 3] - T_start[:3, 3])
    return poses
