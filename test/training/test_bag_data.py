# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training pictures from real ROS 2 bags: pairing, encodings, choice of topics, and errors."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from depth_anything_ros.errors import BadFrameError, DatasetError
from depth_anything_ros.ros.bags import BagWriter, TYPES
from depth_anything_ros.ros.images import depth_plane
from depth_anything_ros.training.bag_data import is_bag, PAIR_TOLERANCE_NS, read_bag
from depth_anything_ros.training.config import Phase, StudentConfig
from depth_anything_ros.training.train import train
from depth_anything_ros.training.world_data import open_pictures, render_world
from helpers import tiny_run

MS = 1_000_000
KINDS = TYPES.types
RGB = 'sensor_msgs/msg/Image'
JPEG = 'sensor_msgs/msg/CompressedImage'


def head(stamp_ns, frame='eye'):
    stamp = KINDS['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
    return KINDS['std_msgs/msg/Header'](stamp=stamp, frame_id=frame)


def image(stamp_ns, pixels, encoding='rgb8', frame='eye', pad=0):
    """Return an Image message, with so many unused bytes at the end of each row."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    data = np.pad(rows, ((0, 0), (0, pad)))
    return KINDS[RGB](head(stamp_ns, frame), *pixels.shape[:2], encoding,
                      int(pixels.dtype.byteorder == '>'), data.shape[1], data.ravel())


def colour(stamp_ns, rgb, size=(6, 8), **more):
    """Return an Image message of one colour."""
    return image(stamp_ns, np.full((*size, 3), rgb, np.uint8), **more)


def metres(stamp_ns, depth_m, size=(6, 8), **more):
    """Return a 32FC1 message of one depth."""
    return image(stamp_ns, np.full(size, depth_m, '<f4'), '32FC1', **more)


def compressed(stamp_ns, rgb):
    pixels = np.full((6, 8, 3), rgb[::-1], np.uint8)
    return KINDS[JPEG](head(stamp_ns), 'png', cv2.imencode('.png', pixels)[1].ravel())


def write_bag(path, topics):
    """Write a bag of topic -> messages, in order of time of arrival: stamps, then topics."""
    with BagWriter(path) as bag:
        for topic, messages in topics.items():
            bag.add_topic(topic, messages[0].__msgtype__)
        for topic, message in sorted(
                ((t, m) for t, messages in topics.items() for m in messages),
                key=lambda item: item[1].header.stamp.sec * 10**9 + item[1].header.stamp.nanosec):
            data = bytes(TYPES.serialize_cdr(message, message.__msgtype__))
            bag.write(topic, message.header.stamp.sec * 10**9 + message.header.stamp.nanosec, data)
    return path


def colours(images):
    """Return the one colour of each picture."""
    assert (images == images[:, :1, :1]).all()
    return images[:, 0, 0].tolist()


def test_depth_plane_by_hand():
    stored = np.array([[0, 1500], [250, 65535]], '>u2')
    for message in (image(0, stored, '16UC1', pad=3), image(0, stored.astype('<u2'), '16UC1')):
        plane = depth_plane(message)
        assert plane.dtype == np.float32
        np.testing.assert_allclose(plane, [[np.nan, 1.5], [0.25, 65.535]], rtol=1e-6)
    padded = image(0, np.array([[0, 1.5], [np.inf, np.nan]], '>f4'), '32FC1', pad=4)
    np.testing.assert_array_equal(depth_plane(padded), [[0, 1.5], [np.inf, np.nan]])
    with pytest.raises(BadFrameError, match='"rgb8" is no depth'):
        depth_plane(colour(0, (1, 2, 3)))
    padded.data = padded.data[:-1]
    with pytest.raises(BadFrameError, match='2x2 32FC1 with step 12 has only 23 bytes'):
        depth_plane(padded)


def test_metres_and_millimetres_become_inverse_depth(tmp_path):
    stored_m = np.full((6, 8), 4, '<f4')
    stored_m[:, 0], stored_m[:, 1], stored_m[:, 2], stored_m[:, 3] = 0, np.nan, np.inf, -1
    stored_mm = np.full((6, 8), 500, '<u2')
    stored_mm[:3] = 0
    bag = write_bag(tmp_path / 'bag', {
        '/eye/image': [colour(0, (1, 2, 3)), colour(10**9, (4, 5, 6))],
        '/eye/depth': [image(0, stored_m, '32FC1'), image(10**9, stored_mm, '16UC1')]})
    images, inverse, semantic = read_bag(bag, 8, 6, with_depth=True)
    assert colours(images) == [[1, 2, 3], [4, 5, 6]]
    assert np.isnan(inverse[0, :, :4]).all() and (inverse[0, :, 4:] == 0.25).all()
    assert np.isnan(inverse[1, :3]).all() and (inverse[1, 3:] == 2).all()
    assert images.dtype == np.uint8 and inverse.dtype == np.float16 and (semantic == 255).all()


def test_image_and_depth_are_cut_and_resized_alike(tmp_path):
    # Of 12x6 the middle 8x6 becomes 4x3: columns 2..9 in pairs, rows in pairs.
    ramp = np.arange(12, dtype=np.uint8) * 10
    pixels = np.broadcast_to(ramp[None, :, None], (6, 12, 3))
    depth_m = np.broadcast_to(1 + np.arange(12, dtype='<f4') // 2, (6, 12))  # equal in each pair
    bag = write_bag(tmp_path / 'bag', {
        '/image': [image(0, pixels)], '/depth': [image(0, depth_m, '32FC1')]})
    images, inverse, _ = read_bag(bag, 4, 3, with_depth=True)
    np.testing.assert_array_equal(images[0, :, :, 0], [[25, 45, 65, 85]] * 3)
    np.testing.assert_allclose(1 / inverse[0], [[2, 3, 4, 5]] * 3, rtol=1e-3)


def test_compressed_images_alone_are_unlabelled_pictures(tmp_path):
    bag = write_bag(tmp_path / 'bag', {
        '/eye/compressed': [compressed(i, (10 * i, 20, 30)) for i in range(3)]})
    images, inverse, _ = read_bag(bag, 4, 3, with_depth=False)
    assert colours(images) == [[0, 20, 30], [10, 20, 30], [20, 20, 30]]
    assert np.isnan(inverse).all()
    single = next(bag.glob('*.mcap'))
    assert is_bag(bag) and is_bag(single) and not is_bag(tmp_path)
    assert len(read_bag(single, 4, 3, with_depth=False)[0]) == 3


def test_sqlite_bag(tmp_path):
    with Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        for topic, message in {'/image': colour(5, (7, 8, 9)), '/depth': metres(5, 2)}.items():
            connection = writer.add_connection(topic, RGB, typestore=TYPES)
            writer.write(connection, 5, TYPES.serialize_cdr(message, RGB))
    pictures = open_pictures([next((tmp_path / 'bag').glob('*.db3'))])
    assert pictures.image_rgb.shape == (1, 168, 224, 3)
    assert colours(pictures.image_rgb) == [[7, 8, 9]] and (pictures.inverse_depth == 0.5).all()


def test_image_and_depth_pair_as_each_others_nearest_within_the_tolerance(tmp_path, capsys):
    #            equal  8 ms apart  nearer to 108 than 100 is   21 ms apart   none near
    stamps_ms = [0,     100,        110,                        200,          900]
    depths_ms = [0, 108, 221]
    bag = write_bag(tmp_path / 'bag', {
        '/image': [colour(ms * MS, (i, 0, 0)) for i, ms in enumerate(stamps_ms)],
        '/depth': [metres(ms * MS, 1 << i) for i, ms in enumerate(depths_ms)]})
    images, inverse, _ = read_bag(bag, 8, 6, with_depth=True)
    assert PAIR_TOLERANCE_NS == 20 * MS
    assert colours(images) == [[0, 0, 0], [2, 0, 0]]
    assert inverse[:, 0, 0].tolist() == [1, 0.5]
    assert capsys.readouterr().out == f'{bag}: 2 pictures from /image, depth from /depth\n'
    images, _, _ = read_bag(bag, 8, 6, with_depth=False)
    assert len(images) == 5
    assert capsys.readouterr().out == f'{bag}: 5 pictures from /image\n'


def test_truth_of_the_demo_is_taken_before_what_the_node_published(tmp_path):
    topics = {'/image': [colour(0, (1, 2, 3))], '/depth/image_color': [colour(0, (9, 9, 9))],
              '/depth/image': [metres(0, 2)], '/depth/stddev': [metres(0, 5)],
              '/depth/relative': [metres(0, 5)], '/truth/depth': [metres(0, 4)]}
    images, inverse, _ = read_bag(write_bag(tmp_path / 'demo', topics), 8, 6, with_depth=True)
    assert colours(images) == [[1, 2, 3]] and (inverse == 0.25).all()
    del topics['/truth/depth']
    _, inverse, _ = read_bag(write_bag(tmp_path / 'robot', topics), 8, 6, with_depth=True)
    assert (inverse == 0.5).all()
    del topics['/depth/image']
    with pytest.raises(DatasetError, match='no depth to learn from'):
        read_bag(write_bag(tmp_path / 'other', topics), 8, 6, with_depth=True)


def test_registered_depth_comes_first_then_depth_by_name(tmp_path):
    bag = write_bag(tmp_path / 'bag', {
        '/image': [colour(0, (1, 2, 3))], '/depth': [metres(0, 8, frame='infrared')],
        '/depth/half': [metres(0, 8, size=(3, 4))], '/sure': [metres(0, 5)],
        '/aligned/depth': [metres(0, 2)]})
    assert (read_bag(bag, 8, 6, with_depth=True)[1] == 0.5).all()


def rewritten(**topics):
    """Return a function that writes a bag of those topics, in which _ stands for /."""
    return lambda path: write_bag(path, {t.replace('_', '/'): m for t, m in topics.items()})


def truncated(message):
    message.data = message.data[:-1]
    return message


@pytest.mark.parametrize(
    ('write', 'message'),
    [
        (rewritten(_depth=[metres(0, 1)]), 'has no colour or gray image'),
        (rewritten(_image=[colour(0, (1, 2, 3))], _eye_compressed=[compressed(0, (1, 2, 3))]),
         r'no depth to learn from beside /image: a sensor_msgs/msg/Image of encoding 32FC1 '
         r'\(metres\) or 16UC1 \(millimetres\) is wanted, and there are '
         r'/image \(sensor_msgs/msg/Image, rgb8\), '
         r'/eye/compressed \(sensor_msgs/msg/CompressedImage\)$'),
        (rewritten(_image=[colour(0, (1, 2, 3))], _depth=[metres(30 * MS, 1)]),
         'no stamp of /depth is within 0.02 s of one of /image, the nearest is 0.030 s away'),
        (rewritten(_image=[colour(0, (1, 2, 3))], _depth=[metres(0, 1, size=(3, 4))]),
         r'/depth \(4x3, frame "eye"\) is not registered to /image \(8x6, frame "eye"\)'),
        (rewritten(_image=[colour(0, (1, 2, 3))], _depth=[metres(0, 1, frame='ir')]),
         r'/depth \(8x6, frame "ir"\) is not registered to /image'),
        (rewritten(_image=[colour(0, (1, 2, 3)), truncated(colour(MS, (1, 2, 3)))],
                   _depth=[metres(0, 1), metres(MS, 1)]),
         r'/image is corrupt at stamp 0.001000000 \(.* has only 143 bytes of data\)'),
        (rewritten(_image=[colour(0, (1, 2, 3)), colour(MS, (1, 2, 3))],
                   _depth=[metres(0, 1), truncated(metres(MS, 1))]),
         r'/depth is corrupt at stamp 0.001000000 \(.* has only 191 bytes of data\)'),
        (rewritten(_image=[colour(0, (1, 2, 3)), colour(MS, (1, 2, 3))],
                   _depth=[metres(0, 1), metres(MS, 1, size=(3, 4))]),
         r'/depth changes its size from \(6, 8\) to \(3, 4\) at stamp 0.001000000: split'),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(tmp_path, write, message):
    with pytest.raises(DatasetError, match=message) as error:
        read_bag(write(tmp_path / 'bag'), 8, 6, with_depth=True)
    assert str(tmp_path / 'bag') in str(error.value) and '\n' not in str(error.value)


def test_broken_bytes_are_one_line(tmp_path):
    def spoilt(name, spoil):
        bag = write_bag(tmp_path / name, {'/image': [colour(i, (i, 2, 3)) for i in range(3)]})
        file = next(bag.glob('*.mcap'))
        file.write_bytes(spoil(file.read_bytes()))
        return bag

    half = spoilt('half', lambda data: data[:len(data) // 2])
    with pytest.raises(DatasetError, match='half is no ROS 2 bag'):
        read_bag(half, 8, 6, with_depth=False)
    (half / 'metadata.yaml').unlink()
    with pytest.raises(DatasetError, match='give the folder that holds metadata.yaml'):
        read_bag(half, 8, 6, with_depth=False)
    names = spoilt('names', lambda data: data.replace(b'/image', b'/\xff\xff\xff\xff\xff'))
    with pytest.raises(DatasetError, match='names is no ROS 2 bag .*utf-8'):
        read_bag(names, 8, 6, with_depth=False)
    with pytest.raises(DatasetError, match=r'gone.mcap is no ROS 2 bag \(.*does not exist'):
        open_pictures([Path('gone.mcap')])


def test_message_that_is_no_message_is_one_line(tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.add_topic('/image', RGB)
        bag.write('/image', 1, bytes(TYPES.serialize_cdr(colour(0, (1, 2, 3)), RGB)))
        bag.write('/image', 2, b'\0\1\0\0 no message')
    with pytest.raises(DatasetError, match='bag is corrupt at /image .*: cut that part out'):
        read_bag(tmp_path / 'bag', 8, 6, with_depth=False)


def test_training_on_bags(tmp_path):
    render_world(tmp_path / 'world', 4, 7, 56, 42)
    rng = np.random.default_rng(0)
    bag = write_bag(tmp_path / 'bag', {
        '/image': [image(i * 10**8, rng.integers(0, 255, (60, 80, 3), np.uint8))
                   for i in range(3)],
        '/depth': [image(i * 10**8, rng.integers(0, 9000, (60, 80)).astype('<u2'), '16UC1')
                   for i in range(3)]})
    world, two_steps = tmp_path / 'world', (Phase(2, 2, ((28, 42),), 1e-3, 0.0),)
    train(tiny_run(world, tmp_path / 'first', data=(bag,), phases=two_steps))
    checkpoint = tmp_path / 'first/checkpoint'
    assert (checkpoint / 'model.safetensors').is_file()
    student = StudentConfig(checkpoint, (bag,))
    train(tiny_run(world, tmp_path / 'second', phases=two_steps, student=student))
    assert (tmp_path / 'second/checkpoint/model.safetensors').is_file()
    both = open_pictures([tmp_path / 'world', bag])
    assert both.image_rgb.shape == (7, 42, 56, 3)
    assert (both.semantic[4:] == 255).all() and not (both.semantic[:4] == 255).all()
