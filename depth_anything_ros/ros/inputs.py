# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node subscribes to, and what has arrived beside the image: camera models and points."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
import re
from statistics import median
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, LimitsConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.sources import takes
from depth_anything_ros.ros.messages import (
    decode_camera,
    decode_points,
    decode_scan,
    deserialize,
    NANOSECONDS,
    serialized_stamp_ns,
)
from depth_anything_ros.ros.parameters import qos_overridden, QOS_OVERRIDES
from depth_anything_ros.ros.second_camera import SecondCamera
from depth_anything_ros.ros.transforms import Transforms

LOOK_S = 0.5  # between two looks for a camera_info that is latched
CAMERA_WAIT_S = 0.02  # for the camera_info of an image that has overtaken it
CAMERA_BYTES = 1 << 16  # a hundred times what a camera_info needs
LONGEST_SWEEP_S = 0.2  # of a lidar that turns five times a second; messages farther apart are shots


class PointsOutOfTime(BadFrameError):
    """Points have come, but none near enough in time to the image."""

    def __init__(self, message: str) -> None:
        super().__init__('points_out_of_time', message)


class CameraStore:
    """The camera of an image: the info of the same stamp, else the latest."""

    def __init__(self, rectified: bool) -> None:
        """Remember whether the images have been rectified already."""
        self._rectified = rectified
        self._changed = threading.Condition()
        self._messages: dict[int, bytes] = {}  # by stamp, in the order of arrival
        self._asked_ns: int | None = None
        self._in_step = False  # whether an info of exactly the image's stamp can be expected
        self._key: bytes = b''
        self._camera: Camera | None = None

    def add(self, data: bytes) -> None:
        """Keep a serialised CameraInfo.

        Raises:
            BadFrameError: the message has no stamp, or is far too long.
        """
        stamp_ns = serialized_stamp_ns(data)
        if len(data) > CAMERA_BYTES:
            raise BadFrameError(
                'camera_info_too_large', f'a camera_info of {len(data)} bytes describes no camera'
            )
        with self._changed:
            self._messages.pop(stamp_ns, None)
            self._messages[stamp_ns] = data
            if len(self._messages) > 5:
                del self._messages[next(iter(self._messages))]
            self._in_step |= stamp_ns == self._asked_ns
            self._changed.notify()

    def for_image(self, image: NDArray[np.uint8], stamp_ns: int) -> Camera:
        """Return the camera; the same object as long as nothing in the messages changes.

        Where infos come with exactly the stamps of the images, an info that the image has overtaken
        is waited for: the latest one may be of another zoom.

        Args:
            image: HxWx3, the image that it is to describe.
            stamp_ns: time of the image in nanoseconds.

        Raises:
            BadFrameError: there is no message yet, or it describes no usable camera, or another
                image; one that cannot be decoded is forgotten.
        """
        data = self._message_for(stamp_ns)
        try:
            message = deserialize(data, CameraInfo)
        except BadFrameError:
            with self._changed:
                self._messages = {s: d for s, d in self._messages.items() if d is not data}
            raise
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

    def _message_for(self, stamp_ns: int) -> bytes:
        with self._changed:
            if self._in_step and max(self._messages, default=0) < stamp_ns:
                self._changed.wait_for(lambda: stamp_ns in self._messages, CAMERA_WAIT_S)
            # Once in vain is enough, until the one that was missed comes after all.
            self._in_step = stamp_ns in self._messages
            self._asked_ns = stamp_ns
            if not self._messages:
                raise BadFrameError(
                    'no_camera_info',
                    'images arrive but no camera_info: remap camera_info to the topic beside the '
                    'image',
                )
            return self._messages.get(stamp_ns, list(self._messages.values())[-1])


