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
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2, Range

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, LimitsConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.depth_image import DepthImage
from depth_anything_ros.metric_depth.rangefinder import RangeReading
from depth_anything_ros.metric_depth.sources import Sweep, takes
from depth_anything_ros.ros.depth_messages import decode_depth, DepthReading
from depth_anything_ros.ros.messages import (
    decode_camera,
    decode_points,
    decode_scan,
    deserialize,
    NANOSECONDS,
    serialized_stamp_ns,
)
from depth_anything_ros.ros.parameters import qos_overridden, QOS_OVERRIDES
from depth_anything_ros.ros.ranges import decode_range, Echo
from depth_anything_ros.ros.second_camera import SecondCamera
from depth_anything_ros.ros.transforms import Transforms

LOOK_S = 0.5  # between two looks for a camera_info that is latched
CAMERA_WAIT_S = 0.02  # for the camera_info of an image that has overtaken it
CAMERA_BYTES = 1 << 16  # a hundred times what a camera_info needs
LONGEST_SWEEP_S = 0.2  # of a lidar that turns five times a second; messages farther apart are shots


class OutOfTime(BadFrameError):
    """A sensor has spoken, but not near enough in time to the image."""


class CameraStore:
    """The camera of an image: the info of the same stamp, else the latest."""

    def __init__(self, rectified: bool, topic: str = 'camera_info') -> None:
        """Keep nothing yet.

        Args:
            rectified: whether the images have been rectified already.
            topic: what the infos come on, for what is said of them.
        """
        self._rectified, self._topic = rectified, topic
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

    def for_image(self, image: NDArray[Any], stamp_ns: int) -> Camera:
        """Return the camera; the same object as long as nothing in the messages changes.

        Where infos come with exactly the stamps of the images, an info that the image has overtaken
        is waited for: the latest one may be of another zoom.

        Args:
            image: HxW or HxWx3, the image that it is to describe.
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
                f'image is {image.shape[1]}x{image.shape[0]} but {self._topic} describes '
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
                    f'images arrive but no {self._topic}: remap {self._topic} to the topic beside '
                    'the image',
                )
            return self._messages.get(stamp_ns, list(self._messages.values())[-1])


class Reading(Protocol):
    """What a sensor said, decoded."""

    @property
    def frame_id(self) -> str:
        """Name of the sensor's frame."""

    @property
    def sweep_s(self) -> tuple[float, float] | None:
        """When it begins and ends, in seconds after its stamp; None where it does not say."""


Read = TypeVar('Read', bound=Reading)


