# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A depth camera over ROS: its messages, and node, camera and depth camera as processes."""

from contextlib import contextmanager
import struct
import time

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
import rclpy
from sensor_msgs.msg import CompressedImage, Image
from test_node import NODE, PATIENCE_S, plane, PLAYER, pose_parameter, READY

from depth_anything_ros.config import LimitsConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros.depth_messages import decode_depth, encode_compressed_depth
from depth_anything_ros.ros.messages import encode_image
from helpers import (
    blind,
    edges,
    program,
    scene_depth_image,
    SCENE_T_CAMERA_LIDAR,
    TEST,
    write_scene_folder,
)

DEPTH_CAMERA = TEST / 'programs' / 'depth_camera.py'


# Messages


def compressed(stored, name, quantiser=(0.0, 0.0)):
    """Return what compressed_depth_image_transport sends of 16 bit values."""
    png = cv2.imencode('.png', stored)[1].tobytes()
    return CompressedImage(format=name, data=struct.pack('<iff', 0, *quantiser) + png)


MILLIMETRES = np.array([[0, 1, 1500], [65535, 2000, 10]], np.uint16)


@pytest.mark.parametrize(
    'message',
    [
        Image(**encode_image(MILLIMETRES, '16UC1')),
        compressed(MILLIMETRES, '16UC1; compressedDepth'),
        compressed(MILLIMETRES, '16UC1; compressedDepth png'),
    ],
)
def test_millimetres_are_metres_and_zero_is_nothing(message):
    message.header.stamp.sec, message.header.frame_id = 7, 'depth_optical'
    reading = decode_depth(message)
    np.testing.assert_allclose(
        reading.depth_m, [[np.nan, 0.001, 1.5], [65.535, 2.0, 0.01]], rtol=1e-6
    )
    assert reading.depth_m.dtype == np.float32
    assert (reading.stamp_ns, reading.frame_id) == (7_000_000_000, 'depth_optical')


def test_quantised_inverse_depth_is_undone_by_hand():
    # a = 10000, b = -100: 1900 stands for 10000 / (1900 + 100) = 5 m.
    stored = np.array([[0, 1900, 9900]], np.uint16)
    reading = decode_depth(compressed(stored, '32FC1; compressedDepth', (10000.0, -100.0)))
    np.testing.assert_allclose(reading.depth_m, [[np.nan, 5.0, 1.0]], rtol=1e-6)


def stored_in(fields):
    """Return the 12 bytes in front and the 16 bit picture behind them."""
    data = bytes(fields['data'])
    return data[:12], cv2.imdecode(np.frombuffer(data[12:], np.uint8), cv2.IMREAD_UNCHANGED)


DEPTHS_M = np.array([[1.0, 5.0, 10.0, 0.1], [np.nan, np.inf, 0.0, -1.0]], np.float32)


def test_millimetres_are_compressed_as_the_transport_does():
    depth_m = np.array([[0.001, 1.5006, 65.535], [65.54, np.nan, -1.0]], np.float32)
    fields = encode_compressed_depth(depth_m, '16UC1', 80.0)
    front, stored = stored_in(fields)
    assert fields['format'] == '16UC1; compressedDepth png' and front == bytes(12)
    assert stored.dtype == np.uint16 and stored.tolist() == [[1, 1501, 65535], [0, 0, 0]]
    read_m = decode_depth(CompressedImage(**fields)).depth_m
    np.testing.assert_allclose(read_m[0], [0.001, 1.501, 65.535], rtol=1e-6)
    assert np.isnan(read_m[1]).all()


def test_metres_are_compressed_as_the_transport_does():
    # a = 100 * 101, b = 1 - a / 10: 1 m is 10100 + 1 - 1010, 5 m 2020 - 1009, 10 m the last step;
    # .1 m would be 101000 - 1009, more than 16 bits hold.
    fields = encode_compressed_depth(DEPTHS_M, '32FC1', 10.0)
    front, stored = stored_in(fields)
    assert fields['format'] == '32FC1; compressedDepth png'
    assert struct.unpack('<iff', front) == (0, 10100.0, -1009.0)
    assert stored.tolist() == [[9091, 1011, 1, 0], [0, 0, 0, 0]]
    read_m = decode_depth(CompressedImage(**fields)).depth_m
    np.testing.assert_allclose(read_m[0, :3], [1.0, 5.0, 10.0], rtol=1e-6)
    assert np.isnan(read_m[0, 3]) and np.isnan(read_m[1]).all()


def test_a_step_of_compressed_metres_is_the_square_of_depth_over_10100():
    depth_m = np.random.default_rng(0).uniform(0.16, 79.9, (50, 60)).astype(np.float32)
    fields = encode_compressed_depth(depth_m, '32FC1', 80.0)
    read_m = decode_depth(CompressedImage(**fields)).depth_m
    # Half a step in 1/z, with what the second order adds at 80 m (.4 %).
    assert (np.abs(read_m - depth_m) < 0.5025 * depth_m**2 / 10100 + 1e-5).all()


