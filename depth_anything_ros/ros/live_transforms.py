# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""TF as it comes over ROS: what the node listens to, kept in tf2's own buffer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
import math
import threading
import time
from typing import Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time

from depth_anything_ros.config import Config
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.sources import takes
from depth_anything_ros.poses import Matrix
from depth_anything_ros.ros.messages import deserialize, NANOSECONDS, transform_to_matrix
from depth_anything_ros.ros.transforms import TransformUnavailable

try:
    from tf2_msgs.msg import TFMessage
    import tf2_py
except ImportError:
    tf2_py = TFMessage = None

WAIT_S = 0.05  # for transforms that are on their way, all of a frame together
ON_ITS_WAY_S = 0.5  # a frame whose newest transform is older than this has stopped


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


class TransformListener:
    """Listens to TF where something is to come from it and tf2 is installed.

    Attributes:
        buffer: what has come; None where nothing is listened to.
    """

    def __init__(
        self,
        node: Node,
        configs: Sequence[Config],
        refuse: Callable[[BadFrameError], Any],
    ) -> None:
        """Subscribe.

        Args:
            node: the node that listens.
            configs: of each camera what is known, and which frames are to be asked for.
            refuse: told of messages that cannot be used.
        """
        self._node, self._refuse = node, refuse
        self.buffer: TransformBuffer | None = None
        self._subscriptions: list[Any] = []
        if tf2_py is None or not any(map(_asks_for_frames, configs)):
            return
        # Not tf2_ros.Buffer, which leaves a service and a clock callback behind with every
        # activation, and whose lookups sleep for frames that are not there.
        self.buffer = TransformBuffer()
        for topic, durability in (
            ('/tf', DurabilityPolicy.VOLATILE), ('/tf_static', DurabilityPolicy.TRANSIENT_LOCAL)
        ):
            static = durability is DurabilityPolicy.TRANSIENT_LOCAL
            self._subscriptions.append(
                node.create_subscription(
                    TFMessage,
                    topic,
                    partial(self._on_transforms, self.buffer, static),
                    QoSProfile(depth=100, durability=durability),
                    raw=True,
                )
            )
        self._jumps = node.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
            ),
            post_callback=partial(_clear, self.buffer),
        )

    def close(self) -> None:
        """Stop listening; what is known stays known."""
        if self._subscriptions:
            self._jumps.unregister()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _on_transforms(self, buffer: TransformBuffer, static: bool, data: bytes) -> None:
        try:
            buffer.add(deserialize(data, TFMessage).transforms, static)
        except BadFrameError as error:
            self._refuse(error)


def _asks_for_frames(config: Config) -> bool:
    scale = config.scale
    frames = (scale.fixed_frame, scale.ground_frame, config.cloud.frame, config.scan.frame)
    return (
        any(frames)
        or not any(scale.T_camera_sensor)
        or any(takes(scale.method, source) for source in ('depth', 'stereo', 'range'))
    )


def _clear(buffer: TransformBuffer, jump: Any) -> None:
    buffer.clear()


def _time(stamp_ns: int) -> Time:
    if stamp_ns < 0:
        raise TransformUnavailable('TF knows no time before 1970: mend the driver that stamps so')
    return Time(nanoseconds=stamp_ns)
