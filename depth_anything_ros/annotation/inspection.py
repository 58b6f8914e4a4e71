# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What annotating a bag would come to, before any network runs: is every camera anchored, by what?

A few images of each camera are taken apart and their inputs looked up as annotate does it; all
messages are read for their times. Broken bags are read as far as they go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader

from depth_anything_ros.annotation.advice import camera_facts, CameraFacts, Context
from depth_anything_ros.annotation.camera_watch import CameraWatch
from depth_anything_ros.annotation.recording import Recording
from depth_anything_ros.annotation.topic_facts import TopicFacts, TopicWatch, transforms_of
from depth_anything_ros.annotation.topics import CameraTopics, find_cameras
from depth_anything_ros.config import Config
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.ros.bags import of_type, open_bag, read_messages
from depth_anything_ros.ros.frame_links import Frames
from depth_anything_ros.ros.images import DEPTH_ENCODINGS
from depth_anything_ros.ros.messages import NANOSECONDS

LOOKED_AT = 20  # images of each camera, spread evenly
_OURS = ('/depth/relative', '/depth/stddev')  # of this node: their values are no depth
_SENSORS = {
    'sensor_msgs/msg/PointCloud2': 'points',
    'sensor_msgs/msg/LaserScan': 'scan',
    'sensor_msgs/msg/Range': 'range',
}


@dataclass(frozen=True)
class Wanted:
    """What annotate would be called with.

    Attributes:
        cameras: topics of images; empty is all.
        remapped: input of the node -> topic.
        camera_info: serialised CameraInfo for cameras that have none in the bag; None is none.
    """

    cameras: tuple[str, ...] = ()
    remapped: Mapping[str, str] = field(default_factory=dict)
    camera_info: bytes | None = None


@dataclass(frozen=True)
class Inspection:
    """What is in a bag, and what annotate would make of it.

    Attributes:
        bag: its path.
        duration_s: from the first to the last message.
        loss: what cannot be read, in one line; empty for nothing.
        topics: all of them, by name.
        depth_images: topics of depth images.
        sensors: topic of each cloud, scan and range -> the input that it can be.
        cameras: those that would be annotated.
        notes: what was chosen, and why.
    """

    bag: str
    duration_s: float
    loss: str
    topics: list[TopicFacts]
    depth_images: list[str]
    sensors: dict[str, str]
    cameras: list[CameraFacts]
    notes: list[str]

    @property
    def ready(self) -> bool:
        """Whether there are cameras, and each would be in metres."""
        return bool(self.cameras) and all(camera.ready for camera in self.cameras)


def inspect(path: str | Path, wanted: Wanted, config: Config, metric: bool) -> Inspection:
    """Look into a bag.

    Args:
        path: of the bag.
        wanted: what is looked for.
        config: the node's parameters.
        metric: whether the network predicts metres by itself.

    Raises:
        DatasetError: there is no bag, nothing in it can be read, or it lacks a topic that is
            wanted.
    """
    with open_bag(path, recover=True) as bag:
        watches = {c.id: TopicWatch(c.topic, c.msgtype) for c in bag.connections}
        frames, notes = Frames(), list[str]()
        cameras = _cameras(bag, wanted, notes)
        refused: Counter[str] = Counter()
        recording = Recording(
            bag, cameras, config, lambda topic, _, error: refused.update([f'{topic}: {error}'])
        )
        looks = []
        for camera, around in zip(cameras, recording.surroundings):
            if 'camera_info' not in camera.inputs and wanted.camera_info is not None:
                around.add('camera_info', wanted.camera_info)
            count = sum(c.msgcount for c in bag.connections if c.topic == camera.topic)
            looks.append(CameraWatch(camera, around, config, count, LOOKED_AT))

        def watch(connection: Connection, time_ns: int, data: bytes) -> None:
            watches[connection.id].add(time_ns, data)
            if connection.msgtype == 'tf2_msgs/msg/TFMessage':
                frames.add(transforms_of(data), connection.topic.endswith('static'))

        for image in recording.images(list(bag.connections), watch):
            looks[image.camera].add(image)
        every = sorted((watch.facts() for watch in watches.values()), key=lambda f: f.topic)
        topics = {facts.topic: facts for facts in every}
        sensors = {
            c.topic: _SENSORS[c.msgtype]
            for c in bag.connections if c.msgtype in _SENSORS and c.msgcount
        }
        about = Context(
            str(path), topics, sensors, _depth_images(bag), _sizes(bag), frames, config, metric,
            wanted.camera_info is not None, len(looks) > 1,
        )
        notes += [f'{reason} ({count} messages)' for reason, count in refused.most_common(5)]
        return Inspection(
            str(path),
            max(0, bag.duration - 1) / NANOSECONDS,
            str(bag.loss) if bag.loss else '',
            every,
            about.depth_images,
            sensors,
            [camera_facts(look, about) for look in looks],
            notes,
        )


def _cameras(bag: Reader, wanted: Wanted, notes: list[str]) -> list[CameraTopics]:
    """Find the cameras; where none is asked for, there may be none."""
    try:
        cameras, told = find_cameras(bag, wanted.cameras, wanted.remapped)
    except DatasetError as error:
        if wanted.cameras or wanted.remapped:
            raise
        notes.append(str(error))
        return []
    notes += told
    return cameras


def _first(bag: Reader, connection: Connection) -> Any:
    """Return the first message of a topic that is one, None where there is none."""
    for _, message in read_messages(bag, [connection]):
        return message
    return None


def _depth_images(bag: Reader) -> list[str]:
    """Return the topics of depth images that a driver may have made."""
    found = []
    for connection in of_type(bag, 'Image') + of_type(bag, 'CompressedImage'):
        if connection.topic.endswith(_OURS):
            continue
        message = _first(bag, connection)
        form = str(getattr(message, 'encoding', '') or getattr(message, 'format', ''))
        if form in DEPTH_ENCODINGS or 'compressedDepth' in form:
            found.append(connection.topic)
    return found


def _sizes(bag: Reader) -> dict[str, tuple[int, int]]:
    """Return width and height that each CameraInfo describes."""
    first = {c.topic: _first(bag, c) for c in of_type(bag, 'CameraInfo')}
    return {topic: (info.width, info.height) for topic, info in first.items() if info is not None}
