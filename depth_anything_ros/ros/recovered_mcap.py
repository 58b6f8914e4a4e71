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
import os
from pathlib import Path
import re
import zlib

from rosbags.interfaces import Connection, ConnectionExtRosbag2

from depth_anything_ros.ros.loss import FileLoss, Found
from depth_anything_ros.ros.mcap_records import (
    CHANNEL,
    Channel,
    CHUNK,
    FOOTER,
    KNOWN,
    LAST_NS,
    LONGEST_CHUNK_HEAD,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    messages,
    Packed,
    read_channel,
    read_chunk_head,
    read_schema,
    RECORD,
    records,
    SCHEMA,
    Schema,
    STATISTICS,
)
from depth_anything_ros.ros.qos_of_bag import qos_profiles
from depth_anything_ros.ros.unpacking import MOST_BYTES, unpacked, Unreadable

# Opcode, a length under 2^40, CHUNK_HEAD, compression.
_LIKE_A_CHUNK = re.compile(
    rb'\x06(?=.{5}\0\0\0.{28}(?:\0\0\0\0|\x03\0\0\0lz4|\x04\0\0\0zstd))', re.DOTALL
)
_MOST_TRIES = 1000  # to go on behind what is broken
_BLOCK = 1 << 24  # that is searched at once
_RUN_BYTES = 1 << 20  # of messages outside of chunks that are read at once


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
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._counts: Counter[int] = Counter()
        self._declared: int | None = None
        self._reasons: list[str] = []
        self._tries = _MOST_TRIES
        self._file = path.open('rb')
        self._size = path.stat().st_size
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
        self._file.close()

    def messages(
        self, connections: Collection[Connection], first_ns: int, last_ns: int
    ) -> Iterator[Found]:
        """Yield messages of some connections and a time in the order of their time of logging."""
        wanted = {c.id: c for c in connections}
        waiting: list[tuple[int, int, Connection, bytes]] = []
        order, held = count(), 0
        for piece in sorted(self._pieces, key=lambda piece: piece.first_ns):
            if piece.channels.isdisjoint(wanted) or piece.last_ns < first_ns:
                continue
            if piece.first_ns > last_ns:
                break
            while waiting and (waiting[0][0] < piece.first_ns or held > MOST_BYTES):
                time_ns, _, connection, message = heapq.heappop(waiting)
                held -= len(message)
                yield connection, time_ns, message
            stored = self._bytes(piece.start, piece.end)
            for channel, time_ns, data in messages(
                unpacked(stored, piece.compression, piece.unpacked_size)
            ):
                if channel in wanted and first_ns <= time_ns <= last_ns:
                    heapq.heappush(waiting, (time_ns, next(order), wanted[channel], bytes(data)))
                    held += len(data)
        while waiting:
            time_ns, _, connection, message = heapq.heappop(waiting)
            yield connection, time_ns, message

    def _walk(self) -> int:
        """Take in what is whole; return how many bytes of the file that is."""
        at = read = len(MAGIC)
        if self._size < at:
            self._tell('it is empty' if not self._size else 'it is cut short')
            return 0
        if self._bytes(0, at) != MAGIC:
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
                self._take(opcode, at + RECORD.size, end)
                read += end - at
                if opcode == FOOTER:
                    return read + len(MAGIC) * (self._bytes(end, end + 8) == MAGIC)
            except Unreadable as error:
                self._tell(f'what stands at byte {at} {error}')
                if end < self._size and not self._framed(end)[1]:
                    end = self._next_chunk(at + 1) or end
            at = end
        self._tell('it has no end: the recorder was stopped before it could write one')
        return read

    def _bytes(self, start: int, end: int) -> bytes:
        return os.pread(self._file.fileno(), end - start, start)

    def _tell(self, reason: str) -> None:
        if len(self._reasons) < _MOST_TRIES:
            self._reasons.append(reason)

    def _framed(self, at: int) -> tuple[int, int]:
        """Return the opcode of a record and where it ends; 0 where it is none, or not all there."""
        if at + RECORD.size > self._size:
            return 0, 0
        opcode, length = RECORD.unpack(self._bytes(at, at + RECORD.size))
        end = at + RECORD.size + length
        return (opcode, end) if opcode in KNOWN and end <= self._size else (opcode, 0)

    def _next_chunk(self, at: int) -> int | None:
        """Return where the next chunk begins whose lengths agree with each other."""
        while at < self._size:
            # A little more than a block, so that nothing is cut in two.
            for match in _LIKE_A_CHUNK.finditer(self._bytes(at, at + _BLOCK + 64)):
                place = at + match.start()
                self._tries -= 1
                if self._tries < 0:
                    return None
                try:
                    if end := self._framed(place)[1]:
                        self._chunk(place + RECORD.size, end)
                        return place
                except Unreadable:
                    pass
            at += _BLOCK
        return None

    def _take(self, opcode: int, start: int, end: int) -> None:
        """Take in one record outside of chunks, or a chunk.

        Raises:
            Unreadable: there is something wrong with it.
        """
        if opcode in (SCHEMA, CHANNEL, MESSAGE) and end - start > MOST_BYTES:
            raise Unreadable(f'has {end - start} bytes; {MOST_BYTES} are the most')
        if opcode == CHUNK:
            self._take_chunk(start, end)
        elif opcode == MESSAGE:
            self._take_run(start - RECORD.size, end)
        elif opcode == STATISTICS and end - start >= 8:
            self._declared = int.from_bytes(self._bytes(start, start + 8), 'little')
        elif opcode in (SCHEMA, CHANNEL):
            self._describe(opcode, self._bytes(start, end))

    def _chunk(self, start: int, end: int) -> Packed:
        """Return what a chunk says of itself.

        Raises:
            Unreadable: its lengths contradict each other.
        """
        chunk = read_chunk_head(self._bytes(start, min(end, start + LONGEST_CHUNK_HEAD)), start)
        if chunk.start + chunk.packed_size != end:
            raise Unreadable('is a chunk whose lengths contradict each other')
        return chunk

    def _take_chunk(self, start: int, end: int) -> None:
        chunk = self._chunk(start, end)
        content = unpacked(self._bytes(chunk.start, end), chunk.compression, chunk.size + 1)
        if len(content) != chunk.size:
            raise Unreadable(f'is a chunk that says it has {chunk.size} bytes, and has others')
        if chunk.crc and zlib.crc32(content) != chunk.crc:
            raise Unreadable('is a chunk with a wrong checksum')
        _, whole = self._index(chunk.start, end, chunk.compression, content)
        if whole != chunk.size:
            raise Unreadable('is a chunk whose records do not fill it')

    def _beginning(self, at: int) -> int:
        """Take in what the beginning of a last chunk holds that was cut off; return its bytes."""
        start = at + RECORD.size
        try:
            if self._bytes(at, at + 1) != bytes([CHUNK]):
                return 0
            chunk = read_chunk_head(self._bytes(start, start + LONGEST_CHUNK_HEAD), start)
            if chunk.start + chunk.packed_size <= self._size:
                return 0  # a length lies, and nobody knows which
            stored = self._bytes(chunk.start, self._size)
            content = unpacked(stored, chunk.compression, chunk.size)
            found, _ = self._index(chunk.start, self._size, chunk.compression, content)
        except Unreadable:
            return 0
        return self._size - at if found else 0

    def _take_run(self, at: int, end: int) -> None:
        before = self._pieces[-1] if self._pieces else None
        if not self._index(at, end, '', self._bytes(at, end))[0]:
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

    def _index(self, start: int, end: int, compression: str, content: bytes) -> tuple[int, int]:
        """Take in unpacked records, as far as they are whole.

        Returns:
            How many messages they hold, and the bytes that are whole.
        """
        channels, times_ns, whole = [], [], 0
        for opcode, data in records(content):
            whole += RECORD.size + len(data)
            if opcode == MESSAGE and len(data) >= MESSAGE_HEAD.size:
                channel, _, time_ns, _ = MESSAGE_HEAD.unpack_from(data)
                if time_ns > LAST_NS:
                    raise Unreadable('holds a message of a time that is none')
                channels.append(channel)
                times_ns.append(time_ns)
            elif opcode in (SCHEMA, CHANNEL):
                self._describe(opcode, bytes(data))
        if channels:
            self._counts.update(channels)
            first_ns, last_ns, kinds = min(times_ns), max(times_ns), frozenset(channels)
            self._pieces.append(
                _Piece(start, end, compression, len(content), first_ns, last_ns, kinds)
            )
        return len(channels), whole

    def _describe(self, opcode: int, data: bytes) -> None:
        """Keep a schema or a channel; the first of an id counts.

        Raises:
            Unreadable: it cannot be read.
        """
        if opcode == SCHEMA:
            self._schemas.setdefault(*read_schema(data))
        else:
            self._channels.setdefault(*read_channel(data))

    def _connections(self) -> list[Connection]:
        found = []
        for number, channel in self._channels.items():
            if channel.schema in self._schemas:
                schema = self._schemas[channel.schema]
                ext = ConnectionExtRosbag2(channel.encoding, qos_profiles(channel.qos))
                found.append(
                    Connection(
                        number, channel.topic, schema.name, schema.definition, '',
                        self._counts[number], ext, self,
                    )
                )
        return found
