# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training pictures from real ROS 2 bags: pairing, encodings, choice of topics, and errors."""

from __future__ import annotations

from pathlib import Path
import struct

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import BadFrameError, DatasetError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.bags import BagWriter, TYPES
from depth_anything_ros.ros.images import depth_plane
from depth_anything_ros.ros.messages import encode_camera, encode_points
from depth_anything_ros.training.bag_data import BagSamples, is_bag, PAIR_TOLERANCE_NS
from depth_anything_ros.training.config import Phase, StudentConfig
from depth_anything_ros.training.loading import draws_of_step, open_samples, Stream
from depth_anything_ros.training.train import train
from depth_anything_ros.training.world_data import render_world
from helpers import (
    SCENE_CAMERA,
    scene_depth_image,
    scene_image,
    scene_lidar,
    SCENE_T_CAMERA_LIDAR,
    tiny_run,
)

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


def read_bag(path, with_depth):
    """Return all images, inverse depths and classes of a bag, stacked."""
    samples = BagSamples(path, with_depth)
    found = [samples[i] for i in range(len(samples))]
    return tuple(np.stack([getattr(one, name) for one in found])
                 for name in ('image_rgb', 'inverse_depth', 'semantic'))


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
    images, inverse, semantic = read_bag(bag, with_depth=True)
    assert colours(images) == [[1, 2, 3], [4, 5, 6]]
    assert np.isnan(inverse[0, :, :4]).all() and (inverse[0, :, 4:] == 0.25).all()
    assert np.isnan(inverse[1, :3]).all() and (inverse[1, 3:] == 2).all()
    assert images.dtype == np.uint8 and inverse.dtype == np.float32 and (semantic == 255).all()


def test_compressed_images_alone_are_unlabelled_pictures(tmp_path):
    bag = write_bag(tmp_path / 'bag', {
        '/eye/compressed': [compressed(i, (10 * i, 20, 30)) for i in range(3)]})
    images, inverse, _ = read_bag(bag, with_depth=False)
    assert colours(images) == [[0, 20, 30], [10, 20, 30], [20, 20, 30]]
    assert np.isnan(inverse).all()
    single = next(bag.glob('*.mcap'))
    assert is_bag(bag) and is_bag(single) and not is_bag(tmp_path)
    assert len(read_bag(single, with_depth=False)[0]) == 3


def test_sqlite_bag(tmp_path):
    with Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        for topic, message in {'/image': colour(5, (7, 8, 9)), '/depth': metres(5, 2)}.items():
            connection = writer.add_connection(topic, RGB, typestore=TYPES)
            writer.write(connection, 5, TYPES.serialize_cdr(message, RGB))
    pictures = open_samples([next((tmp_path / 'bag').glob('*.db3'))])
    assert len(pictures) == 1 and pictures[0].image_rgb.shape == (6, 8, 3)
    assert (pictures[0].image_rgb == (7, 8, 9)).all() and (pictures[0].inverse_depth == 0.5).all()


def test_image_and_depth_pair_as_each_others_nearest_within_the_tolerance(tmp_path, capsys):
    #            equal  8 ms apart  nearer to 108 than 100 is   21 ms apart   none near
    stamps_ms = [0,     100,        110,                        200,          900]
    depths_ms = [0, 108, 221]
    bag = write_bag(tmp_path / 'bag', {
        '/image': [colour(ms * MS, (i, 0, 0)) for i, ms in enumerate(stamps_ms)],
        '/depth': [metres(ms * MS, 1 << i) for i, ms in enumerate(depths_ms)]})
    images, inverse, _ = read_bag(bag, with_depth=True)
    assert PAIR_TOLERANCE_NS == 20 * MS
    assert colours(images) == [[0, 0, 0], [2, 0, 0]]
    assert inverse[:, 0, 0].tolist() == [1, 0.5]
    assert capsys.readouterr().out == f'{bag}: 2 pictures from /image, depth from /depth\n'
    images, _, _ = read_bag(bag, with_depth=False)
    assert len(images) == 5
    assert capsys.readouterr().out == f'{bag}: 5 pictures from /image\n'


def test_truth_of_the_demo_is_taken_before_what_the_node_published(tmp_path):
    topics = {'/image': [colour(0, (1, 2, 3))], '/depth/image_color': [colour(0, (9, 9, 9))],
              '/depth/image': [metres(0, 2)], '/depth/stddev': [metres(0, 5)],
              '/depth/relative': [metres(0, 5)], '/truth/depth': [metres(0, 4)]}
    images, inverse, _ = read_bag(write_bag(tmp_path / 'demo', topics), with_depth=True)
    assert colours(images) == [[1, 2, 3]] and (inverse == 0.25).all()
    del topics['/truth/depth']
    _, inverse, _ = read_bag(write_bag(tmp_path / 'robot', topics), with_depth=True)
    assert (inverse == 0.5).all()
    del topics['/depth/image']
    with pytest.raises(DatasetError, match='no depth to learn from'):
        read_bag(write_bag(tmp_path / 'other', topics), with_depth=True)


