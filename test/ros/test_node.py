# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Node, player and checker as three real processes over real DDS."""

from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
import pickle
import re
import subprocess
import sys
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
import pytest
import rclpy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_anything_ros.evaluation.frames import load_frames
from depth_anything_ros.poses import matrix_to_pose, pose_to_matrix
from depth_anything_ros.ros.meeting import NodeInputs
from helpers import (
    edges,
    needs_real_data,
    program,
    REAL_DATA,
    SCENE_CAMERA,
    scene_depth_image,
    SCENE_T_CAMERA_LIDAR,
    TEST,
    write_scene_folder,
)

NODE = TEST / 'programs' / 'fake_network_node.py'
STEREO = TEST / 'programs' / 'stereo_robot.py'
COLLECT = TEST / 'programs' / 'collect.py'
PLAYER = ('-m', 'depth_anything_ros.tools.play_frames')
IMAGES = {
    'depth/image': '32FC1',
    'depth/stddev': '32FC1',
    'depth/relative': '32FC1',
    'depth/image_color': 'bgr8',
    'depth/image_rect': 'rgb8',
}
OUTPUTS = [*IMAGES, 'depth/camera_info', 'depth/points', 'depth/scale']
KINDS = {
    **dict.fromkeys(IMAGES, Image),
    'depth/camera_info': CameraInfo,
    'depth/points': PointCloud2,
    'depth/scale': DiagnosticStatus,
    '/diagnostics': DiagnosticArray,
}
READY = 'predicts'  # the node's line after its network has been loaded
# Conditions are waited for, so a limit only ends what will never come: it is generous to a machine
# with other work, and that of a test is more than those of its phases together.
PATIENCE_S = 90
LONG_S = 3 * PATIENCE_S + 120

pytestmark = pytest.mark.timeout(PATIENCE_S + 120)


def pose_parameter(matrix):
    """Return the arguments that tell the node where the sensor is."""
    pose = ', '.join(f'{x:.9f}' for x in matrix_to_pose(matrix))
    return ['-p', f'scale.T_camera_sensor:=[{pose}]']


@contextmanager
def playing(*arguments):
    """Play frames from when the node has met the player on every input; before, some are lost.

    Yields:
        The player's process, whose lines tell every stamp it sent.
    """
    arguments = [*arguments, '--wait', '--ros-args', '--log-level', 'play_frames:=debug']
    with program(*PLAYER, *arguments, ready='playing', stdin=True) as player:
        rclpy.init()
        node = rclpy.create_node('judge')
        inputs, end = NodeInputs(node), time.monotonic() + PATIENCE_S
        while not inputs.matched(['image', 'camera_info', 'points']):
            assert time.monotonic() < end, inputs.publishers
            rclpy.spin_once(node, timeout_sec=0.1)
        node.destroy_node()
        rclpy.shutdown()
        player.stdin.write('\n')
        player.stdin.flush()
        yield player


def collect(path, topics, count=3, timeout_s=PATIENCE_S):
    """Run the checker's process; return topic -> reliability -> messages."""
    subprocess.run(
        [sys.executable, str(COLLECT), str(path), str(count), str(timeout_s), *topics],
        check=True,
        timeout=timeout_s + 60,
    )
    received = pickle.loads(Path(path).read_bytes())
    messages = {}
    for (topic, reliability), serialised in received.items():
        messages.setdefault(topic, {})[reliability] = [
            deserialize_message(data, KINDS[topic]) for data in serialised
        ]
    return messages


def stamp(message):
    """Return a message's stamp as a pair."""
    return message.header.stamp.sec, message.header.stamp.nanosec


def plane(message):
    """Return an image message's samples."""
    kind = {'32FC1': '<f4', '16UC1': '<u2', 'bgr8': 'u1', 'rgb8': 'u1'}[message.encoding]
    samples = np.frombuffer(message.data, kind)
    shape = (message.height, message.width) + ((3,) if kind == 'u1' else ())
    return samples.reshape(shape)


