# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A rangefinder: one number, the distance to the nearest surface within a cone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
import math
from typing import cast

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.metric_depth.glance import lattice

Array = NDArray[np.float64]

# The network is this rough within a cone (log depth); ultrasound and single beams are surer.
_SIGMA = 0.1
_GATE_SIGMAS = 3.0
_NEAREST_SHARE = 0.05  # of the cone's pixels, which may be nearer: a prediction is noisy
_FEWEST = 4  # pixels of the lattice in the cone


@dataclass(frozen=True, eq=False)
class RangeReading:
    """What a rangefinder says at the time of an image.

    Attributes:
        range_m: distance from the sensor to the nearest surface in the cone.
        field_of_view_rad: full angle of the cone about the sensor's x axis.
        T_camera_sensor: 4x4, the sensor's frame to the camera's optical frame.
    """

    range_m: float
    field_of_view_rad: float
    T_camera_sensor: Array


def correct(
    line: Array, covariance: Array, reading: RangeReading, seen: Array, space: str, camera: Camera
) -> tuple[Array, Array] | str:
    """Correct a line by a range; by how much each of scale and shift, their covariance tells.

    Depth on each pixel of the cone is at least that of a sphere about the sensor, and on some it
    is that: there the line must say so (one step of a Kalman filter in log depth).

    Args:
        line: scale and shift.
        covariance: 2x2 of (scale, shift).
        reading: the range.
        seen: rows x columns predictions on a lattice, see glance.lattice(), NaN where none.
        space: of the prediction, 'inverse_depth' or 'depth'.
        camera: pinhole camera of the prediction.

    Returns:
        The corrected (scale, shift) and covariance, or one line that says why there are none.
    """
    sphere_m = _sphere(reading, seen.shape, camera)
    said = line[0] * seen + line[1]
    within = np.isfinite(sphere_m) & (seen > 0) & (said > 0)  # false where NaN
    if np.count_nonzero(within) < _FEWEST:
        return 'the range is not within what the image shows'
    p, said, z_m = seen[within], said[within], sphere_m[within]
    offs = np.log(said * z_m if space == 'inverse_depth' else said / z_m)
    # The pixel where the line is nearest for its cone, in log depth.
    order = np.argsort(-offs if space == 'inverse_depth' else offs)
    at = order[int(_NEAREST_SHARE * (len(order) - 1))]
    off = float(offs[at])
    jacobian = np.array([p[at], 1.0]) / said[at]
    spread = covariance @ jacobian
    variance = float(jacobian @ spread) + _SIGMA**2
    if abs(off) > _GATE_SIGMAS * math.sqrt(variance):
        away = math.expm1(off if space == 'inverse_depth' else -off)
        return f'the range says {away:+.0%} in depth against it and is left out'
    corrected = line - spread * off / variance
    if corrected[0] <= 0:
        return 'the range would turn the line upside down'
    return corrected, covariance - np.outer(spread, spread) / variance


def _sphere(reading: RangeReading, shape: tuple[int, ...], camera: Camera) -> Array:
    """Return depth in metres on the sphere of the range, NaN outside of the cone."""
    rays, a = _lattice_rays(camera, cast(tuple[int, int], shape))
    T = np.eye(4)
    T[:3, :3] = camera.R
    T = T @ reading.T_camera_sensor
    centre, axis = T[:3, 3], T[:3, 0]
    # |z ray - centre| = range, the farther of two solutions: from where the sensor looks out.
    b = rays @ centre
    inside = b**2 - a * (centre @ centre - reading.range_m**2)
    z_m: Array = (b + np.sqrt(np.maximum(inside, 0))) / a
    towards = (z_m * (rays @ axis) - centre @ axis) / reading.range_m
    # A beam narrower than the lattice is as wide as that.
    apart = np.array([camera.width / shape[1], camera.height / shape[0]]) / camera.K.diagonal()[:2]
    half_rad = max(reading.field_of_view_rad / 2, 1.5 * float(apart.max()))
    z_m[(inside <= 0) | (z_m <= 0) | (towards < math.cos(half_rad))] = np.nan
    return z_m


@lru_cache(maxsize=2)
def _lattice_rays(camera: Camera, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return the viewing rays of a lattice with unit z, and the squares of their lengths."""
    v, u = np.meshgrid(*lattice(camera.height, camera.width, *shape), indexing='ij')
    rays: Array = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(camera.K).T
    return rays, (rays**2).sum(axis=-1)
