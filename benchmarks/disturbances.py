# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a range sensor: its points, and where it is thought to be."""

from __future__ import annotations

from dataclasses import replace
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.metric_depth.anchors import SensorPoints

Pose = NDArray[np.float64]

_OUTLIER_RANGES_M = (2.0, 60.0)
_DUST_RANGES_M = (0.8, 4.0)
_TIGHT_DUST_RANGES_M = (2.0, 2.4)
_MIRROR = (0.35, 0.65, 0.25, 0.75)  # left, right, top, bottom of the image
_ONE_DEPTH = 1.1  # farthest over nearest
_WRONG_STRETCH = 1.4


def with_outliers(points: SensorPoints, share: float, seed: int) -> SensorPoints:
    """Replace a share of the ranges by log-uniform ones between 2 and 60 m: crosstalk."""
    rng = np.random.default_rng(seed)
    low, high = _OUTLIER_RANGES_M
    range_m = low * (high / low) ** rng.random(len(points))
    return _with_ranges(points, range_m, rng.random(len(points)) < share)


def with_veil(points: SensorPoints, share: float, seed: int, tight: bool = False) -> SensorPoints:
    """Put a share of the returns on something in the air before what the camera sees: dust."""
    rng = np.random.default_rng(seed)
    range_m = rng.uniform(*(_TIGHT_DUST_RANGES_M if tight else _DUST_RANGES_M), len(points))
    nearer = range_m < 0.8 * _range_m(points)
    return _with_ranges(points, range_m, (rng.random(len(points)) < share) & nearer)


def with_mirror(points: SensorPoints, T_camera_sensor: Pose, camera: Camera) -> SensorPoints:
    """Double the ranges in a region of the image, as a mirror or a wet floor does."""
    u, v, z_m = _seen(points, T_camera_sensor, camera)
    left, right, top, bottom = _MIRROR
    inside = (z_m > 0) & (u > left * camera.width) & (u < right * camera.width)
    inside &= (v > top * camera.height) & (v < bottom * camera.height)
    return _with_ranges(points, 2 * _range_m(points), inside)


def stretched(points: SensorPoints) -> SensorPoints:
    """Stretch a whole sweep by 40 %: a wrong range calibration, which the network cannot tell."""
    return replace(points, xyz_m=np.float32(_WRONG_STRETCH) * points.xyz_m)


def at_one_depth(points: SensorPoints, T_camera_sensor: Pose, camera: Camera) -> SensorPoints:
    """Keep the points of the 10 % of depth that has most of them."""
    u, v, z_m = _seen(points, T_camera_sensor, camera)
    visible = (z_m > 0) & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    ordered_m = np.sort(z_m[visible])
    count = np.searchsorted(ordered_m, _ONE_DEPTH * ordered_m) - np.arange(len(ordered_m))
    nearest_m = ordered_m[count.argmax()]
    return _kept(points, visible & (z_m >= nearest_m) & (z_m <= _ONE_DEPTH * nearest_m))


def few(
    points: SensorPoints, T_camera_sensor: Pose, camera: Camera, count: int, seed: int
) -> SensorPoints:
    """Keep so many of the points that the image shows, drawn by chance."""
    u, v, z_m = _seen(points, T_camera_sensor, camera)
    visible = (z_m > 0) & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(visible))[:count]
    return _kept(points, np.isin(np.arange(len(points)), drawn))


def turned(T_camera_sensor: Pose, axis: str, angle_deg: float) -> Pose:
    """Return an extrinsic off by a 'roll', 'pitch' or 'yaw' about the camera's z, x or y axis."""
    vector = np.zeros(3)
    vector[{'pitch': 0, 'yaw': 1, 'roll': 2}[axis]] = math.radians(angle_deg)
    wrong: Pose = T_camera_sensor.copy()
    wrong[:3, :3] = cv2.Rodrigues(vector)[0] @ wrong[:3, :3]
    return wrong


def _range_m(points: SensorPoints) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(points.xyz_m, axis=1), dtype=np.float64)


def _with_ranges(
    points: SensorPoints, range_m: NDArray[np.float64], which: NDArray[np.bool_]
) -> SensorPoints:
    factor = np.where(which, range_m / _range_m(points), 1.0)[:, None]
    return replace(points, xyz_m=(factor * points.xyz_m).astype(np.float32))


def _kept(points: SensorPoints, which: NDArray[np.bool_]) -> SensorPoints:
    ring = None if points.ring is None else points.ring[which]
    return replace(points, xyz_m=points.xyz_m[which], ring=ring)


def _seen(
    points: SensorPoints, T_camera_sensor: Pose, camera: Camera
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return u, v in pixels and depth in metres; pixels mean nothing where depth is <= 0."""
    xyz_m = points.xyz_m @ T_camera_sensor[:3, :3].T + T_camera_sensor[:3, 3]
    with np.errstate(divide='ignore', invalid='ignore'):
        pixel = xyz_m @ camera.K.T / xyz_m[:, 2:]
    return pixel[:, 0], pixel[:, 1], xyz_m[:, 2]
