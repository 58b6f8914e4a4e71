# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who has met whom, from both sides."""

import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import pytest
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_anything_ros.ros.meeting import all_matched, NodeInputs
from helpers import program, TEST, write_scene_folder

PATIENCE_S = 60.0


@pytest.fixture
def node():
    """Give a plain node."""
    rclpy.init()
    made = rclpy.create_node('listener')
    yield made
    made.destroy_node()
    rclpy.shutdown()


def spin_until(node, condition):
    """Spin until something holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, 'it did not come about'
        rclpy.spin_once(node, timeout_sec=0.05)


def test_what_the_node_says_of_its_inputs(node):
    inputs = NodeInputs(node)
    publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
    values = [KeyValue(key='publishers_image', value='1'), KeyValue(key='device', value='cpu'),
              KeyValue(key='publishers_points', value='0')]
    other = DiagnosticStatus(name='lidar: pipe', values=[KeyValue(key='publishers_x', value='1')])
    status = DiagnosticStatus(name='depth_anything: pipeline', values=values)
    assert not inputs.matched(['image'])
    spin_until(node, lambda: all_matched([publisher]))
    publisher.publish(DiagnosticArray(status=[status, other]))
    spin_until(node, lambda: inputs.publishers)
    assert inputs.publishers == {'image': 1, 'points': 0}
    assert inputs.matched(['image']) and not inputs.matched(['image', 'points'])
    inputs.forget()
    assert not inputs.matched(['image'])


def test_the_node_tells_which_publishers_it_has_met(node):
    inputs = NodeInputs(node)
    with program(TEST / 'programs' / 'fake_network_node.py', 'exact', ready='predicts'):
        spin_until(node, lambda: inputs.publishers)
        assert inputs.publishers.keys() >= {'image', 'camera_info', 'points', 'scan'}
        assert set(inputs.publishers.values()) == {0}
        node.create_publisher(Image, 'image', 10)
        node.create_publisher(CameraInfo, 'camera_info', 10)
        spin_until(node, lambda: inputs.matched(['image', 'camera_info']))
        met = {name for name, count in inputs.publishers.items() if count}
        assert met == {'image', 'camera_info'}


def test_a_player_that_waits_loses_nothing(node, tmp_path):
    write_scene_folder(tmp_path)
    received = []
    qos = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
    for kind, topic in ((Image, 'image'), (CameraInfo, 'camera_info')):
        node.create_subscription(kind, topic, received.append, qos)
    command = ['-m', 'depth_anything_ros.tools.play_frames', tmp_path, '--count', 3, '--wait']
    with program(*command, ready='playing', stdin=True) as player:
        player.stdin.write('\n')
        player.stdin.flush()
        # Nobody listens to its points, so it has not begun.
        spin_until(node, lambda: node.count_publishers('points'))
        assert not received
        node.create_subscription(PointCloud2, 'points', received.append, qos)
        spin_until(node, lambda: len(received) == 9)
    assert [type(message) for message in received].count(Image) == 3
