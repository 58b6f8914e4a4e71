# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Serialised messages of the real middleware: cut, of another type or order, with wrong lengths."""

import struct

import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Range

from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros.cdr import LONGEST_STRING, restamped
from depth_anything_ros.ros.messages import deserialize, serialized_stamp_ns, stamp_to_ns
from helpers import header
from serialised import decoded, GOOD, HEADER, kind_of, STAMP_NS

# Where the lengths are: after four bytes of CDR and eight of stamp, "eye" and its zero make 4 + 4.
FRAME = 12
LENGTHS = {
    'Image': {'frame': FRAME, 'encoding': 28, 'data': 44},
    'CompressedImage': {'frame': FRAME, 'format': 20, 'data': 28},
    'PointCloud2': {'frame': FRAME, 'fields': 28, 'name': 32},
    'LaserScan': {'frame': FRAME, 'ranges': 48},
    'CameraInfo': {'frame': FRAME, 'model': 28, 'd': 44},
}


def refused(data, kind, cause='.'):
    with pytest.raises(BadFrameError, match=cause) as caught:
        deserialize(bytes(data), kind)
    assert caught.value.reason == 'undecodable_message' and len(str(caught.value)) <= 500


@pytest.mark.parametrize('name', GOOD)
def test_what_the_middleware_wrote_is_taken_apart(name):
    message = deserialize(GOOD[name], kind_of(name))
    assert type(message).__name__ == name and message.header.frame_id == 'eye'
    assert serialized_stamp_ns(GOOD[name]) == stamp_to_ns(message.header.stamp) == STAMP_NS


@pytest.mark.parametrize('name', GOOD)
def test_every_shorter_message_is_refused(name):
    """DDS pads a message to four bytes, so the last three may be missing without harm."""
    data, kind = GOOD[name], kind_of(name)
    for size in range(len(data) - 3):
        refused(data[:size], kind)
    for size in range(12):
        with pytest.raises(BadFrameError):
            serialized_stamp_ns(data[:size])


@pytest.mark.parametrize('length', [2**32 - 1, 2**31, 2**31 - 1, 100_000])
@pytest.mark.parametrize(
    'name, at', [(name, at) for name, places in LENGTHS.items() for at in places.values()]
)
def test_lengths_that_lead_out_are_refused(name, at, length, capfd):
    data = bytearray(GOOD[name])
    assert struct.unpack_from('<I', data, at)[0] < 100  # the place is right
    struct.pack_into('<I', data, at, length)
    refused(data, kind_of(name))
    assert not capfd.readouterr().err  # where the middleware sees it, it writes a line each time


@pytest.mark.parametrize('name', GOOD)
def test_other_types_are_refused(name):
    for other in GOOD.keys() - {name}:
        with pytest.raises(BadFrameError):
            decoded(GOOD[other], name)


def test_big_endian_is_read_as_such():
    """The same message written by hand in the other byte order."""
    data = struct.pack('>BBHiII4sIII5s', 0, 0, 0, 5, 7, 4, b'eye\0', 2, 1, 5, b'rgb8\0')
    data += b'\0' + bytes(2) + struct.pack('>II', 3, 6) + bytes(range(6))
    message = deserialize(data, kind_of('Image'))
    assert serialized_stamp_ns(data) == 5_000_000_007
    assert (message.height, message.width, message.encoding) == (2, 1, 'rgb8')
    assert message.step == 3 and bytes(message.data) == bytes(range(6))
    assert deserialize(restamped(data, 9_000_000_001), kind_of('Image')).header.stamp.sec == 9


@pytest.mark.parametrize('first', [b'\0\2', b'\0\3', b'\0\7', b'\1\1', b'\xff\xff'])
def test_other_representations_are_refused(first):
    """Parameter lists and XCDR2 begin otherwise."""
    refused(first + GOOD['Image'][2:], kind_of('Image'), 'not in plain CDR')
    with pytest.raises(BadFrameError):
        serialized_stamp_ns(first + GOOD['Image'][2:])


def test_strings_are_utf8_and_no_longer_than_a_name():
    data = bytearray(GOOD['Image'])
    data[FRAME + 4] = 0xFF
    refused(data, kind_of('Image'), 'not UTF-8')
    long = GOOD['Image'][:FRAME] + struct.pack('<I', LONGEST_STRING + 1)
    refused(long + b'x' * 5000, kind_of('Image'), f'{LONGEST_STRING} are the most')


@pytest.mark.parametrize('sec, nanosec', [(-1, 0), (5, 10**9), (5, 2**32 - 1), (-(2**31), 0)])
def test_stamps_that_are_no_time_are_refused(sec, nanosec):
    data = bytearray(GOOD['Image'])
    struct.pack_into('<iI', data, 4, sec, nanosec)
    stamp = header().stamp
    stamp.sec, stamp.nanosec = sec, nanosec
    for act in (lambda: serialized_stamp_ns(bytes(data)), lambda: stamp_to_ns(stamp)):
        with pytest.raises(BadFrameError, match='no time') as caught:
            act()
        assert caught.value.reason == 'bad_stamp'


@pytest.mark.parametrize('stamp_ns', [-1, 2**31 * 10**9])
def test_a_new_stamp_must_fit(stamp_ns):
    with pytest.raises(BadFrameError, match='no stamp holds'):
        restamped(GOOD['Image'], stamp_ns)


def test_a_range_comes_through():
    message = Range(
        header=HEADER, field_of_view=0.5, min_range=0.25, max_range=4.0, range=1.5, variance=0.125
    )
    data = serialize_message(message)
    assert deserialize(data, Range) == message
    with pytest.raises(BadFrameError, match='only a part'):
        deserialize(data[:30], Range)
