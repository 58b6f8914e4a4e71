# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Broken bags: every reader of them ends in one line that names the topic, none hangs."""

import math
import struct

import lz4.frame
import numpy as np
import pytest
from rosbags.rosbag2 import ReaderError, storage_mcap, StoragePlugin, Writer

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation.contact_sheet import draw_contact_sheet
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.bags import (
    BagWriter,
    find_sensors,
    open_bag,
    read_messages,
    TYPES,
)
from depth_anything_ros.ros.cdr import restamped
from depth_anything_ros.ros.depth_messages import encode_compressed_depth
from depth_anything_ros.ros.unpacking import Unreadable, zstd
from depth_anything_ros.tools.play_bag import recorded
from serialised import GOOD, STAMP_NS

TOPICS = {
    '/eye/image_raw': 'Image',
    '/eye/camera_info': 'CameraInfo',
    '/lidar/points': 'PointCloud2',
}


def write(path, messages, topics=TOPICS):
    """Write a bag of (topic, time of recording, bytes)."""
    with BagWriter(path) as bag:
        for topic, kind in topics.items():
            bag.add_topic(topic, f'sensor_msgs/msg/{kind}')
        for topic, time_ns, data in messages:
            bag.write(topic, time_ns, data)
    return path


def drive(count=3, topics=TOPICS):
    """Return the messages of a good bag, one of each topic every 0.1 s."""
    times = [STAMP_NS + 100_000_000 * i for i in range(count)]
    return [(topic, t, restamped(GOOD[kind], t)) for t in times for topic, kind in topics.items()]


def read_all(path):
    """Read what the player would publish, and what training would take apart."""
    sensors = find_sensors(path)
    played = list(recorded(str(path), sensors))
    with open_bag(path) as bag:
        assert len(list(read_messages(bag, list(bag.connections)))) >= len(played)
    return played


def test_a_good_bag_is_read(tmp_path):
    played = read_all(write(tmp_path / 'bag', drive()))
    assert [(topic, stamp_ns) for topic, stamp_ns, _ in played] == [m[:2] for m in drive()]
    assert [data for _, _, data in played] == [m[2] for m in drive()]