class ReadingStore(Generic[Read]):
    """The last few messages of one sensor, decoded when an image asks for them."""

    def __init__(
        self, decode: Callable[[bytes], Read], memory_mib: int, what: str = 'points'
    ) -> None:
        """Keep nothing yet.

        Args:
            decode: takes a serialised message apart.
            memory_mib: what the messages may take together.
            what: they are called.
        """
        self._decode, self._memory_mib, self._what = decode, memory_mib, what
        self._lock = threading.Lock()
        self._entries: deque[tuple[int, bytes]] = deque()
        self._decoded: tuple[bytes, Read] | None = None
        self._sweep_s: tuple[float, float] | None = None

    def add(self, data: bytes) -> None:
        """Keep a serialised message, and drop the oldest of what is too much with it.

        Raises:
            BadFrameError: the message has no stamp, or is too large by itself.
        """
        stamp_ns, most = serialized_stamp_ns(data), self._memory_mib << 20
        if len(data) > most:
            raise BadFrameError(
                f'{self._what}_too_large',
                f'{self._what} of {len(data) / (1 << 20):.0f} MiB exceed limits.sensor_memory '
                f'({self._memory_mib} MiB): raise it, or have the sensor send less',
            )
        with self._lock:
            self._entries.append((stamp_ns, data))
            while len(self._entries) > 20 or sum(len(d) for _, d in self._entries) > most:
                self._entries.popleft()

    def nearest(self, stamp_ns: int, max_offset_s: float) -> Read | None:
        """Return the reading closest in time to an image, or None where none have come.

        The time between a sweep and an image is zero where the image was taken during the sweep.
        How long a sweep lasts is told by the times of its points. Without those it lasts about as
        long as the next one takes to come, before or after its stamp: drivers differ.

        Raises:
            OutOfTime: the closest is too far away.
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
        reading = self._decoded[1]
        self._sweep_s = reading.sweep_s
        offset_s = _outside(
            (stamp_ns - when_ns) / NANOSECONDS, self._sweep_s or (-period_s, period_s)
        )
        if abs(offset_s) > max_offset_s:
            raise OutOfTime(
                f'{self._what}_out_of_time',
                _out_of_time(f'{self._what} ({reading.frame_id})', offset_s, max_offset_s),
            )
        return reading


def _period_s(stamps_ns: list[int]) -> float:
    """Return the usual time between messages; 0 where it is too long for sweep after sweep."""
    steps_ns = [b - a for a, b in zip(stamps_ns, stamps_ns[1:]) if b > a]
    period_s = median(steps_ns) / NANOSECONDS if steps_ns else 0.0
    return period_s if period_s <= LONGEST_SWEEP_S else 0.0


def _outside(time_s: float, interval_s: tuple[float, float]) -> float:
    """Return how far a time lies behind (positive) or before (negative) an interval, 0 within."""
    return time_s - min(max(time_s, interval_s[0]), interval_s[1])


def _out_of_time(nearest: str, offset_s: float, max_offset_s: float) -> str:
    side = 'older' if offset_s > 0 else 'newer'
    what = f'the nearest {nearest} are {abs(offset_s):.2f} s {side} than the image'
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
        self._points: list[ReadingStore[SensorPoints]] = []
        self._depth: ReadingStore[DepthReading] | None = None
        self._ranges: ReadingStore[Echo] | None = None
        self._unlatched: dict[str, CameraStore] = {}  # by topic
        self._config, raw = config, config.image_transport == 'raw'
        self.image_kind = Image if raw else CompressedImage
        self.transforms = Transforms(node, config.scale, refuse)
        self.second: SecondCamera | None = None
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._look = node.create_timer(LOOK_S, self._look_for_latched, clock=steady)
        with ExitStack() as undo:
            undo.callback(self.close)
            self._subscribe_to_images('image', 1, on_image)
            self.cameras = self._subscribe_to_cameras('image', config.camera.rectified)
            if takes(config.scale.method, 'lidar'):
                self._subscribe_to_points(config.limits)
            if takes(config.scale.method, 'depth'):
                self._subscribe_to_depth(config)
            if takes(config.scale.method, 'stereo'):
                self._subscribe_to_second_camera()
            if takes(config.scale.method, 'range'):
                self._ranges = ReadingStore(
                    lambda data: decode_range(deserialize(data, Range)),
                    config.limits.sensor_memory,
                    'ranges',
                )
                self._subscribe('range', Range, 'range', 10, self._kept_by(self._ranges))
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

    def sweep(self, camera_frame: str, stamp_ns: int, max_offset_s: float) -> Sweep | None:
        """Return nearest_points() as they were at the time of the image, and where the sensor is.

        Raises:
            BadFrameError: as there, or where the sensor is, is not known.
        """
        points = self.nearest_points(stamp_ns, max_offset_s)
        if points is None:
            return None
        return Sweep(*self.transforms.sensor(points, camera_frame, stamp_ns))

    def nearest_points(self, stamp_ns: int, max_offset_s: float) -> SensorPoints | None:
        """Return the points closest in time to an image; scan is asked where points has none.

        Returns:
            None where no points have come at all.

        Raises:
            OutOfTime: none are near enough.
            BadFrameError: the message cannot be decoded; it is forgotten.
        """
        # Not the errors: each would keep its frames alive, and image.
        out_of_time: list[tuple[str, str]] = []
        for store in self._points:
            try:
                points = store.nearest(stamp_ns, max_offset_s)
                if points is not None:
                    return points
            except OutOfTime as error:
                out_of_time.append((error.reason, str(error)))
        if out_of_time:
            raise OutOfTime(*out_of_time[0])
        return None

    def depth_image(
        self, camera_frame: str, stamp_ns: int, max_offset_s: float
    ) -> DepthImage | None:
        """Return what a depth camera saw closest in time to an image.

        Returns:
            None where no depth image has come.

        Raises:
            OutOfTime: none is near enough.
            BadFrameError: it cannot be decoded, its camera_info is missing or of another size, or
                TF does not say where the depth camera is.
        """
        if self._depth is None:
            return None
        reading = self._depth.nearest(stamp_ns, max_offset_s)
        if reading is None:
            return None
        camera = self._depth_cameras.for_image(reading.depth_m, reading.stamp_ns)
        T = self.transforms.depth_camera(reading.frame_id, camera_frame, stamp_ns)
        return DepthImage(reading.depth_m, camera, T)

    def ranging(
        self, camera_frame: str, stamp_ns: int, max_offset_s: float
    ) -> RangeReading | None:
        """Return what a rangefinder said closest in time to an image.

        Returns:
            None where none has spoken, or it has seen nothing within its reach.

        Raises:
            OutOfTime: it has not spoken near enough in time.
            BadFrameError: the message makes no sense, or TF does not say where the sensor is.
        """
        if self._ranges is None:
            return None
        echo = self._ranges.nearest(stamp_ns, max_offset_s)
        if echo is None or echo.range_m is None:
            return None
        T = self.transforms.rangefinder(echo.frame_id, camera_frame, stamp_ns)
        return RangeReading(echo.range_m, echo.field_of_view_rad, T)

    def _subscribe_to_images(
        self, name: str, depth: int, callback: Callable[[bytes], None]
    ) -> None:
        raw, resolved = self.image_kind is Image, self._node.resolve_topic_name(name)
        topic = name if raw else f'{resolved}/compressed'
        self._subscribe(name, self.image_kind, topic, depth, callback)

    def _subscribe_to_cameras(self, image: str, setting: str) -> CameraStore:
        """Subscribe to the camera_info beside an image."""
        topic = f'{image[: -len("image")]}camera_info'
        store = CameraStore(_is_rectified(setting, self._node.resolve_topic_name(image)), topic)
        self._unlatched[topic] = store
        self._subscribe(topic, CameraInfo, topic, 5, self._kept_by(store))
        return store

    def _subscribe_to_second_camera(self) -> None:
        cameras = self._subscribe_to_cameras('right/image', self._config.camera.rectified)
        pose = self.transforms.second_camera
        self.second = SecondCamera(self.image_kind, cameras.for_image, pose, self._config.limits)
        self._subscribe_to_images('right/image', 5, self._kept_by(self.second))

    def _look_for_latched(self) -> None:
        """Subscribe once more where a camera_info was published before this node came.

        Best effort gets nothing of that, and only a publisher that is transient local keeps it;
        any other would warn of a subscription that asks for it.
        """
        for topic, store in list(self._unlatched.items()):
            publishers = self._node.get_publishers_info_by_topic(self._named[topic].topic_name)
            kinds = {publisher.qos_profile.durability for publisher in publishers}
            if DurabilityPolicy.TRANSIENT_LOCAL in kinds:
                del self._unlatched[topic]
                self._create(
                    CameraInfo,
                    topic,
                    QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL),
                    self._kept_by(store),
                    event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                )

    def _subscribe_to_points(self, limits: LimitsConfig) -> None:
        for name, kind, decode in (
            ('points', PointCloud2, decode_points), ('scan', LaserScan, decode_scan)
        ):
            store = ReadingStore(_decoder(kind, decode, limits), limits.sensor_memory)
            self._points.append(store)
            self._subscribe(name, kind, name, 10, self._kept_by(store))

    def _subscribe_to_depth(self, config: Config) -> None:
        topic = self._node.resolve_topic_name('sensor_depth/image')
        raw = config.scale.depth_transport == 'raw'
        kind = Image if raw else CompressedImage
        self._depth = ReadingStore(
            lambda data: decode_depth(deserialize(data, kind), config.limits),
            config.limits.sensor_memory,
            'depth images',
        )
        self._depth_cameras = self._subscribe_to_cameras('sensor_depth/image', 'auto')
        self._subscribe(
            'sensor_depth/image',
            kind,
            topic if raw else f'{topic}/compressedDepth',
            5,
            self._kept_by(self._depth),
        )

    def _kept_by(
        self, store: CameraStore | ReadingStore[Any] | SecondCamera
    ) -> Callable[[bytes], None]:
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


def _is_rectified(setting: str, topic: str) -> bool:
    """Tell whether images have been rectified; auto goes by the resolved name of their topic."""
    named = re.search(r'(^|[/_])rect([/_]|$)', topic) is not None
    return setting == 'true' or (setting == 'auto' and named)


def _decoder(
    kind: Any, decode: Callable[[Any, LimitsConfig], SensorPoints], limits: LimitsConfig
) -> Callable[[bytes], SensorPoints]:
    return lambda data: decode(deserialize(data, kind), limits)
