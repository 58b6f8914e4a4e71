# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The messages of an mcap file that can be read, without belief in its index, lengths or end.

The file is walked once, record by record (mcap.dev/spec), every chunk unpacked and its checksum
compared; what is whole makes a new index. Where a length leads nowhere the walk goes on at the next
thing that is a chunk. (rosbags needs the footer, the package mcap takes a short read for a whole
record, and both unpack without a bound.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
import heapq
from itertools import count
import mmap
from pathlib import Path
import re
import struct
import zlib

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)

from depth_anything_ros.ros.loss import FileLoss, Found
from depth_anything_ros.ros.qos_of_bag import qos_profiles
from depth_anything_ros.ros.unpacking import MOST_BYTES, unpacked, Unreadable

_MAGIC = b'\x89MCAP0\r\n'
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _STATISTICS = 2, 3, 4, 5, 6, 11
_KNOWN = {*range(1, 16), *range(0x80, 0x100)}  # 0x80 and up are anybody's own
_RECORD = struct.Struct('<BQ')
_CHUNK_HEAD = struct.Struct('<QQQI')  # first and last time, size and CRC of what is unpacked
_MESSAGE_HEAD = struct.Struct('<HIQQ')  # channel, sequence, times of logging and of publishing
# Opcode, a length under 2^40, _CHUNK_HEAD, compression.
_LIKE_A_CHUNK = re.compile(
    rb'\x06(?=.{5}\0\0\0.{28}(?:\0\0\0\0|\x03\0\0\0lz4|\x04\0\0\0zstd))', re.DOTALL
)
_MOST_TRIES = 1000  # to go on behind what is broken
_MOST_RECORDS = 1 << 20  # of a chunk; 10 kB of zeros unpack to 30 million empty ones
_LAST_NS = 2**63 - 1  # in the year 2262, and the last that readers hold
_RUN_BYTES = 1 << 20  # of messages outside of chunks that are read at once
_FORMATS = {
    'ros2msg': MessageDefinitionFormat.MSG,
    'ros2idl': MessageDefinitionFormat.IDL,
    'omgidl': MessageDefinitionFormat.IDL,
}
_NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, '')


@dataclass(frozen=True)
class _Piece:
    """Whole records that lie together: a chunk, or a run of messages outside of chunks."""

    start: int
    end: int
    compression: str
    unpacked_size: int
    first_ns: int
    last_ns: int
    channels: frozenset[int]


