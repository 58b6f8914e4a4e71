# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is known beside the images of one camera, live or from a bag, and what of it belongs to one.

Messages stay serialised until an image asks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2, Range

from depth_anything_ros.config import Config
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.depth_image import DepthImage
from depth_anything_ros.metric_depth.rangefinder import RangeReading
from depth_anything_ros.metric_depth.sources import Sweep, takes
from depth_anything_ros.ros.depth_messages import decode_depth, DepthReading
from depth_anything_ros.ros.messages import decode_points, decode_scan, deserialize, is_rectified
from depth_anything_ros.ros.ranges import decode_range, Echo
from depth_anything_ros.ros.second_camera import SecondCamera
from depth_anything_ros.ros.stores import (
    CameraStore,
    MOST_READINGS,
    OutOfTime,
    Read,
    ReadingStore,
)
from depth_anything_ros.ros.transforms import Transforms


@dataclass(frozen=True)
class Input:
    """One input beside the image.

    Attributes:
        kind: message class.
        store: keeps its serialised messages; add() raises BadFrameError.
        depth: how many messages a subscription should queue.
        transport: image_transport's name of how images come, raw for all that are none.
    """

    kind: Any
    store: CameraStore | ReadingStore[Any] | SecondCamera
    depth: int
    transport: str = 'raw'


class Surroundings:
    """The stores of all inputs beside the images of one camera, and the transforms.

    Attributes:
        image_kind: message class of the images.
        inputs: name as in the contract (camera_info, points, right/image ...) -> input.
        cameras: the camera models.
        transforms: where sensor and ground are.
        second: the other camera of a stereo pair; None where nobody asks for it.
    """

    def __init__(
        self,
        config: Config,
        transforms: Transforms,
        topic_of: Callable[[str], str],
        most: int = MOST_READINGS,
    ) -> None:
        """Know nothing yet.

        Args:
            config: the parameters.
            transforms: where sensor and ground are.
            topic_of: name of an input -> the topic that it is resolved to.
            most: how many messages of a sensor are kept.
        """
        self.transforms, self._topic_of = transforms, topic_of
        self.image_kind = CompressedImage if config.image_transport == 'compressed' else Image
        self.inputs: dict[str, Input] = {}
        self.cameras = self._cameras_of('image', config.camera.rectified)
        self.second: SecondCamera | None = None
        self._points: list[ReadingStore[SensorPoints]] = []
        self._depth: ReadingStore[DepthReading] | None = None
        self._ranges: ReadingStore[Echo] | None = None
        limits, method = config.limits, config.scale.method
        memory_mib = limits.sensor_memory
        if takes(method, 'lidar'):
            for name, kind, decode in (
                ('points', PointCloud2, decode_points), ('scan', LaserScan, decode_scan)
            ):
                decoder = _decoder(kind, partial(decode, limits=limits))
                points = ReadingStore(decoder, memory_mib, most=most)
                self._points.append(points)
                self.inputs[name] = Input(kind, points, 10)
        if takes(method, 'depth'):
            transport = config.scale.depth_transport
            kind = Image if transport == 'raw' else CompressedImage
            depth_of = _decoder(kind, partial(decode_depth, limits=limits))
            self._depth = ReadingStore(depth_of, memory_mib, 'depth images', most)
            self._depth_cameras = self._cameras_of('sensor_depth/image', 'auto')
            self.inputs['sensor_depth/image'] = Input(kind, self._depth, 5, transport)
        if takes(method, 'stereo'):
            cameras = self._cameras_of('right/image', config.camera.rectified)
            pose = transforms.second_camera
            self.second = SecondCamera(self.image_kind, cameras.for_image, pose, limits, most)
            self.inputs['right/image'] = Input(
                self.image_kind, self.second, 5, config.image_transport
            )
        if takes(method, 'range'):
            self._ranges = ReadingStore(_decoder(Range, decode_range), memory_mib, 'ranges', most)
            self.inputs['range'] = Input(Range, self._ranges, 10)

    def add(self, name: str, data: bytes) -> None:
        """Keep a serialised message of an input.

        Raises:
            BadFrameError: it has no stamp, or is too large.
        """
        self.inputs[name].store.add(data)

    def hold(self, stamp_ns: int) -> None:
        """Keep what belongs to an image while the network is at it."""
        for each in self.inputs.values():
            if not isinstance(each.store, CameraStore):
                each.store.hold(stamp_ns)

    def clear(self) -> None:
        """Forget all but the cameras, where time has jumped back in a recording."""
        for each in self.inputs.values():
            if not isinstance(each.store, CameraStore):
                each.store.clear()

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

    def _cameras_of(self, image: str, setting: str) -> CameraStore:
        """Return the store of the camera_info beside an image."""
        name = f'{image[: -len("image")]}camera_info'
        store = CameraStore(is_rectified(setting, self._topic_of(image)), name)
        self.inputs[name] = Input(CameraInfo, store, 5)
        return store


def _decoder(kind: Any, decode: Callable[[Any], Read]) -> Callable[[bytes], Read]:
    return lambda data: decode(deserialize(data, kind))