def cloud(message):
    """Return an organised cloud as rows x columns x 4 float32."""
    return np.frombuffer(message.data, '<f4').reshape(message.height, message.width, 4)


def stamps_sent(player):
    """Return the stamps of the images that a player says it sent."""
    told = [re.search(r' at (\d+) ns$', line) for line in player.lines]
    return {divmod(int(found[1]), 10**9) for found in told if found}


def check_contract(messages, stamps_in, camera, frame_id='camera_optical_frame'):
    """Assert every rule of the contract that holds for any image."""
    for topic in OUTPUTS:
        for reliability, group in messages[topic].items():
            assert len(group) >= 3, f'{topic} {reliability}: {len(group)} messages'
            if topic == 'depth/scale':
                continue
            assert {stamp(m) for m in group} <= stamps_in, topic
            assert {m.header.frame_id for m in group} == {frame_id}, topic
    for topic, encoding in IMAGES.items():
        for message in messages[topic]['RELIABLE']:
            assert (message.height, message.width) == camera.size
            assert message.encoding == encoding and not message.is_bigendian
            assert len(message.data) == message.height * message.step
            size = 4 if encoding == '32FC1' else 3
            assert message.step == message.width * size
    for message in messages['depth/camera_info']['RELIABLE']:
        assert (message.height, message.width) == camera.size
        np.testing.assert_allclose(np.reshape(message.k, (3, 3)), camera.K)
        np.testing.assert_allclose(np.reshape(message.p, (3, 4))[:, :3], camera.K)
        np.testing.assert_allclose(np.reshape(message.r, (3, 3)), np.eye(3))
        assert message.distortion_model == 'plumb_bob' and not any(message.d)
        assert message.binning_x <= 1 and message.roi.width == 0
    infos = {stamp(m) for m in messages['depth/camera_info']['RELIABLE']}
    depths = {stamp(m): plane(m) for m in messages['depth/image']['RELIABLE']}
    assert len(infos & set(depths)) >= 3
    rays = camera.rays()
    matched = 0
    for message in messages['depth/points']['RELIABLE']:
        assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
            (name, 4 * i, 7, 1) for i, name in enumerate(('x', 'y', 'z', 'rgb'))
        ]
        assert (message.point_step, message.row_step) == (16, 16 * message.width)
        assert len(message.data) == message.height * message.row_step
        assert not message.is_dense and not message.is_bigendian
        points, depth_m = cloud(message), depths.get(stamp(message))
        if depth_m is not None:
            matched += 1
            seen = np.isfinite(points[..., 2])
            assert seen.any() and not seen[np.isnan(depth_m)].any()
            np.testing.assert_array_equal(points[..., 2][seen], depth_m[seen])
            np.testing.assert_allclose(
                points[..., :2][seen],
                (rays[..., :2] * depth_m[..., None])[seen],
                rtol=1e-4,
                atol=1e-4,
            )
    assert matched >= 2
    for depth_m in depths.values():
        seen = depth_m[np.isfinite(depth_m)]
        assert len(seen) and (seen >= 0.1).all() and (seen <= 80).all()  # NaN, never 0 or a wall


