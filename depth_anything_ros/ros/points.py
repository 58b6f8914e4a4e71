# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""PointCloud2 and LaserScan -> sensor points, of any layout that holds x, y and z."""

from __future__ import annotations

from itertools import pairwise
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.config import LimitsConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.ros.cdr import checked_stamp, NANOSECONDS

_KINDS = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}  # PointField
_AXES = ('x', 'y', 'z')
# Ouster, Livox' own; Velodyne; Hesai, RoboSense and Livox' PointCloud2.
_TIME_FIELDS = ('t', 'offset_time', 'time', 'timestamp')
_RING_FIELDS = ('ring', 'channel', 'line')

FARTHEST_M = 1e6  # a coordinate beyond it is no measurement, and its square no float32
LONGEST_SWEEP_S = 1.0
_MOST_RINGS = 65536


def decode_points(message: Any, limits: LimitsConfig = LimitsConfig()) -> SensorPoints:
    """Decode a sensor_msgs/PointCloud2 of any field layout that has x, y and z.

    Args:
        message: the cloud; fields that are not used may be of any kind.
        limits: a cloud of more points is refused before memory is taken for it.

    Returns:
        The finite points in metres in the sensor frame, with ring and per-point time (seconds
        after the stamp) where the cloud has them. Times and rings that make no sense are left out
        for the whole cloud: a time that is not finite or more than LONGEST_SWEEP_S from the stamp
        in any unit, a ring that is no small whole number.

    Raises:
        BadFrameError: x, y or z is missing or no float, a field that is used has no place within
            the point, the data do not fit the header, or there are too many points.
    """
    stamp_ns = checked_stamp(int(message.header.stamp.sec), int(message.header.stamp.nanosec))
    used = _used_fields(message)
    cloud = _columns(message, used, limits)
    with np.errstate(over='ignore', invalid='ignore'):  # float64 beyond float32, signalling NaN
        xyz_m = np.stack([cloud[axis] for axis in _AXES], axis=-1).astype(np.float32)
        good = (np.abs(xyz_m) <= FARTHEST_M).all(axis=1)  # false where NaN
        time_s = ring = None
        for name in used:
            if name in _TIME_FIELDS:
                time_s = _seconds_after(cloud[name][good], stamp_ns)
            elif name in _RING_FIELDS:
                ring = _rings(cloud[name][good])
    return SensorPoints(xyz_m[good], stamp_ns, str(message.header.frame_id), time_s, ring)


def decode_scan(message: Any, limits: LimitsConfig = LimitsConfig()) -> SensorPoints:
    """Decode a sensor_msgs/LaserScan into the points of one ring at z = 0 of its frame.

    Args:
        message: the scan; without a time_increment, and with one that makes no sense (a scan of
            more than LONGEST_SWEEP_S), its points have no times.
        limits: a scan of more points is refused.

    Raises:
        BadFrameError: its angles or range limits are no numbers that describe a scan, or there are
            too many points.
    """
    stamp_ns = checked_stamp(int(message.header.stamp.sec), int(message.header.stamp.nanosec))
    start, step = float(message.angle_min), float(message.angle_increment)
    nearest_m, farthest_m = float(message.range_min), float(message.range_max)
    count = len(message.ranges)
    _check_count(count, limits)
    turn = abs(start) + abs(step) * count
    if not (turn <= 8 * math.pi and (step or count < 2) and nearest_m <= farthest_m):
        raise BadFrameError(
            'bad_scan',
            f'scan of {count} ranges from {start:g} rad in steps of {step:g} rad, {nearest_m:g} to '
            f'{farthest_m:g} m, is none: its driver must fill in angle_min, angle_increment, '
            'range_min and range_max',
        )
    ranges_m = np.asarray(message.ranges, dtype=np.float64)
    hit = (ranges_m >= max(nearest_m, 0.0)) & (ranges_m <= min(farthest_m, FARTHEST_M))
    index = np.flatnonzero(hit)
    angles, ranges_m = start + step * index, ranges_m[hit]
    xyz_m = np.stack(
        [ranges_m * np.cos(angles), ranges_m * np.sin(angles), np.zeros_like(angles)], axis=-1
    )
    between_s = float(message.time_increment)
    time_s = None
    if 0 < abs(between_s) <= LONGEST_SWEEP_S:
        time_s = _near_stamp(index * np.float64(between_s), stamp_ns)
    return SensorPoints(
        xyz_m.astype(np.float32),
        stamp_ns,
        str(message.header.frame_id),
        time_s,
        np.zeros(len(index), dtype=np.int64),
    )


