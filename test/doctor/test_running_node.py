# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The doctor on robots with a node: one that is well, and what may be wrong with one."""

from contextlib import ExitStack
import time

from doctor_calls import call_many, failures, PATIENCE_S
import pytest
import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

from helpers import program, spinning, TEST

ROBOTS = TEST / 'programs' / 'faulty_robots.py'
NODE = TEST / 'programs' / 'bundled_node.py'
GRAPH = ('--only', 'graph')
NETWORK = ('-p', 'model.checkpoint:=bundled', '-p', 'runtime.device:=cpu')
READY = 'predicts'  # the node's line after its network has been loaded

pytestmark = pytest.mark.timeout(4 * PATIENCE_S)

CAMERAS = {'front': 'well', 'left': 'wrong_size'}  # of a node -> the robot whose they are
# Of all that is asked first: which robot, and how.
FIRST = {
    'well': ('-r', '__ns:=/well'),
    'elsewhere': ('-r', '__ns:=/well', '-r', 'image:=/plain/image'),
    'front': ('-r', '__ns:=/several'),
    'idle': ('-r', '__ns:=/idle'),
    'left': ('-r', '__ns:=/several', '--camera', 'left'),
    'no_clock': ('-r', '__ns:=/plain', '-p', 'use_sim_time:=true', *NETWORK),
}
THEN = {'twice': FIRST['idle'], 'listened_to': FIRST['well']}
# What fails -> in which words, and the cure's.
EXPECTED = {
    'well': {},
    'elsewhere': {
        'inputs': (
            '/well/depth_anything does not listen to /plain/image', '-r image:=/plain/image'
        ),
        'tf': ('a link from plain_lidar, plain_optical to well_lidar, well_optical', ''),
    },
    'front': {},
    'left': {
        'size': ('describes 640x480', 'publish the camera_info'),
        'scale': ('UNANCHORED', ''),
        'drops': ('camera_info_mismatch', 'see '),
        'tf': ('a link from wrong_size_lidar, wrong_size_optical to well_lidar, well_optical', ''),
    },
    'idle': {
        'node': (
            '/idle/depth_anything is unconfigured',
            'ros2 lifecycle set /idle/depth_anything configure',
        ),
    },
    'no_clock': {'clock': ('nobody publishes /clock', 'use_sim_time:=false')},
    'twice': {'node': ('2 nodes are called /idle/depth_anything', 'end all but one')},
    'listened_to': {
        'listeners': (
            '/judge gets no /well/depth/image: volatile publisher and transient local',
            'qos_overrides./well/depth/image.publisher',
        ),
    },
    'without_arguments': {},
}


def node(namespace, *more):
    """Return the command of a node."""
    return (NODE, '--ros-args', '-r', f'__ns:=/{namespace}', *NETWORK, *more)


@pytest.fixture(scope='module')
def said(tmp_path_factory):
    """Return what is said, all nodes and robots running."""
    folder = tmp_path_factory.mktemp('said')
    with ExitStack() as stack:
        stack.enter_context(program(ROBOTS, 'well', 'wrong_size', 'idle', 'plain', ready='driving'))
        stack.enter_context(program(*node('idle', '-p', 'autostart:=false')))
        stack.enter_context(program(*node('well'), ready=READY))
        remaps = [f'{camera}/{name}:=/{robot}/{name}' for camera, robot in CAMERAS.items()
                  for name in ('image', 'camera_info')]
        several = ['-p', 'cameras:=[front, left]', '-r', 'points:=/well/points']
        several += [each for remap in remaps for each in ('-r', remap)]
        with program(*node('several', *several), ready=READY):
            rclpy.init()
            stack.callback(rclpy.shutdown)
            judge = rclpy.create_node('judge')
            end = time.monotonic() + PATIENCE_S
            while ('depth_anything', '/idle') not in judge.get_node_names_and_namespaces():
                assert time.monotonic() < end
                rclpy.spin_once(judge, timeout_sec=0.1)
            found = call_many(folder, {n: (*GRAPH, *a) for n, a in FIRST.items()})
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        judge.create_subscription(Image, '/well/depth/image', lambda message: None, latched)
        twin = rclpy.create_node('depth_anything', namespace='idle')
        with spinning(judge):
            found |= call_many(folder, {n: (*GRAPH, *a) for n, a in THEN.items()})
        twin.destroy_node()
        judge.destroy_node()
        found |= call_many(folder, {'without_arguments': ()})
    return found


@pytest.mark.parametrize('name', EXPECTED)
def test_what_is_wrong_is_named_and_nothing_else(said, name):
    code, found = said[name]
    assert set(failures(found)) == set(EXPECTED[name]), found
    assert code == bool(EXPECTED[name])
    for line, (cause, cure) in EXPECTED[name].items():
        assert cause in found[line]['said'] and cure in found[line]['cure'], found[line]


def test_a_node_that_is_well_is_told_about(said):
    for name in ('well', 'without_arguments'):
        found = said[name][1]
        assert '/well/depth_anything is active' in found['node']['said']
        assert 'FITTED' in found['scale']['said'] or 'HELD' in found['scale']['said']
        assert '/well/image: 308x224 rgb8' in found['image']['said']
        assert found['inputs']['state'] == 'ok'
