# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The records of mcap files (mcap.dev/spec), as far as they are all there."""

from __future__ import annotations

from collections.abc import Iterator
import struct
from typing import NamedTuple

from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat

from depth_anything_ros.ros.unpacking import MOST_BYTES, Unreadable

MAGIC = b'\x89MCAP0\r\n'
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, STATISTICS = 2, 3, 4, 5, 6, 11
KNOWN = {*range(1, 16), *range(0x80, 0x100)}  # 0x80 and up are anybody's own
RECORD = struct.Struct('<BQ')  # opcode, length
CHUNK_HEAD = struct.Struct('<QQQI')  # first and last time, size and CRC of what is unpacked
MESSAGE_HEAD = struct.Struct('<HIQQ')  # channel, sequence, times of logging and of publishing
LONGEST_CHUNK_HEAD = 100  # bytes, the name of its compression included
LAST_NS = 2**63 - 1  # in the year 2262, and the last that readers hold

_MOST_RECORDS = 1 << 20  # of a chunk; 10 kB of zeros unpack to 30 million empty ones
_FORMATS = {
    'ros2msg': MessageDefinitionFormat.MSG,
    'ros2idl': MessageDefinitionFormat.IDL,
    'omgidl': MessageDefinitionFormat.IDL,
}


class Schema(NamedTuple):
    """A type of messages."""

    name: str
    definition: MessageDefinition


class Channel(NamedTuple):
    """A topic; qos is YAML."""

    schema: int
    topic: str
    encoding: str
    qos: str


class Packed(NamedTuple):
    """The records of a chunk: where they begin, how they are packed, their size and CRC if not."""

    start: int
    packed_size: int
    compression: str
    size: int
    crc: int


class Fields:
    """Fields of a record, one after the other; each raises Unreadable where it is not there."""

    def __init__(self, data: bytes) -> None:
        """Begin at the beginning."""
        self.data, self.at = data, 0

    def number(self, kind: str) -> int:
        """Return a number, of a format of struct."""
        self.at += struct.calcsize(kind)
        if self.at > len(self.data):
            raise Unreadable('is shorter than what it should hold')
        return int(struct.unpack_from(kind, self.data, self.at - struct.calcsize(kind))[0])

    def block(self) -> bytes:
        """Return bytes that have their length in front."""
        size = self.number('<I')
        self.at += size
        if self.at > len(self.data):
            raise Unreadable('is shorter than what it should hold')
        return self.data[self.at - size : self.at]

    def string(self) -> str:
        """Return a text that has its length in front."""
        try:
            return self.block().decode()
        except UnicodeDecodeError as error:
            raise Unreadable('holds a text that is not UTF-8') from error


def records(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield opcode and content of the whole records that some data begin with."""
    view, at = memoryview(data), 0
    for _ in range(_MOST_RECORDS):
        if at + RECORD.size > len(data):
            return
        opcode, length = RECORD.unpack_from(data, at)
        start, at = at + RECORD.size, at + RECORD.size + length
        if not opcode or at > len(data):  # zeros, or an end that is not there
            return
        yield opcode, view[start:at]


def messages(data: bytes) -> Iterator[tuple[int, int, memoryview]]:
    """Yield channel, time of logging in nanoseconds and CDR of each whole message."""
    for opcode, content in records(data):
        if opcode == MESSAGE and len(content) >= MESSAGE_HEAD.size:
            channel, _, time_ns, _ = MESSAGE_HEAD.unpack_from(content)
            if time_ns > LAST_NS:  # in what was cut or has no checksum
                return
            yield channel, time_ns, content[MESSAGE_HEAD.size :]


def read_schema(data: bytes) -> tuple[int, Schema]:
    """Return the id of a schema, and the schema.

    Raises:
        Unreadable: it cannot be read.
    """
    fields = Fields(data)
    number, name, kind = fields.number('<H'), fields.string(), _FORMATS.get(fields.string())
    if kind is None:
        return number, Schema(name, MessageDefinition(MessageDefinitionFormat.NONE, ''))
    return number, Schema(name, MessageDefinition(kind, fields.string()))


def read_channel(data: bytes) -> tuple[int, Channel]:
    """Return the id of a channel, and the channel.

    Raises:
        Unreadable: it cannot be read.
    """
    fields = Fields(data)
    number, schema = fields.number('<H'), fields.number('<H')
    topic, encoding, pairs = fields.string(), fields.string(), Fields(fields.block())
    metadata = {}
    while pairs.at < len(pairs.data):
        key = pairs.string()
        metadata[key] = pairs.string()
    return number, Channel(schema, topic, encoding, metadata.get('offered_qos_profiles', ''))


def read_chunk_head(head: bytes, at: int) -> Packed:
    """Return what the beginning of a chunk says.

    Args:
        head: LONGEST_CHUNK_HEAD bytes of its content, or all.
        at: where in the file its content begins.

    Raises:
        Unreadable: it cannot be read, or has more than is ever unpacked.
    """
    if len(head) < CHUNK_HEAD.size:
        raise Unreadable('is too short for a chunk')
    _, _, size, crc = CHUNK_HEAD.unpack_from(head)
    fields = Fields(head[CHUNK_HEAD.size :])
    compression, packed_size = fields.string(), fields.number('<Q')
    if max(size, packed_size) > MOST_BYTES:
        raise Unreadable(f'is a chunk of {size} bytes; {MOST_BYTES} are the most')
    return Packed(at + CHUNK_HEAD.size + fields.at, packed_size, compression, size, crc)
