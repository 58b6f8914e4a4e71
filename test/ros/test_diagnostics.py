# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says, of counts handed in and of a node over real DDS."""

from contextlib import contextmanager
import time
from types import SimpleNamespace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import pytest
import rclpy
from rclpy.logging import LoggingSeverity
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
import torch

from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.ros.diagnostics import Statistics
from depth_anything_ros.ros.messages import encode_image, ns_to_stamp
from depth_anything_ros.ros.node import DepthNode
from helpers import ExactPredictor, scene_image, spinning

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
NOW_NS = 1_000_000_000_000
PATIENCE_S = 30.0


def statistics():
    """Return new statistics of a camera named left."""
    return Statistics('/left/depth_anything', '/left/image', torch.device('cpu'))


def frame(state=State.FITTED, reason='fine'):
    """Return a stand-in for a published frame."""
    return SimpleNamespace(fit=SimpleNamespace(state=state, reason=reason), timings_ms={})


def report(made, now_ns=NOW_NS, publishers=None, busy_s=0.0):
    """Return the one status of a report, and its values."""
    matched = {'image': 1} if publishers is None else publishers
    status = made.status(now_ns, matched, busy_s)
    return status, {pair.key: pair.value for pair in status.values}


def test_two_cameras_are_told_apart():
    status, values = report(statistics())
    assert status.name == '/left/depth_anything: pipeline'
    assert status.hardware_id == '/left/image'
    assert values['device'] == 'cpu'


def test_to_be_idle_is_no_warning():
    made = statistics()
    made.received()
    made.unwanted()
    status, values = report(made)
    assert status.level == OK and 'nobody subscribes' in status.message
    assert not [key for key in values if key.startswith('dropped')]


@pytest.mark.parametrize(
    'publishers, words', [(0, 'no publisher on /left/image'), (2, '2 publisher(s) on /left/image')]
)
def test_no_image_says_whether_a_publisher_is_there(publishers, words):
    matched = {'image': publishers, 'camera_info': 1, 'points': 3}
    status, values = report(statistics(), publishers=matched)
    assert status.level == WARN and words in status.message
    told = {key: value for key, value in values.items() if key.startswith('publishers')}
    assert told == {
        'publishers_image': str(publishers),
        'publishers_camera_info': '1',
        'publishers_points': '3',
    }


def test_what_a_frame_lacked_is_no_drop():
    made = statistics()
    made.received()
    made.incomplete('no_transform')
    made.incomplete('no_transform')
    made.incomplete('no_camera_info')
    made.published(frame(), NOW_NS - 40_000_000, NOW_NS - 10_000_000)
    status, values = report(made)
    assert (values['incomplete_no_transform'], values['incomplete_no_camera_info']) == ('2', '1')
    assert not [key for key in values if key.startswith('dropped')]
    assert values['Events since startup'] == '1' and values['latency_ms'] == '30.0'
    assert values['age_of_newest_output_s'] == '0.040'
    assert (status.level, status.message) == (OK, 'Desired frequency met')


def test_why_all_images_are_dropped():
    made = statistics()
    for _ in range(9):
        made.received()
        made.dropped('superseded')
    made.received()
    made.dropped('too_old', 'max_age is 1e-30 s')
    status, values = report(made)
    assert status.level == WARN and status.message == 'no output: max_age is 1e-30 s'
    assert (values['dropped_too_old'], values['dropped_superseded']) == ('1', '9')
    made.received()  # a second later one is still being worked on
    status, values = report(made, busy_s=0.5)
    assert status.level == OK and values['dropped_too_old'] == '1'


def the_second_after(made, monkeypatch, second, frames=0, bad=0, superseded=0):
    """Return the report of what happened in the second that ends at this one of time."""
    for _ in range(frames):
        made.received()
        made.published(frame(), NOW_NS - 40_000_000, NOW_NS)
    for _ in range(bad):
        made.received()
        made.dropped('bad_size', 'its step is 7')
    for _ in range(superseded):
        made.received()
        made.dropped('superseded')
    monkeypatch.setattr(time, 'monotonic', lambda: 100.0 + second)
    return report(made)


