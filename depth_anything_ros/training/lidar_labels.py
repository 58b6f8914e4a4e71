# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth of a bag's images from its lidar: single pixels, those that the camera can see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.errors import BadFrameError, DatasetError
from depth_anything_ros.metric_depth.anchors import project_points, SensorPoints
from depth_anything_ros.poses import Matrix
from depth_anything_ros.ros.bags import find_sensors, first_message, of_type
from depth_anything_ros.ros.messages import (
    decode_camera,
    decode_points,
    decode_scan,
    is_rectified,
)
from depth_anything_ros.training.sample import Intrinsics, own_sample, Sample


@dataclass(frozen=True, eq=False)
class LidarLabels:
    """Where a bag's lidar is, and what its camera shows of it.

    Attributes:
        topic: of the points.
        camera_info: topic of the camera's calibration.
        camera: of the colour image.
        T_camera_lidar: 4x4, lidar coordinates to the camera's optical frame.
        decode: makes points of a message.
    """

    topic: str
    camera_info: str
    camera: Camera
    T_camera_lidar: Matrix
    decode: Callable[[Any], SensorPoints]

    def sample(self, image_rgb: NDArray[np.uint8], points: SensorPoints, stamp_ns: int,
               tolerance_ns: int) -> Sample:
        """Make a sparse sample of an image, rectified where it is distorted, and a sweep.

        Args:
            image_rgb: HxWx3 uint8, of the camera's size.
            points: of about that time; each that is known to be farther from it is left out, as
                nothing says how the robot moved since.
            stamp_ns: of the image.
            tolerance_ns: how far a point's time may be from it.
        """
        if points.time_s is not None:
            late_ns = points.time_s * 1e9 + (points.stamp_ns - stamp_ns)
            near = np.abs(late_ns) <= tolerance_ns
            points = replace(points, xyz_m=points.xyz_m[near], time_s=None, ring=None)
        target = self.camera.rectified()
        if self.camera.is_distorted:
            places = self.camera.rectification_map(target).astype(np.float32)
            image_rgb = np.asarray(cv2.remap(image_rgb, places[..., 0], places[..., 1],
                                             cv2.INTER_LINEAR), np.uint8)
        anchors = project_points(points, self.T_camera_lidar, target, ScaleConfig())
        depth_m = np.full(target.size, np.nan, np.float32)
        depth_m[np.rint(anchors.v).astype(int), np.rint(anchors.u).astype(int)] = anchors.z_m
        return own_sample(image_rgb, depth_m, sparse=True, intrinsics=pinhole(target))


def pinhole(camera: Camera) -> Intrinsics | None:
    """Return fx, fy, cx and cy in pixels, None of a lens with distortion or of no calibration."""
    if camera.is_distorted or not camera.is_calibrated:
        return None
    K = camera.K.tolist()
    return K[0][0], K[1][1], K[0][2], K[1][2]


def find_lidar(bag: Reader, path: Path, size: tuple[int, ...]) -> LidarLabels | None:
    """Find what can label the colour image of a bag, None where points or calibration are missing.

    Args:
        bag: an open one.
        path: of the bag.
        size: height and width of the image.

    Raises:
        DatasetError: no static transform says where the points are, or the calibration is none of
            the image.
    """
    if not (of_type(bag, 'CameraInfo') and of_type(bag, 'PointCloud2') + of_type(bag, 'LaserScan')):
        return None
    found = find_sensors(path)
    assert found.points is not None
    if found.T_camera_sensor is None:
        raise DatasetError(
            f'{path}: no static transform says where {found.points} (frame "{found.frames[1]}") is '
            f'from the camera (frame "{found.frames[0]}"): record /tf_static')
    (info,) = (c for c in of_type(bag, 'CameraInfo') if c.topic == found.camera_info)
    try:
        camera = decode_camera(first_message(bag, info), is_rectified('auto', found.image_topic))
    except BadFrameError as error:
        raise DatasetError(f'{path}: {info.topic} describes no camera ({error}): record it again'
                           ) from error
    if camera.size != size or not camera.is_calibrated:
        raise DatasetError(f'{path}: {info.topic} is of {camera.width}x{camera.height} pixels and '
                           f'the image of {size[1]}x{size[0]}, or has no focal length: record '
                           'the camera_info of this image')
    return LidarLabels(found.points, info.topic, camera, found.T_camera_sensor,
                       decode_scan if found.is_scan else decode_points)
