# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Metric depth -> a level laser scan, for planners that take nothing else."""

from __future__ import annotations

from dataclasses import dataclass
import math

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.cloud.viewpoint import Viewpoint
from depth_anything_ros.config import ScanConfig


@dataclass(frozen=True, eq=False)
class Scan:
    """The numbers of a LaserScan, a full turn around the frame's z axis.

    Attributes:
        frame: TF frame whose x-y plane is scanned.
        ranges_m: N float32, distance from the frame's origin of the nearest point in each
            direction, NaN where there is none: that nothing was seen does not say that it is free.
        angle_min: middle of the first direction in rad; the last is a step short of a turn on.
        angle_increment: between two directions, in rad.
        range_min: nearer is left out, in metres.
        range_max: farther is left out, in metres.
    """

    frame: str
    ranges_m: NDArray[np.float32]
    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float


def level_scan(z_m: NDArray[np.float32], view: Viewpoint, config: ScanConfig) -> Scan:
    """Take the nearest point of each direction from those between two heights.

    Args:
        z_m: HxW depth in metres, NaN where there is none.
        view: where each pixel looks, in config.frame.
        config: heights, ranges and directions.
    """
    count = max(1, round(2 * math.pi / config.angle_increment))
    increment = 2 * math.pi / count
    x_m, y_m, height_m = view.planes_m(z_m)
    with np.errstate(invalid='ignore'):
        level = (height_m >= config.min_height) & (height_m <= config.max_height)
    x_m, y_m = x_m[level], y_m[level]
    range_m = np.hypot(x_m, y_m)
    near = (range_m >= config.min_range) & (range_m <= config.max_range)
    direction = np.rint((np.arctan2(y_m[near], x_m[near]) + math.pi) / increment)
    ranges_m = np.full(count, np.inf, np.float32)
    np.minimum.at(ranges_m, direction.astype(np.intp) % count, range_m[near])
    ranges_m[np.isinf(ranges_m)] = np.nan
    return Scan(
        config.frame, ranges_m, -math.pi, increment, config.min_range, config.max_range
    )
