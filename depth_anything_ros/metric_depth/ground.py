# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Metres without a range sensor: a camera at a known height over flat ground."""

from __future__ import annotations

from dataclasses import dataclass, replace
import math

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.metric_depth.fitting import failed, fit_line, LineFit

_ROWS, _COLUMNS = 48, 64
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

    def inverse_depth(self, camera: Camera, u: Tensor, v: Tensor) -> Tensor:
        """Return 1/Z in 1/m of the ground at pixels, <= 0 at and above the horizon.

        A point Z K^-1 (u, v, 1)' lies on the plane where n' of it is the height, so
        1/Z = n' K^-1 (u, v, 1)' / height: affine in the pixel.
        """
        K = camera.K
        x, y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
        nx, ny, nz = self.normal_down
        inverse_depth: Tensor = (nx * x + ny * y + nz) / self.height_m
        return inverse_depth

    def inverse_depth_per_pitch(self, camera: Camera, u: Tensor, v: Tensor) -> Tensor:
        """Return by how much 1/Z in 1/m grows per radian that the camera tilts down."""
        _, ny, nz = self.normal_down
        return GroundPlane((0.0, -nz, ny), self.height_m).inverse_depth(camera, u, v)


def fit_ground(
    prediction: Tensor,
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
        prediction: HxW, at the camera's size; NaN where the image shows nothing.
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
    height, width = prediction.shape
    rows = torch.linspace(0, height - 1, 2 * _ROWS, device=prediction.device).long()
    columns = torch.linspace(0, width - 1, _COLUMNS, device=prediction.device).long()
    value = prediction[rows[:, None], columns[None, :]]
    target = ground.inverse_depth(camera, columns[None, :].double(), rows[:, None].double())
    near = (target > 1.0 / (_MAX_DEPTH_IN_HEIGHTS * ground.height_m)) & value.isfinite()
    if int(near.sum()) < _ROWS:
        return failed('the image shows too little of the ground near the camera')
    tilt = ground.inverse_depth_per_pitch(camera, columns[None, :].double(), rows[:, None].double())
    value, target, tilt = value[near], target[near], tilt[near]
    if space == 'depth':
        target, tilt = 1.0 / target, -tilt / target.square()
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


def _line_change(
    fit: LineFit, value: Tensor, target: Tensor, change: Tensor
) -> NDArray[np.float64]:
    """Return by how much (scale, shift) move when the targets of a fit do.

    The derivative of a least-squares fit of relative residuals to its inliers: the least-squares
    fit of the change. A plane stays a plane as it tilts, so over ground it is exact.
    """
    p, y, dy = (x.double().cpu().numpy() for x in (value, target, change))
    weight = (np.abs(fit.scale * p + fit.shift - y) < _INLIER_SIGMAS * fit.residual * y) / y
    A = np.stack([p, np.ones_like(p)], axis=1) * weight[:, None]
    unit = np.abs(A).max(axis=0)
    line_change: NDArray[np.float64] = np.linalg.lstsq(A / unit, dy * weight, rcond=None)[0] / unit
    return line_change
