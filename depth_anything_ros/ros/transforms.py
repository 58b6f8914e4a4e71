# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where sensor, ground and camera are, from a parameter or from TF."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
import math
import threading
import time
from typing import Any

import numpy as np
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import deskew, SensorPoints
from depth_anything_ros.metric_depth.scale import GroundPlane
from depth_anything_ros.metric_depth.sources import takes
from depth_anything_ros.poses import interpolate, Matrix, pose_to_matrix
from depth_anything_ros.ros.messages import deserialize, NANOSECONDS, transform_to_matrix

try:
    from tf2_msgs.msg import TFMessage
    import tf2_py
except ImportError:
    tf2_py = TFMessage = None

WAIT_S = 0.05  # for transforms that are on their way, all of a frame together
ON_ITS_WAY_S = 0.5  # a frame whose newest transform is older than this has stopped


class TransformUnavailable(BadFrameError):
    """There is no transform, for the reason given; never replaced by identity."""

    def __init__(self, message: str) -> None:
        super().__init__('no_transform', message)


class TransformBuffer:
    """What has come on /tf and /tf_static; lookups wait for what is about to come, never else."""

    def __init__(self) -> None:
        self._core = tf2_py.BufferCore()
        self._changed = threading.Condition()
        self._frame_stamp_ns: int | None = None
        self._left_s = 0.0

    def add(self, transforms: list[Any], static: bool) -> None:
        """Keep geometry_msgs/TransformStamped messages; tf2 itself refuses NaN."""
        put = self._core.set_transform_static if static else self._core.set_transform
        with self._changed:
            for transform in transforms:
                if transform.header.stamp.sec >= 0:  # rclpy has no time before 1970
                    put(transform, 'depth_anything')
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all but the static transforms: time has jumped."""
        with self._changed:
            self._core.clear()

    def between(self, target: str, source: str, stamp_ns: int) -> Matrix:
        """Return the source frame as seen from the target frame, 4x4, at the time of an image.

        Raises:
            TransformUnavailable: TF does not say.
        """
        when = _time(stamp_ns)
        return self._lookup(
            lambda: self._core.lookup_transform_core(target, source, when),
            [(target, source, stamp_ns)],
            stamp_ns,
            f'TF from {source} to {target}',
        )

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
        when, then = _time(stamp_ns), _time(then_ns)
        return self._lookup(
            lambda: self._core.lookup_transform_full_core(frame, when, frame, then, fixed),
            [(fixed, frame, stamp_ns), (fixed, frame, then_ns)],
            stamp_ns,
            f'TF from {frame} to {fixed} (scale.fixed_frame)',
        )

    def _lookup(
        self,
        find: Callable[[], Any],
        needed: list[tuple[str, str, int]],
        stamp_ns: int,
        what: str,
    ) -> Matrix:
        with self._changed:
            if stamp_ns != self._frame_stamp_ns:  # another image
                self._frame_stamp_ns, self._left_s = stamp_ns, WAIT_S
            while True:
                try:
                    found = find().transform
                    break
                except tf2_py.TransformException as error:
                    coming = isinstance(error, tf2_py.ExtrapolationException) and (
                        0 < max(self._behind_s(*link) for link in needed) < ON_ITS_WAY_S
                    )
                    if not coming or self._left_s <= 0:
                        message = str(error).partition('\n')[0][:300]
                        raise TransformUnavailable(f'{what}: {message}') from error
                started = time.monotonic()
                self._changed.wait(self._left_s)
                self._left_s -= time.monotonic() - started
        try:
            return transform_to_matrix(found)
        except BadFrameError as error:  # tf2 lets infinite numbers pass
            raise TransformUnavailable(f'{what}: {error}') from error

    def _behind_s(self, target: str, source: str, stamp_ns: int) -> float:
        try:
            newest = self._core.get_latest_common_time(target, source)
        except tf2_py.TransformException:  # each is known, and nothing connects them
            return math.inf
        return float(stamp_ns - newest.nanoseconds) / NANOSECONDS


class Transforms:
    """Where the sensor and the ground are as seen from the camera, from a parameter or from TF."""

    def __init__(
        self, node: Node, config: ScaleConfig, refuse: Callable[[BadFrameError], Any]
    ) -> None:
        """Listen to TF when something is to come from it and tf2 is installed.

        Args:
            node: the node that listens.
            config: what is known, and which frames are to be asked for.
            refuse: told of messages that cannot be used.
        """
        self._node, self._config, self._refuse = node, config, refuse
        self._fixed_pose = any(config.T_camera_sensor)
        self._buffer: TransformBuffer | None = None
        self._subscriptions: list[Any] = []
        if tf2_py is None or not (
            not self._fixed_pose
            or config.fixed_frame
            or config.ground_frame
            or takes(config.method, 'depth')
            or takes(config.method, 'stereo')
            or takes(config.method, 'range')
        ):
            return
        # Not tf2_ros.Buffer, which leaves a service and a clock callback behind with every
        # activation, and whose lookups sleep for frames that are not there.
        self._buffer = TransformBuffer()
        for topic, durability in (
            ('/tf', DurabilityPolicy.VOLATILE), ('/tf_static', DurabilityPolicy.TRANSIENT_LOCAL)
        ):
            static = durability is DurabilityPolicy.TRANSIENT_LOCAL
            self._subscriptions.append(
                node.create_subscription(
                    TFMessage,
                    topic,
                    partial(self._on_transforms, self._buffer, static),
                    QoSProfile(depth=100, durability=durability),
                    raw=True,
                )
            )
        self._jumps = node.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
            ),
            post_callback=partial(_clear, self._buffer),
        )

    def close(self) -> None:
        """Stop listening; what is known stays known."""
        if self._subscriptions:
            self._jumps.unregister()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

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
        if self._buffer is None:
            raise TransformUnavailable(
                f'where {source} is as seen from {target} is not known: tf2 is not installed here, '
                f'so {cure}'
            )
        return self._buffer.between(target, source, stamp_ns)

    def camera(self, camera_frame: str, stamp_ns: int) -> Matrix | None:
        """Return the camera's optical frame in scale.fixed_frame, 4x4; None where nobody asks.

        Args:
            camera_frame: frame of the image.
            stamp_ns: time of the image.

        Raises:
            TransformUnavailable: TF does not say.
        """
        fixed_frame = self._config.fixed_frame
        if not fixed_frame or not takes(self._config.method, 'motion'):
            return None
        if self._buffer is None:
            raise TransformUnavailable(
                f'how {camera_frame} moves in {fixed_frame} (scale.fixed_frame) is not known: '
                'tf2 is not installed here, so leave scale.fixed_frame empty'
            )
        return self._buffer.between(fixed_frame, camera_frame, stamp_ns)

    def ground(self, camera: Camera, camera_frame: str, stamp_ns: int) -> GroundPlane | None:
        """Return the plane z = 0 of scale.ground_frame, or None where that is not set.

        Raises:
            TransformUnavailable: TF does not know the ground frame.
        """
        frame = self._config.ground_frame
        if not frame:
            return None
        if self._buffer is None:
            raise TransformUnavailable(
                f'where {frame} (scale.ground_frame) is not known: tf2 is not installed here, '
                'so set scale.camera_height and scale.camera_pitch'
            )
        T_ground_camera = self._buffer.between(frame, camera_frame, stamp_ns)
        x, y, z = -(camera.rectified().R @ T_ground_camera[2, :3])
        return GroundPlane((float(x), float(y), float(z)), float(T_ground_camera[2, 3]))

    def _carried(self, points: SensorPoints, stamp_ns: int, fixed_frame: str) -> SensorPoints:
        """Move each point to where the sensor would see it at the time of the image."""
        times_s = np.zeros(len(points)) if points.time_s is None else points.time_s
        start_s, end_s = (times_s.min(), times_s.max()) if len(times_s) else (0.0, 0.0)
        start_ns, end_ns = (points.stamp_ns + int(s * NANOSECONDS) for s in (start_s, end_s))
        if start_ns == end_ns == stamp_ns:
            return points  # the image's own time: they are not held to what is known of the way
        if self._buffer is None:
            raise TransformUnavailable(
                f'how {points.frame_id} moves in {fixed_frame} (scale.fixed_frame) is not known: '
                'tf2 is not installed here, so leave scale.fixed_frame empty'
            )
        T_start, T_end = (
            self._buffer.through(points.frame_id, fixed_frame, stamp_ns, then_ns)
            for then_ns in (start_ns, end_ns)
        )
        fraction = (times_s - start_s) / max(end_s - start_s, 1e-9)
        return deskew(points, interpolate(T_start, T_end, fraction))

    def _on_transforms(self, buffer: TransformBuffer, static: bool, data: bytes) -> None:
        try:
            buffer.add(deserialize(data, TFMessage).transforms, static)
        except BadFrameError as error:
            self._refuse(error)


def _clear(buffer: TransformBuffer, jump: Any) -> None:
    buffer.clear()


def _time(stamp_ns: int) -> Time:
    if stamp_ns < 0:
        raise TransformUnavailable('TF knows no time before 1970: mend the driver that stamps so')
    return Time(nanoseconds=stamp_ns)
