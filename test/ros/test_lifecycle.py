# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's lifecycle, parameters and shutdown."""

from pathlib import Path
import signal
import sys
import time

import cv2
import numpy as np
import pytest
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.logging import LoggingSeverity
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from depth_anything_ros.errors import CheckpointError, ConfigError
from depth_anything_ros.ros.node import DepthNode
from helpers import ExactPredictor, program, TEST

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'benchmarks'))

from lifecycle_memory import run_rounds  # noqa: E402, I100

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


@pytest.fixture(scope='module', autouse=True)
def ros():
    """Initialise rclpy once for this file."""
    rclpy.init()
    yield
    rclpy.shutdown()


@pytest.fixture
def make_node():
    """Return a function that makes unconfigured nodes and cleans up after them."""
    nodes = []

    def make(load=lambda model, runtime: ExactPredictor(input_size=56), **values):
        overrides = [Parameter(name, value=v) for name, v in {'autostart': False, **values}.items()]
        nodes.append(DepthNode(load, parameter_overrides=overrides))
        nodes[-1].get_logger().set_level(LoggingSeverity.FATAL)
        return nodes[-1]

    yield make
    for node in nodes:
        node.close()


OUTPUTS = {
    '/diagnostics',
    *('/depth/' + name for name in ('image', 'camera_info', 'points', 'stddev', 'image_color')),
    *('/depth/' + name for name in ('relative', 'image_rect', 'scale')),
}
INPUTS = {'/image', '/camera_info', '/points', '/scan'}


def wait_for_topics(node, expected, absent=frozenset()):
    """Wait until a node has these topics and lacks those; the graph learns of them by and by."""
    end = time.monotonic() + 30.0
    while True:
        topics = set()
        for by_node in ('get_publisher_names_and_types_by_node',
                        'get_subscriber_names_and_types_by_node'):
            found = getattr(node, by_node)(node.get_name(), node.get_namespace())
            topics |= {name for name, _ in found}
        if expected <= topics and not absent & topics:
            return
        assert time.monotonic() < end, topics
        time.sleep(0.02)


def test_topics_exist_only_in_their_states(make_node):
    node = make_node()
    assert node.trigger_configure() is SUCCESS
    wait_for_topics(node, OUTPUTS, INPUTS)
    assert node.trigger_activate() is SUCCESS
    wait_for_topics(node, OUTPUTS | INPUTS)
    assert node.trigger_deactivate() is SUCCESS
    wait_for_topics(node, OUTPUTS, INPUTS)
    assert node.trigger_cleanup() is SUCCESS
    wait_for_topics(node, set(), OUTPUTS | INPUTS)


def test_each_of_several_cameras_has_its_topics_and_the_sensors_are_one(make_node):
    node = make_node(cameras=['front', 'left'], image_transport='compressed')
    assert node.trigger_configure() is SUCCESS
    depth = [topic for topic in OUTPUTS if 'depth' in topic]
    outputs = {f'/{name}{topic}' for name in ('front', 'left') for topic in depth}
    wait_for_topics(node, outputs | {'/diagnostics'}, {'/depth/image'})
    assert node.trigger_activate() is SUCCESS
    inputs = {'/front/image/compressed', '/left/image/compressed', '/front/right/image/compressed'}
    inputs |= {'/front/camera_info', '/left/sensor_depth/image', '/points', '/scan', '/range'}
    wait_for_topics(node, inputs, {'/image', '/camera_info', '/front/points', '/left/range'})
    assert node.trigger_deactivate() is SUCCESS
    wait_for_topics(node, outputs, inputs)
    assert node.trigger_cleanup() is SUCCESS
    wait_for_topics(node, set(), outputs | {'/diagnostics'})


def test_a_camera_may_have_parameters_of_its_own(make_node, tmp_path):
    mask = np.full((48, 64), 255, np.uint8)
    mask[40:] = 0
    cv2.imwrite(str(tmp_path / 'left.png'), mask)
    values = {'scale.camera_height': 1.5, 'left.scale.camera_height': 0.5,
              'left.camera.mask': str(tmp_path / 'left.png')}
    node = make_node(cameras=['front', 'left'], **values)
    assert node.trigger_configure() is SUCCESS
    front, left = (unit.pipeline for unit in node._units)
    assert (front.config.scale.camera_height, left.config.scale.camera_height) == (1.5, 0.5)
    assert front.eye.body is None and left.eye.body.sum() == 8 * 64
    # What may be changed while it runs is every camera's, and leaves each its own.
    assert node.set_parameters([Parameter('depth.max', value=9.0)])[0].successful
    assert (front.config.depth.max, left.config.depth.max) == (9.0, 9.0)
    assert left.config.scale.camera_height == 0.5
    assert not node.set_parameters([Parameter('left.scale.camera_height', value=2.0)])[0].successful


