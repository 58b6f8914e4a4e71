# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Metres without a range sensor: a camera at a known height over flat ground."""

from __future__ import annotations

from dataclasses import dataclass, replace
import math

import numpy as np

from depth_anything_ros.camera import Camera
from depth_anything_ros.metric_depth.fitting import Array, failed, fit_line, LineFit
from depth_anything_ros.metric_depth.glance import lattice

_LEAST_PIXELS = 48  # of the lattice that the prediction is seen on
# A pitch error e changes the ground's depth Z by about e * Z / height: near ground is used.
_MAX_DEPTH_IN_HEIGHTS = 8.0
_MIN_HEIGHT_M = 0.01
_INLIER_SIGMAS = 3.0
_MAX_RESIDUAL = 0.15  # log depth; a wall or a truck in front fits no better


@dataclass(frozen=True)
class GroundPlane:
    """The ground seen from the camera.

    Attributes:
        normal_down: unit normal pointing into the ground, in the rectified optical frame.
        height_m: distance of the camera from the plane in metres; what is not above it (a wrong
            TF) has no ground to see, and fit_ground() says so.
    """

    normal_down: tuple[float, float, float]
    height_m: float

    @staticmethod
    def from_pitch(height_m: float, pitch_rad: float) -> GroundPlane:
        """Return the plane under a camera without roll, tilted down by pitch_rad."""
        return GroundPlane((0.0, math.cos(pitch_rad), math.sin(pitch_rad)), height_m)

    def inverse_depth(self, camera: Camera, u: Array, v: Array) -> Array:
        """Return 1/Z in 1/m of the ground at pixels, <= 0 at and above the horizon.

        A point Z K^-1 (u, v, 1)' lies on the plane where n' of it is the height, so
        1/Z = n' K^-1 (u, v, 1)' / height: affine in the pixel.
        """
        K = camera.K
        x, y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
        nx, ny, nz = self.normal_down
        inverse_depth: Array = (nx * x + ny * y + nz) / self.height_m
        return inverse_depth

    def inverse_depth_per_pitch(self, camera: Camera, u: Array, v: Array) -> Array:
        """Return by how much 1/Z in 1/m grows per radian that the camera tilts down."""
        _, ny, nz = self.normal_down
        return GroundPlane((0.0, -nz, ny), self.height_m).inverse_depth(camera, u, v)


def fit_ground(
    prediction: Array,
    space: str,
    camera: Camera,
    ground: GroundPlane,
    pitch_sigma_rad: float = 0.0,
    height_sigma: float = 0.0,
) -> LineFit:
    """Fit the prediction to the ground that the camera must see.

    Over a plane both inverse depth and a relative prediction of it are affine in the pixel, so
    for pixels of the ground the one is a line over the other; pixels of objects are outliers.

    Args:
        prediction: rows x columns of the prediction on a lattice over the image, or all of it; NaN
            where the image shows nothing.
        space: 'inverse_depth' or 'depth'.
        camera: pinhole camera of the prediction.
        ground: the plane.
        pitch_sigma_rad: standard deviation of the plane's pitch against the camera in radians.
        height_sigma: standard deviation of its distance, as a share of it.

    Returns:
        The line, whose covariance holds what the plane's own errors do to it, or one with `failure`
        set.
    """
    if not (_MIN_HEIGHT_M <= ground.height_m < math.inf and np.isfinite(ground.normal_down).all()):
        return failed(
            f'the camera is {ground.height_m:g} m above the ground, which cannot be: check '
            'scale.camera_height or TF of scale.ground_frame'
        )
    rows, columns = lattice(*camera.size, *prediction.shape)
    u, v = columns.astype(np.float64), rows.astype(np.float64)
    target = ground.inverse_depth(camera, u, v)
    near = (target > 1.0 / (_MAX_DEPTH_IN_HEIGHTS * ground.height_m)) & np.isfinite(prediction)
    if np.count_nonzero(near) < _LEAST_PIXELS:
        return failed('the image shows too little of the ground near the camera')
    tilt = ground.inverse_depth_per_pitch(camera, u, v)
    value, target, tilt = prediction[near], target[near], tilt[near]
    if space == 'depth':
        target, tilt = 1.0 / target, -tilt / np.square(target)
    fit = fit_line(value, target)
    if fit.failure:
        return failed(f'no ground found: {fit.failure}')
    if fit.residual > _MAX_RESIDUAL:
        return failed(f'no ground found: what is there is {fit.residual:.0%} off a plane')
    per_rad = _line_change(fit, value, target, tilt)
    per_height = np.array([fit.scale, fit.shift])
    covariance = fit.covariance + pitch_sigma_rad**2 * np.outer(per_rad, per_rad)
    covariance += height_sigma**2 * np.outer(per_height, per_height)
    return replace(fit, covariance=covariance)


def _line_change(fit: LineFit, value: Array, target: Array, change: Array) -> Array:
    """Return by how much (scale, shift) move when the targets of a fit do.

    The derivative of a least-squares fit of relative residuals to its inliers: the least-squares
    fit of the change. A plane stays a plane as it tilts, so over ground it is exact.
    """
    off = np.abs(fit.scale * value + fit.shift - target)
    weight = (off < _INLIER_SIGMAS * fit.residual * target) / target
    A = np.stack([value, np.ones_like(value)], axis=1) * weight[:, None]
    unit = np.abs(A).max(axis=0)
    line_change: Array = np.linalg.lstsq(A / unit, change * weight, rcond=None)[0] / unit
    return line_change
