# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What odometry makes of a way: it adds up steps, and with them what is wrong with each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from depth_anything_ros.world.trajectory import Pose


def dead_reckoning(
    poses: Iterable[Pose],
    stretched: float = 0.0,
    turn_rad: ArrayLike = (0.0, 0.0, 0.0),
    slip: float = 0.0,
    slipping: float = 0.0,
    seed: int = 0,
) -> Iterator[Pose]:
    """Follow a body as odometry does, from its first pose on.

    Args:
        poses: T_world_body, 4x4 each.
        stretched: by what share each step is too long: wheels that are smaller than believed.
        turn_rad: rotation vector by which the heading drifts from step to step, body frame.
        slip: by what share a step is too long beyond that where wheels spin.
        slipping: share of the steps on which they do.
        seed: says on which.

    Yields:
        T_world_body as odometry has it, 4x4 float64; the first is true.
    """
    rng = np.random.default_rng(seed)
    drift = np.eye(4)
    drift[:3, :3] = Rotation.from_rotvec(turn_rad).as_matrix()
    before: Pose | None = None
    believed = np.eye(4)
    for pose in poses:
        if before is None:
            believed = pose
        else:
            step = np.linalg.inv(before) @ pose
            step[:3, 3] *= 1 + stretched + slip * (rng.random() < slipping)
            believed = believed @ step @ drift
        before = pose
        yield believed