def _used_fields(message: Any) -> dict[str, tuple[str, int]]:
    """Return name -> (sample type, offset in bytes) of x, y, z, a time and a ring.

    Raises:
        BadFrameError: one of them cannot be read.
    """
    names = [str(field.name) for field in message.fields]
    if not set(_AXES) <= set(names):
        raise BadFrameError(
            'points_without_xyz',
            f'point cloud has no x, y, z but {", ".join(names[:20]) or "no field"}: remap points '
            'to a cloud that has',
        )
    wanted = list(_AXES)
    wanted += [name for name in _TIME_FIELDS if name in names][:1]
    wanted += [name for name in _RING_FIELDS if name in names][:1]
    order = '>' if message.is_bigendian else '<'
    point_step = int(message.point_step)
    used: dict[str, tuple[str, int]] = {}
    for field in message.fields:
        name, offset, datatype = str(field.name), int(field.offset), int(field.datatype)
        if name not in wanted:
            continue
        kind = _KINDS.get(datatype, '')
        if (
            not kind
            or int(field.count) != 1
            or name in used
            or offset + int(kind[1]) > point_step
            or (name in _AXES and kind[0] != 'f')
        ):
            raise _bad_layout(
                f'{names.count(name)} field "{name}" of datatype {datatype}, count {field.count} '
                f'at byte {offset} of {point_step}'
            )
        used[name] = (order + kind, offset)
    places = sorted((offset, offset + int(kind[2]), name) for name, (kind, offset) in used.items())
    for (_, end, name), (start, _, other) in pairwise(places):
        if start < end:
            raise _bad_layout(f'fields "{name}" and "{other}" in the same bytes')
    return used


def _bad_layout(what: str) -> BadFrameError:
    return BadFrameError(
        'bad_point_layout',
        f'point cloud has {what}; x, y and z must be one float each, in places of their own within '
        'point_step: its driver is to be mended',
    )


def _check_count(count: int, limits: LimitsConfig) -> None:
    if count > limits.points:
        raise BadFrameError(
            'too_many_points',
            f'{count} points are more than limits.points ({limits.points}): thin them out, or '
            'raise that',
        )


def _columns(
    message: Any, used: dict[str, tuple[str, int]], limits: LimitsConfig
) -> dict[str, NDArray[Any]]:
    """Return name -> one value a point, row by row.

    Raises:
        BadFrameError: the data do not fit the header, or there are too many points.
    """
    height, width = int(message.height), int(message.width)
    point_step, row_step, there = int(message.point_step), int(message.row_step), len(message.data)
    if not height * width:
        return {name: np.empty(0, kind) for name, (kind, _) in used.items()}
    _check_count(height * width, limits)
    row = width * point_step
    if height == 1:
        row_step = row  # says nothing, and some drivers leave it at zero
    if row_step < row or (height - 1) * row_step + row > there:
        raise BadFrameError(
            'truncated_points',
            f'point cloud of {height}x{width} lacks data: it has {there} bytes, in rows of '
            f'{row_step} and points of {point_step}',
        )
    data, strides = memoryview(message.data), (row_step, point_step)
    return {
        name: np.ndarray((height, width), kind, data, offset, strides).ravel()
        for name, (kind, offset) in used.items()
    }


def _seconds_after(times: NDArray[Any], stamp_ns: int) -> NDArray[np.float64] | None:
    """Return per-point times in seconds after the stamp, None where they make no sense.

    Whole numbers are nanoseconds. What floats are is told by their size: absolute where all of
    them, in one of the units, are near the stamp; else since the stamp, in the unit in which the
    largest is between 1 ms and LONGEST_SWEEP_S.
    """
    raw = times.astype(np.float64)
    if times.dtype.kind != 'f':
        return _near_stamp(raw * 1e-9, stamp_ns)
    if not np.isfinite(raw).all():
        return None
    units = (1.0, 1e-3, 1e-6, 1e-9)
    if stamp_ns > 2 * NANOSECONDS:  # earlier, an absolute time looks like a relative one
        for unit in units:
            # In the message's unit first: a double of seconds since 1970 resolves 0.2 us.
            after = (raw - stamp_ns / NANOSECONDS / unit) * unit
            if (np.abs(after) <= LONGEST_SWEEP_S).all():
                return _near_stamp(after, stamp_ns)
    largest = float(np.abs(raw).max(initial=0.0))
    unit = next((unit for unit in units if largest * unit <= LONGEST_SWEEP_S), 0.0)
    return _near_stamp(raw * unit, stamp_ns) if unit else None


def _near_stamp(time_s: NDArray[np.float64], stamp_ns: int) -> NDArray[np.float64] | None:
    """Return times after the stamp, None where one is too far from it, or before time began."""
    earliest_s = -min(LONGEST_SWEEP_S, stamp_ns / NANOSECONDS)
    return time_s if ((time_s >= earliest_s) & (time_s <= LONGEST_SWEEP_S)).all() else None


def _rings(values: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return ring numbers, None where they are no small whole numbers."""
    small = (values >= 0) & (values < _MOST_RINGS)  # false where NaN
    if not small.all() or (values.dtype.kind == 'f' and (values % 1 != 0).any()):
        return None
    return values.astype(np.int64)
