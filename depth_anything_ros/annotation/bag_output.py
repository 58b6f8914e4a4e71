# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth as a ROS 2 bag: the original messages byte for byte, and depth/... beside each camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message
from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.typesys import get_types_from_idl, get_types_from_msg, get_typestore, Stores

from depth_anything_ros.annotation.recording import RecordedImage
from depth_anything_ros.annotation.topics import CameraTopics
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.pipeline import DepthFrame
from depth_anything_ros.ros.bags import BagWriter, TYPES
from depth_anything_ros.ros.frame_step import Seen
from depth_anything_ros.ros.output_messages import output_messages

_NO_DIGEST = 'RIHS01_' + 64 * '0'  # of a type whose definition is not in the bag


class BagOutput:
    """Writes mcap; a context manager."""

    def __init__(
        self, path: Path, bag: Reader, cameras: list[CameraTopics], topics: frozenset[str],
        keep: bool,
    ) -> None:
        """Prepare a new bag.

        Args:
            path: folder that does not exist yet.
            bag: the recording, open.
            cameras: its cameras.
            topics: of output_messages.TOPICS, those that are written.
            keep: whether the original topics are.

        Raises:
            DatasetError: an output would be written between the messages of an original topic.
        """
        self._writer, self._cameras = _Writer(path), cameras
        self._topics, self._kept = topics, list(bag.connections) if keep else []
        self._announced: set[str] = set()
        there = {c.topic for c in self._kept}
        for camera in cameras:
            for topic in sorted(topics):
                if (name := f'{camera.namespace}/{topic}') in there:
                    raise DatasetError(
                        f'{bag.path} has {name} already: --only-new writes new topics alone'
                    )

    def __enter__(self) -> BagOutput:
        self._writer.__enter__()
        for connection in self._kept:
            self._writer.copy_topic(connection)
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.__exit__(*error)

    def keep(self, connection: Connection, time_ns: int, data: bytes) -> None:
        """Write an original message where the original topics are kept."""
        if self._kept:
            self._writer.write_copy(connection, time_ns, data)

    def write_frame(self, image: RecordedImage, seen: Seen, frame: DepthFrame) -> None:
        """Write what is known of an image, at the time at which that was recorded."""
        space = self._cameras[image.camera].namespace
        messages = output_messages(frame, seen.header, f'{space}/depth_anything')
        for topic, message in messages.items():
            if topic in self._topics:
                self._write(f'{space}/{topic}', image.time_ns, message)

    def _write(self, topic: str, time_ns: int, message: Any) -> None:
        kind = type(message)
        msgtype = f'{kind.__module__.partition(".")[0]}/msg/{kind.__name__}'
        if topic not in self._announced:
            self._announced.add(topic)
            self._writer.add_topic(topic, msgtype)
        # Twice, since the middleware leaves what is between two fields as memory happens to be.
        copy = TYPES.deserialize_cdr(serialize_message(message), msgtype)
        self._writer.write(topic, time_ns, bytes(TYPES.serialize_cdr(copy, msgtype)))


class _Writer(BagWriter):
    """A BagWriter that copies too."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._copies: dict[int, Connection] = {}  # by id of the original

    def copy_topic(self, original: Connection) -> None:
        """Announce a topic as it is in another bag."""
        text = original.msgdef.data
        ext: Any = original.ext
        for written in self._copies.values():
            there: Any = written.ext
            if (written.topic, written.msgtype) == (original.topic, original.msgtype) and (
                there.offered_qos_profiles == list(ext.offered_qos_profiles)
            ):
                self._copies[original.id] = written
                return
        self._copies[original.id] = self._writer.add_connection(
            original.topic,
            original.msgtype,
            msgdef=text,
            rihs01=original.digest or _digest(original),
            serialization_format=ext.serialization_format,
            offered_qos_profiles=list(ext.offered_qos_profiles),
        )

    def write_copy(self, original: Connection, time_ns: int, data: bytes) -> None:
        """Write a message of another bag, byte for byte."""
        self._writer.write(self._copies[original.id], time_ns, data)


def _digest(connection: Connection) -> str:
    """Return the hash of a type (REP 2011), which .mcap files do without."""
    of = {
        MessageDefinitionFormat.MSG: lambda text: get_types_from_msg(text, connection.msgtype),
        MessageDefinitionFormat.IDL: get_types_from_idl,
    }.get(connection.msgdef.format)
    if of is None:
        return _NO_DIGEST
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(of(connection.msgdef.data))
        return store.hash_rihs01(connection.msgtype)
    except Exception:  # whatever rosbags stumbles over in a definition; messages are copied as well
        return _NO_DIGEST
