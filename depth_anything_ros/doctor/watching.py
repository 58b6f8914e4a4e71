# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Watches the robot for some seconds: facts of the graph, gathered once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
import os
import time

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from depth_anything_ros.doctor.facts import Graph
from depth_anything_ros.doctor.listening import Listener
from depth_anything_ros.doctor.looking import is_metric, look_at, SETTLING_S
from depth_anything_ros.doctor.running_node import full_name, running_names, RunningNode
from depth_anything_ros.doctor.view import View

NAME = 'depth_anything_doctor'
_QUIET_S = 2.0  # without anything new in the graph, which is then taken for known
_LONGEST = 3  # times the patience, however much is new
_STEP_S, _LOOK_S = 0.05, 0.2  # between two questions: to a service, to the graph


class Watch:
    """A node that listens, and is spun until something holds or the patience is at its end."""

    def __init__(self, asked: View, seconds: float) -> None:
        """Join the graph.

        Args:
            asked: what was asked about.
            seconds: patience, from the last news on.
        """
        self._asked, self._seconds = asked, seconds
        self._node = Node(
            NAME, use_global_arguments=False, start_parameter_services=False, enable_rosout=False
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)

    def graph(self) -> Graph:
        """Watch, and return what was seen."""
        node, asked = self._node, self._asked
        self._until_quiet()
        names = running_names(node, asked)
        running = None
        if names == [asked.node] or (len(names) == 1 and not asked.is_chosen):
            running, names = RunningNode(node, names[0], asked, self._until), []
        view = asked if running is None else running.view
        listener = Listener(node, view)
        self._listen(listener, running)
        images = list(listener.inputs['image'].kept)
        self._spin_for(SETTLING_S)
        others = [watch.kept for name, watch in listener.inputs.items() if name != 'image']
        messages = [*images, *chain.from_iterable(others)]
        seen = None if running is None else running.facts()
        tree = listener.transforms.tree if listener.has_tf else None
        return Graph(
            view.config,
            int(os.environ.get('ROS_DOMAIN_ID') or 0),
            self._others(),
            self._topics(),
            listener.facts(),
            look_at(view, messages, tree),
            listener.has_tf,
            listener.transforms.chains(time.monotonic()),
            listener.clock(),
            seen,
            tuple(names),
            True if seen and seen.scale.get('state') == 'METRIC' else is_metric(view),
        )

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._node.destroy_node()

    def _until(self, holds: Callable[[], bool]) -> bool:
        end = time.monotonic() + self._seconds
        while not holds() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=_STEP_S)
        return holds()

    def _until_quiet(self) -> None:
        """Wait until nodes and topics are no longer being discovered."""
        known, since = None, time.monotonic()
        end = since + self._seconds * _LONGEST
        quiet_s = self._seconds  # as long as nobody is seen at all
        while time.monotonic() < min(end, since + quiet_s):
            self._spin_for(_LOOK_S)
            now = self._others(), self._node.get_topic_names_and_types()
            quiet_s = min(_QUIET_S, self._seconds) if now[0] else self._seconds
            if now != known:
                known, since = now, time.monotonic()

    def _listen(self, listener: Listener, running: RunningNode | None) -> None:
        started = since = time.monotonic()
        known = None
        while True:
            now_s = time.monotonic()
            listener.look()
            if listener.news != known:
                known, since = listener.news, now_s
            told = running is None or running.is_told
            if (listener.is_complete and told) or now_s > min(
                since + self._seconds, started + _LONGEST * self._seconds
            ):
                return
            self._spin_for(_LOOK_S)

    def _spin_for(self, duration_s: float) -> None:
        end = time.monotonic() + duration_s
        while (left_s := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def _others(self) -> tuple[str, ...]:
        names = [full_name(ns, n) for n, ns in self._node.get_node_names_and_namespaces()]
        return tuple(sorted(n for n in names if n.rpartition('/')[2] != NAME and '/_' not in n))

    def _topics(self) -> dict[str, str]:
        return {
            topic: kinds[0]
            for topic, kinds in self._node.get_topic_names_and_types()
            if self._node.count_publishers(topic)
        }


def watch(asked: View, seconds: float) -> Graph:
    """Return what is seen of the robot; rclpy must have been started."""
    watching = Watch(asked, seconds)
    try:
        return watching.graph()
    finally:
        watching.close()