class RecoveredMcap:
    """A reader of what one .mcap file still holds.

    Attributes:
        connections: one a channel, with the number of messages that can be read.
        loss: what it does without.
        span_ns: first and last time of logging, None without messages.
    """

    def __init__(self, path: Path) -> None:
        """Walk through the file, which stays open until close()."""
        self._pieces: list[_Piece] = []
        self._schemas: dict[int, tuple[str, MessageDefinition]] = {}
        self._channels: dict[int, tuple[int, str, str, str]] = {}
        self._counts: Counter[int] = Counter()
        self._declared: int | None = None
        self._reasons: list[str] = []
        self._tries = _MOST_TRIES
        self._file = path.open('rb')
        self._size = path.stat().st_size
        self._data: mmap.mmap | bytes = b''
        if self._size:
            self._data = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        unread = self._size - self._walk()
        self.connections = self._connections()
        there = sum(connection.msgcount for connection in self.connections)
        if lost := self._counts.total() - there:
            self._tell(f'{lost} messages are of channels that nothing describes')
        self.loss = FileLoss(
            path.name, self._size, unread, there, self._declared, tuple(self._reasons)
        )
        times = [(piece.first_ns, piece.last_ns) for piece in self._pieces]
        self.span_ns = (min(t[0] for t in times), max(t[1] for t in times)) if times else None

    def close(self) -> None:
        """Close the file."""
        if isinstance(self._data, mmap.mmap):
            self._data.close()
        self._file.close()

    def messages(self, connections: Collection[Connection]) -> Iterator[Found]:
        """Yield the messages of some connections in the order of their time of logging."""
        wanted = {c.id: c for c in connections}
        waiting: list[tuple[int, int, Connection, bytes]] = []
        order, held = count(), 0
        for piece in sorted(self._pieces, key=lambda piece: piece.first_ns):
            if piece.channels.isdisjoint(wanted):
                continue
            while waiting and (waiting[0][0] < piece.first_ns or held > MOST_BYTES):
                time_ns, _, connection, message = heapq.heappop(waiting)
                held -= len(message)
                yield connection, time_ns, message
            stored = self._data[piece.start : piece.end]
            for channel, time_ns, data in _messages(
                unpacked(stored, piece.compression, piece.unpacked_size)
            ):
                if channel in wanted:
                    heapq.heappush(waiting, (time_ns, next(order), wanted[channel], bytes(data)))
                    held += len(data)
        while waiting:
            time_ns, _, connection, message = heapq.heappop(waiting)
            yield connection, time_ns, message

    def _walk(self) -> int:
        """Take in what is whole; return how many bytes of the file that is."""
        at = read = len(_MAGIC)
        if self._size < at:
            self._tell('it is empty' if not self._size else 'it is cut short')
            return 0
        if self._data[:at] != _MAGIC:
            self._tell('it does not begin as mcap does')
            read = 0
        while at < self._size:
            opcode, end = self._framed(at)
            if not end:  # the lengths are not to be believed from here on
                self._tell(f'what stands at byte {at} is cut short or no record')
                behind = self._next_chunk(at + 1)
                if behind is None:
                    return read + self._beginning(at)
                at = behind
                continue
            try:
                self._take(opcode, at + _RECORD.size, end)
                read += end - at
                if opcode == _FOOTER:
                    return read + len(_MAGIC) * (self._data[end : end + 8] == _MAGIC)
            except Unreadable as error:
                self._tell(f'what stands at byte {at} {error}')
                if end < self._size and not self._framed(end)[1]:
                    end = self._next_chunk(at + 1) or end
            at = end
        self._tell('it has no end: the recorder was stopped before it could write one')
        return read

    def _tell(self, reason: str) -> None:
        if len(self._reasons) < _MOST_TRIES:
            self._reasons.append(reason)

    def _framed(self, at: int) -> tuple[int, int]:
        """Return the opcode of a record and where it ends; 0 where it is none, or not all there."""
        if at + _RECORD.size > self._size:
            return 0, 0
        opcode, length = _RECORD.unpack_from(self._data, at)
        end = at + _RECORD.size + length
        return (opcode, end) if opcode in _KNOWN and end <= self._size else (opcode, 0)

    def _next_chunk(self, at: int) -> int | None:
        """Return where the next chunk begins whose lengths agree with each other."""
        for match in _LIKE_A_CHUNK.finditer(self._data, at):
            self._tries -= 1
            if self._tries < 0:
                break
            try:
                start, (_, end) = match.start() + _RECORD.size, self._framed(match.start())
                if end:
                    self._chunk(start, end)
                    return match.start()
            except Unreadable:
                pass
        return None

    def _take(self, opcode: int, start: int, end: int) -> None:
        """Take in one record outside of chunks, or a chunk.

        Raises:
            Unreadable: there is something wrong with it.
        """
        if opcode in (_SCHEMA, _CHANNEL, _MESSAGE) and end - start > MOST_BYTES:
            raise Unreadable(f'has {end - start} bytes; {MOST_BYTES} are the most')
        if opcode == _CHUNK:
            self._take_chunk(start, end)
        elif opcode == _MESSAGE:
            self._take_run(start - _RECORD.size, end)
        elif opcode == _STATISTICS and end - start >= 8:
            self._declared = struct.unpack_from('<Q', self._data, start)[0]
        elif opcode in (_SCHEMA, _CHANNEL):
            self._describe(opcode, self._data[start:end])

    def _chunk(self, start: int, end: int) -> tuple[int, str, int, int]:
        """Return where a chunk's records begin, how they are packed, their size and their CRC."""
        if end - start < _CHUNK_HEAD.size + 12:
            raise Unreadable('is too short for a chunk')
        _, _, size, crc = _CHUNK_HEAD.unpack_from(self._data, start)
        text = _Text(self._data[start + _CHUNK_HEAD.size : min(end, start + 100)])
        compression = text.string()
        records = start + _CHUNK_HEAD.size + text.at + 8
        packed = text.number('<Q')
        if records + packed != end:
            raise Unreadable('is a chunk whose lengths contradict each other')
        if max(size, packed) > MOST_BYTES:
            raise Unreadable(f'is a chunk of {size} bytes; {MOST_BYTES} are the most')
        return records, compression, size, crc

    def _take_chunk(self, start: int, end: int) -> None:
        at, compression, size, crc = self._chunk(start, end)
        records = unpacked(self._data[at:end], compression, size + 1)
        if len(records) != size:
            raise Unreadable(f'is a chunk that says it has {size} bytes, and has others')
        if crc and zlib.crc32(records) != crc:
            raise Unreadable('is a chunk with a wrong checksum')
        _, whole = self._index(at, end, compression, records)
        if whole != size:
            raise Unreadable('is a chunk whose records do not fill it')

    def _beginning(self, at: int) -> int:
        """Take in what the beginning of a last chunk holds that was cut off; return its bytes."""
        head = at + _RECORD.size
        if self._data[at : at + 1] != bytes([_CHUNK]) or head + _CHUNK_HEAD.size > self._size:
            return 0
        _, _, size, _ = _CHUNK_HEAD.unpack_from(self._data, head)
        try:
            text = _Text(self._data[head + _CHUNK_HEAD.size : head + 100])
            compression, packed = text.string(), text.number('<Q')
            start = head + _CHUNK_HEAD.size + text.at
            if max(size, packed) > MOST_BYTES or start + packed <= self._size:
                return 0  # a length lies, and the chunk is of no known place
            records = unpacked(self._data[start:], compression, size)
            messages, _ = self._index(start, self._size, compression, records)
        except Unreadable:
            return 0
        return self._size - at if messages else 0

    def _take_run(self, at: int, end: int) -> None:
        before = self._pieces[-1] if self._pieces else None
        if not self._index(at, end, '', self._data[at:end])[0]:
            raise Unreadable('is a message that is too short')
        if before and before.end == at and not before.compression:
            size, piece = end - before.start, self._pieces[-1]
            if size < _RUN_BYTES:
                first_ns = min(before.first_ns, piece.first_ns)
                last_ns = max(before.last_ns, piece.last_ns)
                channels = before.channels | piece.channels
                self._pieces[-2:] = [
                    _Piece(before.start, end, '', size, first_ns, last_ns, channels)
                ]

    def _index(self, start: int, end: int, compression: str, records: bytes) -> tuple[int, int]:
        """Take in unpacked records, as far as they are whole.

        Returns:
            How many messages they hold, and the bytes that are whole.
        """
        channels, times_ns, whole = [], [], 0
        for opcode, data in _records(records):
            whole += _RECORD.size + len(data)
            if opcode == _MESSAGE and len(data) >= _MESSAGE_HEAD.size:
                channel, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(data)
                if time_ns > _LAST_NS:
                    raise Unreadable('holds a message of a time that is none')
                channels.append(channel)
                times_ns.append(time_ns)
            elif opcode in (_SCHEMA, _CHANNEL):
                self._describe(opcode, bytes(data))
        if channels:
            self._counts.update(channels)
            first_ns, last_ns, kinds = min(times_ns), max(times_ns), frozenset(channels)
            self._pieces.append(
                _Piece(start, end, compression, len(records), first_ns, last_ns, kinds)
            )
        return len(channels), whole

    def _describe(self, opcode: int, data: bytes) -> None:
        """Keep a schema or a channel; the first of an id counts.

        Raises:
            Unreadable: it cannot be read.
        """
        text = _Text(data)
        if opcode == _SCHEMA:
            number, name, form = text.number('<H'), text.string(), text.string()
            kind = _FORMATS.get(form)
            definition = MessageDefinition(kind, text.string()) if kind else _NO_DEFINITION
            self._schemas.setdefault(number, (name, definition))
        elif opcode == _CHANNEL:
            number, schema = text.number('<H'), text.number('<H')
            topic, encoding, pairs = text.string(), text.string(), _Text(text.block())
            metadata = {}
            while pairs.at < len(pairs.data):
                key = pairs.string()
                metadata[key] = pairs.string()
            qos = metadata.get('offered_qos_profiles', '')
            self._channels.setdefault(number, (schema, topic, encoding, qos))

    def _connections(self) -> list[Connection]:
        found = []
        for number, (schema, topic, encoding, qos) in self._channels.items():
            if schema in self._schemas:
                name, definition = self._schemas[schema]
                ext = ConnectionExtRosbag2(encoding, qos_profiles(qos))
                messages = self._counts[number]
                found.append(
                    Connection(number, topic, name, definition, '', messages, ext, self)
                )
        return found


