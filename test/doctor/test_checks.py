# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Judgements on facts that no test can make true, and documents held to the code."""

from dataclasses import replace
from pathlib import Path
import re

import pytest

from depth_anything_ros.annotation.topic_facts import TopicFacts
from depth_anything_ros.config import Config
from depth_anything_ros.doctor.facts import (
    Endpoint,
    Graph,
    InputSeen,
    Machine,
    NodeSeen,
    Probe,
    SharedMemory,
)
from depth_anything_ros.doctor.findings import FAILED, LINES, markdown, NOTE, OK
from depth_anything_ros.doctor.image_checks import image_findings
from depth_anything_ros.doctor.machine import segment_bytes
from depth_anything_ros.doctor.machine_checks import machine_findings
from depth_anything_ros.doctor.node_checks import DROPS, node_findings
from depth_anything_ros.doctor.topic_names import carrying, remapped, siblings
from depth_anything_ros.ros.shared_memory import profile

ROOT = Path(__file__).resolve().parents[2]
MB = 1_000_000
NETWORK = {
    'torch': '2.13.0', 'cuda_build': None, 'nvidia': False, 'device_asked': 'auto', 'device': 'cpu',
    'device_error': '', 'backend_error': '', 'checkpoint': '/x', 'checkpoint_error': '',
    'metric': False, 'cache': '/y', 'cache_note': '', 'cache_error': '',
}
PACKAGES = {'numpy': '2.0', 'cv2': '4.9', 'cv_bridge': False, 'sound_encodings': []}
RUNS = {'version': '1.0', 'runs_on': 'CPU'}
PROBES = {
    'ros': Probe({'rmw': 'rmw_fastrtps_cpp'}), 'packages': Probe(PACKAGES),
    'network': Probe(NETWORK), 'onnxruntime': Probe(RUNS), 'openvino': Probe(RUNS),
}
ROOMY = SharedMemory('/p.xml', 32 * MB, 8000 * MB, 7000 * MB, 0)
MACHINE = Machine('/python', (3, 12), PROBES, Config(), {}, ROOMY)
IMAGE = InputSeen(
    '/image',
    'sensor_msgs/msg/Image',
    (Endpoint('/camera', 'sensor_msgs/msg/Image'),),
    TopicFacts('/image', 'sensor_msgs/msg/Image', 50, 0, 10.0, 0, 0.1, 0, 0, 0.01, 'camera'),
    4 * MB,
)
GRAPH = Graph(
    Config(), 0, ('/camera',), {'/image': 'sensor_msgs/msg/Image'},
    {'image': IMAGE, 'camera_info': replace(IMAGE, kind='sensor_msgs/msg/CameraInfo')},
)


def of(findings, line):
    """Return the finding of a line."""
    return next(each for each in findings if each.line == line)


def with_memory(graph=GRAPH, **changes):
    """Return what is said of shared memory that differs."""
    machine = replace(MACHINE, memory=replace(ROOMY, **changes))
    return of(machine_findings(machine, graph), 'shared_memory')


def test_shared_memory():
    assert with_memory().state == OK
    small = with_memory(size_bytes=64 << 20)
    assert small.state == FAILED and '--shm-size=1g' in small.cure
    full = with_memory(free_bytes=20 * MB, dead_bytes=300 * MB)
    assert full.state == FAILED and '300 MB of them of killed' in full.said
    assert 'fastdds shm clean' in full.cure
    none = {'profile': '', 'segment_bytes': 0}
    assert with_memory(**none).state == FAILED
    assert with_memory(None, **none).state == NOTE
    small_images = replace(GRAPH, inputs={'image': replace(IMAGE, largest_bytes=200_000)})
    assert with_memory(small_images, **none).state == OK
    # What a node receives is better known than what the variables of this shell would do.
    for received_hz, state in ((9.0, OK), (2.0, FAILED), (float('nan'), FAILED)):
        node = NodeSeen('/n', state='active', received_hz=received_hz)
        assert with_memory(replace(GRAPH, node=node), **none).state == state
    cyclone = replace(MACHINE, probes={**PROBES, 'ros': Probe({'rmw': 'rmw_cyclonedds_cpp'})})
    assert of(machine_findings(cyclone, GRAPH), 'shared_memory').state == 'skipped'


def test_our_own_profile_has_the_room_that_it_says():
    assert segment_bytes(profile()) == 32 << 20
    assert segment_bytes(Path('/absent.xml')) == segment_bytes(ROOT / 'setup.py') == 0


