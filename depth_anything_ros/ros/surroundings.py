# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is known beside the images of one camera, live or from a bag, and what of it belongs to one.

Messages stay serialised until an image asks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_anything_ros.config import Config
from depth_anything_ros.metric_depth.depth_image import DepthImage
from depth_anything_ros.metric_depth.rangefinder import RangeReading
from depth_anything_ros.metric_depth.sources import Sweep, takes
from depth_anything_ros.ros.depth_messages import decode_depth, DepthReading
from depth_anything_ros.ros.messages import is_rectified
from depth_anything_ros.ros.second_camera import SecondCamera
from depth_anything_ros.ros.sensors import decoder_of, Input, Sensors
from depth_anything_ros.ros.stores import (
    CameraStore,
    MessageStore,
    MOST_READINGS,
    ReadingStore,
)
from depth_anything_ros.ros.transforms import Transforms


class Surroundings:
    """The stores of all inputs beside the images of one camera, and the transforms.

    Attributes:
        image_kind: message class of the images.
        own: name as in the contract (camera_info, right/image ...) -> input of this camera alone.
        inputs: the same, and those of the sensors (points ...).
        cameras: the camera models.
        transforms: where sensor and ground are.
        second: the other camera of a stereo pair; None where nobody asks for it.
    """

    def __init__(
        self,
        config: Config,
        transforms: Transforms,
        topic_of: Callable[[str], str],
        sensors: Sensors,
        camera: str = '',
        most: int = MOST_READINGS,
    ) -> None:
        """Know nothing yet.

        Args:
            config: the parameters.
            transforms: where sensor and ground are.
            topic_of: name of an input -> the topic that it is resolved to.
            sensors: what is measured beside all cameras.
            camera: name of this one among those that share the sensors.
            most: how many messages of a sensor are kept.
        """
        self.transforms, self._topic_of = transforms, topic_of
        self._sensors, self._camera = sensors, camera
        self.image_kind = CompressedImage if config.image_transport == 'compressed' else Image
        self.own: dict[str, Input] = {}
        self.cameras = self._cameras_of('image', config.camera.rectified)
        self.second: SecondCamera | None = None
        self._depth: ReadingStore[DepthReading] | None = None
        limits, method = config.limits, config.scale.method
        memory_mib = limits.sensor_memory
        if takes(method, 'depth'):
            transport = config.scale.depth_transport
            kind = Image if transport == 'raw' else CompressedImage
            depth_of = decoder_of(kind, partial(decode_depth, limits=limits))
            self._depth = ReadingStore(depth_of, memory_mib, 'depth images', most)
            self._depth_cameras = self._cameras_of('sensor_depth/image', 'auto')
            self.own['sensor_depth/image'] = Input(kind, self._depth, 5, transport)
        if takes(method, 'stereo'):
            cameras = self._cameras_of('right/image', config.camera.rectified)
            pose = transforms.second_camera
            self.second = SecondCamera(self.image_kind, cameras.for_image, pose, limits, most)
            self.own['right/image'] = Input(
                self.image_kind, self.second, 5, config.image_transport
            )
        self.inputs = {**self.own, **sensors.inputs}

    def add(self, name: str, data: bytes) -> None:
        """Keep a serialised message of an input.

        Raises:
            BadFrameError: it has no stamp, or is too large.
        """
        self.inputs[name].store.add(data)

    def hold(self, stamp_ns: int) -> None:
        """Keep what belongs to an image while the network is at it."""
        for each in self.inputs.values():
            if isinstance(each.store, MessageStore):
                each.store.hold(stamp_ns, self._camera)

    def clear(self) -> None:
        """Forget all but the cameras, where time has jumped back in a recording."""
        for each in self.inputs.values():
            if isinstance(each.store, MessageStore):
                each.store.clear()

    def sweep(self, camera_frame: str, stamp_ns: int, max_offset_s: float) -> Sweep | None:
        """Return the points closest in time to an image, as they were then, and the sensor's pose.

        Returns:
            None where no points have come at all.

        Raises:
            OutOfTime: none are near enough.
            BadFrameError: they cannot be decoded, or where the sensor is, is not known.
        """
        points = self._sensors.nearest_points(stamp_ns, max_offset_s)
        if points is None:
            return None
        return Sweep(*self.transforms.sensor(points, camera_frame, stamp_ns))

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
        echo = self._sensors.nearest_echo(stamp_ns, max_offset_s)
        if echo is None or echo.range_m is None:
            return None
        T = self.transforms.rangefinder(echo.frame_id, camera_frame, stamp_ns)
        return RangeReading(echo.range_m, echo.field_of_view_rad, T)

    def _cameras_of(self, image: str, setting: str) -> CameraStore:
        """Return the store of the camera_info beside an image."""
        name = f'{image[: -len("image")]}camera_info'
        said = f'{self._camera}/{name}' if self._camera else name
        store = CameraStore(is_rectified(setting, self._topic_of(image)), said)
        self.own[name] = Input(CameraInfo, store, 5)
        return store