class PointStore:
    """The last few messages of one sensor, decoded when an image asks for them."""

    def __init__(self, decode: Callable[[bytes], SensorPoints], memory_mib: int) -> None:
        """Keep nothing yet.

        Args:
            decode: takes a serialised message apart.
            memory_mib: what the messages may take together.
        """
        self._decode, self._memory_mib = decode, memory_mib
        self._lock = threading.Lock()
        self._entries: deque[tuple[int, bytes]] = deque()
        self._decoded: tuple[bytes, SensorPoints] | None = None
        self._sweep_s: tuple[float, float] | None = None

    def add(self, data: bytes) -> None:
        """Keep a serialised message, and drop the oldest of what is too much with it.

        Raises:
            BadFrameError: the message has no stamp, or is too large by itself.
        """
        stamp_ns, most = serialized_stamp_ns(data), self._memory_mib << 20
        if len(data) > most:
            raise BadFrameError(
                'points_too_large',
                f'points of {len(data) / (1 << 20):.0f} MiB exceed limits.sensor_memory '
                f'({self._memory_mib} MiB): raise it, or thin the cloud',
            )
        with self._lock:
            self._entries.append((stamp_ns, data))
            while len(self._entries) > 20 or sum(len(d) for _, d in self._entries) > most:
                self._entries.popleft()

    def nearest(self, stamp_ns: int, max_offset_s: float) -> SensorPoints | None:
        """Return the points closest in time to an image, or None where none have come.

        The time between a sweep and an image is zero where the image was taken during the sweep.
        How long a sweep lasts is told by the times of its points. Without those it lasts about as
        long as the next one takes to come, before or after its stamp: drivers differ.

        Raises:
            PointsOutOfTime: the closest are too far away.
            BadFrameError: the message cannot be decoded; it is forgotten.
        """
        with self._lock:
            entries = list(self._entries)
        if not entries:
            return None
        period_s = _period_s([when_ns for when_ns, _ in entries])
        sweep_s = self._sweep_s or (-period_s, period_s)

        def distance_s(entry: tuple[int, bytes]) -> tuple[float, float]:
            since_s = (stamp_ns - entry[0]) / NANOSECONDS
            return abs(_outside(since_s, sweep_s)), abs(since_s - sum(sweep_s) / 2)

        when_ns, data = entry = min(entries, key=distance_s)
        if self._decoded is None or self._decoded[0] is not data:
            try:
                self._decoded = (data, self._decode(data))
            except BadFrameError:
                with self._lock:
                    if entry in self._entries:
                        self._entries.remove(entry)
                raise
        points = self._decoded[1]
        self._sweep_s = _sweep_s(points)
        offset_s = _outside(
            (stamp_ns - when_ns) / NANOSECONDS, self._sweep_s or (-period_s, period_s)
        )
        if abs(offset_s) > max_offset_s:
            raise PointsOutOfTime(_out_of_time(points.frame_id, offset_s, max_offset_s))
        return points


def _period_s(stamps_ns: list[int]) -> float:
    """Return the usual time between messages; 0 where it is too long for sweep after sweep."""
    steps_ns = [b - a for a, b in zip(stamps_ns, stamps_ns[1:]) if b > a]
    period_s = median(steps_ns) / NANOSECONDS if steps_ns else 0.0
    return period_s if period_s <= LONGEST_SWEEP_S else 0.0


def _sweep_s(points: SensorPoints) -> tuple[float, float] | None:
    """Return when the first and the last point were taken, after the stamp; None where unknown."""
    if points.time_s is None or len(points) == 0:
        return None
    first_s, last_s = float(points.time_s.min()), float(points.time_s.max())
    return (first_s, last_s) if last_s > first_s else None


def _outside(time_s: float, interval_s: tuple[float, float]) -> float:
    """Return how far a time lies behind (positive) or before (negative) an interval, 0 within."""
    return time_s - min(max(time_s, interval_s[0]), interval_s[1])


def _out_of_time(frame_id: str, offset_s: float, max_offset_s: float) -> str:
    side = 'older' if offset_s > 0 else 'newer'
    what = f'the nearest points ({frame_id}) are {abs(offset_s):.2f} s {side} than the image'
    if abs(offset_s) > 10.0:
        return f'{what}: their sensor has stopped, or has another clock than the camera'
    return (
        f'{what}: raise scale.max_time_offset ({max_offset_s:g} s), with scale.fixed_frame set '
        'where the robot moves'
    )


