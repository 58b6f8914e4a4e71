# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle's services, called from outside while the node is in whatever state."""

from contextlib import contextmanager
import threading

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetState
import pytest
from rcl_interfaces.srv import GetParameters, SetParameters
import rclpy
from rclpy.logging import LoggingSeverity
from rclpy.parameter import Parameter

from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.ros.node import DepthNode
from helpers import ExactPredictor, spinning

PATIENCE_S = 30.0
CONFIGURE, CLEANUP, ACTIVATE = 1, 2, 3


@pytest.fixture(scope='module', autouse=True)
def ros():
    """Initialise rclpy once for this file."""
    rclpy.init()
    yield
    rclpy.shutdown()


class Manager:
    """Calls the node's services as a lifecycle manager does."""

    def __init__(self):
        self.node = rclpy.create_node('manager')
        self._clients = {}

    def ask(self, kind, name, **fields):
        """Send a request and return the future."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, f'depth_anything/{name}')
            assert self._clients[name].wait_for_service(PATIENCE_S), name
        return self._clients[name].call_async(kind.Request(**fields))

    def answer(self, future):
        """Wait for the response."""
        rclpy.spin_until_future_complete(self.node, future, timeout_sec=PATIENCE_S)
        assert future.done(), 'no answer'
        return future.result()

    def change(self, number=0, label=''):
        """Return the future of a transition's response."""
        return self.ask(ChangeState, 'change_state', transition=Transition(id=number, label=label))

    def changed(self, number=0, label=''):
        """Ask for a transition and return whether it came about."""
        return self.answer(self.change(number, label)).success

    def state(self):
        """Return the label of the node's state."""
        return self.answer(self.ask(GetState, 'get_state')).current_state.label

    def set_parameter(self, name, value):
        """Set a parameter and return whether it was taken."""
        parameters = [Parameter(name, value=value).to_parameter_msg()]
        future = self.ask(SetParameters, 'set_parameters', parameters=parameters)
        return self.answer(future).results[0].successful

    def wait_for(self, state):
        """Ask for the state until it is this one."""
        for _ in range(1000):
            if (now := self.state()) == state:
                return
        raise AssertionError(f'{now}, not {state}')


@contextmanager
def running(load=None, **values):
    """Give a node that spins on a thread, and a manager."""
    overrides = [Parameter(name, value=v) for name, v in {'autostart': False, **values}.items()]
    node = DepthNode(
        load or (lambda model, runtime: ExactPredictor(input_size=56)),
        parameter_overrides=overrides,
    )
    node.get_logger().set_level(LoggingSeverity.FATAL)
    manager = Manager()
    try:
        with spinning(node):
            yield node, manager
    finally:
        node.close()
        manager.node.destroy_node()


class SlowLoader:
    """A network that takes until it is told to be there."""

    def __init__(self):
        self.started, self.may_go = threading.Event(), threading.Event()

    def __call__(self, model, runtime):
        self.started.set()
        assert self.may_go.wait(2 * PATIENCE_S)
        return ExactPredictor(input_size=56)


def test_what_is_not_possible_now_is_refused():
    with running() as (node, manager):
        assert manager.changed(CONFIGURE) and manager.changed(ACTIVATE)
        # Also what only the state machine itself may do (10 ends a transition), and no transition.
        for number in (CONFIGURE, CLEANUP, ACTIVATE, 0, 5, 8, 10, 99):
            assert not manager.changed(number), number
        for label in ('activate', 'transition_success', 'nonsense', 'x' * 1_000_000):
            assert not manager.changed(label=label), label[:20]
        assert manager.state() == 'active'
        assert manager.changed(label='deactivate') and manager.changed(CLEANUP)
        assert manager.changed(label='shutdown')
        assert manager.state() == 'finalized'
        assert not manager.changed(CONFIGURE) and not manager.changed(label='shutdown')


def test_services_answer_while_a_network_loads():
    load = SlowLoader()
    with running(load) as (node, manager):
        configured = manager.change(CONFIGURE)
        assert load.started.wait(PATIENCE_S)
        assert manager.state() == 'configuring'
        assert manager.answer(manager.ask(GetAvailableStates, 'get_available_states'))
        names = manager.ask(GetParameters, 'get_parameters', names=['depth.max'])
        assert manager.answer(names).values[0].double_value == 80.0
        assert manager.set_parameter('depth.max', 42.0)
        assert not manager.set_parameter('depth.max', -1.0)
        for number in (CONFIGURE, ACTIVATE, 5, 10):
            assert not manager.changed(number), number
        assert not configured.done()
        load.may_go.set()
        assert manager.answer(configured).success
        assert manager.state() == 'inactive'
        assert node._units[0].pipeline.config.depth.max == 42.0


def test_a_manager_meets_autostart():
    load = SlowLoader()
    with running(load, autostart=True) as (node, manager):
        assert load.started.wait(PATIENCE_S)
        assert not manager.changed(CONFIGURE)
        load.may_go.set()
        manager.wait_for('active')
        assert not manager.changed(CONFIGURE) and not manager.changed(ACTIVATE)
        assert manager.state() == 'active' and not node.failed


def test_of_many_at_once_one_comes_about():
    with running() as (node, manager):
        for number, state in ((CONFIGURE, 'inactive'), (ACTIVATE, 'active')):
            futures = [manager.change(number) for _ in range(8)]
            states = [manager.ask(GetState, 'get_state') for _ in range(8)]
            assert sum(manager.answer(future).success for future in futures) == 1
            assert all(manager.answer(future) for future in states)
            assert manager.state() == state


def test_a_network_that_is_not_there_can_be_asked_for_again():
    there = []

    def load(model, runtime):
        if not there:
            raise CheckpointError('no such file')
        return ExactPredictor(input_size=56)

    with running(load) as (node, manager):
        assert not manager.changed(CONFIGURE)
        assert manager.state() == 'unconfigured'
        there.append(True)
        assert manager.changed(CONFIGURE) and manager.state() == 'inactive'


def test_autostart_that_fails_is_told():
    def load(model, runtime):
        raise CheckpointError('no such file')

    with running(load, autostart=True) as (node, manager):
        for _ in range(1000):
            manager.state()
            if node.failed:
                break
        assert node.failed and manager.state() == 'unconfigured'
