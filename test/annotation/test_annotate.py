# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""annotate against the real node, and its files against the contract."""

import os
import pickle
import subprocess
import sys

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from recorded_drive import (
    CAMERA,
    drive,
    load,
    PERIOD_NS,
    START_NS,
    T_CAMERA_LIDAR,
    write_bag,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depth_anything_ros.annotation.unit import annotate_unit, Request
from depth_anything_ros.annotation.unit_report import Unit
from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.metric_depth.scale import unanchored
from depth_anything_ros.pipeline import DepthFrame
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.bags import open_bag, read_recorded
from depth_anything_ros.ros.depth_messages import decode_depth
from depth_anything_ros.ros.output_messages import COMPRESSED_DEPTH, compressed_depth
from helpers import header, program, TEST

KINDS = {
    'depth/image': Image,
    'depth/stddev': Image,
    'depth/camera_info': CameraInfo,
    'depth/points': PointCloud2,
    'depth/scale': DiagnosticStatus,
}
ALWAYS = {'depth/camera_info', 'depth/scale'}
ALL = Request(frozenset(KINDS))
PATIENCE_S = 90


def annotate(bag, out, request=ALL, unit=None, **parameters):
    """Annotate a bag; return the report."""
    config = with_values(Config(), parameters)
    return annotate_unit(unit or Unit(str(bag)), request, config, load, out)


def messages_of(bag):
    """Return topic -> [(time of recording, bytes)]."""
    found = {}
    with open_bag(bag) as reader:
        for connection, time_ns, data in read_recorded(reader, list(reader.connections)):
            found.setdefault(connection.topic, []).append((time_ns, data))
    return found


def depth_of(bag, topic, namespace='/front'):
    """Return the messages of one output."""
    written = messages_of(bag).get(f'{namespace}/{topic}', [])
    return [deserialize_message(data, KINDS[topic]) for _, data in written]


def values_of(status):
    """Return the values of depth/scale."""
    return {pair.key: pair.value for pair in status.values}


def fields_of(message):
    """Return a message as plain values, arrays as bytes."""
    plain = {}
    for name in message.get_fields_and_field_types():
        value = getattr(message, name)
        plain[name] = bytes(value) if isinstance(value, bytes) or hasattr(value, 'tobytes') else (
            str(value)
        )
    return plain


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
    """Return a bag of a drive."""
    return write_bag(tmp_path_factory.mktemp('recorded') / 'drive', drive())


@pytest.fixture(scope='module')
def annotated(recorded):
    """Return its annotated bag and the report."""
    out = recorded.with_name('annotated')
    return out, annotate(recorded, out)


@pytest.mark.timeout(2 * PATIENCE_S + 60)
def test_the_node_says_the_same_of_the_same_images(recorded, tmp_path):
    pose = matrix_to_pose(T_CAMERA_LIDAR)
    annotate(recorded, tmp_path / 'out', **{'scale.T_camera_sensor': pose})
    parameter = f'scale.T_camera_sensor:={pose}'
    node = TEST / 'programs' / 'fake_network_node.py'
    with program(node, 'row', '--ros-args', '-p', parameter, ready='predicts'):
        subprocess.run(
            [sys.executable, str(TEST / 'programs' / 'publish_bag.py'), str(recorded),
             str(tmp_path / 'answers'), str(PATIENCE_S)],
            check=True,
        )
    answers = pickle.loads((tmp_path / 'answers').read_bytes())
    for topic, kind in KINDS.items():
        by_node = [deserialize_message(data, kind) for data in answers[topic]]
        by_file = depth_of(tmp_path / 'out', topic)
        assert len(by_node) == len(by_file) == 6
        for one, other in zip(by_node, by_file):
            if topic == 'depth/scale':
                assert values_of(one) == values_of(other) and values_of(one)['state'] == 'FITTED'
            else:
                assert fields_of(one) == fields_of(other)


def test_all_images_are_answered_and_all_else_is_as_it_was(recorded, annotated):
    out, report = annotated
    before, after = messages_of(recorded), messages_of(out)
    assert {topic: after[topic] for topic in before} == before and '/note' in before
    assert set(after) - set(before) == {f'/front/{topic}' for topic in KINDS}
    times = [time_ns for time_ns, _ in before['/front/image_raw']]
    for topic in KINDS:
        assert [time_ns for time_ns, _ in after[f'/front/{topic}']] == times
    camera = report.cameras['/front/image_raw']
    assert report.finished and (camera.frames, camera.states) == (6, {'FITTED': 6})
    assert not report.failures and camera.sigmas.total() == 6


def test_what_is_written_keeps_the_contract(annotated):
    out, _ = annotated
    stamps = [START_NS + i * PERIOD_NS for i in range(6)]
    for topic in KINDS:
        messages = depth_of(out, topic)
        if topic == 'depth/scale':
            expected = [f'{ns // 10**9}.{ns % 10**9:09d}' for ns in stamps]
            assert [values_of(m)['image_stamp'] for m in messages] == expected
            continue
        found = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in messages]
        assert found == stamps and {m.header.frame_id for m in messages} == {'camera'}
        assert {(m.height, m.width) for m in messages} == {CAMERA.size}
    info, image, points = (
        depth_of(out, f'depth/{name}')[0] for name in ('camera_info', 'image', 'points')
    )
    np.testing.assert_array_equal(np.reshape(info.k, (3, 3)), CAMERA.K)
    assert list(info.d) == [0] * 5 and info.distortion_model == 'plumb_bob'
    assert (image.encoding, image.step) == ('32FC1', 4 * CAMERA.width)
    depth_m = np.frombuffer(image.data, '<f4').reshape(CAMERA.size)
    assert [f.name for f in points.fields] == ['x', 'y', 'z', 'rgb'] and not points.is_dense
    cloud = np.frombuffer(points.data, '<f4').reshape(*CAMERA.size, 4)
    valid = np.isfinite(cloud[..., 2])
    assert valid.mean() > 0.3  # flying pixels and sky are left out
    np.testing.assert_array_equal(cloud[valid][:, 2], depth_m[valid])
    v, u = np.nonzero(valid)
    np.testing.assert_allclose(cloud[valid][:, 0], (u - 70) / 90 * depth_m[valid], atol=1e-4)


