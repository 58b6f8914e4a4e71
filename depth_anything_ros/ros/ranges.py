# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Range messages of rangefinders."""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any

from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros.cdr import checked_stamp

_FARTHEST_M = 1e4


@dataclass(frozen=True)
class Echo:
    """One reading as it came.

    Attributes:
        range_m: distance to the nearest surface in the cone; None where there is none in reach.
        field_of_view_rad: full angle of the cone about the x axis of its frame.
        frame_id: of the sensor.
        sweep_s: it is of one moment.
    """

    range_m: float | None
    field_of_view_rad: float
    frame_id: str
    sweep_s: tuple[float, float] | None = (0.0, 0.0)


def decode_range(message: Any) -> Echo:
    """Decode a sensor_msgs/Range.

    Args:
        message: +inf and -inf say that nothing is in reach, or something nearer than that (REP
            117); so do readings at and beyond the limits.

    Raises:
        BadFrameError: a number is NaN, the limits are none, or the cone is no cone.
    """
    checked_stamp(int(message.header.stamp.sec), int(message.header.stamp.nanosec))
    range_m, cone_rad = float(message.range), float(message.field_of_view)
    nearest_m, farthest_m = float(message.min_range), float(message.max_range)
    if math.isnan(range_m) or not (
        0 <= cone_rad <= math.pi and 0 <= nearest_m <= farthest_m  # NaN fails too
    ):
        raise BadFrameError(
            'bad_range',
            f'range of {range_m:g} m in a cone of {cone_rad:g} rad, {nearest_m:g} to '
            f'{farthest_m:g} m, is none: its driver must fill in range, field_of_view, min_range '
            'and max_range',
        )
    heard = max(nearest_m, 0.0) < range_m < min(farthest_m, _FARTHEST_M)
    return Echo(range_m if heard else None, cone_rad, str(message.header.frame_id))
