# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bag as a node would have met it, image by image: what belongs to each has arrived before it.

A bag is read once, in the order in which it was recorded, and a moment ahead of the images: so long
an image waits for what was recorded after it, and for images before it that came late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import heapq
from typing import Any, NamedTuple

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader

from depth_anything_ros.annotation.topics import CameraTopics
from depth_anything_ros.config import Config
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros.bags import read_recorded, TYPES
from depth_anything_ros.ros.cdr import check_cdr, NANOSECONDS
from depth_anything_ros.ros.messages import serialized_stamp_ns, stamp_to_ns
from depth_anything_ros.ros.sensors import Sensors
from depth_anything_ros.ros.stores import LONGEST_SWEEP_S
from depth_anything_ros.ros.surroundings import Surroundings
from depth_anything_ros.ros.transform_tree import TransformTree
from depth_anything_ros.ros.transforms import Transforms

LATE_S = 0.5  # by which messages come after what they belong to: transport, drivers, /tf
BACK_S = 1.0  # a stamp that is further back than this is not late: time has jumped back
MOST_READINGS = 500  # of a sensor: those that were read ahead, and some before

Refuse = Callable[[str, int, BadFrameError], Any]


class RecordedImage(NamedTuple):
    """One image, whose surroundings hold what belongs to it.

    Attributes:
        camera: which one, counted from 0.
        time_ns: time of recording.
        stamp_ns: time of the image.
        data: the serialised message.
    """

    camera: int
    time_ns: int
    stamp_ns: int
    data: bytes


class _Waiting(NamedTuple):
    """An image in the order in which images of a camera are answered."""

    stamp_ns: int
    number: int
    time_ns: int
    data: bytes


class _Reading(NamedTuple):
    """A message of an input that has been read and not yet told."""

    time_ns: int
    stamp_ns: int
    data: bytes


class _CameraQueue:
    """Images of one camera and messages beside them, on their way to its surroundings."""

    def __init__(self, surroundings: Surroundings, ahead_ns: int, refuse: Refuse) -> None:
        self.surroundings, self._ahead_ns, self._refuse = surroundings, ahead_ns, refuse
        self.images: list[_Waiting] = []  # a heap
        self._readings: dict[str, list[_Reading]] = {name: [] for name in surroundings.inputs}

    def add(self, name: str, reading: _Reading) -> None:
        if self.images:
            self._readings[name].append(reading)
        else:  # the next image will have been recorded later
            self._tell(name, reading)

    def next(self) -> _Waiting:
        """Take the first image, and tell what had come by its time or belongs to it."""
        image = heapq.heappop(self.images)
        self.surroundings.hold(image.stamp_ns)
        for name, readings in self._readings.items():
            of_camera = name.endswith('camera_info')
            until_ns = image.stamp_ns + (0 if of_camera else self._ahead_ns)
            due = [r.time_ns <= image.time_ns or r.stamp_ns <= until_ns for r in readings]
            for reading, is_due in zip(readings, due):
                if is_due:
                    self._tell(name, reading)
            self._readings[name] = [r for r, is_due in zip(readings, due) if not is_due]
        return image

    def relax(self) -> None:
        """Tell what is left, where no image waits."""
        if not self.images:
            for name, readings in self._readings.items():
                for reading in readings:
                    self._tell(name, reading)
                readings.clear()

    def _tell(self, name: str, reading: _Reading) -> None:
        try:
            self.surroundings.add(name, reading.data)
        except BadFrameError as error:
            self._refuse(name, reading.time_ns, error)