@pytest.mark.parametrize(
    'values, cause',
    [
        ({'left.scale.camera_height': -1.0}, '.*left.scale.camera_height out of range'),
        ({'left.scale.T_camera_sensor': [1.0] * 7}, 'left.scale.T_camera_sensor must end in'),
        ({'left.camera.rectified': 'yes'}, 'left.camera.rectified must be one of auto'),
    ],
)
def test_a_wrong_parameter_of_a_camera_is_told_with_its_name(make_node, values, cause):
    with pytest.raises(ConfigError, match=f'^{cause}'):
        make_node(cameras=['front', 'left'], **values)


def test_compressed_transport_is_a_topic_beside_the_image(make_node):
    node = make_node(image_transport='compressed')
    node.trigger_configure()
    node.trigger_activate()
    wait_for_topics(node, {'/image/compressed'}, {'/image'})


@pytest.mark.parametrize('name', ['image.subscription', 'depth/image.publisher'])
def test_wrong_qos_overrides_fail_a_transition(make_node, name):
    node = make_node(**{f'qos_overrides./{name}.durability': 'forever'})
    result = node.trigger_configure()
    assert (node.trigger_activate() if result is SUCCESS else result) is FAILURE


def test_missing_checkpoint_fails_and_a_bug_is_an_error(make_node):
    def missing(model, runtime):
        raise CheckpointError('no such file')

    def broken(model, runtime):
        raise ZeroDivisionError

    node = make_node(missing)
    assert node.trigger_configure() is FAILURE
    node = make_node(broken)
    assert node.trigger_configure() is ERROR


def test_runtime_parameters_change_together_or_not_at_all(make_node):
    node = make_node()
    both = [Parameter('depth.max', value=50), Parameter('depth.min', value=60.0)]
    result = node.set_parameters_atomically(both)
    assert not result.successful and 'depth.min' in result.reason
    assert node.get_parameter('depth.max').value == 80.0
    both[1] = Parameter('depth.min', value=1.0)
    assert node.set_parameters_atomically(both).successful
    assert node._config.depth.max == 50.0 and node._config.depth.min == 1.0
    result = node.set_parameters([Parameter('model.checkpoint', value='other')])[0]
    assert not result.successful and 'read-only' in result.reason


def test_rounds_of_the_lifecycle_hold_their_memory(make_node):
    # benchmarks/lifecycle_memory.py runs 1,000 rounds on a real network; this is its short form.
    node, grown_mb = make_node(), []
    # What is left behind grows each time, an allocator that takes a piece more does so once.
    while len(grown_mb) < 3 and min(grown_mb, default=2.0) >= 2.0:
        first_mb, last_mb = run_rounds(node, rounds=45, settled=15)
        grown_mb.append(last_mb - first_mb)
    assert min(grown_mb) < 2.0, grown_mb


def entities_of(node):
    """Return how many entities of each kind a node has."""
    kinds = ('services', 'clients', 'timers', 'subscriptions', 'publishers', 'guards', 'waitables')
    return {kind: len(list(getattr(node, kind))) for kind in kinds}


@pytest.mark.parametrize('cameras', [[], ['front', 'left']])
def test_rounds_of_the_lifecycle_leave_no_entity_behind(make_node, cameras):
    node = make_node(cameras=cameras)
    before = entities_of(node)
    run_rounds(node, rounds=5, settled=1)
    assert entities_of(node) == before


def test_a_bug_in_the_last_publication_is_raised(make_node, monkeypatch):
    def broken(frame, header):
        raise ZeroDivisionError

    node = make_node()
    node.trigger_configure()
    node.trigger_activate()
    unit = node._units[0]
    monkeypatch.setattr(unit._outputs, 'publish', broken)
    node._publication.submit((unit, None, Header()))
    assert node.trigger_deactivate() is ERROR
    with pytest.raises(ZeroDivisionError):
        node.raise_crash()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_two_signals_end_the_node_cleanly(number):
    node = TEST / 'programs' / 'fake_network_node.py'
    with program(node, 'exact', ready='predicts') as process:
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        assert 'Traceback' not in process.stdout.read()
