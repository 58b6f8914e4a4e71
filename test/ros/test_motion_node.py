# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera alone on a robot with odometry, over real DDS: metres from its motion."""

import time

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
import rclpy
from sensor_msgs.msg import Image

from depth_anything_ros.ros.meeting import all_matched, NodeInputs
from depth_anything_ros.ros.sensor_publisher import SensorPublisher
from helpers import edges, program, TEST
from moving_camera import CAMERA, look, pose, SECOND

START_NS = 1_000 * SECOND
SPEED_M_S = 0.8
PATIENCE_S = 90

pytestmark = pytest.mark.timeout(2 * PATIENCE_S + 60)


class Robot:
    """A camera that moves to the right, and what the node makes of it."""

    def __init__(self):
        self.node = rclpy.create_node('robot')
        self.sensors = SensorPublisher(self.node, 'camera')
        self.inputs = NodeInputs(self.node)
        self.status, self.depth = {}, {}
        self.subscriptions = [
            self.node.create_subscription(DiagnosticStatus, 'depth/scale', self.take, 10),
            self.node.create_subscription(Image, 'depth/image', self.take_depth, 10),
        ]
        self.until(
            lambda: self.inputs.matched(('image', 'camera_info'))
            and all_matched(self.sensors.publishers[:2])
            and all(self.node.count_publishers(f'depth/{name}') for name in ('scale', 'image'))
        )

    def take(self, message):
        """Keep the answer to an image by its stamp in seconds."""
        values = {pair.key: pair.value for pair in message.values}
        self.status[float(values['stamp'])] = message.message, values['reason'], values['method']

    def take_depth(self, message):
        """Keep a depth image by its stamp in seconds."""
        stamp = message.header.stamp
        depth_m = np.frombuffer(message.data, '<f4').reshape(message.height, message.width)
        self.depth[stamp.sec + stamp.nanosec / SECOND] = depth_m

    def until(self, condition):
        """Spin until something holds."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, 'nothing came within the time'
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def see(self, i):
        """Publish what is seen a tenth of a second after the last; return the node's answer."""
        stamp_ns = START_NS + i * SECOND // 10
        self.sensors.publish_image(look(pose(x=SPEED_M_S * i / 10))[0], CAMERA, stamp_ns)
        stamp_s = stamp_ns / SECOND
        self.until(lambda: stamp_s in self.status)
        return self.status[stamp_s]


def test_metres_from_odometry_and_a_camera():
    arguments = ['--ros-args', '-p', 'scale.fixed_frame:=odom', '-p', 'scale.max_hold:=0.0']
    rclpy.init()
    try:
        with program(TEST / 'programs' / 'moving_node.py', *arguments, ready='predicts'):
            robot = Robot()
            told = [robot.see(i) for i in range(10)]
            assert told[0][0] == 'UNANCHORED' and 'this is the first image' in told[0][1]
            state, reason, method = told[-1]
            assert (state, method) == ('FITTED', 'motion'), reason
            stamp_s = (START_NS + 9 * SECOND // 10) / SECOND
            robot.until(lambda: stamp_s in robot.depth)
            truth_m = look(pose(x=SPEED_M_S * 0.9))[1]
            error = np.abs(robot.depth[stamp_s] / truth_m - 1)[~edges(truth_m, 3)]
            assert np.median(error) < 0.02 and np.quantile(error, 0.9) < 0.05
            # Beyond what TF knows the source sits out, and the reason says so.
            state, reason, _ = robot.see(25)
            assert state == 'UNANCHORED' and 'TF from camera to odom' in reason
            robot.node.destroy_node()
    finally:
        rclpy.shutdown()
