# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A folder in Depth Anything 3's format, run by the real node over real DDS."""

import subprocess
import sys
import time

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
import rclpy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from test_depth_anything_3 import load, published_state, save
from test_official_weights import TINY, WIDTH
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.network import official_weights
from depth_anything_ros.ros.images import depth_plane
from depth_anything_ros.ros.messages import encode_camera, encode_image, ns_to_stamp
from helpers import program, TEST

DEPTH_NODE = 'depth_anything_ros.ros.depth_node'
NODE = TEST / 'programs' / 'tiny_network_node.py'
DEADLINE_S = 90  # for answers of a node that has its network
FIRST_STAMP_NS = 1_700_000_000_123_456_789
HEIGHT, COLUMNS = 70, 98  # multiples of 14 whose longer side is model.input_size: no resizing
FOCALS_PX = ((100.0, 140.0), (200.0, 280.0))

pytestmark = pytest.mark.timeout(DEADLINE_S + 120)


def answers(image_rgb):
    """Publish an image under either focal length; return each one's depth/image, and depth/scale.

    Stamps tell which calibration a depth belongs to.
    """
    rclpy.init()
    node = rclpy.create_node('asker')
    depths, states, sent, found = [], [], {}, {}
    try:
        images = node.create_publisher(Image, 'image', 1)
        infos = node.create_publisher(CameraInfo, 'camera_info', 1)
        node.create_subscription(Image, 'depth/image', depths.append, 10)
        node.create_subscription(DiagnosticStatus, 'depth/scale', states.append, 10)
        end = time.monotonic() + DEADLINE_S
        while not (len(found) == len(FOCALS_PX) and states) and time.monotonic() < end:
            fx, fy = FOCALS_PX[len(sent) % 2]
            camera = Camera(
                COLUMNS, HEIGHT, np.array([[fx, 0, 48.5], [0, fy, 34.5], [0, 0, 1.0]])
            )
            stamp = ns_to_stamp(FIRST_STAMP_NS + 10**8 * len(sent))
            header = Header(frame_id='eye')
            header.stamp.sec, header.stamp.nanosec = stamp['sec'], stamp['nanosec']
            sent[stamp['sec'], stamp['nanosec']] = fx
            infos.publish(CameraInfo(header=header, **encode_camera(camera)))
            images.publish(Image(header=header, **encode_image(image_rgb, 'rgb8')))
            rclpy.spin_once(node, timeout_sec=0.1)
            for message in depths:
                found[sent[message.header.stamp.sec, message.header.stamp.nanosec]] = message
    finally:
        node.destroy_node()
        rclpy.shutdown()
    assert len(found) == len(FOCALS_PX), f'depth/image of {sorted(found)} in {DEADLINE_S} s'
    return {fx: depth_plane(message) for fx, message in found.items()}, states[-1]


@pytest.mark.parametrize(('name', 'kept', 'why'), [
    ('da3nested-giant-large', 1.0, '"da3nested-giant-large" is not run here'),
    ('da3metric-large', 0.9, 'download or save it again'),
])
def test_a_checkpoint_that_is_refused_ends_the_node_with_one_line(tmp_path, name, kept, why):
    folder = save(published_state(), tmp_path / 'da3', name)
    weights = tmp_path / 'da3' / 'model.safetensors'
    content = weights.read_bytes()
    weights.write_bytes(content[:int(kept * len(content))])
    command = [sys.executable, '-m', DEPTH_NODE, '--ros-args', '-p', f'model.checkpoint:={folder}']
    result = subprocess.run(command, capture_output=True, text=True)
    lines = (result.stdout + result.stderr).strip().splitlines()
    (line,) = [line for line in lines if '[INFO]' not in line]
    assert result.returncode == 1 and why in line


def test_metres_follow_the_focal_length_and_sky_is_nan(tmp_path, monkeypatch):
    monkeypatch.setitem(official_weights.ARCHITECTURES, WIDTH, TINY)
    folder = save(published_state(), tmp_path / 'da3')
    image_rgb = np.random.default_rng(3).integers(0, 256, (HEIGHT, COLUMNS, 3), np.uint8)
    arguments = ['--ros-args', '-p', f'model.checkpoint:={folder}',
                 '-p', f'model.input_size:={COLUMNS}']
    with program(NODE, *arguments, ready='predicts'):
        depth_m, status = answers(image_rgb)
    assert status.message == 'METRIC'

    network = load(folder)
    normalised = (image_rgb / 255 - network.spec.mean) / network.spec.std
    output, sky = network(torch.from_numpy(normalised).permute(2, 0, 1)[None].float()).numpy()
    is_sky = sky >= 0.3
    assert 0.1 < is_sky.mean() < 0.9
    unclear = np.abs(sky - 0.3) < 1e-3
    for fx, fy in FOCALS_PX:
        expected_m = np.where(is_sky, np.nan, output * (fx + fy) / 2 / 300)
        np.testing.assert_array_equal(np.isnan(depth_m[fx])[~unclear], is_sky[~unclear])
        both = ~unclear & ~is_sky
        np.testing.assert_allclose(depth_m[fx][both], expected_m[both], rtol=1e-3)
