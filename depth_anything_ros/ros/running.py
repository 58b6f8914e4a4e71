# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A plain node of a command-line program, from rclpy.init to a clean end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import signal
import threading

import rclpy
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions


@contextmanager
def running_node(
    name: str, args: list[str] | None = None
) -> Iterator[tuple[Node, threading.Event]]:
    """Give a node, and an event that SIGINT and SIGTERM set, however often they come.

    Args:
        name: of the node.
        args: command line whose ROS arguments count; None is sys.argv.
    """
    stop = threading.Event()
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


def wait_for_listener(node: Node, topic: str, stop: threading.Event) -> None:
    """Wait until somebody subscribes to a topic, so that nothing is sent into the void."""
    topic = node.resolve_topic_name(topic)
    while node.count_subscribers(topic) == 0 and not stop.wait(0.05):
        pass