def test_registered_depth_comes_first_then_depth_by_name(tmp_path):
    bag = write_bag(tmp_path / 'bag', {
        '/image': [colour(0, (1, 2, 3))], '/depth': [metres(0, 8, frame='infrared')],
        '/depth/half': [metres(0, 8, size=(3, 4))], '/sure': [metres(0, 5)],
        '/aligned/depth': [metres(0, 2)]})
    assert (read_bag(bag, with_depth=True)[1] == 0.5).all()


def compressed_depth(stamp_ns, stored, encoding, a=0.0, b=0.0, frame='eye'):
    """Return what compressed_depth_image_transport makes: format 0, a quantiser and a PNG."""
    png = cv2.imencode('.png', stored.astype(np.uint16))[1].ravel()
    data = np.concatenate([np.frombuffer(struct.pack('<iff', 0, a, b), np.uint8), png])
    return KINDS[JPEG](head(stamp_ns, frame), f'{encoding}; compressedDepth png', data)


def test_compressed_depth_is_a_label(tmp_path):
    millimetres = np.full((6, 8), 4000)
    millimetres[:2] = 0
    steps = np.full((6, 8), 5)  # z = 12 / (5 - 2)
    for i, depth in enumerate((compressed_depth(0, millimetres, '16UC1'),
                               compressed_depth(0, steps, '32FC1', 12.0, 2.0))):
        bag = write_bag(tmp_path / f'{i}', {
            '/image': [colour(0, (1, 2, 3))], '/a/depth/compressedDepth': [depth],
            '/depth/relative/compressedDepth': [compressed_depth(0, steps, '16UC1')]})
        inverse = read_bag(bag, with_depth=True)[1]
        assert (inverse[0, 2:] == 0.25).all()
    assert (inverse == 0.25).all()
    bag = write_bag(tmp_path / 'raw', {
        '/image': [colour(0, (1, 2, 3))], '/a/depth/compressedDepth': [depth],
        '/a/depth/image_rect_raw': [metres(0, 2)]})
    assert (read_bag(bag, with_depth=True)[1] == 0.5).all()  # what is not rounded comes first
    broken = compressed_depth(0, millimetres, '16UC1')
    broken.data = broken.data[:40]
    bag = write_bag(tmp_path / 'broken', {
        '/image': [colour(0, (1, 2, 3))], '/a/depth/compressedDepth': [broken]})
    with pytest.raises(DatasetError, match='/a/depth/compressedDepth is corrupt at its first'):
        read_bag(bag, with_depth=True)


def test_a_corrupt_image_of_a_bag_costs_itself_only(tmp_path):
    bag = write_bag(tmp_path / 'bag', {'/image': [
        colour(0, (1, 2, 3)), truncated(colour(MS, (1, 2, 3))), colour(2 * MS, (4, 5, 6))]})
    samples = open_samples([bag], with_depth=False)
    assert len(samples) == 3 and (samples[2].image_rgb == (4, 5, 6)).all()
    with pytest.raises(DatasetError, match='/image is corrupt at stamp 0.001000000'):
        samples[1]


def test_a_bag_is_read_in_another_process(tmp_path):
    bag = write_bag(tmp_path / 'bag', {
        '/image': [colour(i, (i, 0, 0), (60, 80)) for i in range(8)],
        '/depth': [metres(i, 2, (60, 80)) for i in range(8)]})
    samples = open_samples([bag])
    samples[3]  # it is open here
    phase = Phase(1, 4, ((28, 42),), 0.0, 0.0)
    drawn = draws_of_step(phase, 0, 1, 1, 8, 4)
    alone, helped = (next(Stream(samples, iter([drawn]), workers)) for workers in (0, 1))
    assert torch.equal(alone.image_rgb, helped.image_rgb)
    assert alone.image_rgb[:, 0, 14, 20].tolist() == [draw.index for draw in drawn]
    assert torch.equal(alone.inverse_depth, helped.inverse_depth)


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
         r'\(metres\) or 16UC1 \(millimetres\), or its compressedDepth, or points '
         r'with camera_info and /tf_static are wanted, and there are '
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
        read_bag(write(tmp_path / 'bag'), with_depth=True)
    assert str(tmp_path / 'bag') in str(error.value) and '\n' not in str(error.value)


