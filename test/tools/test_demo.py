# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demo: its scores and bags by hand, and the whole of it against its own recording."""

from collections import Counter
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
import transformers
import yaml

from depth_anything_ros.errors import DatasetError, DepthAnythingError
from depth_anything_ros.evaluation.contact_sheet import colour_depth, colour_error, plan, upright
from depth_anything_ros.evaluation.demo_score import DemoScore, score
from depth_anything_ros.ros.bags import (
    BagWriter,
    chain,
    find_sensors,
    open_bag,
    TYPES,
)
from depth_anything_ros.ros.cdr import restamped
from depth_anything_ros.ros.messages import serialized_stamp_ns
from depth_anything_ros.tools import world_robot
from depth_anything_ros.tools.demo import OUTPUTS, table, world_source
from depth_anything_ros.tools.world_robot import DEMO_SEED
from depth_anything_ros.training.world_data import HELD_OUT_SEED
from depth_anything_ros.world.drive import CAMERA, T_CAMERA_LIDAR, WorldDrive

NAN = np.nan


# Scores -----------------------------------------------------------------------------------------


def test_score_by_hand():
    #                  10 %  30 %  sky  too far  too near  not published
    truth = np.float32([[2.0, 4.0, NAN, 100.0, 0.2, 10.0]])
    depth = np.float32([[2.2, 5.2, 3.0, 50.0, 0.2, NAN]])
    found = score(depth, truth)
    assert found.abs_rel == pytest.approx(0.2, rel=1e-6)
    assert found.delta1 == 0.5  # 1.1 is within 1.25, 1.3 is not
    assert found.coverage == pytest.approx(2 / 3)


def test_summary_by_hand():
    collected = DemoScore()
    truth = np.full((2, 2), 10, np.float32)
    # Arrival in s, latency in ms, depth in m: errors 0, 10 and 40 %.
    for arrival, latency, depth in ((0.0, 100, 10), (0.5, 300, 11), (1.5, 200, 14)):
        received_ns = 10**18 + int(arrival * 1e9)
        stamp_ns = received_ns - latency * 10**6
        if depth == 11:  # the truth may come after
            collected.add_depth(0 * truth + depth, stamp_ns, received_ns)
            collected.add_truth(truth, stamp_ns)
        else:
            collected.add_truth(truth, stamp_ns)
            collected.add_depth(0 * truth + depth, stamp_ns, received_ns)
        collected.add_state('FITTED' if depth < 14 else 'HELD', 'because')
    found = collected.summary()
    assert found['frames'] == found['frames_scored'] == 3
    assert found['rate_hz'] == pytest.approx(2 / 1.5, abs=1e-3)
    assert collected.rate_hz(last=2) == pytest.approx(1.0)
    assert found['latency_ms_p50'] == 200 and found['latency_ms_p99'] == 298
    assert found['abs_rel'] == pytest.approx(0.5 / 3, abs=1e-5)
    assert found['delta1'] == pytest.approx(2 / 3, abs=1e-5) and found['coverage'] == 1
    assert found['states'] == {'FITTED': 2, 'HELD': 1}


def test_summary_without_truth_or_frames_has_no_such_numbers():
    assert DemoScore().summary() == {'frames': 0, 'rate_hz': 0.0, 'states': {}}
    collected = DemoScore()
    collected.add_depth(np.ones((1, 1), np.float32), 0, 10**6)
    assert set(collected.summary()) == {
        'frames', 'rate_hz', 'latency_ms_p50', 'latency_ms_p99', 'states'
    }


# Robot ------------------------------------------------------------------------------------------


def test_the_robot_drives_where_training_never_was():
    assert DEMO_SEED >= HELD_OUT_SEED


def test_lidar_camera_and_truth_of_the_robot_agree():
    moment = WorldDrive(seed=1, kind='street').moment(3.0)
    assert moment.image_rgb.shape == (*CAMERA.size, 3) and len(set(moment.sweep.ring)) == 16
    camera = moment.sweep.points_lidar @ T_CAMERA_LIDAR[:3, :3].T + T_CAMERA_LIDAR[:3, 3]
    camera = camera[camera[:, 2] > 1]
    u, v = np.round(camera[:, :2] / camera[:, 2:] * 200 + [153.5, 111.5]).astype(int).T
    inside = (u >= 0) & (u < 308) & (v >= 0) & (v < 224)
    ratio = camera[inside, 2] / moment.depth_m[v[inside], u[inside]]
    assert inside.sum() > 800
    # The rest are points that the camera does not see, at edges and on grazing ground.
    assert (np.abs(ratio - 1) < 0.03).mean() > 0.8
    assert abs(np.nanmedian(ratio) - 1) < 0.005


