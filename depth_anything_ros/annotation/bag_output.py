# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth as a ROS 2 bag: the original messages byte for byte, and depth/... beside each camera."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.typesys import get_types_from_idl, get_types_from_msg, get_typestore, Stores

from depth_anything_ros.annotation.output import Answer
from depth_anything_ros.annotation.topics import CameraTopics
from depth_anything_ros.errors import DatasetError, one_line
from depth_anything_ros.ros.bags import BagWriter, TYPES
from depth_anything_ros.ros.output_messages import (
    COMPRESSED_DEPTH,
    compressed_depth,
    output_messages,
)

_CDR = 'cdr'
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
            topics: of output_messages.TOPICS and COMPRESSED_DEPTH, those that are written.
            keep: whether the original topics are.

        Raises:
            DatasetError: an output would be written between the messages of an original topic.
        """
        self._writer, self._cameras = _Writer(path), cameras
        self._topics, self._kept = topics, copied(bag) if keep else []
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
        """Write an original message."""
        if _encoding(connection) == _CDR:
            self._writer.write_copy(connection, time_ns, data)

    def write_frame(self, answer: Answer) -> None:
        """Write what is known of an image, at the time at which that was recorded."""
        space, time_ns = self._cameras[answer.image.camera].namespace, answer.image.time_ns
        messages = output_messages(answer.frame, answer.header, f'{space}/depth_anything')
        if COMPRESSED_DEPTH in self._topics:
            compressed = compressed_depth(answer.frame, answer.header)
            messages |= {} if compressed is None else {COMPRESSED_DEPTH: compressed}
        for topic, message in messages.items():
            if topic in self._topics:
                self._write(f'{space}/{topic}', time_ns, message)

    def _write(self, topic: str, time_ns: int, message: Any) -> None:
        copy = _of_rosbags(message)
        if topic not in self._announced:
            self._announced.add(topic)
            self._writer.add_topic(topic, copy.__msgtype__)
        self._writer.write(topic, time_ns, bytes(TYPES.serialize_cdr(copy, copy.__msgtype__)))


def _of_rosbags(value: Any) -> Any:
    """Return a message of rclpy, or what is in one, as rosbags has it.

    rosbags writes zeros between fields, the middleware whatever memory held there: no two runs
    would give the same bytes.
    """
    if hasattr(value, 'get_fields_and_field_types'):
        kind = type(value)
        made = TYPES.types[f'{kind.__module__.partition(".")[0]}/msg/{kind.__name__}']
        names = value.get_fields_and_field_types()
        return made(**{name: _of_rosbags(getattr(value, name)) for name in names})
    if isinstance(value, list):
        return [_of_rosbags(each) for each in value]
    if isinstance(value, bytes):  # a byte
        return value[0]
    return np.asarray(value) if isinstance(value, array) else value


def copied(bag: Reader) -> list[Connection]:
    """Return the topics that a new bag may hold; no reader opens one with others than in CDR."""
    return [c for c in bag.connections if _encoding(c) == _CDR]


def left_out(bag: Reader) -> list[str]:
    """Return what is to be said of the others: where a bag is broken, they may be in CDR."""
    return [
        one_line(f'{c.topic} is not copied: its messages are said to be in {_encoding(c)!r}')
        for c in bag.connections if _encoding(c) != _CDR
    ]


def _encoding(connection: Connection) -> str:
    ext: Any = connection.ext
    return str(ext.serialization_format)


class _Writer(BagWriter):
    """A BagWriter that copies too."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._copies: dict[int, Connection] = {}  # by id of the original

    def copy_topic(self, original: Connection) -> None:
        """Announce a topic as it is in another bag."""
        ext: Any = original.ext
        for written in self._copies.values():
            there: Any = written.ext
            if (written.topic, written.msgtype) == (original.topic, original.msgtype) and (
                there.offered_qos_profiles == list(ext.offered_qos_profiles)
            ):
                self._copies[original.id] = written
                return
        text, digest = _definition(original)
        self._copies[original.id] = self._writer.add_connection(
            original.topic,
            original.msgtype,
            msgdef=text,
            rihs01=digest,
            serialization_format=ext.serialization_format,
            offered_qos_profiles=list(ext.offered_qos_profiles),
        )

    def write_copy(self, original: Connection, time_ns: int, data: bytes) -> None:
        """Write a message of another bag, byte for byte."""
        self._writer.write(self._copies[original.id], time_ns, data)


def _definition(connection: Connection) -> tuple[str, str]:
    """Return the text of a type's definition and its hash (REP 2011).

    Bags of before Iron have no text, and .mcap files no hash. Messages are copied as well without.
    """
    text, digest, name = connection.msgdef.data, connection.digest, connection.msgtype
    if not text and name in TYPES.fielddefs:
        return TYPES.generate_msgdef(name, ros_version=2)[0], TYPES.hash_rihs01(name)
    if text and not digest:
        is_idl = connection.msgdef.format is MessageDefinitionFormat.IDL
        store = get_typestore(Stores.EMPTY)
        try:
            store.register(get_types_from_idl(text) if is_idl else get_types_from_msg(text, name))
            digest = store.hash_rihs01(name)
        except Exception:  # what rosbags stumbles over in the text of others is of any kind
            digest = _NO_DIGEST
    return text, digest or _NO_DIGEST
