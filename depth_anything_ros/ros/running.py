# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A plain node of a command-line program, from rclpy.init to a clean end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
import queue
import select
import signal
import sys

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions

from depth_anything_ros.ros.meeting import all_matched


class SignalEvent:
    """An event that a signal handler may set while its own thread waits for it.

    threading.Event may deadlock there: the handler wants the lock that the wait holds. A
    queue.SimpleQueue's put is promised to be reentrant.
    """

    def __init__(self) -> None:
        """Start unset."""
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Set it."""
        self._queue.put(None)

    def is_set(self) -> bool:
        """Return whether it has been set."""
        return not self._queue.empty()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is set, or for so long; return whether it is."""
        try:
            self._queue.put(self._queue.get(timeout=timeout_s))
        except queue.Empty:
            return False
        return True


@contextmanager
def running_node(
    name: str, args: list[str] | None = None
) -> Iterator[tuple[Node, SignalEvent]]:
    """Give a node, and an event that SIGINT and SIGTERM set, however often they come.

    Args:
        name: of the node.
        args: command line whose ROS arguments count; None is sys.argv.
    """
    stop = SignalEvent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(name)
    try:
        yield node, stop
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
        for number in (signal.SIGINT, signal.SIGTERM):  # launch may repeat it as Python winds up
            signal.signal(number, signal.SIG_IGN)


def wait_for_go(publishers: Iterable[Publisher], stop: SignalEvent) -> None:
    """Wait for a line on standard input, and until each publisher has its audience.

    Args:
        publishers: those of the sensors.
        stop: ends the waiting too.

    Whoever sends the line says how many subscriptions each publisher must have matched, one where
    it is empty. The end of the input, which is the end of whoever would send it, ends this too.
    """
    while not stop.is_set() and not select.select([sys.stdin], [], [], 0.1)[0]:
        pass
    if not stop.is_set() and not (line := sys.stdin.readline()):
        stop.set()
    while not stop.is_set() and not all_matched(publishers, int(line.strip() or 1)):
        stop.wait(0.02)
