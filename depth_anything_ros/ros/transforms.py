# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where sensor, ground and camera are, from a parameter or from TF."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import deskew, SensorPoints
from depth_anything_ros.metric_depth.scale import GroundPlane
from depth_anything_ros.metric_depth.sources import takes
from depth_anything_ros.poses import interpolate, Matrix, pose_to_matrix
from depth_anything_ros.ros.messages import NANOSECONDS


class TransformUnavailable(BadFrameError):
    """There is no transform, for the reason given; never replaced by identity."""

    def __init__(self, message: str) -> None:
        super().__init__('no_transform', message)


class FrameTree(Protocol):
    """Frames that move with each other, as TF says: tf2's buffer, or a bag's TransformTree."""

    def between(self, target: str, source: str, stamp_ns: int) -> Matrix:
        """Return the source frame as seen from the target frame, 4x4, at a time.

        Raises:
            TransformUnavailable: TF does not say.
        """

    def through(self, frame: str, fixed: str, stamp_ns: int, then_ns: int) -> Matrix:
        """Return where a moving frame was then, as seen from where it is at an image's time, 4x4.

        Args:
            frame: the moving frame.
            fixed: the frame that does not move in between.
            stamp_ns: time of the image.
            then_ns: the other time.

        Raises:
            TransformUnavailable: TF does not say.
        """


class Transforms:
    """Where the sensor and the ground are as seen from the camera, from a parameter or from TF."""

    def __init__(self, config: ScaleConfig, tree: FrameTree | None) -> None:
        """Take what is known.

        Args:
            config: poses and names of frames.
            tree: who is asked for frames; None where there is no TF.
        """
        self._config, self._tree = config, tree
        self._fixed_pose = any(config.T_camera_sensor)

    def sensor(
        self, points: SensorPoints, camera_frame: str, stamp_ns: int
    ) -> tuple[SensorPoints, Matrix]:
        """Return points and their pose as they were at the time of the image.

        Args:
            points: one sweep in its sensor frame.
            camera_frame: frame of the image, the camera's optical frame.
            stamp_ns: time of the image.

        Returns:
            The points, de-skewed where they carry times and scale.fixed_frame is set, and the 4x4
            pose of the sensor frame in the camera's optical frame.

        Raises:
            TransformUnavailable: neither the parameter nor TF says where the sensor is.
        """
        if self._config.fixed_frame:
            points = self._carried(points, stamp_ns, self._config.fixed_frame)
        if self._fixed_pose:
            return points, pose_to_matrix(self._config.T_camera_sensor)
        cure = 'set scale.T_camera_sensor (x y z qx qy qz qw)'
        return points, self._between(camera_frame, points.frame_id, stamp_ns, cure)

    def depth_camera(self, frame: str, camera_frame: str, stamp_ns: int) -> Matrix:
        """Return the 4x4 pose of a depth image's optical frame in the camera's.

        Raises:
            TransformUnavailable: they are not one frame, and TF does not say.
        """
        if frame == camera_frame:
            return np.eye(4)
        return self._between(
            camera_frame, frame, stamp_ns, 'let the driver register depth to the image'
        )

    def second_camera(self, frame: str, camera_frame: str, stamp_ns: int) -> Matrix:
        """Return the 4x4 pose of a stereo pair's second optical frame in the camera's.

        Raises:
            TransformUnavailable: TF does not say.
        """
        return self._between(
            camera_frame, frame, stamp_ns, 'calibrate the cameras as a pair, which gives P'
        )

    def rangefinder(self, frame: str, camera_frame: str, stamp_ns: int) -> Matrix:
        """Return the 4x4 pose of a rangefinder's frame in the camera's optical frame.

        Raises:
            TransformUnavailable: TF does not say.
        """
        return self._between(
            camera_frame, frame, stamp_ns, 'leave range out of scale.method, or install tf2'
        )

    def _between(self, target: str, source: str, stamp_ns: int, cure: str) -> Matrix:
        if self._tree is None:
            raise TransformUnavailable(
                f'where {source} is as seen from {target} is not known: tf2 is not installed here, '
                f'so {cure}'
            )
        return self._tree.between(target, source, stamp_ns)

    def camera(self, camera_frame: str, stamp_ns: int) -> Matrix | None:
        """Return the camera's optical frame in scale.fixed_frame, 4x4; None where nobody asks.

        Args:
            camera_frame: frame of the image.
            stamp_ns: time of the image.

        Raises:
            TransformUnavailable: TF does not say.
        """
        if not takes(self._config.method, 'motion'):
            return None
        return self.way(camera_frame, stamp_ns)

    def way(self, camera_frame: str, stamp_ns: int) -> Matrix | None:
        """Return camera()'s pose, whether or not it is a source of metres.

        Raises:
            TransformUnavailable: TF does not say.
        """
        fixed_frame = self._config.fixed_frame
        if not fixed_frame:
            return None
        if self._tree is None:
            raise TransformUnavailable(
                f'how {camera_frame} moves in {fixed_frame} (scale.fixed_frame) is not known: '
                'tf2 is not installed here, so leave scale.fixed_frame empty'
            )
        return self._tree.between(fixed_frame, camera_frame, stamp_ns)

    def camera_in(self, frame: str, camera_frame: str, stamp_ns: int) -> Matrix:
        """Return the 4x4 pose of the camera's optical frame in the frame of a cloud or a scan.

        Raises:
            TransformUnavailable: TF does not say.
        """
        cure = 'leave cloud.frame and scan.frame empty'
        return self._between(frame, camera_frame, stamp_ns, cure)

    def ground(self, camera: Camera, camera_frame: str, stamp_ns: int) -> GroundPlane | None:
        """Return the plane z = 0 of scale.ground_frame, or None where that is not set.

        Raises:
            TransformUnavailable: TF does not know the ground frame.
        """
        frame = self._config.ground_frame
        if not frame:
            return None
        if self._tree is None:
            raise TransformUnavailable(
                f'where {frame} (scale.ground_frame) is not known: tf2 is not installed here, '
                'so set scale.camera_height and scale.camera_pitch'
            )
        T_ground_camera = self._tree.between(frame, camera_frame, stamp_ns)
        x, y, z = -(camera.rectified().R @ T_ground_camera[2, :3])
        return GroundPlane((float(x), float(y), float(z)), float(T_ground_camera[2, 3]))

    def _carried(self, points: SensorPoints, stamp_ns: int, fixed_frame: str) -> SensorPoints:
        """Move each point to where the sensor would see it at the time of the image."""
        times_s = np.zeros(len(points)) if points.time_s is None else points.time_s
        start_s, end_s = (times_s.min(), times_s.max()) if len(times_s) else (0.0, 0.0)
        start_ns, end_ns = (points.stamp_ns + int(s * NANOSECONDS) for s in (start_s, end_s))
        if start_ns == end_ns == stamp_ns:
            return points  # the image's own time: they are not held to what is known of the way
        if self._tree is None:
            raise TransformUnavailable(
                f'how {points.frame_id} moves in {fixed_frame} (scale.fixed_frame) is not known: '
                'tf2 is not installed here, so leave scale.fixed_frame empty'
            )
        T_start, T_end = (
            self._tree.through(points.frame_id, fixed_frame, stamp_ns, then_ns)
            for then_ns in (start_ns, end_ns)
        )
        fraction = (times_s - start_s) / max(end_s - start_s, 1e-9)
        return deskew(points, interpolate(T_start, T_end, fraction))