def test_a_camera_of_an_image_in_two_seconds_has_not_stopped():
    made = statistics()
    made.received()
    made.published(frame(), NOW_NS, NOW_NS)
    assert report(made)[0].level == OK
    for _ in range(4):
        status, _ = report(made)
        assert (status.level, status.message) == (OK, 'between two images')
    status, _ = report(made)  # none in five reports
    assert status.level == WARN and 'no image comes' in status.message


def test_frequency_is_told_as_diagnostic_updater_tells_it(monkeypatch):
    monkeypatch.setattr(time, 'monotonic', lambda: 100.0)
    made = statistics()
    for second in range(1, 7):  # ten images a second, of which the network takes four
        status, values = the_second_after(made, monkeypatch, second, frames=4, superseded=6)
        assert (status.level, status.message) == (OK, 'Desired frequency met')
    assert values['Events in window'] == '20'  # of the last five reports
    assert values['Events since startup'] == '24'
    assert values['Duration of window (s)'] == '5.000000'
    assert values['Actual frequency (Hz)'] == '4.000000'
    assert values['Minimum acceptable frequency (Hz)'] == '3.600000'
    assert values['received_since_last_report'] == '10'


def test_images_that_give_nothing_want_a_hand_and_those_superseded_do_not(monkeypatch):
    monkeypatch.setattr(time, 'monotonic', lambda: 100.0)
    made = statistics()
    status, values = the_second_after(made, monkeypatch, 1, frames=9, bad=1, superseded=30)
    assert (status.level, values['Actual frequency (Hz)']) == (OK, '9.000000')
    status, values = the_second_after(made, monkeypatch, 2, frames=8, bad=2)
    assert status.level == WARN
    assert status.message == (
        'Frequency too low. 3 of 20 images gave nothing: its step is 7'
    )
    assert values['Minimum acceptable frequency (Hz)'] == '9.000000'  # 0.9 of 20 in 2 s
    for second in range(3, 8):  # forgotten when the window has gone on
        status, _ = the_second_after(made, monkeypatch, second, frames=9)
    assert status.level == OK


def test_delays_of_stamps_are_told_as_diagnostic_updater_tells_them():
    made = statistics()
    for delay_ns in (40_000_000, 250_000_000, 90_000_000):
        made.received()
        made.published(frame(), NOW_NS - delay_ns, NOW_NS)
    status, values = report(made)
    assert status.level == OK
    assert values['Earliest timestamp delay:'] == '0.040000'
    assert values['Latest timestamp delay:'] == '0.250000'
    assert values['Earliest acceptable timestamp delay:'] == '-1.000000'
    assert values['Early diagnostic update count:'] == '0'


def test_a_driver_that_does_not_stamp_is_told():
    made = statistics()
    made.received()
    made.published(frame(), 0, NOW_NS)
    status, values = report(made)
    assert status.level == WARN and status.message.startswith('Zero timestamp seen.')
    assert values['Zero seen diagnostic update count:'] == '1'
    assert values['Latest timestamp delay:'] == '0.000000' and 'latency_ms' not in values


def test_stamps_ahead_of_the_clock_are_said_and_no_age_is_negative():
    made = statistics()
    made.received()
    made.published(frame(), NOW_NS + 3600 * 10**9, NOW_NS)
    status, values = report(made)
    assert status.level == WARN and '3600.0 s ahead' in status.message
    assert values['stamps_ahead_s'] == '3600.000'
    assert values['Early diagnostic update count:'] == '1'
    assert values['age_of_newest_output_s'] == '0.000' and 'latency_ms' not in values


def test_a_clock_that_does_not_go_is_said():
    made = statistics()
    made.received()
    assert '/clock' in report(made, now_ns=0)[0].message


