# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What has arrived beside the image: camera models, sensor points, transforms."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import deskew, SensorPoints
from depth_anything_ros.metric_depth.scale import GroundPlane
from depth_anything_ros.poses import interpolate, Matrix, pose_to_matrix
from depth_anything_ros.ros.messages import (
    decode_camera,
    NANOSECONDS,
    stamp_to_ns,
    transform_to_matrix,
)

try:
    import tf2_ros
except ImportError:
    tf2_ros = None

TF_WAIT = Duration(nanoseconds=50_000_000)  # TF of the image's time may be on its way


class CameraStore:
    """The camera of an image: the info of the same stamp, else the latest."""

    def __init__(self, rectified: bool) -> None:
        """Remember whether the images have been rectified already."""
        self._rectified = rectified
        self._messages: deque[Any] = deque(maxlen=5)
        self._key: bytes = b''
        self._camera: Camera | None = None

    def add(self, message: Any) -> None:
        """Keep a CameraInfo."""
        self._messages.append(message)

    def for_image(self, image: NDArray[np.uint8], stamp_ns: int) -> Camera:
        """Return the camera; the same object as long as nothing in the messages changes.

        Args:
            image: HxWx3, the image that it is to describe.
            stamp_ns: time of the image in nanoseconds.

        Raises:
            BadFrameError: there is no message yet, or it describes no usable camera, or another
                image.
        """
        messages = list(self._messages)
        if not messages:
            raise BadFrameError(
                'no_camera_info',
                'images arrive but no camera_info: remap camera_info to the topic beside the image',
            )
        message = next(
            (m for m in reversed(messages) if stamp_to_ns(m.header.stamp) == stamp_ns),
            messages[-1],
        )
        roi = message.roi
        sizes = (message.height, message.width, message.binning_x, message.binning_y)
        window = (roi.x_offset, roi.y_offset, roi.height, roi.width)
        numbers = np.concatenate([sizes, window, message.k, message.d, message.r, message.p])
        key = numbers.tobytes() + message.distortion_model.encode()
        if self._camera is None or key != self._key:
            self._camera, self._key = decode_camera(message, self._rectified), key
        if self._camera.size != image.shape[:2]:
            raise BadFrameError(
                'camera_info_mismatch',
                f'image is {image.shape[1]}x{image.shape[0]} but camera_info describes '
                f'{self._camera.width}x{self._camera.height} (after ROI and binning): publish the '
                'camera_info of this stream',
            )
        return self._camera


class PointStore:
    """The last few sensor messages, decoded when an image asks for them."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, Any, Callable[[Any], SensorPoints]]] = deque(maxlen=20)
        self._decoded: tuple[Any, SensorPoints] | None = None

    def add(self, stamp_ns: int, message: Any, decode: Callable[[Any], SensorPoints]) -> None:
        """Keep a message, serialised or not, with its time and how it is decoded."""
        self._entries.append((stamp_ns, message, decode))

    def nearest(self, stamp_ns: int, max_offset_s: float) -> SensorPoints | None:
        """Return the points closest in time to an image, or None where none are close enough.

        Raises:
            BadFrameError: the message cannot be decoded; it is forgotten.
        """
        entries = list(self._entries)
        if not entries:
            return None
        entry = min(entries, key=lambda entry: abs(entry[0] - stamp_ns))
        when_ns, message, decode = entry
        if abs(when_ns - stamp_ns) > max_offset_s * NANOSECONDS:
            return None
        if self._decoded is None or self._decoded[0] is not message:
            try:
                self._decoded = (message, decode(message))
            except BadFrameError:
                self._entries.remove(entry)
                raise
        return self._decoded[1]


class TransformUnavailable(Exception):
    """There is no transform, for the reason given; never replaced by identity."""

    reason = 'no_transform'


class Transforms:
    """Where the sensor and the ground are as seen from the camera, from a parameter or from TF."""

    def __init__(self, node: Node, config: ScaleConfig) -> None:
        """Listen to TF when something is to come from it and tf2_ros is installed."""
        self._config = config
        self._fixed_pose = any(config.T_camera_sensor)
        self._buffer = self._listener = None
        if tf2_ros is not None and (
            not self._fixed_pose or config.fixed_frame or config.ground_frame
        ):
            self._buffer = tf2_ros.Buffer(node=node)
            self._listener = tf2_ros.TransformListener(self._buffer, node)

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.unregister()
        self._buffer = self._listener = None

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
        fixed_frame = self._config.fixed_frame
        if fixed_frame:
            points = self._carried(points, stamp_ns, fixed_frame)
        if self._fixed_pose:
            return points, pose_to_matrix(self._config.T_camera_sensor)
        return points, self._lookup(camera_frame, stamp_ns, points.frame_id, stamp_ns)

    def ground(self, camera: Camera, camera_frame: str, stamp_ns: int) -> GroundPlane | None:
        """Return the plane z = 0 of scale.ground_frame, or None where that is not set.

        Raises:
            TransformUnavailable: TF does not know the ground frame.
        """
        frame = self._config.ground_frame
        if not frame:
            return None
        T_ground_camera = self._lookup(frame, stamp_ns, camera_frame, stamp_ns)
        x, y, z = -(camera.rectified().R @ T_ground_camera[2, :3])
        return GroundPlane((float(x), float(y), float(z)), float(T_ground_camera[2, 3]))

    def _carried(self, points: SensorPoints, stamp_ns: int, fixed_frame: str) -> SensorPoints:
        """Move each point to where the sensor would see it at the time of the image."""
        times_s = np.zeros(len(points)) if points.time_s is None else points.time_s
        start_s, end_s = (times_s.min(), times_s.max()) if len(times_s) else (0.0, 0.0)
        frame = points.frame_id
        T_start, T_end = (
            self._lookup(
                frame, stamp_ns, frame, points.stamp_ns + int(time_s * NANOSECONDS), fixed_frame
            )
            for time_s in (start_s, end_s)
        )
        fraction = (times_s - start_s) / max(end_s - start_s, 1e-9)
        return deskew(points, interpolate(T_start, T_end, fraction))

    def _lookup(
        self, target: str, target_ns: int, source: str, source_ns: int, fixed: str = ''
    ) -> Matrix:
        if self._buffer is None:
            raise TransformUnavailable(
                f'where {source} is as seen from {target} is not known: tf2_ros is not installed '
                'here, so set scale.T_camera_sensor (x y z qx qy qz qw)'
            )
        target_time, source_time = Time(nanoseconds=target_ns), Time(nanoseconds=source_ns)
        try:
            if fixed:
                found = self._buffer.lookup_transform_full(
                    target, target_time, source, source_time, fixed, TF_WAIT
                )
            else:
                found = self._buffer.lookup_transform(target, source, target_time, TF_WAIT)
        except tf2_ros.TransformException as error:
            raise TransformUnavailable(f'TF from {source} to {target}: {error}') from error
        return transform_to_matrix(found.transform)
