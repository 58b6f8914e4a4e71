# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of pictures: 256 steps a metre, and all that belongs to a frame on its line."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from recorded_drive import (
    CAMERA,
    drive,
    load,
    PERIOD_NS,
    picture_at,
    pose_at,
    START_NS,
    write_bag,
)
from sensor_msgs.msg import Image

from depth_anything_ros.annotation.folder_output import FolderOutput
from depth_anything_ros.annotation.output import Answer
from depth_anything_ros.annotation.recording import RecordedImage
from depth_anything_ros.annotation.topics import CameraTopics
from depth_anything_ros.annotation.unit import annotate_unit, Request
from depth_anything_ros.annotation.unit_report import Unit
from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.metric_depth.scale import unanchored
from depth_anything_ros.pipeline import DepthFrame
from depth_anything_ros.ros.bags import open_bag

FIXED = with_values(Config(), {'scale.fixed_frame': 'odom', 'scale.method': 'lidar'})


def picture(path):
    """Return a picture as it is stored."""
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def annotate(bag, out, config=FIXED, **request):
    """Annotate a bag with the network of the tests."""
    return annotate_unit(Unit(str(bag)), Request(**request), config, load, out)


@pytest.mark.parametrize(
    'depth, steps',
    [
        (np.array([[1.0, np.nan, 0.501], [255.99, 300.0, 0.0]], np.float32),
         [[256, 0, 128], [65533, 0, 0]]),
        (np.array([[1000, 0, 501], [65535, 2, 1]], np.uint16), [[256, 0, 128], [16777, 1, 1]]),
    ],
)
def test_depth_by_hand(tmp_path, depth, steps):
    stddev_m = np.array([[0.1, np.nan, 0.001], [300.0, 0.5, np.inf]], np.float32)
    camera = Camera(3, 2, np.array([[2.0, 0, 1], [0, 2, 0.5], [0, 0, 1]]))
    frame = DepthFrame(
        camera, camera, unanchored('depth', 5, 'why'), 0.25, depth=depth, stddev_m=stddev_m,
        image_rect=np.full((2, 3, 3), (10, 20, 30), np.uint8),
    )
    topics = CameraTopics('/a/b/image', '/a/b/image', False, {})
    header = SimpleNamespace(frame_id='eye')
    T = np.arange(16.0).reshape(4, 4)
    with FolderOutput(tmp_path / 'x', [topics], with_poses=True) as output:
        output.write_frame(Answer(RecordedImage(0, 7, 1_500_000_005, b''), header, frame, 0, T))
        output.write_frame(Answer(RecordedImage(0, 8, 2_000_000_000, b''), header, frame, 1))
    folder = tmp_path / 'x' / 'a.b'
    np.testing.assert_array_equal(picture(folder / 'depth' / '0000000000.png'), steps)
    expected = [[26, 0, 1], [65535, 128, 65535]]
    np.testing.assert_array_equal(picture(folder / 'stddev' / '0000000001.png'), expected)
    assert picture(folder / 'image' / '0000000001.png')[0, 0].tolist() == [30, 20, 10]
    assert (folder / 'timestamps.txt').read_text().splitlines() == [
        '1970-01-01 00:00:01.500000005', '1970-01-01 00:00:02.000000000'
    ]
    poses = np.loadtxt(folder / 'poses.txt')
    np.testing.assert_array_equal(poses[0], np.arange(12))
    assert np.isnan(poses[1]).all() and poses.shape == (2, 12)
    first = json.loads((folder / 'states.jsonl').read_text().splitlines()[0])
    assert first == {'frame': 0, 'stamp_ns': 1_500_000_005, 'state': 'UNANCHORED',
                     'method': 'none', 'sigma': 0.25, 'reason': 'why'}
    about = json.loads((folder / 'camera.json').read_text())
    assert (about['frame_id'], about['K'], about['width']) == ('eye', camera.K.tolist(), 3)


def test_a_folder_holds_what_the_bag_does(tmp_path):
    bag = write_bag(tmp_path / 'bag', drive(4))
    annotate(bag, tmp_path / 'out')
    report = annotate(bag, tmp_path / 'folder', format='kitti')
    assert report.cameras['/front/image_raw'].states == {'FITTED': 4}
    folder = tmp_path / 'folder' / 'front'
    with open_bag(tmp_path / 'out') as reader:
        topics = [c for c in reader.connections if c.topic == '/front/depth/image']
        images = [deserialize_message(data, Image) for _, _, data in reader.messages(topics)]
    assert len(images) == len(list((folder / 'depth').iterdir())) == 4
    for i, image in enumerate(images):
        depth_m = np.frombuffer(image.data, '<f4').reshape(CAMERA.size).astype(float)
        steps = np.nan_to_num(np.round(depth_m * 256))
        name = f'{i:010d}.png'
        np.testing.assert_array_equal(picture(folder / 'depth' / name), steps)
        stamp_ns = START_NS + i * PERIOD_NS
        np.testing.assert_array_equal(
            picture(folder / 'image' / name)[..., ::-1], picture_at(stamp_ns)
        )
        T = np.loadtxt(folder / 'poses.txt')[i].reshape(3, 4)
        np.testing.assert_allclose(T, pose_at(stamp_ns)[:3], atol=1e-6)
    assert not (tmp_path / 'folder.unfinished').exists()


def test_without_metres_there_is_no_depth_and_the_line_says_why(tmp_path):
    bag = write_bag(tmp_path / 'bag', [m for m in drive(2) if m[0] != '/lidar/points'])
    annotate(bag, tmp_path / 'folder', Config(), format='kitti')
    folder = tmp_path / 'folder' / 'front'
    assert not list((folder / 'depth').iterdir()) and not (folder / 'poses.txt').exists()
    assert len(list((folder / 'image').iterdir())) == 2
    states = [json.loads(line) for line in (folder / 'states.jsonl').read_text().splitlines()]
    assert [state['state'] for state in states] == ['UNANCHORED'] * 2
