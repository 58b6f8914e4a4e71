# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Each sensor is a process of its own that is killed and comes back: the others go on meanwhile."""

from contextlib import ExitStack
import time

from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
import rclpy
from sensor_msgs.msg import Image
from test_node import plane, pose_parameter

from helpers import edges, program, TEST
from moving_camera import SECOND
from robot_on_rails import T_CAMERA_LIDAR, view

PATIENCE_S = 90
ANCHORS = ('lidar', 'depth', 'stereo', 'motion')

pytestmark = pytest.mark.timeout(5 * PATIENCE_S)


class Robot:
    """The drivers' processes, and what the node makes of what they say.

    Attributes:
        states: stamp -> state, sources, reason, of the images taken since the last wait began.
    """

    def __init__(self):
        self._stack, self._drivers = ExitStack(), {}
        self._node = rclpy.create_node('judge')
        self._depth, self._stddev, self.states = {}, {}, {}
        self._since_ns = 0
        self._subscriptions = [
            self._node.create_subscription(kind, f'depth/{name}', take, 20)
            for name, kind, take in (
                ('scale', DiagnosticStatus, self._take_state),
                ('image', Image, lambda message: self._take(message, self._depth)),
                ('stddev', Image, lambda message: self._take(message, self._stddev)),
            )
        ]

    def start(self, *names):
        """Start drivers."""
        for name in names:
            driver = program(TEST / 'programs' / 'sensor.py', name)
            self._drivers[name] = self._stack.enter_context(driver)

    def kill(self, *names):
        """Kill drivers with SIGKILL."""
        for name in names:
            self._drivers[name].kill()
        for name in names:
            self._drivers[name].wait()

    def until(self, condition, *names):
        """Wait for an image whose state and sources are as wanted, and for each of other sources.

        Of a busy machine some driver may be late for any one image: no image need have them all.

        Returns:
            The stamp of the first such image from now on, of which depth has come.
        """
        self.states.clear()
        self._since_ns, end = time.time_ns(), time.monotonic() + PATIENCE_S
        while True:
            heard = set().union(*(sources for _, sources, _ in self.states.values()))
            for stamp_ns, (state, sources, _) in self.states.items():
                known = stamp_ns in self._depth and stamp_ns in self._stddev
                if known and condition(state, sources) and heard.issuperset(names):
                    return stamp_ns
            assert time.monotonic() < end, (heard, list(self.states.values())[-3:])
            rclpy.spin_once(self._node, timeout_sec=0.1)

    def check_depth(self, stamp_ns):
        """Assert that depth is true within 2 % or three of its own standard deviations."""
        depth_m, stddev_m = self._depth[stamp_ns], self._stddev[stamp_ns]
        truth_m = view(stamp_ns)[1]
        inner = ~edges(truth_m, 4)
        assert np.isfinite(depth_m[inner]).mean() > 0.99
        off_m = np.abs(depth_m - truth_m)[inner]
        assert np.median(off_m / truth_m[inner]) < 0.02
        within = off_m < np.maximum(0.02 * truth_m, 3 * stddev_m)[inner]
        assert within.mean() > 0.98

    def check_states(self, wanted):
        """Assert that all images since the last wait began had one state."""
        others = [told for told in self.states.values() if told[0] != wanted]
        assert not others

    def close(self):
        """End what runs."""
        self._stack.close()
        self._node.destroy_node()

    def _take_state(self, message):
        values = {pair.key: pair.value for pair in message.values}
        stamp_ns = int(values['image_stamp'].replace('.', ''))
        if stamp_ns > self._since_ns:
            names = set(values['method'].split('+'))
            self.states[stamp_ns] = message.message, names, values['reason']

    def _take(self, message, planes):
        stamp = message.header.stamp
        planes[stamp.sec * SECOND + stamp.nanosec] = plane(message)
        if len(planes) > 500:
            del planes[min(planes)]


@pytest.fixture(scope='module')
def robot():
    """Run the node and all drivers."""
    arguments = [
        '--ros-args', '-p', 'scale.fixed_frame:=odom', '-p', 'scale.max_hold:=1000.0',
        *pose_parameter(T_CAMERA_LIDAR),
    ]
    rclpy.init()
    try:
        made = Robot()
        with program(TEST / 'programs' / 'tf_node.py', *arguments, ready='predicts'):
            try:
                made.start('camera', *ANCHORS, 'range')
                made.check_depth(made.until(lambda state, names: True, *ANCHORS))
                yield made
            finally:
                made.close()
    finally:
        rclpy.shutdown()


@pytest.mark.parametrize('killed', ANCHORS)
def test_the_others_go_on(robot, killed):
    others = set(ANCHORS) - {killed}
    robot.kill(killed)
    # What was said before the end may still belong to an image or two.
    robot.check_depth(robot.until(lambda state, names: killed not in names, *others))
    robot.check_states('FITTED')
    robot.start(killed)
    robot.check_depth(robot.until(lambda state, names: killed in names, *others))
    robot.check_states('FITTED')


def test_a_rangefinder_is_heard_when_all_anchors_are_gone_and_may_go_too(robot):
    robot.kill(*ANCHORS)
    robot.check_depth(robot.until(lambda state, names: state == 'HELD' and 'range' in names))
    robot.kill('range')
    robot.check_depth(robot.until(lambda state, names: state == 'HELD' and 'range' not in names))
    robot.check_states('HELD')
    robot.start('range')
    robot.check_depth(robot.until(lambda state, names: state == 'HELD' and 'range' in names))