def test_the_same_bytes_every_time(recorded, annotated, tmp_path):
    out, _ = annotated
    for i in range(2):
        again = tmp_path / str(i) / out.name
        annotate(recorded, again)
        for name in (f'{out.name}.mcap', 'metadata.yaml'):
            assert (again / name).read_bytes() == (out / name).read_bytes()


def test_the_same_bytes_wherever_in_memory_things_are(recorded, tmp_path):
    layouts = [
        {'PYTHONHASHSEED': '1', 'MALLOC_PERTURB_': '85', 'MALLOC_MMAP_THRESHOLD_': '4096'},
        {'PYTHONHASHSEED': '2', 'MALLOC_PERTURB_': '170', 'MALLOC_TOP_PAD_': '1000003',
         'LONG': 5000 * 'x'},
    ]
    outs = [tmp_path / str(i) / 'out' for i in range(len(layouts))]
    names = ','.join(topic.removeprefix('depth/') for topic in sorted(set(KINDS) - ALWAYS))
    running = [
        subprocess.Popen(
            [sys.executable, str(TEST / 'programs' / 'fake_network_annotate.py'), str(recorded),
             str(out), '--outputs', names, '-p', 'scale.fixed_frame:=odom'],
            env=os.environ | layout,
        )
        for layout, out in zip(layouts, outs)
    ]
    assert [one.wait(PATIENCE_S) for one in running] == [0, 0]
    first, second = (
        {p.name: p.read_bytes() for p in out.iterdir()} for out in outs
    )
    assert set(first) == {'out.mcap', 'metadata.yaml'} and first == second