def test_depth_of_a_known_scene_is_right(tmp_path):
    folder = tmp_path / 'scene'
    folder.mkdir()
    write_scene_folder(folder)
    arguments = ['--ros-args', *pose_parameter(SCENE_T_CAMERA_LIDAR)]
    with program(NODE, 'exact', *arguments, ready=READY), playing(folder, '--rate', 8) as player:
        messages = collect(tmp_path / 'messages', [*OUTPUTS, '/diagnostics'])
    check_contract(messages, stamps_sent(player), SCENE_CAMERA)
    truth_m = scene_depth_image()
    where = ~edges(truth_m, 3)
    tolerance_m = np.maximum(0.02, 0.005 * truth_m)
    planes = [plane(m) for m in messages['depth/image']['RELIABLE']]
    planes += [cloud(m)[..., 2] for m in messages['depth/points']['BEST_EFFORT']]
    for depth_m in planes:
        assert (np.abs(depth_m - truth_m) <= tolerance_m)[where].all()
    status = messages['depth/scale']['RELIABLE'][-1]
    values = {pair.key: pair.value for pair in status.values}
    assert status.message == values['state'] == 'FITTED' and values['method'] == 'lidar'
    assert float(values['scale']) == pytest.approx(0.4, rel=2e-3)
    assert int(values['inliers']) > 2000 and values['assumed'] == 'false'
    reports = [m.status[0].values for m in messages['/diagnostics']['RELIABLE']]
    told = {pair.key for values in reports for pair in values}
    assert {'stage_network_ms', 'age_of_newest_output_s', 'scale_state'} <= told
    assert {'Actual frequency (Hz)', 'Earliest timestamp delay:'} <= told


@needs_real_data
@pytest.mark.parametrize('data, frame', [('kitti', '000001'), ('nuscenes', 'CAM_FRONT')])
def test_real_frames_keep_the_contract(tmp_path, data, frame):
    source = {f.name: f for f in load_frames(REAL_DATA / data)}[frame]
    arguments = ['--ros-args', *pose_parameter(source.T_camera_sensor)]
    frames = [REAL_DATA / data, '--frames', frame, '--rate', 4]
    with program(NODE, 'row', *arguments, ready=READY), playing(*frames) as player:
        messages = collect(tmp_path / 'messages', OUTPUTS)
    check_contract(messages, stamps_sent(player), source.camera)
    states = {status.message for status in messages['depth/scale']['RELIABLE']}
    assert states <= {'FITTED', 'HELD'} and 'FITTED' in states
    # The near ground is metres: what the lidar says there, the depth image says within 15 %.
    depth_m = plane(messages['depth/image']['RELIABLE'][-1])
    pose = pose_to_matrix(tuple(matrix_to_pose(source.T_camera_sensor)))
    points = source.points.xyz_m @ pose[:3, :3].T + pose[:3, 3]
    points = points[(points[:, 2] > 5) & (points[:, 2] < 15) & (points[:, 1] > 1.2)]
    pixels = points @ source.camera.K.T
    u, v = (pixels[:, :2] / pixels[:, 2:]).round().astype(int).T
    inside = (u >= 0) & (u < source.camera.width) & (v >= 0) & (v < source.camera.height)
    error = np.abs(depth_m[v[inside], u[inside]] / points[inside, 2] - 1)
    assert inside.sum() > 500 and np.nanmedian(error) < 0.15


def test_compressed_images_and_rectified_topic_names(tmp_path):
    folder = tmp_path / 'scene'
    folder.mkdir()
    write_scene_folder(folder)
    remap = ['-r', 'image:=/front/image_rect', '-r', 'camera_info:=/front/camera_info']
    node = ['-p', 'image_transport:=compressed', *pose_parameter(SCENE_T_CAMERA_LIDAR)]
    player = [*PLAYER, folder, '--rate', 8, '--image-transport', 'compressed', '--ros-args', *remap]
    with program(NODE, 'exact', '--ros-args', *remap, *node, ready=READY), program(*player):
        messages = collect(tmp_path / 'messages', ['depth/image', 'depth/points'])
    depth_m = plane(messages['depth/image']['RELIABLE'][-1])
    truth_m = scene_depth_image()
    where = ~edges(truth_m, 3)
    assert (np.abs(depth_m - truth_m) <= np.maximum(0.02, 0.005 * truth_m))[where].all()


