# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A depth camera's image: anchors where it sees, and its own pixels kept in what is published."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
import math

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.metric_depth.anchors import Anchors, project_points, SensorPoints
from depth_anything_ros.transfer import upload

_MOST_ANCHORS = 4096
_EDGE = 0.05  # share of depth: neighbours that differ by more, and six sigmas, are at an edge
_REGISTERED_M = 1e-3  # two optical frames nearer than this are one
_SEAM_PX = 4  # half the width of the band in which own pixels give way to the network's
# By the share of a box that is seen, in 255ths: how much of the network's say is left.
_GIVING_WAY = np.clip(2 - 2 * np.arange(256, dtype=np.float32) / 255, 0, 1)


@dataclass(frozen=True, eq=False)
class DepthImage:
    """What a depth camera says at the time of an image.

    Attributes:
        depth_m: HxW float32 along the depth camera's optical axis, NaN where it is blind.
        camera: its model; distorted where the depth is registered to a distorted image.
        T_camera_sensor: 4x4, its optical frame to that of the camera.
    """

    depth_m: NDArray[np.float32]
    camera: Camera
    T_camera_sensor: NDArray[np.float64]
    name: str = 'depth'

    def anchors(self, camera: Camera, config: ScaleConfig) -> Anchors:
        """Return some thousand of its sure pixels, spread evenly.

        The sigma of depth is scale.depth_sigma + scale.depth_sigma_square z^2: the first of a
        time-of-flight camera, the second of stereo and structured light, whose disparity has a
        constant error.
        """
        sure_m, smooth = _sure(self, config)
        # Of a lattice, so that it does not depend on where the holes are.
        step = max(1, math.ceil(math.sqrt(sure_m.size / _MOST_ANCHORS)))
        thin = (slice(step // 2, None, step),) * 2
        rays, z_m = _rays(self.camera)[thin][smooth[thin]], sure_m[thin][smooth[thin]]
        if not self.camera.is_distorted:  # depth along the axis of a rectified image
            z_m = z_m / (rays @ self.camera.R[2].astype(np.float32))
        points = SensorPoints(rays * z_m[:, None], 0, self.name)
        anchors = project_points(points, self.T_camera_sensor, camera, config)
        return replace(anchors, sigma=sigma_m(anchors.z_m, config) / anchors.z_m)

    def registered(self, camera: Camera, config: ScaleConfig) -> NDArray[np.float32] | None:
        """Return its sure pixels at those of another camera.

        Args:
            camera: pinhole camera of the image.
            config: range limits and sigma.

        Returns:
            HxW float32 depth in metres in the image's frame, NaN where it is blind; None where the
            two cameras stand apart, so that one looks behind what the other sees.
        """
        if np.linalg.norm(self.T_camera_sensor[:3, 3]) > _REGISTERED_M:
            return None
        R = self.T_camera_sensor[:3, :3]
        pixels, per_depth = _lookup(camera, self.camera, R.tobytes())
        there: NDArray[np.float32] = np.asarray(
            cv2.remap(
                _sure(self, config)[0],
                pixels[..., 0],
                pixels[..., 1],
                cv2.INTER_NEAREST,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=math.nan,
            )
        )
        return there if per_depth is None else there * per_depth


def sigma_m(depth_m: NDArray[np.float32], config: ScaleConfig) -> NDArray[np.float32]:
    """Return the standard deviation in metres of a depth camera's depths."""
    constant, square = np.float32(config.depth_sigma), np.float32(config.depth_sigma_square)
    sigma: NDArray[np.float32] = constant + square * np.square(depth_m)
    return sigma


def keep_measured(
    depth_m: Tensor,
    stddev_m: Tensor,
    measured_m: NDArray[np.float32],
    config: ScaleConfig,
    border: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Put a depth camera's own pixels in place of the network's where it is sure.

    In a band beside its holes the two are averaged, each by its own variance and the camera's less
    and less towards the hole, so that no step is left there.

    Args:
        depth_m: HxW metric depth, NaN where there is none.
        stddev_m: HxW standard deviation in metres.
        measured_m: HxW from registered().
        config: the depth camera's sigma.
        border: HxW, where there is to be no depth at all.

    Returns:
        Depth and standard deviation, both HxW.
    """
    planes = np.empty((2, *measured_m.shape), np.float32)
    np.copyto(planes[0], measured_m)
    cv2.patchNaNs(planes[0], 0.0)
    seen = 255 * (planes[0] > 0).view(np.uint8)
    # The share of pixels seen in a box is 1 inside and a half at a straight border of a hole.
    size = 2 * _SEAM_PX + 1
    share = cv2.boxFilter(seen, -1, (size, size), borderType=cv2.BORDER_REPLICATE)
    cv2.LUT(cv2.bitwise_and(share, seen), _GIVING_WAY, dst=planes[1])  # all of it in the hole
    own_m, giving_way = upload(planes, depth_m.device)
    if border is not None:
        own_m.masked_fill_(border, 0.0)
    own_sigma = own_m.square().mul_(config.depth_sigma_square).add_(config.depth_sigma)
    precision = own_sigma.square_().reciprocal_().mul_(own_m.sign())
    # 0 for NaN, then 0 / 0 is NaN where neither says anything.
    other = stddev_m.square().reciprocal_().nan_to_num_(0.0).mul_(giving_way)
    total = precision + other
    fused_m = precision.mul_(own_m).addcmul_(other, depth_m.nan_to_num(0.0)).div_(total)
    return fused_m, total.rsqrt().mul_(total / total)


@lru_cache(maxsize=1)
def _sure(
    image: DepthImage, config: ScaleConfig
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return what of a depth image is sure, and where it is smooth besides.

    Returns:
        HxW depth, NaN where it is blind, beside a hole, out of range, or between the depths of two
        surfaces, where it is on neither; and HxW, where no edge is near.
    """
    known = np.asarray(cv2.patchNaNs(image.depth_m.copy(), 0.0), np.float32)
    cv2.threshold(known, config.max_range, 0, cv2.THRESH_TOZERO_INV, dst=known)
    under = math.nextafter(config.min_range, 0.0)  # itself it is in range
    cv2.threshold(known, float(np.float32(under)), 0, cv2.THRESH_TOZERO, dst=known)
    allowed = known * np.float32(6 * config.depth_sigma_square)
    allowed += np.float32(_EDGE)
    allowed *= known
    allowed += np.float32(6 * config.depth_sigma)
    # Out of the image there is no neighbour to differ from.
    box = np.ones((3, 3), np.uint8)
    nearest, farthest = cv2.erode(known, box), cv2.dilate(known, box)
    whole = nearest > 0
    far_off, near_off = known - nearest > allowed, farthest - known > allowed
    np.copyto(known, np.float32(np.nan), where=~whole | (far_off & near_off))
    return known, whole & ~(far_off | near_off)


@lru_cache(maxsize=2)
def _rays(camera: Camera) -> NDArray[np.float32]:
    """Return the rays of a camera; they are as good as constant, and take long."""
    return camera.optical_rays().astype(np.float32)


@lru_cache(maxsize=4)
def _lookup(
    camera: Camera, depth_camera: Camera, R_camera_sensor: bytes
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return where each pixel of a camera is in the depth image, and what depth becomes there.

    Returns:
        HxWx2 float32 pixels of the depth image, far outside where there is none, and HxW factors
        from its depth to the camera's, None where all are 1.
    """
    R = np.frombuffer(R_camera_sensor).reshape(3, 3)
    rays = camera.rays() @ camera.R @ R  # in the depth camera's optical frame
    pixels = depth_camera.project(rays)
    # What is depth there is measured along the axis of a rectified depth image.
    along = rays @ (np.eye(3) if depth_camera.is_distorted else depth_camera.R)[2]
    same = np.allclose(along, 1.0, atol=1e-6)
    factor = None if same else (1 / np.where(along > 0, along, np.nan)).astype(np.float32)
    return np.nan_to_num(pixels, nan=-9.0).astype(np.float32), factor
