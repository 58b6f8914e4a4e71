# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a robot is at any time, and its sensors on it: known alike to drivers and to the judge."""

from functools import lru_cache

import numpy as np

from moving_camera import look, pose, SECOND

TICK_NS = SECOND // 5
SPEED_M_S, FARTHEST_M = 0.8, 0.8  # however many images are lost, the next is no scene cut
BASELINE_M = 0.3
# Axes of REP 103 in an optical frame.
T_CAMERA_LIDAR = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
T_CAMERA_RANGE = T_CAMERA_LIDAR
CONE_RAD = 0.2


_ROUND = round(2 * FARTHEST_M / SPEED_M_S * SECOND / TICK_NS)  # ticks


def place(stamp_ns):
    """Return T_world_camera at a tick: to the right and back, without a rest."""
    gone_m = stamp_ns // TICK_NS % _ROUND * SPEED_M_S * TICK_NS / SECOND
    return pose(x=min(gone_m, 2 * FARTHEST_M - gone_m))


def view(stamp_ns, right_m=0.0):
    """Return what is seen at a tick from so far to the right: an image and its depth in metres."""
    return _view(stamp_ns // TICK_NS % _ROUND, right_m)


@lru_cache(_ROUND)
def _view(tick, right_m):
    return look(place(tick * TICK_NS) @ pose(x=right_m))