def test_without_metres_only_relative_and_picture(tmp_path):
    folder = tmp_path / 'scene'
    folder.mkdir()
    write_scene_folder(folder)
    with program(NODE, 'exact', ready=READY), program(*PLAYER, folder, '--rate', 8):
        messages = collect(
            tmp_path / 'messages',
            ['depth/relative', 'depth/image_color', 'depth/scale', '--', 'depth/image']
            + ['depth/points', 'depth/stddev'],
        )
    status = messages['depth/scale']['RELIABLE'][-1]
    values = {pair.key: pair.value for pair in status.values}
    assert status.message == 'UNANCHORED'
    # Nobody says where the lidar is: neither TF, where that is installed, nor the parameter.
    assert ('TF' if find_spec('tf2_ros') else 'scale.T_camera_sensor') in values['reason']
    for topic in ('depth/image', 'depth/points', 'depth/stddev'):
        assert not any(messages.get(topic, {}).values()), topic


@pytest.mark.parametrize('side', ['right', 'left'])
def test_stereo_pair_alone_gives_metres(tmp_path, side):
    with program(NODE, 'exact', ready=READY), program(STEREO, side, ready='playing'):
        messages = collect(tmp_path / 'messages', ['depth/image', 'depth/scale'])
    truth_m = scene_depth_image()
    where = ~edges(truth_m, 3)
    depth_m = plane(messages['depth/image']['RELIABLE'][-1])
    off = np.abs(np.log(depth_m / truth_m))[where]
    assert np.median(off) < 0.01 and np.percentile(off, 90) < 0.03
    status = messages['depth/scale']['RELIABLE'][-1]
    values = {pair.key: pair.value for pair in status.values}
    assert (status.message, values['method']) == ('FITTED', 'stereo')


def depth_arrives(path):
    """Return whether depth comes, on either kind of subscription."""
    messages = collect(path, ['depth/image'], count=2)
    return all(len(group) >= 2 for group in messages['depth/image'].values())


@pytest.mark.timeout(LONG_S)
@pytest.mark.parametrize('killed', ['node', 'player'])
def test_what_is_killed_may_come_back(tmp_path, killed):
    folder = tmp_path / 'scene'
    folder.mkdir()
    write_scene_folder(folder)
    node = ([NODE, 'exact', '--ros-args', *pose_parameter(SCENE_T_CAMERA_LIDAR)], READY)
    player = ([*PLAYER, folder, '--rate', 8], 'playing')
    (kept, kept_ready), (mortal, ready) = (player, node) if killed == 'node' else (node, player)
    with program(*kept, ready=kept_ready):
        with program(*mortal, ready=ready) as running:
            assert depth_arrives(tmp_path / 'messages')
            running.kill()
        with program(*mortal, ready=ready):
            assert depth_arrives(tmp_path / 'messages')


def test_missing_checkpoint_is_one_line_and_exit_code_1(tmp_path):
    command = [sys.executable, '-m', 'depth_anything_ros.ros.depth_node', '--ros-args', '-p']
    result = subprocess.run(
        [*command, f'model.checkpoint:={tmp_path}/nothing.pth'], capture_output=True, text=True
    )
    lines = (result.stdout + result.stderr).strip().splitlines()
    lines = [line for line in lines if '[INFO]' not in line]
    assert result.returncode == 1
    assert len(lines) == 1 and 'nothing.pth' in lines[0]


@pytest.mark.parametrize(
    'parameter, cause',
    [
        ('cloud.stride:=0', 'cloud.stride'),
        ('depth.encoding:=8UC1', '32FC1, 16UC1'),
        ('scale.T_camera_sensor:=[0.1, 0, 0, 0, 0, 0, 1]', 'same type'),
    ],
)
def test_wrong_parameters_are_one_line(parameter, cause):
    result = subprocess.run(
        [sys.executable, str(NODE), 'exact', '--ros-args', '-p', parameter],
        capture_output=True,
        text=True,
    )
    lines = (result.stdout + result.stderr).strip().splitlines()
    lines = [line for line in lines if '[rcl]' not in line]  # rcl's own, not the node's
    assert result.returncode == 1
    assert len(lines) == 1 and cause in lines[0]
