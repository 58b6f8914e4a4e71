# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's lifecycle, parameters and shutdown."""

from pathlib import Path
import signal
import sys
import threading

import pytest
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.logging import LoggingSeverity
from rclpy.parameter import Parameter

from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.ros.node import DepthNode
from depth_anything_ros.ros.worker import NewestItemWorker, OneAhead
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


def topics_of(node, by_node):
    """Return the names of what a node publishes or subscribes to."""
    return {name for name, _ in by_node(node.get_name(), node.get_namespace())}


def test_topics_exist_only_in_their_states(make_node):
    node = make_node()
    assert node.trigger_configure() is SUCCESS
    published = topics_of(node, node.get_publisher_names_and_types_by_node)
    expected = {'image', 'camera_info', 'points', 'stddev', 'image_color', 'relative', 'scale'}
    assert {f'/depth/{name}' for name in [*expected, 'image_rect']} | {'/diagnostics'} <= published
    inputs = {'/image', '/camera_info', '/points', '/scan'}
    assert not inputs & topics_of(node, node.get_subscriber_names_and_types_by_node)
    assert node.trigger_activate() is SUCCESS
    assert inputs <= topics_of(node, node.get_subscriber_names_and_types_by_node)
    assert node.trigger_deactivate() is SUCCESS
    assert not inputs & topics_of(node, node.get_subscriber_names_and_types_by_node)
    assert node.trigger_cleanup() is SUCCESS
    assert '/depth/image' not in topics_of(node, node.get_publisher_names_and_types_by_node)


def test_compressed_transport_is_a_topic_beside_the_image(make_node):
    node = make_node(image_transport='compressed')
    node.trigger_configure()
    node.trigger_activate()
    assert '/image/compressed' in topics_of(node, node.get_subscriber_names_and_types_by_node)


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
    first_mb, last_mb = run_rounds(make_node(), rounds=45, settled=15)
    assert last_mb - first_mb < 2.0


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_two_signals_end_the_node_cleanly(number):
    node = TEST / 'programs' / 'fake_network_node.py'
    with program(node, 'exact', ready='predicts') as process:
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        assert 'Traceback' not in process.stdout.read()


def test_worker_takes_the_newest_and_counts_the_rest():
    taken, dropped = [], []
    started, go_on = threading.Event(), threading.Event()

    def handle(item):
        taken.append(item)
        started.set()
        go_on.wait(10)

    worker = NewestItemWorker(handle, lambda: dropped.append(1))
    worker.submit('first')
    assert started.wait(10)
    for item in ('second', 'third', 'fourth'):
        worker.submit(item)
    started.clear()
    go_on.set()
    assert started.wait(10)
    worker.stop()
    assert taken == ['first', 'fourth'] and len(dropped) == 2


def test_a_bug_in_the_worker_is_kept_for_the_main_thread():
    failed = threading.Event()

    def handle(item):
        failed.set()
        raise ZeroDivisionError

    worker = NewestItemWorker(handle, lambda: None)
    worker.submit('item')
    assert failed.wait(10)
    worker.stop()
    assert isinstance(worker.crash, ZeroDivisionError)


def test_publication_is_one_ahead_in_order_and_tells_its_bug():
    may_go, handled = threading.Event(), []

    def handle(item):
        assert may_go.wait(10)
        if item == 'bug':
            raise ZeroDivisionError
        handled.append((item, threading.current_thread().name))

    publication = OneAhead(handle)
    publication.submit('first')  # returns although the first is not done
    assert not handled
    may_go.set()
    publication.submit('second')
    assert [item for item, _ in handled][:1] == ['first']
    publication.submit('bug')
    with pytest.raises(ZeroDivisionError):
        publication.submit('never')
    publication.stop()
    assert [item for item, _ in handled] == ['first', 'second']
    assert threading.current_thread().name not in {name for _, name in handled}