class Inputs:
    """All subscriptions of the active node, and what has arrived on them beside the image.

    Attributes:
        image_kind: message class of the images.
        cameras: the camera models.
        transforms: where sensor and ground are.
        second: the other camera of a stereo pair; None where nobody asks for it.
    """

    def __init__(
        self,
        node: Node,
        config: Config,
        on_image: Callable[[bytes], None],
        refuse: Callable[[BadFrameError], Any],
    ) -> None:
        """Subscribe.

        What arrives stays serialised: only what is used is taken apart, off the executor.

        Args:
            node: the node that subscribes.
            config: its parameters.
            on_image: called with each serialised image.
            refuse: called with what is wrong with any other message that cannot be kept.

        Raises:
            ConfigError: a qos_overrides parameter is wrong.
        """
        self._node, self._refuse = node, refuse
        self._subscriptions: list[Subscription] = []
        self._named: dict[str, Subscription] = {}
        self._points: list[PointStore] = []
        self._config, raw = config, config.image_transport == 'raw'
        self.image_kind = Image if raw else CompressedImage
        self.cameras = self._camera_store('image')
        self.transforms = Transforms(node, config.scale, refuse)
        self.second: SecondCamera | None = None
        self._unlatched = {'camera_info': self.cameras}
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._look = node.create_timer(LOOK_S, self._look_for_latched, clock=steady)
        with ExitStack() as undo:
            undo.callback(self.close)
            self._subscribe_to_images('image', 1, on_image)
            self._subscribe_to_cameras('camera_info', self.cameras)
            if takes(config.scale.method, 'lidar'):
                self._subscribe_to_points(config.limits)
            if takes(config.scale.method, 'stereo'):
                self._subscribe_to_second_camera()
            undo.pop_all()

    def close(self) -> None:
        """Stop listening; what has arrived is still there."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._node.destroy_timer(self._look)
        self._subscriptions = []
        self._named = {}
        self.transforms.close()

    def matched(self) -> dict[str, int]:
        """Return the number of publishers that each input is connected to, by the input's name."""
        return {
            name: (
                subscription.get_publisher_count()
                if hasattr(subscription, 'get_publisher_count')  # from Jazzy on
                else self._node.count_publishers(subscription.topic_name)
            )
            for name, subscription in self._named.items()
        }

    def nearest_points(self, stamp_ns: int, max_offset_s: float) -> SensorPoints | None:
        """Return the points closest in time to an image; scan is asked where points has none.

        Returns:
            None where no points have come at all.

        Raises:
            PointsOutOfTime: none are near enough.
            BadFrameError: the message cannot be decoded; it is forgotten.
        """
        out_of_time: list[str] = []  # not the errors: each would keep its frames alive, and image
        for store in self._points:
            try:
                points = store.nearest(stamp_ns, max_offset_s)
                if points is not None:
                    return points
            except PointsOutOfTime as error:
                out_of_time.append(str(error))
        if out_of_time:
            raise PointsOutOfTime(out_of_time[0])
        return None

    def _camera_store(self, image: str) -> CameraStore:
        rectified = self._config.camera.rectified
        topic = self._node.resolve_topic_name(image)
        named_so = re.search(r'(^|[/_])rect([/_]|$)', topic) is not None
        return CameraStore(rectified == 'true' or (rectified == 'auto' and named_so))

    def _subscribe_to_images(
        self, name: str, depth: int, callback: Callable[[bytes], None]
    ) -> None:
        raw, resolved = self.image_kind is Image, self._node.resolve_topic_name(name)
        topic = name if raw else f'{resolved}/compressed'
        self._subscribe(name, self.image_kind, topic, depth, callback)

    def _subscribe_to_cameras(self, name: str, store: CameraStore) -> None:
        self._subscribe(name, CameraInfo, name, 5, self._kept_by(store))

    def _subscribe_to_second_camera(self) -> None:
        cameras = self._camera_store('right/image')
        self.second = SecondCamera(
            self.image_kind, cameras.for_image, self.transforms.between, self._config.limits
        )
        self._subscribe_to_images('right/image', 5, self._kept_by(self.second))
        self._subscribe_to_cameras('right/camera_info', cameras)
        self._unlatched['right/camera_info'] = cameras

    def _look_for_latched(self) -> None:
        """Subscribe once more where a camera_info was published before this node came.

        Best effort gets nothing of that, and only a publisher that is transient local keeps it;
        any other would warn of a subscription that asks for it.
        """
        for name, store in list(self._unlatched.items()):
            publishers = self._node.get_publishers_info_by_topic(self._named[name].topic_name)
            kinds = {publisher.qos_profile.durability for publisher in publishers}
            if DurabilityPolicy.TRANSIENT_LOCAL in kinds:
                del self._unlatched[name]
                self._create(
                    CameraInfo,
                    name,
                    QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL),
                    self._kept_by(store),
                    event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                )

    def _subscribe_to_points(self, limits: LimitsConfig) -> None:
        for name, kind, decode in (
            ('points', PointCloud2, decode_points), ('scan', LaserScan, decode_scan)
        ):
            store = PointStore(_decoder(kind, decode, limits), limits.sensor_memory)
            self._points.append(store)
            self._subscribe(name, kind, name, 10, self._kept_by(store))

    def _kept_by(self, store: CameraStore | PointStore | SecondCamera) -> Callable[[bytes], None]:
        def keep(data: bytes) -> None:
            try:
                store.add(data)
            except BadFrameError as error:
                self._refuse(error)

        return keep

    def _subscribe(
        self, name: str, kind: Any, topic: str, depth: int, callback: Callable[[bytes], None]
    ) -> None:
        qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        with qos_overridden(topic):
            self._named[name] = self._create(
                kind, topic, qos, callback, qos_overriding_options=QOS_OVERRIDES
            )

    def _create(
        self,
        kind: Any,
        topic: str,
        qos: QoSProfile,
        callback: Callable[[bytes], None],
        **options: Any,
    ) -> Subscription:
        subscription = self._node.create_subscription(
            kind, topic, callback, qos, raw=True, **options
        )
        self._subscriptions.append(subscription)
        return subscription


def _decoder(
    kind: Any, decode: Callable[[Any, LimitsConfig], SensorPoints], limits: LimitsConfig
) -> Callable[[bytes], SensorPoints]:
    return lambda data: decode(deserialize(data, kind), limits)
