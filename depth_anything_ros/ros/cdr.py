# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Serialised messages, checked before anybody takes them apart.

What follows a wrong length differs from one middleware and bag reader to the next: an exception
of theirs, gigabytes of memory, or a message of other bytes. So the lengths in the bytes are
followed here first, without copying anything. The format is plain CDR (OMG Common Data
Representation, CORBA 3.0 section 15.3), as all ROS 2 middlewares write it: four bytes that name
the byte order, then the fields, each aligned to its own size.
"""

from __future__ import annotations

import struct

from depth_anything_ros.errors import BadFrameError

Bytes = bytes | bytearray | memoryview

LONGEST_STRING = 1024  # bytes; frames, fields and encodings have a few dozen
MOST_PARTS = 1000  # fields of a cloud, transforms of a message

_STRING = 'string'
# A field is the size of a number, _STRING, a list of one such field (a sequence), or a list of a
# tuple of them (a sequence of structures).
_Field = int | str | list['_Field'] | tuple['_Field', ...]
_HEADER: tuple[_Field, ...] = (4, 4, _STRING)
_POINT_FIELD: tuple[_Field, ...] = (_STRING, 4, 1, 4)
_LAYOUTS: dict[str, tuple[_Field, ...]] = {
    'Image': (*_HEADER, 4, 4, _STRING, 1, 4, [1]),
    'CompressedImage': (*_HEADER, _STRING, [1]),
    'CameraInfo': (*_HEADER, 4, 4, _STRING, [8], *[8] * (9 + 9 + 12), 4, 4, *[4] * 4, 1),
    'PointCloud2': (*_HEADER, 4, 4, [_POINT_FIELD], 1, 4, 4, [1], 1),
    'LaserScan': (*_HEADER, *[4] * 7, [4], [4]),
    'Range': (*_HEADER, 1, *[4] * 4),  # and from Iron on a variance
    'TFMessage': ([(*_HEADER, _STRING, *[8] * 7)],),
}
NANOSECONDS = 1_000_000_000
_END_OF_TIME_NS = 2**31 * NANOSECONDS  # seconds are an int32


def check_cdr(data: Bytes, name: str) -> None:
    """Follow the lengths in a serialised message.

    Args:
        data: CDR, as it came from the middleware or a bag.
        name: of the message's type, without its package.

    Raises:
        BadFrameError: a length leads out of the data, or a string is too long or not UTF-8.
    """
    if name not in _LAYOUTS:
        raise BadFrameError(
            'undecodable_message', f'{name} is no message that is read here: remap to another topic'
        )
    _Walk(data, name).fields(_LAYOUTS[name])


def stamp_of(data: Bytes) -> int:
    """Return the stamp in nanoseconds of a serialised message that begins with a header.

    Raises:
        BadFrameError: the data are too short, or the stamp is no time.
    """
    order = _byte_order(data, 'message')
    if len(data) < 12:
        raise _truncated('message', len(data))
    return checked_stamp(*struct.unpack_from(f'{order}iI', data, 4))


def checked_stamp(sec: int, nanosec: int) -> int:
    """Return the parts of a builtin_interfaces/Time as nanoseconds.

    Raises:
        BadFrameError: they are no time: before 1970, or with a second or more of nanoseconds.
    """
    if sec < 0 or not 0 <= nanosec < NANOSECONDS:
        raise BadFrameError(
            'bad_stamp',
            f'message has the stamp {sec} s and {nanosec} ns, which is no time: its publisher must '
            'set header.stamp',
        )
    return sec * NANOSECONDS + nanosec


def restamped(data: Bytes, stamp_ns: int) -> bytes:
    """Return a serialised message that begins with a header, with another stamp.

    Raises:
        BadFrameError: the data are too short, or the new stamp does not fit into them.
    """
    stamp_of(data)
    if not 0 <= stamp_ns < _END_OF_TIME_NS:
        raise BadFrameError('bad_stamp', f'no stamp holds {stamp_ns} ns: set the clock right')
    changed = bytearray(data)
    order = _byte_order(data, 'message')
    struct.pack_into(f'{order}iI', changed, 4, *divmod(stamp_ns, NANOSECONDS))
    return bytes(changed)


def _byte_order(data: Bytes, name: str) -> str:
    if len(data) < 4:
        raise _truncated(name, len(data))
    if data[0] != 0 or data[1] > 1:
        raise BadFrameError(
            'undecodable_message',
            f'{name} is not in plain CDR (it begins with {bytes(data[:2]).hex()}): set its '
            'publisher\'s data representation to XCDR1',
        )
    return '<' if data[1] else '>'


def _truncated(name: str, size: int) -> BadFrameError:
    return BadFrameError(
        'undecodable_message',
        f'{size} bytes arrived as {name} that are none, or only a part of one: see what publishes '
        'there',
    )


class _Walk:
    """A position in a message; nothing is copied but strings."""

    def __init__(self, data: Bytes, name: str) -> None:
        self._length = struct.Struct(_byte_order(data, name) + 'I')
        self._body, self._name, self._at = memoryview(data)[4:], name, 0  # aligned after the four

    def fields(self, layout: tuple[_Field, ...]) -> None:
        for field in layout:
            if isinstance(field, int):
                self._skip(field, 1)
            elif isinstance(field, list):
                self._sequence(field[0])
            else:
                self._string()

    def _sequence(self, of: _Field) -> None:
        count = self._count()
        if isinstance(of, int):
            self._skip(of, count)
            return
        if count > MOST_PARTS:
            raise BadFrameError(
                'undecodable_message',
                f'{self._name} says that it has {count} parts; {MOST_PARTS} are the most',
            )
        assert isinstance(of, tuple)
        for _ in range(count):
            self.fields(of)

    def _string(self) -> None:
        count = self._count()
        if count > LONGEST_STRING:
            raise BadFrameError(
                'undecodable_message',
                f'{self._name} says that a string in it has {count} bytes; {LONGEST_STRING} are '
                'the most',
            )
        start = self._at
        self._skip(1, count)
        try:
            str(self._body[start : self._at], 'utf-8')
        except UnicodeDecodeError as error:
            raise BadFrameError(
                'undecodable_message', f'{self._name} has a string that is not UTF-8 ({error})'
            ) from error

    def _count(self) -> int:
        self._skip(4, 1)
        return int(self._length.unpack_from(self._body, self._at - 4)[0])

    def _skip(self, size: int, count: int) -> None:
        if not count:
            return
        self._at += -self._at % size + size * count
        if self._at > len(self._body):
            raise _truncated(self._name, len(self._body) + 4)