def test_each_source_gets_its_sensors_and_the_node_is_told():
    for source, inputs in {
        'lidar': ['points'],
        'depth': ['sensor_depth/image', 'sensor_depth/camera_info'],
        'stereo': ['right/image', 'right/camera_info'],
        'range': ['range'],
        'camera_height': [],
        'stereo,lidar': ['right/image', 'right/camera_info', 'points'],
    }.items():
        found = world_source(source, traffic=False)
        assert found.inputs == ['image', 'camera_info', *inputs]
        topics = {'/truth/depth', *(f'/{name}' for name in found.inputs)}
        assert set(found.topics) == topics
        assert found.node_arguments[:2] == ['-p', f'scale.method:={source}']
        told = ' '.join(found.node_arguments)
        assert ('T_camera_sensor' in told) == ('lidar' in source)
        assert ('camera_height:=1.' in told) == (source == 'camera_height')
        assert source.replace('_', ' ').replace(',', ', ') in found.name
        assert found.module[1:] == ['--source', source]
    assert world_source('lidar', traffic=True).module[-1] == '--traffic'
    assert set(world_source('auto', False).inputs) == {
        'image', 'camera_info', 'points', 'sensor_depth/image', 'sensor_depth/camera_info',
        'right/image', 'right/camera_info', 'range',
    }


def test_odometry_needs_tf_and_says_so(monkeypatch):
    monkeypatch.setattr(world_robot, 'TFMessage', None)
    assert 'motion' not in world_robot.sensors_of('auto')
    with pytest.raises(DepthAnythingError, match='comes on TF') as raised:
        world_source('lidar,motion', traffic=False)
    assert '\n' not in str(raised.value)
    monkeypatch.setattr(world_robot, 'TFMessage', object)
    assert 'motion' in world_robot.sensors_of('auto')
    found = world_source('motion', traffic=False)
    assert found.node_arguments[-1] == 'scale.fixed_frame:=odom' and '/tf' in found.topics
    assert found.inputs == ['image', 'camera_info']  # TF has no name among the node's inputs


@pytest.mark.parametrize(
    'options, cause',
    [
        (('--source', 'radar'), "no sensor 'radar'"),
        (('--source', 'depth', '--bag', 'bag'), 'SOURCE is of the world'),
    ],
)
def test_sources_that_cannot_be_are_one_line(options, cause, tmp_path):
    done = run_demo(*options, '--output', tmp_path)
    assert done.returncode == 2 and cause in done.stderr and done.stderr.count('\n') == 1


def test_the_table_says_why_there_are_no_metres():
    collected = DemoScore()
    collected.add_state('UNANCHORED', 'a range alone tells no shift')
    assert table(collected, 'title', '3 s to go').caption == (
        'a range alone tells no shift\n3 s to go'
    )
    collected.add_state('FITTED', '40 inliers from lidar')
    assert table(collected, 'title', '3 s to go').caption == '3 s to go'


# Bags -------------------------------------------------------------------------------------------


def translation(x, y, z):
    """Return a pose that turns nothing."""
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def test_chain_of_static_transforms():
    transforms = {
        ('base', 'camera'): translation(1, 0, 0),
        ('base', 'mast'): translation(0, 0, 5),
        ('mast', 'lidar'): translation(0, 2, 0),
        ('elsewhere', 'gps'): translation(9, 9, 9),
    }
    np.testing.assert_allclose(chain(transforms, 'camera', 'lidar'), translation(-1, 2, 5))
    np.testing.assert_allclose(chain(transforms, 'lidar', 'camera'), translation(1, -2, -5))
    np.testing.assert_allclose(chain(transforms, 'camera', 'camera'), np.eye(4))
    assert chain(transforms, 'camera', 'gps') is None
    turned = translation(0, 0, 5)
    turned[:2, :2] = [[0, -1], [1, 0]]  # a quarter to the left: the mast's y is the base's -x
    found = chain(transforms | {('base', 'mast'): turned}, 'base', 'lidar')
    np.testing.assert_allclose(found[:3, 3], [-2, 0, 5])


