# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Transitions of the lifecycle that keep the node's other services alive and cannot end it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from functools import wraps
import threading
import time
import traceback
from typing import Any, TypeVar

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetAvailableTransitions
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.task import Future

from depth_anything_ros.errors import DepthAnythingError, one_line
from depth_anything_ros.ros.quiet_log import QuietLog

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)
Result = TypeVar('Result')
AnyNode = TypeVar('AnyNode', bound=LifecycleNode)
Callback = Callable[[AnyNode, LifecycleState], TransitionCallbackReturn]


def reported(callback: Callback[AnyNode]) -> Callback[AnyNode]:
    """Report what a transition's callback raises, since rclpy swallows it."""

    @wraps(callback)
    def wrapped(node: AnyNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return callback(node, state)
        except DepthAnythingError as error:
            node.get_logger().error(one_line(str(error)))
            return FAILURE
        except Exception:
            node.get_logger().error(traceback.format_exc())
            return ERROR

    return wrapped


class Transitions:
    """Runs the transitions of a node, one at a time, on a thread beside the executor.

    rclpy runs a transition inside of its service, so that nothing is answered meanwhile, and
    raises through the executor what is not possible in the present state. Here change_state
    answers success=False to that, and to all that comes while a transition is under way.
    """

    def __init__(self, node: LifecycleNode, log: QuietLog) -> None:
        """Take over the node's change_state service."""
        self._node, self._log = node, log
        self._thread: threading.Thread | None = None
        services: dict[str, Any] = {s.srv_name.rpartition('/')[2]: s for s in node.services}
        self._possible = services['get_available_transitions']
        service = services['change_state']
        # A group of its own: while a callback waits, a group that is not reentrant runs no other.
        service.callback_group = ReentrantCallbackGroup()
        service.callback_group.add_entity(service)
        service.callback = self._answer
        self._run = {
            Transition.TRANSITION_CONFIGURE: node.trigger_configure,
            Transition.TRANSITION_CLEANUP: node.trigger_cleanup,
            Transition.TRANSITION_ACTIVATE: node.trigger_activate,
            Transition.TRANSITION_DEACTIVATE: node.trigger_deactivate,
            Transition.TRANSITION_UNCONFIGURED_SHUTDOWN: node.trigger_shutdown,
            Transition.TRANSITION_INACTIVE_SHUTDOWN: node.trigger_shutdown,
            Transition.TRANSITION_ACTIVE_SHUTDOWN: node.trigger_shutdown,
        }

    @property
    def under_way(self) -> bool:
        """Whether a transition is under way, or done but not yet taken note of."""
        return self._thread is not None

    def begin(self, job: Callable[[], Any]) -> Future:
        """Run one or more transitions; called on the executor's thread.

        Args:
            job: what to run beside the executor.

        Returns:
            What will hold the job's result.
        """
        assert self._thread is None
        future = Future()

        def note(done: futures.Future[Any]) -> None:
            self._thread = None
            if (error := done.exception()) is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result())

        def run() -> None:
            done = _outcome(job)
            self.on_executor(lambda: note(done))

        self._thread = threading.Thread(target=run, name='depth_transition', daemon=True)
        self._thread.start()
        return future

    def on_executor(self, change: Callable[[], Result]) -> Result:
        """Make or destroy ROS entities on the executor's thread, never while one is being taken.

        Args:
            change: what to do; it is done at once where no executor runs beside the caller.

        Returns:
            What it returned.
        """
        if threading.current_thread() is not self._thread:
            return change()
        while (executor := self._node.executor) is None:
            time.sleep(0.01)  # the node has just been made
        done: futures.Future[futures.Future[Result]] = futures.Future()
        executor.create_task(lambda: done.set_result(_outcome(change)))
        return done.result().result()

    async def _answer(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        asked = request.transition
        response.success = False
        if self.under_way:
            self._refuse(asked, 'another one is under way')
            return response
        possible = self._possible.callback(
            GetAvailableTransitions.Request(), GetAvailableTransitions.Response()
        ).available_transitions
        for transition in [each.transition for each in possible]:
            match = (  # by the label where there is one, as rclpy does
                transition.label == asked.label if asked.label else transition.id == asked.id
            )
            if match and transition.id in self._run:
                result = await self.begin(self._run[transition.id])
                response.success = result is SUCCESS
                return response
        labels = ', '.join(sorted({each.transition.label for each in possible})) or 'none'
        self._refuse(asked, f'possible now: {labels}')
        return response

    def _refuse(self, asked: Transition, why: str) -> None:
        name = f'"{one_line(asked.label, 40)}"' if asked.label else str(asked.id)
        self._log.warning('transition', f'transition {name} refused: {why}')


def _outcome(function: Callable[[], Result]) -> futures.Future[Result]:
    """Call a function and return what came of it, so that it can pass to another thread."""
    outcome: futures.Future[Result] = futures.Future()
    try:
        outcome.set_result(function())
    except BaseException as error:
        outcome.set_exception(error)
    return outcome
