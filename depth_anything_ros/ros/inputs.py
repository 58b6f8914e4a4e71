# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node subscribes to, and what of it belongs to an image."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
import re
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2, Range

from depth_anything_ros.config import Config, LimitsConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.depth_image import DepthImage
from depth_anything_ros.metric_depth.rangefinder import RangeReading
from depth_anything_ros.metric_depth.sources import Sweep, takes
from depth_anything_ros.ros.depth_messages import decode_depth, DepthReading
from depth_anything_ros.ros.messages import (
    decode_points,
    decode_scan,
    deserialize,
)
from depth_anything_ros.ros.parameters import qos_overridden, QOS_OVERRIDES
from depth_anything_ros.ros.ranges import decode_range, Echo
from depth_anything_ros.ros.second_camera import SecondCamera
from depth_anything_ros.ros.stores import CameraStore, OutOfTime, Read, ReadingStore
from depth_anything_ros.ros.transforms import Transforms

LOOK_S = 0.5  # between two looks for a camera_info that is latched


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
                    _decoder(Range, decode_range),
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

    def hold(self, stamp_ns: int) -> None:
        """Keep what belongs to an image while the network is at it."""
        for store in (*self._points, self._depth, self._ranges, self.second):
            if store is not None:
                store.hold(stamp_ns)

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
            store = ReadingStore(
                _decoder(kind, partial(decode, limits=limits)), limits.sensor_memory
            )
            self._points.append(store)
            self._subscribe(name, kind, name, 10, self._kept_by(store))

    def _subscribe_to_depth(self, config: Config) -> None:
        topic = self._node.resolve_topic_name('sensor_depth/image')
        raw = config.scale.depth_transport == 'raw'
        kind = Image if raw else CompressedImage
        self._depth = ReadingStore(
            _decoder(kind, partial(decode_depth, limits=config.limits)),
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


def _decoder(kind: Any, decode: Callable[[Any], Read]) -> Callable[[bytes], Read]:
    return lambda data: decode(deserialize(data, kind))