def test_tf_of_the_bag_says_where_the_lidar_is(recorded, annotated, tmp_path):
    out, _ = annotated
    pose = matrix_to_pose(T_CAMERA_LIDAR)
    annotate(recorded, tmp_path / 'out', **{'scale.T_camera_sensor': pose})
    by_tf, by_parameter = (
        np.frombuffer(depth_of(path, 'depth/image')[5].data, '<f4')
        for path in (out, tmp_path / 'out')
    )
    np.testing.assert_allclose(by_tf, by_parameter, rtol=1e-4)


def test_compressed_depth_is_written_on_request_and_read_as_a_depth_camera(
    recorded, annotated, tmp_path
):
    topics = frozenset({'depth/camera_info', COMPRESSED_DEPTH})
    annotate(recorded, tmp_path / 'small', Request(topics))
    written = messages_of(tmp_path / 'small')
    assert '/front/depth/image' not in written and '/front/depth/stddev' not in written
    compressed = written[f'/front/{COMPRESSED_DEPTH}']
    images = depth_of(annotated[0], 'depth/image')
    assert len(compressed) == len(images) == 6
    for (_, data), image in zip(compressed, images):
        message = deserialize_message(data, CompressedImage)
        assert message.header == image.header and message.format == '16UC1; compressedDepth png'
        data = bytes(message.data)
        assert data[:12] == bytes(12)  # codec.cpp: format, and a quantiser that is not used
        picture = cv2.imdecode(np.frombuffer(data[12:], np.uint8), cv2.IMREAD_UNCHANGED)
        depth_m = np.frombuffer(image.data, '<f4').reshape(CAMERA.size)
        shown = np.isfinite(depth_m) & (depth_m < 65.535)
        assert picture.dtype == np.uint16 and shown.mean() > 0.3 and not picture[~shown].any()
        np.testing.assert_allclose(picture[shown] / 1000, depth_m[shown], atol=5.1e-4)
    anchored = Request(
        frozenset({'depth/image'}), False, remapped=(('sensor_depth/image', '/front/depth/image'),)
    )
    annotate(tmp_path / 'small', tmp_path / 'again', anchored, **{'scale.method': 'depth'})
    said = [values_of(status) for status in depth_of(tmp_path / 'again', 'depth/scale')]
    assert [(one['state'], one['method']) for one in said] == 6 * [('FITTED', 'depth')]
    for image, other in zip(images, depth_of(tmp_path / 'again', 'depth/image')):
        ratio = np.frombuffer(other.data, '<f4') / np.frombuffer(image.data, '<f4')
        assert abs(np.log(np.nanmedian(ratio))) < 0.02


def test_millimetres_go_through_compressed_depth_as_they_are():
    depth = np.array([[0, 1, 501], [9999, 65534, 65535]], np.uint16)
    camera = Camera(3, 2, np.array([[2.0, 0, 1], [0, 2, 0.5], [0, 0, 1]]))
    frame = DepthFrame(camera, camera, unanchored('depth', 0, ''), depth=depth)
    read_m = decode_depth(compressed_depth(frame, header())).depth_m
    np.testing.assert_array_equal(np.nan_to_num(read_m), depth.astype(np.float32) / 1000)


def test_mcap_s_own_reader_finds_it_whole(annotated):
    reader = pytest.importorskip('mcap.reader')
    out, _ = annotated
    with (out / f'{out.name}.mcap').open('rb') as file:
        opened = reader.make_reader(file, validate_crcs=True)
        summary = opened.get_summary()
        assert {chunk.compression for chunk in summary.chunk_indexes} == {'zstd'}
        found = {}
        for schema, channel, message in opened.iter_messages():
            assert schema.encoding == 'ros2msg' and channel.message_encoding == 'cdr'
            found.setdefault(channel.topic, []).append((message.log_time, message.data))
    assert found == messages_of(out)
    counts = summary.statistics.channel_message_counts
    assert sum(counts.values()) == sum(map(len, found.values()))