class _Text:
    """Fields of a record, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, kind: str) -> int:
        self.at += struct.calcsize(kind)
        if self.at > len(self.data):
            raise Unreadable('is shorter than what it should hold')
        return int(struct.unpack_from(kind, self.data, self.at - struct.calcsize(kind))[0])

    def block(self) -> bytes:
        size = self.number('<I')
        self.at += size
        if self.at > len(self.data):
            raise Unreadable('is shorter than what it should hold')
        return self.data[self.at - size : self.at]

    def string(self) -> str:
        try:
            return self.block().decode()
        except UnicodeDecodeError as error:
            raise Unreadable('holds a text that is not UTF-8') from error


def _records(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield opcode and content of the whole records that some data begin with."""
    view, at = memoryview(data), 0
    for _ in range(_MOST_RECORDS):
        if at + _RECORD.size > len(data):
            return
        opcode, length = _RECORD.unpack_from(data, at)
        start, at = at + _RECORD.size, at + _RECORD.size + length
        if at > len(data):
            return
        yield opcode, view[start:at]


def _messages(data: bytes) -> Iterator[tuple[int, int, memoryview]]:
    """Yield channel, time of logging in nanoseconds and CDR of each whole message."""
    for opcode, content in _records(data):
        if opcode == _MESSAGE and len(content) >= _MESSAGE_HEAD.size:
            channel, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(content)
            if time_ns > _LAST_NS:  # in what was cut or has no checksum
                return
            yield channel, time_ns, content[_MESSAGE_HEAD.size :]