def message(kind, stamp_ns=0, frame='camera', **changed):
    """Return a serialised 2x2 Image or CameraInfo, with some fields changed."""
    types = TYPES.types
    stamp = types['builtin_interfaces/msg/Time'](*divmod(stamp_ns, 10**9))
    fields = {
        'header': types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame),
        'height': 2,
        'width': 2,
    }
    if kind == 'Image':
        fields |= {'encoding': 'rgb8', 'is_bigendian': 0, 'step': 6}
        fields |= {'data': np.arange(12, dtype=np.uint8)}
    else:
        fields |= {'distortion_model': 'plumb_bob', 'd': np.zeros(5), 'k': np.eye(3).ravel()}
        fields |= {'r': np.eye(3).ravel(), 'p': np.eye(3, 4).ravel()}
        fields |= {'binning_x': 0, 'binning_y': 0}
        fields |= {'roi': types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)}
    name = f'sensor_msgs/msg/{kind}'
    return bytes(TYPES.serialize_cdr(types[name](**(fields | changed)), name))


def write_bag(path, contents):
    """Write a bag of topic -> (kind, fields)."""
    with BagWriter(path) as bag:
        for topic, (kind, fields) in contents.items():
            bag.add_topic(topic, f'sensor_msgs/msg/{kind}')
            bag.write(topic, 1, message(kind, **fields))
    return path


def test_restamping_changes_the_stamp_alone():
    data = message('Image', stamp_ns=1_700_000_000_123_456_789)
    assert serialized_stamp_ns(data) == 1_700_000_000_123_456_789
    changed = restamped(data, 5_000_000_042)
    assert changed == message('Image', stamp_ns=5_000_000_042)


def test_of_several_images_the_one_with_its_calibration_is_played(tmp_path):
    path = write_bag(
        tmp_path / 'bag',
        {
            '/a/mono': ('Image', {}),
            '/cam/image_raw': ('Image', {'frame': 'eye'}),
            '/cam/depth': ('Image', {'encoding': '32FC1', 'step': 8}),
            '/cam/camera_info': ('CameraInfo', {}),
            '/cam/processed/image': ('Image', {}),
            '/cam/processed/camera_info': ('CameraInfo', {}),
        },
    )
    found = find_sensors(path)
    assert (found.image, found.camera_info) == ('/cam/image_raw', '/cam/camera_info')
    assert found.points is None and found.T_camera_sensor is None and found.frames[0] == 'eye'


@pytest.mark.parametrize(
    'contents, cause',
    [
        ({'/image': ('Image', {})}, 'no sensor_msgs/CameraInfo'),
        ({'/camera_info': ('CameraInfo', {})}, 'no colour or gray image'),
        (
            {
                '/depth': ('Image', {'encoding': '32FC1', 'step': 8}),
                '/camera_info': ('CameraInfo', {}),
            },
            'no colour or gray image',
        ),
    ],
)
def test_bags_that_cannot_be_played_say_why(tmp_path, contents, cause):
    with pytest.raises(DatasetError, match=cause):
        find_sensors(write_bag(tmp_path / 'bag', contents))


def test_what_is_no_bag_is_one_line(tmp_path):
    with pytest.raises(DatasetError, match='no ROS 2 bag'):
        find_sensors(tmp_path)


# Pictures ---------------------------------------------------------------------------------------


def test_colours_of_depth_and_error():
    gray = [110, 110, 110]
    blue, green, red = colour_depth(np.float32([[1.0, 80.0, NAN]]))[0]
    assert red.tolist() == gray
    assert blue[2] > blue[0] and green[0] >= green[2]  # BGR: near is red, far is blue
    black, white, sky = colour_error(np.float32([[4, 8, 8]]), np.float32([[4, 4, NAN]]))[0]
    assert black.max() == 0 and white.min() == 255 and sky.tolist() == gray


def test_only_what_stands_is_on_the_plan():
    rays = CAMERA.rays()
    with np.errstate(divide='ignore'):
        ground_m = np.where(rays[..., 1] > 0, 1.5 / rays[..., 1], np.inf)
    depth_m = np.minimum(ground_m, 20.0)  # a wall at 20 m on flat ground
    points = rays * depth_m[..., None]
    standing = upright(points)
    assert standing[2:, :][depth_m[2:] == 20].all()
    assert not standing[depth_m < 19.9].any()
    points[:, :154] = np.nan  # what is left of the optical axis
    picture = plan((308, 224), points, None)
    orange = (picture == (0, 110, 255)).all(axis=-1)
    assert set(np.flatnonzero(orange.any(axis=1))) == {112}  # 20 of 40 m is half of 224 rows
    columns = np.flatnonzero(orange.any(axis=0))
    # From 0 to 20 * 153.5 / 200 m, at 5.6 pixels a metre.
    assert abs(columns[0] - 154) <= 1
    assert abs(columns[-1] - (154 + 15.35 * 5.6)) <= 1


# The whole --------------------------------------------------------------------------------------