BROKEN = {
    'empty': lambda data: b'',
    'short': lambda data: data[:10],
    'half': lambda data: data[: len(data) // 2],
    'order': lambda data: data[:1] + b'\0' + data[2:],
    'length': lambda data: data[:12] + struct.pack('<I', 2**32 - 1) + data[16:],
    'utf8': lambda data: data[:16] + b'\xff' + data[17:],
    'stamp': lambda data: data[:4] + struct.pack('<iI', -1, 0) + data[12:],
    'noise': lambda data: np.random.default_rng(0).bytes(len(data)),
}


@pytest.mark.parametrize(
    'topic, how',
    [('/eye/image_raw', how) for how in BROKEN] + [(topic, 'half') for topic in TOPICS][1:],
)
def test_broken_messages_are_one_line_with_the_topic(tmp_path, topic, how):
    messages = drive()
    at = max(i for i, message in enumerate(messages) if message[0] == topic)
    messages[at] = (*messages[at][:2], BROKEN[how](messages[at][2]))
    with pytest.raises(DatasetError, match=f'corrupt at {topic} ') as caught:
        read_all(write(tmp_path / 'bag', messages))
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize('name, at', [('Image', 44), ('PointCloud2', 28), ('CameraInfo', 44)])
def test_lengths_that_lead_out_are_refused(tmp_path, name, at):
    data = bytearray(GOOD[name])
    struct.pack_into('<I', data, at, 2**32 - 1)
    path = write(tmp_path / 'bag', [('/topic', STAMP_NS, bytes(data))], {'/topic': name})
    with open_bag(path) as bag, pytest.raises(DatasetError, match='corrupt at /topic'):
        list(read_messages(bag, list(bag.connections)))


def test_a_stamp_that_runs_away_is_not_waited_for(tmp_path):
    messages = drive()
    messages[3] = (*messages[3][:2], restamped(messages[3][2], STAMP_NS + 10**12))
    path = write(tmp_path / 'bag', messages)
    with pytest.raises(DatasetError, match='/eye/image_raw: a stamp leaps 1000 s ahead'):
        list(recorded(str(path), find_sensors(path)))


def test_a_recording_that_was_paused_is_played(tmp_path):
    messages = [(topic, t + 10**12 * (t > STAMP_NS), data) for topic, t, data in drive()]
    paused = [(topic, t, restamped(data, t)) for topic, t, data in messages]
    path = write(tmp_path / 'bag', paused)
    assert len(list(recorded(str(path), find_sensors(path)))) == 9


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_every_shorter_or_damaged_file_is_read_or_one_line(tmp_path, plugin):
    with Writer(tmp_path / 'bag', version=8, storage_plugin=plugin) as bag:
        connections = {
            topic: bag.add_connection(topic, f'sensor_msgs/msg/{kind}', typestore=TYPES)
            for topic, kind in TOPICS.items()
        }
        for topic, time_ns, data in drive():
            bag.write(connections[topic], time_ns, data)
    file = next((tmp_path / 'bag').glob('bag.*'))
    whole, random = file.read_bytes(), np.random.default_rng(0)
    sizes = [0, 8, *random.integers(9, len(whole), 8), len(whole) - 1]
    damaged = [whole[:size] for size in sizes]
    for place in random.integers(0, len(whole), 25):
        changed = bytearray(whole)
        changed[place : place + 8] = random.bytes(len(changed[place : place + 8]))
        damaged.append(bytes(changed))
    refused = 0
    for data in damaged:
        file.write_bytes(data)
        try:
            read_all(tmp_path / 'bag' if refused % 2 else file)
        except DatasetError as error:
            assert '\n' not in str(error)
            refused += 1
    assert refused >= len(sizes)


def test_static_transforms_that_are_none_are_one_line(tmp_path):
    topics = TOPICS | {'/lidar/points': 'PointCloud2'}
    for i, pose in enumerate([matrix_to_pose(np.eye(4)), [0.0] * 7, [np.nan, *[0.0] * 5, 1.0]]):
        with BagWriter(tmp_path / str(i)) as bag:
            for topic, kind in topics.items():
                bag.add_topic(topic, f'sensor_msgs/msg/{kind}')
            for topic, time_ns, data in drive():
                bag.write(topic, time_ns, data)
            bag.write_static_transforms(STAMP_NS, [('eye', 'lidar', pose)])
        if i:
            with pytest.raises(DatasetError, match='/tf_static is corrupt: transform'):
                find_sensors(tmp_path / str(i))
        else:
            assert find_sensors(tmp_path / '0').T_camera_sensor is not None


# The contact sheet ------------------------------------------------------------------------------

OURS = {
    '/depth/image': 'Image',
    '/depth/image/compressedDepth': 'CompressedImage',
    '/depth/image_rect': 'Image',
    '/depth/camera_info': 'CameraInfo',
    '/depth/points': 'PointCloud2',
    '/truth/depth': 'Image',
}
KINDS = TYPES.types


def head():
    stamp = KINDS['builtin_interfaces/msg/Time'](*divmod(STAMP_NS, 10**9))
    return KINDS['std_msgs/msg/Header'](stamp=stamp, frame_id='eye')


def plane(**changes):
    """Return a 4x6 depth image of 2 m."""
    data = np.full((4, 6), 2, '<f4').view(np.uint8).ravel()
    fields = {'height': 4, 'width': 6, 'encoding': '32FC1', 'step': 24, 'data': data} | changes
    kind = 'sensor_msgs/msg/Image'
    return bytes(TYPES.serialize_cdr(KINDS[kind](head(), is_bigendian=0, **fields), kind))


def sheet_messages():
    cloud = TYPES.deserialize_cdr(GOOD['PointCloud2'], 'sensor_msgs/msg/PointCloud2')
    kind = 'sensor_msgs/msg/PointCloud2'
    return {
        '/depth/image': plane(),
        '/depth/image_rect': GOOD['Image'],
        '/depth/camera_info': GOOD['CameraInfo'],
        '/depth/points': bytes(TYPES.serialize_cdr(cloud, kind)),
        '/truth/depth': plane(),
    }


def draw(tmp_path, messages):
    path = write(tmp_path / 'bag', [(t, STAMP_NS, data) for t, data in messages.items()], OURS)
    draw_contact_sheet(path, tmp_path / 'sheet.png')
    return (tmp_path / 'sheet.png').stat().st_size


def test_a_good_recording_is_drawn(tmp_path):
    assert draw(tmp_path, sheet_messages()) > 1000


def test_so_is_one_whose_depth_was_written_as_png(tmp_path):
    draw(tmp_path, sheet_messages())
    raw = (tmp_path / 'sheet.png').read_bytes()
    messages = sheet_messages()
    del messages['/depth/image']
    fields = encode_compressed_depth(np.full((4, 6), 2, np.float32), '16UC1', math.inf)
    kind = 'sensor_msgs/msg/CompressedImage'
    message = KINDS[kind](head(), fields['format'], np.frombuffer(fields['data'], np.uint8))
    messages['/depth/image/compressedDepth'] = bytes(TYPES.serialize_cdr(message, kind))
    (tmp_path / 'png').mkdir()
    draw(tmp_path / 'png', messages)
    assert (tmp_path / 'png' / 'sheet.png').read_bytes() == raw  # 2 m are whole millimetres


@pytest.mark.parametrize(
    'topic, how',
    [(topic, 'half') for topic in sheet_messages()]
    + [('/depth/image', 'empty'), ('/depth/points', 'stamp')],
)
def test_a_broken_recording_is_one_line_with_the_topic(tmp_path, topic, how):
    messages = sheet_messages()
    messages[topic] = BROKEN[how](messages[topic])
    with pytest.raises(DatasetError, match=f'corrupt at {topic}'):
        draw(tmp_path, messages)


def changed_cloud(**changes):
    cloud = TYPES.deserialize_cdr(GOOD['PointCloud2'], 'sensor_msgs/msg/PointCloud2')
    vars(cloud).update(changes)
    return bytes(TYPES.serialize_cdr(cloud, 'sensor_msgs/msg/PointCloud2'))


@pytest.mark.parametrize(
    'topic, data, cause',
    [
        ('/depth/image', plane(encoding='rgb8'), 'is no depth'),
        ('/depth/image', plane(step=5), 'with step 5'),
        ('/truth/depth', plane(height=2), 'record it again'),
        ('/depth/image_rect', plane(), 'not a colour'),
        ('/depth/points', changed_cloud(width=4), '1x4 points of 20'),
        ('/depth/points', changed_cloud(point_step=10), 'points of 10'),
        ('/depth/points', changed_cloud(height=2**32 - 1, width=2**32 - 1), 'points of 20'),
    ],
)
def test_recorded_messages_that_do_not_fit_are_one_line(tmp_path, topic, data, cause):
    with pytest.raises(DatasetError, match=cause) as caught:
        draw(tmp_path, sheet_messages() | {topic: data})
    assert topic in str(caught.value)


def test_a_recording_without_depth_says_so(tmp_path):
    messages = sheet_messages()
    del messages['/depth/image']
    with pytest.raises(DatasetError, match='no /depth/image'):
        draw(tmp_path, messages)


@pytest.mark.parametrize('compression', ['zstd', 'lz4'])
def test_what_chunks_say_of_their_length_costs_no_memory(compression):
    """rosbags unpacks within bounds: 64 MiB of zeros in a few kB are cut off where they should."""
    pack = {'zstd': zstd.compress, 'lz4': lz4.frame.compress}[compression]
    bomb = pack(bytes(1 << 26))
    assert len(storage_mcap.DECOMPRESSORS[compression](bomb, 1000)) == 1001
    with pytest.raises(ReaderError, match='size mismatch'):
        storage_mcap.decompress(bomb, compression, 1000, 0)
    with pytest.raises(Unreadable, match='1099511627776 bytes'):
        storage_mcap.decompress(bomb, compression, 1 << 40, 0)
    assert storage_mcap.decompress(pack(b'abc'), compression, 3, 0) == b'abc'