def test_a_card_that_is_not_used_is_told():
    network = Probe({**NETWORK, 'nvidia': True})
    findings = machine_findings(replace(MACHINE, probes={**PROBES, 'network': network}), None)
    assert of(findings, 'device').state == FAILED and 'CUDA build' in of(findings, 'device').cure
    chosen = Probe({**NETWORK, 'nvidia': True, 'device_asked': 'cpu'})
    findings = machine_findings(replace(MACHINE, probes={**PROBES, 'network': chosen}), None)
    assert of(findings, 'device').state == OK


def stamps(**changes):
    """Return what is said of image stamps."""
    image = replace(IMAGE, facts=replace(IMAGE.facts, **changes))
    graph = replace(GRAPH, inputs={**GRAPH.inputs, 'image': image})
    return of(image_findings(graph), 'stamps')


@pytest.mark.parametrize(
    'changes, state',
    [
        ({'delay_s': 1.9}, OK),
        ({'delay_s': 2.1}, FAILED),
        ({'delay_s': -0.9}, OK),
        ({'delay_s': -1.1}, FAILED),
        ({'delay_s': 3.0e7}, NOTE),  # a recording
        ({'back': 1}, FAILED),
        ({'doubled': 49}, FAILED),
        ({'doubled': 5}, OK),
    ],
)
def test_stamps(changes, state):
    assert stamps(**changes).state == state


def drops(**grown):
    """Return what is said of counters that grew."""
    node = NodeSeen('/n', state='active', grown=grown)
    return of(node_findings(replace(GRAPH, node=node)), 'drops')


def test_drops():
    assert drops().state == drops(dropped_image_too_large=0).state == OK
    assert drops(dropped_superseded=9).state == NOTE
    assert drops(dropped_rate=9).state == OK
    worst = drops(dropped_superseded=9, dropped_image_too_large=2, incomplete_no_transform=5)
    assert worst.state == FAILED and worst.cure == DROPS['no_transform']
    assert '2 image_too_large' in worst.said and 'superseded' not in worst.said


def test_a_node_that_does_not_answer_hangs():
    node = NodeSeen('/n', state='')
    assert 'does not answer' in of(node_findings(replace(GRAPH, node=node)), 'node').said
    slow = NodeSeen('/n', state='active', level=2, message='at one image for 20 s: network hangs')
    assert of(node_findings(replace(GRAPH, node=slow)), 'node').state == FAILED


def test_there_is_a_cure_for_every_reason_that_an_image_is_dropped_for():
    said = set()
    for path in (ROOT / 'depth_anything_ros').rglob('*.py'):
        text = path.read_text()
        said |= set(re.findall(r"(?:BadFrameError|OutOfTime)\(\s*'(\w+)'", text))
    assert len(said) > 20
    assert said <= set(DROPS)


TOPICS = {
    '/camera/image_raw': 'sensor_msgs/msg/Image',
    '/camera/image_raw/compressed': 'sensor_msgs/msg/CompressedImage',
    '/camera/depth/image_rect_raw': 'sensor_msgs/msg/Image',
    '/thermal/picture/compressed': 'sensor_msgs/msg/CompressedImage',
    '/camera/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/rear/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/depth/image_color': 'sensor_msgs/msg/Image',
    '/depth/points': 'sensor_msgs/msg/PointCloud2',
    '/velodyne_points': 'sensor_msgs/msg/PointCloud2',
}


def test_nearest_names_come_first_and_our_own_outputs_never():
    assert carrying(TOPICS, 'image', '/image') == [
        '/camera/image_raw', '/thermal/picture/compressed', '/camera/depth/image_rect_raw'
    ]
    assert carrying(TOPICS, 'points', '/points') == ['/velodyne_points']
    assert carrying(TOPICS, 'sensor_depth/image', '/sensor_depth/image') == [
        '/camera/depth/image_rect_raw'
    ]
    assert siblings(TOPICS, '/rear/image_raw')[0] == '/rear/camera_info'
    assert siblings(TOPICS, '/camera/image_raw/compressed')[0] == '/camera/camera_info'
    thermal = remapped('image', '/thermal/picture/compressed', TOPICS)
    assert thermal == '-r image:=/thermal/picture -p image_transport:=compressed'


def test_the_page_has_every_line_as_the_code_has_it():
    assert markdown() in (ROOT / 'docs' / 'doctor.md').read_text()
    assert markdown().count('\n') == len(LINES) + 2