def save_network(folder, kind):
    """Save a random network in Hugging Face format; a metric one always publishes metres."""
    torch.manual_seed(2)
    backbone = {
        'model_type': 'dinov2', 'hidden_size': 16, 'num_hidden_layers': 4, 'image_size': 70,
        'num_attention_heads': 2, 'out_indices': [1, 2, 3, 4], 'reshape_hidden_states': False,
    }
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[4, 8, 12, 16],
        fusion_hidden_size=8, depth_estimation_type=kind, max_depth=20 if kind == 'metric' else 1,
    )
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    wants = {'size': {'height': 70, 'width': 70}}
    (folder / 'preprocessor_config.json').write_text(json.dumps(wants))
    return folder


def run_demo(*options):
    """Run the demo as make does."""
    options = [str(option) for option in options]
    settings = ('BAG', 'CHECKPOINT', 'SOURCE', 'TRAFFIC', 'VIEWER')
    environment = {k: v for k, v in os.environ.items() if k not in settings}
    return subprocess.run(
        [sys.executable, '-m', 'depth_anything_ros.tools.demo', *options],
        capture_output=True, text=True, env=environment,
    )


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
    """Run the demo for three seconds; return its checkpoint and its output folder."""
    folder = tmp_path_factory.mktemp('demo')
    checkpoint = save_network(folder / 'metric', 'metric')
    done = run_demo('--duration', 3, '--checkpoint', checkpoint, '--output', folder / 'out')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'AbsRel' in done.stdout
    return checkpoint, folder / 'out'


def read(bag):
    """Return topic -> [(time_ns, message)] of a bag."""
    messages = {}
    with open_bag(bag) as reader:
        for connection, time_ns, data in reader.messages():
            found = TYPES.deserialize_cdr(data, connection.msgtype)
            messages.setdefault(connection.topic, []).append((time_ns, found))
    return messages


def by_stamp(messages):
    """Return stamp in ns -> (time_ns, 32FC1 plane)."""
    return {
        m.header.stamp.sec * 10**9 + m.header.stamp.nanosec: (
            time_ns, m.data.view('<f4').reshape(m.height, m.width)
        )
        for time_ns, m in messages
    }


def test_summary_follows_from_the_recording(recorded):
    _, output = recorded
    summary = json.loads((output / 'summary.json').read_text())
    messages = read(output / 'bag')
    depths, truths = by_stamp(messages['/depth/image']), by_stamp(messages['/truth/depth'])
    assert summary['frames'] == len(depths) > 1
    latencies_ms = [(time_ns - stamp_ns) / 1e6 for stamp_ns, (time_ns, _) in depths.items()]
    assert summary['latency_ms_p50'] == pytest.approx(np.median(latencies_ms), abs=0.01)
    assert 0 < summary['latency_ms_p50'] <= summary['latency_ms_p99']
    errors, shares = [], []
    for stamp_ns in depths.keys() & truths.keys():
        z, t = (np.float64(planes[stamp_ns][1]) for planes in (depths, truths))
        known = np.isfinite(z) & (t >= 0.3) & (t <= 80)
        errors.append(np.mean(np.abs(z[known] / t[known] - 1)))
        shares.append(np.mean(np.abs(np.log(z[known] / t[known])) < np.log(1.25)))
    assert summary['frames_scored'] == len(errors) > 1
    assert summary['abs_rel'] == pytest.approx(np.mean(errors), abs=1e-4)
    assert summary['delta1'] == pytest.approx(np.mean(shares), abs=1e-4)
    assert summary['states'] == Counter(m.message for _, m in messages['/depth/scale'])
    assert sum(summary['states'].values()) >= summary['frames']


def test_recording_is_a_complete_ros2_bag(recorded):
    _, output = recorded
    sources = {'/image', '/camera_info', '/points', '/truth/depth', '/tf_static'}
    messages = read(output / 'bag')
    assert set(messages) == sources | set(OUTPUTS)
    told = yaml.safe_load((output / 'bag' / 'metadata.yaml').read_text())
    told = told['rosbag2_bagfile_information']
    assert told['storage_identifier'] == 'mcap' and told['relative_file_paths'] == ['bag.mcap']
    assert told['message_count'] == sum(map(len, messages.values()))
    listed = [entry['topic_metadata'] for entry in told['topics_with_message_count']]
    topics = {metadata['name']: metadata for metadata in listed}
    assert topics['/depth/points']['type'] == 'sensor_msgs/msg/PointCloud2'
    qos = yaml.safe_load(topics['/tf_static']['offered_qos_profiles'])
    assert qos[0]['durability'] == 1  # transient local
    sensors = find_sensors(output / 'bag')
    assert (sensors.image, sensors.camera_info, sensors.points) == (
        '/image', '/camera_info', '/points'
    )
    np.testing.assert_allclose(sensors.T_camera_sensor, T_CAMERA_LIDAR, atol=1e-9)