class Recording:
    """The cameras of a bag, each with its surroundings.

    Attributes:
        cameras: their topics.
        surroundings: one for each camera.
    """

    def __init__(
        self,
        bag: Reader,
        cameras: list[CameraTopics],
        config: Config,
        refuse: Refuse,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> None:
        """Learn what holds at all times: static transforms, and a first camera_info each.

        Args:
            bag: an open one.
            cameras: which topics are what.
            config: the node's parameters.
            refuse: told of a message that cannot be used: topic, time of recording and why.
            start_ns: images recorded from then on; None is from the beginning.
            stop_ns: images recorded before; None is up to the end.

        Raises:
            DatasetError: the bag is corrupt.
        """
        self._bag, self.cameras, self._refuse = bag, cameras, refuse
        self._start_ns, self._stop_ns = start_ns, stop_ns
        self._tree = TransformTree()
        # What belongs to an image has a stamp of so much later at most, and comes with a delay.
        ahead_s = config.scale.max_time_offset + LONGEST_SWEEP_S
        self._ahead_ns = round(ahead_s * NANOSECONDS)
        self._patience_ns = self._ahead_ns + round(LATE_S * NANOSECONDS)
        self._newest_ns: dict[str, int] = {}  # by topic of images, or moving frame
        self._queues = []
        for camera in cameras:
            configured = camera.configured(config)
            transforms = Transforms(configured.scale, self._tree)
            # Of its own, although cameras of a bag share topics: each reads them at its own pace.
            sensors = Sensors(configured, MOST_READINGS)
            around = Surroundings(
                configured, transforms, camera.topic_of, sensors, most=MOST_READINGS
            )
            self._queues.append(_CameraQueue(around, self._ahead_ns, refuse))
        self.surroundings = [queue.surroundings for queue in self._queues]
        self._readers: dict[str, list[tuple[_CameraQueue, str]]] = {}  # by topic
        for camera, queue in zip(cameras, self._queues):
            for name, topic in camera.inputs.items():
                if name in queue.surroundings.inputs:
                    self._readers.setdefault(topic, []).append((queue, name))
        self._images = {camera.topic: i for i, camera in enumerate(cameras)}
        self._learn()

    @property
    def connections(self) -> list[Connection]:
        """Those of the bag that images and inputs are on."""
        used = {*self._images, *self._readers}
        return [c for c in self._bag.connections if c.topic in used or _is_tf(c)]

    def images(
        self,
        connections: list[Connection],
        on_message: Callable[[Connection, int, bytes], Any] = lambda *_: None,
    ) -> Iterator[RecordedImage]:
        """Read the bag, and yield the images of each camera by stamp as their turn comes.

        Args:
            connections: what is read; the own ones among them.
            on_message: called with each message of them as it is read.

        Raises:
            DatasetError: the bag is corrupt.
        """
        number, stop_ns = 0, self._stop_ns
        end_ns = None if stop_ns is None else stop_ns + self._patience_ns
        for connection, time_ns, data in read_recorded(
            self._bag, connections, self._start_ns, end_ns
        ):
            inside = stop_ns is None or time_ns < stop_ns
            if inside:
                on_message(connection, time_ns, data)
            topic = connection.topic
            try:
                if _is_tf(connection):
                    yield from self._add_transforms(topic, data)
                    continue
                if topic not in self._images and topic not in self._readers:
                    continue
                stamp_ns = serialized_stamp_ns(data)
            except BadFrameError as error:
                self._refuse(topic, time_ns, error)
                continue
            if topic in self._images and self._jumps_back(topic, stamp_ns):
                yield from self._begin_anew()
                self._newest_ns[topic] = stamp_ns
            for queue, name in self._readers.get(topic, []):
                queue.add(name, _Reading(time_ns, stamp_ns, data))
            if topic in self._images and inside:
                number += 1
                queue = self._queues[self._images[topic]]
                heapq.heappush(queue.images, _Waiting(stamp_ns, number, time_ns, data))
            yield from self._due(time_ns - self._patience_ns)
        yield from self._due(None)

    def _due(self, until_ns: int | None) -> Iterator[RecordedImage]:
        """Yield the images that were recorded until a time; all where that is None."""
        for camera, queue in enumerate(self._queues):
            while queue.images and (until_ns is None or queue.images[0].time_ns <= until_ns):
                image = queue.next()
                yield RecordedImage(camera, image.time_ns, image.stamp_ns, image.data)
                queue.relax()

    def _add_transforms(self, topic: str, data: bytes) -> Iterator[RecordedImage]:
        transforms, static = _transforms(data), topic.endswith('/tf_static')
        if not static:
            stamps_ns = {t.child_frame_id: stamp_to_ns(t.header.stamp) for t in transforms}
            jumps = [self._jumps_back(f'tf {child}', t) for child, t in stamps_ns.items()]
            if any(jumps):
                yield from self._begin_anew()
                self._newest_ns.update({f'tf {child}': t for child, t in stamps_ns.items()})
        self._tree.add(transforms, static)

    def _jumps_back(self, of: str, stamp_ns: int) -> bool:
        newest_ns = self._newest_ns.get(of, stamp_ns)
        self._newest_ns[of] = max(newest_ns, stamp_ns)
        return stamp_ns < newest_ns - BACK_S * NANOSECONDS

    def _begin_anew(self) -> Iterator[RecordedImage]:
        """Answer what waits, and forget all that would belong to another time."""
        yield from self._due(None)
        self._newest_ns.clear()
        self._tree.clear()
        for around in self.surroundings:
            around.clear()

    def _learn(self) -> None:
        """Read what is latched, wherever in the bag it stands; of several the first holds first."""
        for connection in self._bag.connections:
            if _is_tf(connection) and connection.topic.endswith('/tf_static'):
                for _, time_ns, data in read_recorded(self._bag, [connection]):
                    self._learn_transforms(connection.topic, time_ns, data)
            readers = self._readers.get(connection.topic, [])
            infos = [(q, name) for q, name in readers if name.endswith('camera_info')]
            if infos:
                for _, time_ns, data in read_recorded(self._bag, [connection]):
                    for queue, name in infos:
                        queue.add(name, _Reading(time_ns, 0, data))
                    break

    def _learn_transforms(self, topic: str, time_ns: int, data: bytes) -> None:
        try:
            new = [t for t in _transforms(data) if not self._tree.has_static(t.child_frame_id)]
            self._tree.add(new, static=True)
        except BadFrameError as error:
            self._refuse(topic, time_ns, error)


def _is_tf(connection: Connection) -> bool:
    is_topic = connection.topic.endswith(('/tf', '/tf_static'))
    return is_topic and connection.msgtype == 'tf2_msgs/msg/TFMessage'


def _transforms(data: bytes) -> list[Any]:
    check_cdr(data, 'TFMessage')
    message: Any = TYPES.deserialize_cdr(data, 'tf2_msgs/msg/TFMessage')
    transforms: list[Any] = message.transforms
    return transforms