def test_a_thread_that_hangs_is_an_error():
    made = statistics()
    made.received()
    assert report(made, busy_s=9.0)[0].level == OK
    status, _ = report(made, busy_s=11.0)
    assert status.level == ERROR and 'at one image for 11 s' in status.message


def test_a_reason_of_a_megabyte_is_clipped():
    made = statistics()
    made.received()
    made.published(frame(State.UNANCHORED, 'x' * 1_000_000), NOW_NS, NOW_NS)
    status, _ = report(made)
    assert status.level == WARN and len(status.message) < 700


@pytest.fixture(scope='module', autouse=True)
def ros():
    """Initialise rclpy once for this file."""
    rclpy.init()
    yield
    rclpy.shutdown()


class Robot:
    """Publishes images and keeps what the node says."""

    def __init__(self):
        self.node = rclpy.create_node('robot', namespace='left')
        self._images = self.node.create_publisher(Image, 'image', 1)
        self.status = None
        self.node.create_subscription(Image, 'depth/relative', lambda message: None, 1)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._keep, 10)

    def _keep(self, message):
        self.status = message.status[0]
        self.values = {pair.key: pair.value for pair in self.status.values}

    def image(self, stamp_ns):
        """Publish an image of some time."""
        message = Image(**encode_image(scene_image(), 'rgb8'))
        stamp = ns_to_stamp(stamp_ns)
        message.header.stamp.sec, message.header.stamp.nanosec = stamp['sec'], stamp['nanosec']
        self._images.publish(message)

    def wait(self, condition, again=lambda: None):
        """Spin until the last status fulfils something; act again now and then."""
        end = time.monotonic() + PATIENCE_S
        while self.status is None or not condition():
            assert time.monotonic() < end, self.status
            again()
            rclpy.spin_once(self.node, timeout_sec=0.2)


@contextmanager
def running(**values):
    """Give a robot, and run the node in its namespace."""
    node = DepthNode(
        lambda model, runtime: ExactPredictor(input_size=56),
        namespace='left',
        parameter_overrides=[Parameter(name, value=value) for name, value in values.items()],
    )
    node.get_logger().set_level(LoggingSeverity.FATAL)
    robot = Robot()
    try:
        with spinning(node):
            yield robot
    finally:
        node.close()
        robot.node.destroy_node()


def test_without_clock_it_goes_on():
    with running(use_sim_time=True) as robot:
        robot.wait(lambda: '/clock' in robot.status.message)
        assert robot.status.name == '/left/depth_anything: pipeline'
        robot.status = None
        robot.wait(lambda: True)


def test_inputs_and_their_publishers():
    with running() as robot:
        robot.wait(lambda: robot.values['publishers_image'] == '1')
        for name in ('camera_info', 'points', 'scan'):
            assert robot.values[f'publishers_{name}'] == '0'
        robot.wait(lambda: '1 publisher(s) on /left/image' in robot.status.message)


@pytest.mark.parametrize(
    'max_age, offset_s, reason, cure',
    [
        (1e-30, 0, 'too_old', 'max_age is 1e-30 s'),
        (0.5, -3600, 'too_old', 'max_age is 0.5 s'),
        (0.5, 3600, 'from_the_future', 'synchronise'),
    ],
)
def test_images_of_another_time(max_age, offset_s, reason, cure):
    with running(max_age=max_age) as robot:
        robot.wait(
            lambda: cure in robot.status.message,
            lambda: robot.image(time.time_ns() + offset_s * 10**9),
        )
        assert int(robot.values[f'dropped_{reason}']) > 0
        assert robot.values['Events since startup'] == '0'


def test_without_max_age_any_time_will_do():
    with running() as robot:
        robot.wait(
            lambda: robot.values['Events since startup'] != '0'
            and 'ahead' in robot.status.message,
            lambda: robot.image(time.time_ns() + 3600 * 10**9),
        )
        assert float(robot.values['age_of_newest_output_s']) == 0