def test_other_sensors_are_recorded_as_they_are_published(recorded, tmp_path):
    checkpoint, _ = recorded
    done = run_demo(
        '--duration', 1, '--checkpoint', checkpoint, '--output', tmp_path, '--traffic',
        '--source', 'depth,stereo,range',
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'depth, stereo, range' in done.stdout
    messages = read(tmp_path / 'bag')
    sensors = {'/sensor_depth/image', '/sensor_depth/camera_info', '/right/image'}
    sensors |= {'/right/camera_info', '/range'}
    others = {'/image', '/camera_info', '/truth/depth', '/tf_static', *OUTPUTS}
    assert set(messages) == sensors | others
    depths, truths = (by_stamp(messages[t]) for t in ('/sensor_depth/image', '/truth/depth'))
    for stamp_ns, (_, depth_m) in depths.items():
        off_m = depth_m - truths[stamp_ns][1]
        seen = np.isfinite(off_m)
        assert 0.3 < seen.mean() < 0.9
        sigmas = off_m[seen] / (0.0025 * truths[stamp_ns][1][seen] ** 2)
        assert np.std(sigmas) == pytest.approx(1, abs=0.05)
    assert messages['/right/camera_info'][0][1].p[3] == pytest.approx(-200 * 0.12)
    heard = messages['/range'][0][1]
    assert heard.header.frame_id == 'rangefinder' and 2 < heard.range < 5
    fixed = messages['/tf_static'][0][1].transforms
    frames = {(t.header.frame_id, t.child_frame_id) for t in fixed}
    assert ('camera_optical_frame', 'rangefinder') in frames
    methods = {
        {pair.key: pair.value for pair in m.values}['method'] for _, m in messages['/depth/scale']
    }
    assert methods <= {'checkpoint', 'depth', 'stereo', 'depth+stereo', 'none'}


def test_contact_sheet_has_five_columns(recorded):
    _, output = recorded
    picture = cv2.imread(str(output / 'contact_sheet.png'))
    assert picture.shape[1] == 5 * (308 + 4) and (picture.shape[0] - 24) % (224 + 4) == 0
    image = read(output / 'bag')['/depth/image_rect']
    shown = picture[26 : 26 + 224, 2 : 2 + 308, ::-1]
    assert any((shown == m.data.reshape(224, 308, 3)).all() for _, m in image)


def test_a_bag_takes_the_worlds_place(recorded, tmp_path):
    checkpoint, output = recorded
    done = run_demo(
        '--duration', 2, '--checkpoint', checkpoint, '--bag', output / 'bag', '--output', tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / 'summary.json').read_text())
    assert summary['frames'] > 1 and not {'abs_rel', 'delta1', 'frames_scored'} & set(summary)
    before, after = read(output / 'bag'), read(tmp_path / 'replay')
    assert '/truth/depth' not in after
    played = {m.data.tobytes() for _, m in before['/image']}
    assert {m.data.tobytes() for _, m in after['/image']} <= played
    for topic in ('/image', '/points'):  # from the very first: everybody had met
        assert after[topic][0][1].data.tobytes() == before[topic][0][1].data.tobytes()
    picture = cv2.imread(str(tmp_path / 'contact_sheet.png'))
    assert picture.shape[1] == 3 * (308 + 4)


def test_no_metric_depth_is_an_exit_code_and_one_line(recorded, tmp_path):
    _, output = recorded
    with open_bag(output / 'bag') as reader, BagWriter(tmp_path / 'bag') as bag:
        for topic, kind in (('/image', 'Image'), ('/camera_info', 'CameraInfo')):
            bag.add_topic(topic, f'sensor_msgs/msg/{kind}')
        connections = [c for c in reader.connections if c.topic in ('/image', '/camera_info')]
        for connection, time_ns, data in reader.messages(connections):
            bag.write(connection.topic, time_ns, data)
    checkpoint = save_network(tmp_path / 'relative', 'relative')
    done = run_demo(
        '--duration', 1, '--checkpoint', checkpoint, '--bag', tmp_path / 'bag',
        '--output', tmp_path / 'out',
    )
    assert done.returncode == 1
    assert done.stderr == 'demo: no metric depth came out: no anchors\n'
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    assert summary['frames'] == 0 and set(summary['states']) == {'UNANCHORED'}