def test_broken_bytes_are_one_line(tmp_path):
    def spoilt(name, spoil):
        bag = write_bag(tmp_path / name, {'/image': [colour(i, (i, 2, 3)) for i in range(3)]})
        file = next(bag.glob('*.mcap'))
        file.write_bytes(spoil(file.read_bytes()))
        return bag

    half = spoilt('half', lambda data: data[:len(data) // 2])
    with pytest.raises(DatasetError, match='half is no ROS 2 bag'):
        read_bag(half, with_depth=False)
    (half / 'metadata.yaml').unlink()
    with pytest.raises(DatasetError, match='give the folder that holds metadata.yaml'):
        read_bag(half, with_depth=False)
    names = spoilt('names', lambda data: data.replace(b'/image', b'/\xff\xff\xff\xff\xff'))
    with pytest.raises(DatasetError, match='names is no ROS 2 bag .*utf-8'):
        read_bag(names, with_depth=False)
    with pytest.raises(DatasetError, match=r'gone.mcap is no ROS 2 bag \(.*does not exist'):
        open_samples([Path('gone.mcap')])


def test_message_that_is_no_message_is_one_line(tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.add_topic('/image', RGB)
        bag.write('/image', 1, bytes(TYPES.serialize_cdr(colour(0, (1, 2, 3)), RGB)))
        bag.write('/image', 2, b'\0\1\0\0 no message')
    with pytest.raises(DatasetError, match='bag is corrupt at /image .*: cut that part out'):
        read_bag(tmp_path / 'bag', with_depth=False)


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
    both = open_samples([tmp_path / 'world', bag])
    assert [one.image_rgb.shape for one in both] == [(42, 56, 3)] * 4 + [(60, 80, 3)] * 3
    assert (both[4].semantic == 255).all() and not (both[3].semantic == 255).all()


def calibration(stamp_ns, camera):
    """Return a CameraInfo message."""
    info = encode_camera(camera)
    region = KINDS['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    return KINDS['sensor_msgs/msg/CameraInfo'](
        head(stamp_ns), info['height'], info['width'], 'plumb_bob', np.array(camera.D, float),
        *(np.array(info[name], float) for name in 'krp'), 0, 0, region)


def lidar_bag(path, placed=True, time_s=None, camera=SCENE_CAMERA, depth=False, later=()):
    """Write a bag of the scene at 1 s: image, calibration, one sweep and where the lidar is."""
    xyz_m, ring = scene_lidar()
    numbers, fields = encode_points(SensorPoints(xyz_m, 10**9, 'lidar', None, ring))
    data = np.frombuffer(numbers['data'], np.uint8).copy()
    if time_s is not None:  # in the place of the ring
        data.view('<f4').reshape(-1, 4)[:, 3] = time_s
        fields[3] = {**fields[3], 'name': 'time', 'datatype': 7}
    cloud = KINDS['sensor_msgs/msg/PointCloud2'](
        header=head(10**9, 'lidar'), fields=[KINDS['sensor_msgs/msg/PointField'](**field)
                                             for field in fields],
        **{**numbers, 'data': data})
    topics = {'/image': [image(10**9, scene_image())], '/points': [cloud],
              '/camera_info': [calibration(10**9, camera)]}
    if depth:
        topics['/depth'] = [metres(10**9, 3, scene_image().shape[:2])]
    with BagWriter(path) as bag:
        for topic, (message,) in topics.items():
            bag.add_topic(topic, message.__msgtype__)
            bag.write(topic, 10**9, bytes(TYPES.serialize_cdr(message, message.__msgtype__)))
        for i, camera in enumerate(later, start=1):
            bag.write('/camera_info', 10**9 + i * MS, bytes(TYPES.serialize_cdr(
                calibration(10**9 + i * MS, camera), 'sensor_msgs/msg/CameraInfo')))
        if placed:
            pose = matrix_to_pose(SCENE_T_CAMERA_LIDAR)
            bag.write_static_transforms(10**9, [('eye', 'lidar', pose)])
    return path


def test_a_lidar_labels_the_pixels_that_it_sees(tmp_path, capsys):
    samples = open_samples([lidar_bag(tmp_path / 'bag')])
    assert '1 pictures from /image, depth from /points' in capsys.readouterr().out
    sample = samples[0]
    np.testing.assert_array_equal(sample.image_rgb, scene_image())
    known = np.isfinite(sample.inverse_depth)
    assert sample.sparse and 0.9 * 24 * 120 < known.sum() <= 24 * 120
    error = sample.inverse_depth * scene_depth_image() - 1
    assert np.abs(error[known]).max() < 0.05 and np.median(np.abs(error[known])) < 0.004
    both = open_samples([lidar_bag(tmp_path / 'both', depth=True)])[0]  # a depth image says more
    assert not both.sparse and np.allclose(both.inverse_depth, 1 / 3)


def test_points_of_another_time_are_no_labels(tmp_path):
    time_s = np.linspace(0, 0.1, 24 * 120)  # a fifth is within 20 ms of the image
    whole, part = (
        np.isfinite(open_samples([lidar_bag(tmp_path / name, time_s=times)])[0].inverse_depth)
        for name, times in (('whole', None), ('part', time_s)))
    assert 0.15 * whole.sum() < part.sum() < 0.25 * whole.sum()
    assert not part[240:].any()  # rows are swept from above


def test_distorted_images_are_rectified_under_their_labels(tmp_path):
    K = SCENE_CAMERA.K
    bent = Camera.from_calibration(640, 480, K, (-0.2, 0.05, 0, 0, 0), P=np.c_[K, np.zeros(3)])
    sample = open_samples([lidar_bag(tmp_path / 'bag', camera=bent)])[0]
    straight = cv2.undistort(scene_image(), K, np.array([-0.2, 0.05, 0, 0, 0.0]), None, K)
    off = np.abs(sample.image_rgb[20:-20, 20:-20].astype(int) - straight[20:-20, 20:-20])
    assert np.percentile(off, 99) <= 2
    known = np.isfinite(sample.inverse_depth)
    assert np.median(np.abs(sample.inverse_depth * scene_depth_image() - 1)[known]) < 0.004


def test_a_lidar_of_which_nobody_says_where_it_is_is_one_line(tmp_path):
    with pytest.raises(DatasetError, match=r'no static transform says where /points \(frame "lida'
                                           r'r"\) is from the camera \(frame "eye"\): record /tf_'):
        open_samples([lidar_bag(tmp_path / 'bag', placed=False)])
    small = SCENE_CAMERA.scaled(320, 240)
    with pytest.raises(DatasetError, match='/camera_info is of 320x240 pixels and the image of 6'):
        open_samples([lidar_bag(tmp_path / 'small', camera=small)])


def test_a_calibration_that_changes_is_refused_where_labels_follow_from_it(tmp_path):
    same = lidar_bag(tmp_path / 'same', later=[SCENE_CAMERA] * 3)
    assert open_samples([same])[0].intrinsics is not None
    zoomed = Camera.from_calibration(640, 480, SCENE_CAMERA.K * [[1.01], [1.01], [1]])
    changed = lidar_bag(tmp_path / 'changed', later=[SCENE_CAMERA, zoomed])
    with pytest.raises(DatasetError, match='changed: /camera_info changes on the way, and with it '
                                           'the pixels that points are seen at: split the bag'):
        open_samples([changed])
    sample = open_samples([lidar_bag(tmp_path / 'depth', depth=True, later=[zoomed])])[0]
    assert sample.intrinsics is None and np.allclose(sample.inverse_depth, 1 / 3)
    assert open_samples([changed], with_depth=False)[0].intrinsics is None


def test_a_clock_that_goes_back_leaves_each_image_its_own_depth(tmp_path):
    stamps = [500, 600, 700, 100, 200, 300]  # in order of arrival
    with BagWriter(tmp_path / 'bag') as bag:
        for topic, kind in (('/eye/image', RGB), ('/eye/depth', RGB)):
            bag.add_topic(topic, kind)
        for i, ms in enumerate(stamps):
            for topic, message in (('/eye/image', colour(ms * MS, (ms // 10, 0, 0))),
                                   ('/eye/depth', metres(ms * MS, ms / 100))):
                bag.write(topic, (1000 + i) * MS, bytes(TYPES.serialize_cdr(message, RGB)))
    images, inverse, _ = read_bag(tmp_path / 'bag', True)
    assert [red for red, _, _ in colours(images)] == [10, 20, 30, 50, 60, 70]
    np.testing.assert_allclose(inverse[:, 0, 0], [1, 1 / 2, 1 / 3, 1 / 5, 1 / 6, 1 / 7], rtol=1e-6)


@pytest.mark.parametrize('depth_m', [np.nan, np.inf, -np.inf, -2.0, 0.0])
def test_depth_that_is_nowhere_known_is_no_label(tmp_path, depth_m):
    eye = {'/eye/image': [colour(0, (9, 9, 9)), colour(50 * MS, (9, 9, 9))]}
    none = write_bag(tmp_path / 'none', {**eye, '/eye/depth': [metres(0, depth_m),
                                                               metres(50 * MS, depth_m)]})
    with pytest.raises(DatasetError, match=r'no depth between 0.3 and 80 m \(all are unknown\)'):
        open_samples([none])
    half = write_bag(tmp_path / 'half', {**eye, '/eye/depth': [metres(0, depth_m),
                                                               metres(50 * MS, 4)]})
    first, second = open_samples([half])
    assert np.isnan(first.inverse_depth).all() and np.allclose(second.inverse_depth, 0.25)
