# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`inspect`: what it says of good recordings, of those that lack something, and of broken ones."""

import base64
import json
import re

import cv2
import numpy as np
import pytest
from recorded_drive import (
    CAMERA,
    compressed_message,
    drive,
    info_message,
    PERIOD_NS,
    picture_at,
    pose_at,
    stamped,
    START_NS,
    T_CAMERA_LIDAR,
    transforms_message,
    TYPES_OF,
    write_bag,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import CameraInfo, Image

from depth_anything_ros.annotation.coverage import coverage, draw_anchors
from depth_anything_ros.annotation.inspection import inspect, LOOKED_AT, Wanted
from depth_anything_ros.annotation.topic_facts import TopicWatch, transforms_of
from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.bags import TYPES
from depth_anything_ros.ros.frame_links import Frames
from depth_anything_ros.ros.messages import encode_camera, encode_image
from depth_anything_ros.tools.inspect_bag import main

IMAGE, INFO, POINTS = '/front/image_raw', '/front/camera_info', '/lidar/points'


def without(*topics):
    return [message for message in drive() if message[0] not in topics]


def looked(tmp_path, messages, types=None, metric=False, values=None, **wanted):
    path = write_bag(tmp_path / 'bag', messages, types)
    return inspect(path, Wanted(**wanted), with_values(Config(), values or {}), metric)


def only_camera(*arguments, **more):
    (camera,) = looked(*arguments, **more).cameras
    return camera


# A recording that has all ----------------------------------------------------------------------


def test_a_recording_that_has_all(tmp_path):
    found = looked(tmp_path, drive())
    (camera,) = found.cameras
    assert found.ready and not found.loss and not found.notes
    assert (camera.topic, camera.form, camera.size) == (IMAGE, 'rgb8', (140, 112))
    assert (camera.images, camera.looked_at, camera.frame_id) == (6, 6, 'camera')
    assert camera.calibration == f'pinhole, from {INFO}'
    assert camera.chains == {POINTS: 'camera -static- lidar'}
    assert camera.state == 'FITTED' and camera.why.startswith('6 of 6 images have anchors')
    assert not camera.advice and len(camera.pictures) == 3
    lidar = camera.sources['lidar']
    assert lidar.share == 1 and lidar.anchors > 500 and not lidar.reasons
    # The sweep of 30 ms later; that of the period before is 70 ms away.
    assert lidar.offset_s == pytest.approx(0.03) and lidar.largest_offset_s == pytest.approx(0.03)
    assert lidar.coverage.columns == 1 and 0.5 < lidar.coverage.rows < 0.9
    assert camera.commands == [
        f'annotate {tmp_path / "bag"} OUT -r points:={POINTS}',
        'ros2 run depth_anything_ros depth_node --ros-args '
        f'-r image:={IMAGE} -r points:={POINTS} -r camera_info:={INFO}',
    ]


def test_topics_are_told_with_their_clocks(tmp_path):
    facts = {facts.topic: facts for facts in looked(tmp_path, drive()).topics}
    assert set(facts) == set(TYPES_OF)
    image = facts[IMAGE]
    assert (image.messages, image.refused, image.gaps, image.back) == (6, 0, 0, 0)
    assert image.rate_hz == pytest.approx(10) and image.longest_gap_s == pytest.approx(0.1)
    assert image.delay_s == pytest.approx(0.04) and image.frame_id == 'camera'
    note = facts['/note']  # of a type that nobody reads
    assert note.rate_hz == pytest.approx(10) and note.delay_s is None


def test_many_images_are_looked_at_evenly(tmp_path):
    messages = [m for m in drive() if m[0] in ('/tf_static', INFO)]
    picture = picture_at(START_NS)
    for i in range(101):
        stamp_ns = START_NS + i * PERIOD_NS
        messages.append((IMAGE, stamp_ns, stamped(Image(**encode_image(picture, 'rgb8')), stamp_ns,
                                                  'camera')))
    camera = only_camera(tmp_path, messages)
    assert (camera.images, camera.looked_at) == (101, LOOKED_AT)


# Recordings that lack something -----------------------------------------------------------------


def test_without_camera_info_a_file_is_asked_for_and_taken(tmp_path):
    camera = only_camera(tmp_path, without(INFO))
    assert camera.state == 'UNANCHORED' and not camera.ready and camera.calibration == 'none'
    assert 'camera_info' in camera.why and camera.advice[0].startswith('calibrate it: --camera-inf')
    assert camera.sources['lidar'].reasons == ['the camera is not calibrated (6 of 6)']
    assert len(camera.pictures) == 3
    with_file = only_camera(tmp_path / 'again', without(INFO), camera_info=info_message(START_NS))
    assert with_file.state == 'FITTED' and with_file.calibration == 'pinhole, from --camera-info'


def test_a_calibration_elsewhere_in_the_bag_is_named(tmp_path):
    moved = [('/calibration' if t == INFO else t, ns, data) for t, ns, data in drive()]
    types = {'/calibration': 'sensor_msgs/msg/CameraInfo'}
    camera = only_camera(tmp_path, moved, types)
    assert 'its calibration may be this: -r camera_info:=/calibration' in camera.advice
    taken = only_camera(
        tmp_path / 'again', moved, types, remapped={'camera_info': '/calibration'}
    )
    assert taken.state == 'FITTED'


def test_a_calibration_of_another_size_is_told(tmp_path):
    other = Camera.from_calibration(70, 56, CAMERA.K)
    changed = [
        (t, ns, stamped(CameraInfo(**encode_camera(other)), ns, 'camera') if t == INFO else data)
        for t, ns, data in drive()
    ]
    camera = only_camera(tmp_path, changed)
    assert camera.calibration.startswith(f'unusable, from {INFO}: image is 140x112 but')
    assert camera.state == 'UNANCHORED'


def test_a_missing_transform_is_named_and_a_parameter_mends_it(tmp_path):
    camera = only_camera(tmp_path, without('/tf_static'))
    assert camera.chains == {POINTS: 'missing: lidar in no transform'}
    assert camera.state == 'UNANCHORED' and '"lidar" is in no transform' in camera.why
    assert any('scale.T_camera_sensor' in line for line in camera.advice)
    pose = matrix_to_pose(T_CAMERA_LIDAR)
    mended = only_camera(
        tmp_path / 'again', without('/tf_static'), values={'scale.T_camera_sensor': pose}
    )
    assert mended.state == 'FITTED'


def test_without_a_sensor_the_other_ways_to_metres_are_told(tmp_path):
    camera = only_camera(tmp_path, without(POINTS))
    assert camera.state == 'UNANCHORED' and 'nothing in the bag' in camera.why
    assert [line.rpartition(':=')[0].rpartition(' ')[2] for line in camera.advice] == [
        'scale.fixed_frame', 'scale.camera_pitch'
    ]
    metric = only_camera(tmp_path / 'metric', without(POINTS), metric=True)
    assert (metric.state, metric.why) == ('METRIC', 'the network predicts metres')
    high = only_camera(tmp_path / 'high', without(POINTS), values={'scale.camera_height': 1.5})
    assert high.state == 'FITTED' and 'height' in high.why


def test_a_camera_that_moves_is_anchored_by_its_odometry(tmp_path):
    camera = only_camera(tmp_path, without(POINTS), values={'scale.fixed_frame': 'odom'})
    way_m = np.linalg.norm(pose_at(START_NS + 5 * PERIOD_NS)[:3, 3] - pose_at(START_NS)[:3, 3])
    assert way_m > 0.4 and camera.state == 'FITTED'
    told = float(re.search(r'moves by ([\d.]+) m in odom', camera.why)[1])
    assert told == pytest.approx(way_m, abs=0.1)


def test_sweeps_of_another_time_are_told(tmp_path):
    late = [
        (t, ns, data) for t, ns, data in drive(20) if t != POINTS or ns > START_NS + 15 * PERIOD_NS
    ]
    camera = only_camera(tmp_path, late)
    lidar = camera.sources['lidar']
    assert lidar.share == pytest.approx(5 / 20, abs=0.11) and camera.state == 'UNANCHORED'
    assert any('the nearest points (lidar) are' in reason for reason in lidar.reasons)
    assert any('scale.max_time_offset' in line for line in camera.advice)


def test_a_second_lidar_and_a_depth_camera_are_named(tmp_path):
    extra = [('/depth_camera/image', ns, stamped(
        Image(**encode_image(np.full(CAMERA.size, 2000, np.uint16), '16UC1')), ns, 'camera'))
        for t, ns, _ in drive() if t == IMAGE]
    extra += [('/depth_camera/camera_info', ns, data) for t, ns, data in drive() if t == INFO]
    types = {'/depth_camera/image': 'sensor_msgs/msg/Image',
             '/depth_camera/camera_info': 'sensor_msgs/msg/CameraInfo'}
    messages = sorted(without(POINTS) + extra, key=lambda m: m[1])
    found = looked(tmp_path, messages, types)
    assert found.depth_images == ['/depth_camera/image']
    (camera,) = found.cameras
    line = '/depth_camera/image may anchor it: -r sensor_depth/image:=/depth_camera/image'
    assert camera.advice[0] == line and camera.chains == {'/depth_camera/image': 'camera itself'}
    taken = only_camera(tmp_path / 'again', messages, types,
                        remapped={'sensor_depth/image': '/depth_camera/image'})
    assert taken.state == 'FITTED' and taken.sources['depth'].share > 0.8


def test_compressed_images_are_looked_at(tmp_path):
    topic = f'{IMAGE}/compressed'
    packed = [
        (topic, ns, compressed_message(picture_at(ns - 40_000_000), ns - 40_000_000))
        if t == IMAGE else (t, ns, data) for t, ns, data in drive()
    ]
    camera = only_camera(tmp_path, packed, {topic: 'sensor_msgs/msg/CompressedImage'})
    assert (camera.topic, camera.state) == (topic, 'FITTED') and 'png' in camera.form
    assert 'image_transport:=compressed' in camera.commands[1]


# The parts --------------------------------------------------------------------------------------


def anchors_at(*places):
    u, v = (np.array(values, np.float32) for values in zip(*places))
    return Anchors(u, v, np.full(len(u), 4.0, np.float32), np.zeros(len(u), np.int64))


def test_coverage_by_hand():
    camera = Camera.from_calibration(80, 60, [[50.0, 0, 40], [0, 50.0, 30], [0, 0, 1]])
    # Radius 80 / 40 = 2 px: a circle of 13 pixels, 5 columns and rows around each.
    one = coverage(anchors_at((40, 30)), camera)
    assert one.columns == 5 / 80 and one.rows == 5 / 60
    assert one.pixels == pytest.approx(13 / 4800)
    two = coverage(anchors_at((0, 0), (40, 30)), camera)  # 3 columns of the first, 6 pixels
    assert (two.columns, two.rows) == (8 / 80, 8 / 60)
    assert two.pixels == pytest.approx(19 / 4800)
    nothing = Anchors(*[np.zeros(0, np.float32)] * 3, np.zeros(0, np.int64))
    assert coverage(nothing, camera).pixels == 0


def test_anchors_are_drawn_where_they_are():
    camera = Camera.from_calibration(320, 240, [[200.0, 0, 160], [0, 200.0, 120], [0, 0, 1]])
    jpeg = draw_anchors(np.zeros((240, 320, 3), np.uint8), camera, anchors_at((100, 50)))
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (480, 640, 3)
    colourful = np.ptp(picture.astype(int), axis=2) > 60
    rows, columns = np.nonzero(colourful)
    assert abs(columns.mean() - 200) < 1.5 and abs(rows.mean() - 100) < 1.5


def test_rates_gaps_and_clocks_by_hand():
    with_header = [0, 100, 200, 200, 150, 600, 700, 800]  # ms
    watch = TopicWatch('/eye/camera_info', 'sensor_msgs/msg/CameraInfo')
    for ms in with_header:
        stamp_ns = START_NS + ms * 1_000_000
        watch.add(stamp_ns + 7_000_000, info_message(stamp_ns))
    watch.add(START_NS, b'\0\1\0\0 no message')
    facts = watch.facts()
    assert (facts.messages, facts.refused, facts.back, facts.doubled) == (9, 1, 1, 1)
    assert facts.rate_hz == pytest.approx(10) and facts.delay_s == pytest.approx(0.007)
    assert (facts.gaps, facts.longest_gap_s) == (1, pytest.approx(0.45))


def test_chains_of_frames_by_hand():
    frames, eye = Frames(), np.eye(4)
    for static, data in (
        (True, transforms_message((0, 'base', 'camera', eye), (0, '/base', 'lidar', eye))),
        (False, transforms_message((0, 'odom', 'base', eye))),
        (True, transforms_message((0, 'map', 'gps', eye))),
        (True, b'nothing'),
    ):
        frames.add(transforms_of(data), static)
    assert frames.chain('camera', 'lidar') == 'camera -static- base -static- lidar'
    assert frames.chain('camera', 'odom') == 'camera -static- base -moving- odom'
    assert frames.chain('camera', 'camera') == 'camera itself'
    assert frames.chain('camera', 'radar') == 'missing: radar in no transform'
    missing = frames.chain('camera', 'gps')
    assert missing == 'missing: a link from base, camera, lidar, odom to gps, map'


# The program ------------------------------------------------------------------------------------


def test_the_program_prints_tables_json_and_a_page(tmp_path, capsys):
    path, page = write_bag(tmp_path / 'bag', drive()), tmp_path / 'page.html'
    assert main([str(path), '--html', str(page)]) == 0
    printed = capsys.readouterr().out
    assert 'FITTED' in printed and f'-r points:={POINTS}' in printed
    text = page.read_text()
    assert 'FITTED' in text and 'http' not in text and '<script' not in text
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert len(pictures) == text.count('<img') == 3
    for picture in pictures:
        data = np.frombuffer(base64.b64decode(picture), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (512, 640, 3)
    assert main([str(path), '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['ready'] and report['cameras'][0]['state'] == 'FITTED'
    assert report['cameras'][0]['sources']['lidar']['share'] == 1.0


def test_the_exit_code_says_whether_metres_would_come(tmp_path, capsys):
    bare = write_bag(tmp_path / 'bare', without('/tf_static'))
    assert main([str(bare), '--json']) == 1
    assert json.loads(capsys.readouterr().out)['ready'] is False
    nothing = write_bag(tmp_path / 'no_camera', without(IMAGE))
    assert main([str(nothing)]) == 1
    assert 'there is no camera' in capsys.readouterr().out
    assert main([str(tmp_path / 'absent')]) == 2
    error = capsys.readouterr().err
    assert error.startswith('inspect: ') and error.count('\n') == 1
    assert main([str(bare), '-r', 'points']) == 2 and main([str(bare), '--camera', '/none']) == 2
    assert main([str(bare), '-p', 'scale.method:=magic']) == 2
    assert main([str(bare), '--html', str(tmp_path / 'no' / 'x.html')]) == 2


@pytest.mark.parametrize('plugin', [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_broken_bag_is_inspected_as_far_as_it_goes(tmp_path, plugin, capsys):
    messages = drive(20)
    with Writer(tmp_path / 'bag', version=8, storage_plugin=plugin) as bag:
        connections = {
            topic: bag.add_connection(topic, TYPES_OF[topic], typestore=TYPES) for topic in TYPES_OF
        }
        for topic, time_ns, data in messages:
            bag.write(connections[topic], time_ns, data)
    file = next(f for f in (tmp_path / 'bag').iterdir() if f.suffix != '.yaml')
    data = file.read_bytes()
    file.write_bytes(data[: int(0.6 * len(data))])
    assert main([str(tmp_path / 'bag'), '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    (camera,) = report['cameras']
    read = int(re.match(r'(\d+) of (\d+) messages could be read', report['loss'])[1])
    assert 0.3 * len(messages) < read < len(messages)
    assert 6 <= camera['images'] < 20 and camera['state'] == 'FITTED'
    file.write_bytes(data[:20])
    with pytest.raises(DatasetError, match='nothing of'):
        inspect(tmp_path / 'bag', Wanted(), Config(), False)