def test_the_largest_and_the_smallest_depth_image():
    assert decode_depth(Image(**encode_image(np.ones((1, 1), np.float32), '32FC1'))).depth_m == 1
    limits = LimitsConfig(image_pixels=11)
    for message in (
        Image(**encode_image(np.ones((3, 4), np.float32), '32FC1')),
        compressed(np.ones((3, 4), np.uint16), '16UC1; compressedDepth'),
    ):
        with pytest.raises(BadFrameError, match='more pixels than limits.image_pixels'):
            decode_depth(message, limits)


@pytest.mark.parametrize(
    ('message', 'cause'),
    [
        (Image(**encode_image(np.zeros((4, 4, 3), np.uint8), 'rgb8')), 'is no depth'),
        (compressed(MILLIMETRES, '16UC1; compressedDepth rvl'), 'format to png'),
        (compressed(MILLIMETRES, '16UC1; jpeg compressed'), 'format to png'),
        (compressed(MILLIMETRES, ''), 'format to png'),
        (compressed(MILLIMETRES.astype(np.uint8), '16UC1; compressedDepth'), 'no 16 bit PNG'),
        (compressed(MILLIMETRES, '32FC1; compressedDepth'), 'quantiser'),
        (compressed(MILLIMETRES, '32FC1; compressedDepth', (np.nan, 1.0)), 'quantiser'),
        (CompressedImage(format='16UC1; compressedDepth', data=b'1234'), 'neither JPEG nor PNG'),
        (CompressedImage(format='16UC1; compressedDepth', data=b''), 'neither JPEG nor PNG'),
    ],
)
def test_what_is_no_depth_is_one_line(message, cause):
    with pytest.raises(BadFrameError, match=cause) as raised:
        decode_depth(message)
    assert '\n' not in str(raised.value)


def test_a_picture_cut_short_anywhere_is_refused():
    whole = compressed(MILLIMETRES, '16UC1; compressedDepth')
    for end in range(len(whole.data)):
        with pytest.raises(BadFrameError):
            decode_depth(CompressedImage(format=whole.format, data=bytes(whole.data[:end])))


# Processes


@contextmanager
def listening():
    """Follow depth/image and depth/scale; yields a function that waits for a state."""
    rclpy.init()
    node = rclpy.create_node('listener')
    seen = {}
    node.create_subscription(Image, 'depth/image', lambda m: seen.update(image=m), 5)
    node.create_subscription(DiagnosticStatus, 'depth/scale', lambda m: seen.update(scale=m), 5)

    def values():
        return {p.key: p.value for p in seen['scale'].values} if 'scale' in seen else {}

    def until(condition):
        end = time.monotonic() + PATIENCE_S
        while not ('image' in seen and condition(values())):
            assert time.monotonic() < end, values()
            rclpy.spin_once(node, timeout_sec=0.1)
        seen.pop('image')
        while 'image' not in seen:
            assert time.monotonic() < end, values()
            rclpy.spin_once(node, timeout_sec=0.1)
        return plane(seen['image'])

    try:
        yield until
    finally:
        node.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def scene(tmp_path):
    folder = tmp_path / 'scene'
    folder.mkdir()
    write_scene_folder(folder)
    return folder


def assert_the_scene(depth_m, rtol=0.02):
    truth_m = scene_depth_image()
    inner = ~edges(truth_m, 6)
    assert np.isfinite(depth_m[inner]).mean() > 0.98
    off = np.abs(depth_m / truth_m - 1)[inner]
    assert np.nanquantile(off, 0.99) < rtol
    # What the depth camera does not see is right too.
    assert np.nanmedian(np.abs(depth_m / truth_m - 1)[blind() & inner]) < rtol


@pytest.mark.timeout(3 * PATIENCE_S)
@pytest.mark.parametrize('encoding', ['16UC1', '32FC1', 'compressedDepth'])
def test_metres_from_a_depth_camera_alone(scene, encoding):
    transport = 'compressedDepth' if encoding == 'compressedDepth' else 'raw'
    node = ('--ros-args', '-p', f'scale.depth_transport:={transport}', '-p', 'scale.method:=depth')
    with (
        program(NODE, 'exact', *node, ready=READY),
        program(PLAYER[0], PLAYER[1], scene, '--rate', 8),
        program(DEPTH_CAMERA, encoding),
        listening() as until,
    ):
        depth_m = until(lambda values: values.get('method') == 'depth')
    assert_the_scene(depth_m)


@pytest.mark.timeout(3 * PATIENCE_S)
def test_each_source_goes_on_without_the_other(scene):
    node = ('--ros-args', *pose_parameter(SCENE_T_CAMERA_LIDAR))
    with (
        program(NODE, 'exact', *node, ready=READY),
        program(PLAYER[0], PLAYER[1], scene, '--rate', 8),
        listening() as until,
    ):
        assert_the_scene(until(lambda values: values.get('method') == 'lidar'))
        with program(DEPTH_CAMERA, '16UC1'):
            assert_the_scene(until(lambda values: values.get('method') == 'lidar+depth'))
        assert_the_scene(until(lambda values: values.get('method') == 'lidar'))
