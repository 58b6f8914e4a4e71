# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The depth node that runs: asked by its services, and overheard on its topics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import math
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy._rclpy_pybind11 import NodeNameNonExistentError
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import qos_check_compatible, QoSCompatibility, QoSProfile

from depth_anything_ros.config import Config, parameters, with_values
from depth_anything_ros.doctor.facts import Endpoint, NodeSeen
from depth_anything_ros.doctor.view import asked_view, assigned, View
from depth_anything_ros.errors import ConfigError

_SCALE = 'diagnostic_msgs/msg/DiagnosticStatus'
_OF_RCLPY = ('/rosout', '/parameter_events', '/diagnostics')
_ENOUGH = 3  # messages
_RECEIVED = 'received_since_last_report'
Pairs = list[tuple[str, list[str]]]  # topics with their types
Until = Callable[[Callable[[], bool]], bool]  # spins until something holds; whether it does


def full_name(namespace: str, name: str) -> str:
    """Return a node's name with its namespace."""
    return f'{namespace.rstrip("/")}/{name}'


def clash_of(publisher: QoSProfile, subscription: QoSProfile) -> str:
    """Return which policies of a publisher do not match a subscription; empty for none."""
    verdict, reason = qos_check_compatible(publisher, subscription)
    if verdict != QoSCompatibility.ERROR:
        return ''
    parts = [part.strip() for part in reason.split(';') if 'ERROR' in part]
    return ', '.join(part.removeprefix('ERROR: ').lower() for part in parts)


def _known(ask: Callable[[str, str], Pairs], name: str, namespace: str) -> Pairs:
    try:
        return ask(name, namespace)
    except NodeNameNonExistentError:  # it has gone
        return []


def running_names(node: Node, view: View) -> list[str]:
    """Return the full names of the depth nodes that run: of that asked about alone, if it does."""
    names = [full_name(ns, name) for name, ns in node.get_node_names_and_namespaces()]
    if view.node in names:
        return [view.node]
    found = {
        full_name(each.node_namespace, each.node_name)
        for topic, kinds in node.get_topic_names_and_types()
        if topic.endswith('/depth/scale') and _SCALE in kinds
        for each in node.get_publishers_info_by_topic(topic)
    }
    return sorted(found)


class RunningNode:
    """One depth node.

    Attributes:
        name: in full.
        view: what it looks at, and its parameters.
    """

    def __init__(self, node: Node, name: str, asked: View, until: Until) -> None:
        """Ask it; one that does not answer leaves the view as it was asked for.

        Args:
            node: who asks.
            name: of the running node, in full.
            asked: what was asked about.
            until: spins node.
        """
        self.name, self._node, self._until = name, node, until
        self._reports: list[Any] = []
        self._scale: dict[str, str] = {}
        self._scales = 0
        self._state = ''
        self._get_state = node.create_client(GetState, f'{name}/get_state')
        self.view = self._running_view(asked)
        camera = self.view.camera
        self._full_name = f'{name}: {camera}' if camera else name  # as depth/scale has it
        self._elsewhere: dict[str, str] = {}
        self._image = ''
        self._state = self._lifecycle_state()
        node.create_subscription(DiagnosticArray, '/diagnostics', self._take_report, 10)
        for topic in self._outputs(_SCALE):
            node.create_subscription(DiagnosticStatus, topic, self._take_scale, 10)
        self._look_at_inputs()

    @property
    def is_told(self) -> bool:
        """Whether all has come that is wanted of an active node."""
        if self._state != 'active':
            return True
        return len(self._reports) >= _ENOUGH and self._scales >= _ENOUGH

    def _look_at_inputs(self) -> None:
        """Take over what it subscribes to."""
        if self._state != 'active' and not self._subscribed():
            return
        self._until(lambda: bool(self._image and self._subscribed()))
        subscribed = self._subscribed()
        qos = {
            topic: each.qos_profile
            for topic in subscribed
            for each in self._node.get_subscriptions_info_by_topic(topic)
            if full_name(each.node_namespace, each.node_name) == self.name
        }
        self.view, self._elsewhere = assigned(self.view, subscribed, qos, self._image)

    def _subscribed(self) -> dict[str, str]:
        """Return topic -> type of its inputs."""
        own, namespace = self.name.rpartition('/')[2], self.name.rpartition('/')[0] or '/'
        pairs = _known(self._node.get_subscriber_names_and_types_by_node, own, namespace)
        return {topic: kinds[0] for topic, kinds in pairs if kinds[0].startswith('sensor_msgs/')}

    def facts(self) -> NodeSeen:
        """Return what was seen of it."""
        # Another doctor has a node of this name, for as long as it takes to ask what it would be.
        self._until(lambda: self._count() == 1)
        first, last = (self._reports[0], self._reports[-1]) if self._reports else ({}, {})
        values = {k: v for k, v in last.items() if k.startswith(('dropped_', 'incomplete_'))}
        received = [float(report.get(_RECEIVED, 'nan')) for report in self._reports[1:]]
        return NodeSeen(
            self.name,
            self._count(),
            self._lifecycle_state(),
            int(last.get('level', 0)),
            last.get('message', ''),
            {key: int(value) - int(first.get(key, 0)) for key, value in values.items()},
            max(received, default=math.nan),
            self._scale,
            {topic: self._listeners(topic) for topic in self._outputs()},
            self._elsewhere,
        )

    def _count(self) -> int:
        names = self._node.get_node_names_and_namespaces()
        return [full_name(namespace, name) for name, namespace in names].count(self.name)

    def _running_view(self, asked: View) -> View:
        """Return the view with the parameters that it has; as asked where it does not say."""
        names = {each.name: each for each in parameters()}
        client = self._node.create_client(GetParameters, f'{self.name}/get_parameters')
        answer = self._ask(client, GetParameters.Request(names=[*names, 'use_sim_time']))
        if answer is None or len(answer.values) != len(names) + 1:
            return replace(asked, node=self.name)
        *values, sim = (parameter_value_to_python(value) for value in answer.values)
        known = {name: value for name, value in zip(names, values) if value is not None}
        try:
            config = with_values(Config(), known)
        except ConfigError:  # another version of the node
            return replace(asked, node=self.name)
        if asked.camera and asked.camera not in config.cameras:
            raise ConfigError(
                f'{self.name} has no camera {asked.camera}: its `cameras` is '
                f'[{", ".join(config.cameras)}]'
            )
        try:
            camera = asked.camera or next(iter(config.cameras), '')
            if camera:
                own = [name for name, each in names.items() if each.per_camera]
                request = GetParameters.Request(names=[f'{camera}.{name}' for name in own])
                answer = self._ask(client, request)
                found = () if answer is None else answer.values
                pairs = zip(own, map(parameter_value_to_python, found))
                config = with_values(config, {k: v for k, v in pairs if v is not None})
            view = asked_view(camera, config)
        except ConfigError:
            return replace(asked, node=self.name)
        return replace(view, node=self.name, use_sim_time=bool(sim))

    def _lifecycle_state(self) -> str:
        answer = self._ask(self._get_state, GetState.Request())
        return '' if answer is None else str(answer.current_state.label)

    def _ask(self, client: Any, request: Any) -> Any:
        if not self._until(client.service_is_ready):
            return None
        future = client.call_async(request)
        return future.result() if self._until(future.done) else None

    def _outputs(self, kind: str = '') -> list[str]:
        own, namespace = self.name.rpartition('/')[2], self.name.rpartition('/')[0] or '/'
        pairs = _known(self._node.get_publisher_names_and_types_by_node, own, namespace)
        return [
            topic for topic, kinds in pairs
            if topic not in _OF_RCLPY and 'transition_event' not in topic
            and (not kind or kind in kinds)
        ]

    def _listeners(self, topic: str) -> tuple[Endpoint, ...]:
        offered = [
            each.qos_profile for each in self._node.get_publishers_info_by_topic(topic)
            if full_name(each.node_namespace, each.node_name) == self.name
        ]
        return tuple(
            Endpoint(
                full_name(each.node_namespace, each.node_name),
                each.topic_type,
                clash_of(offered[0], each.qos_profile) if offered else '',
            )
            for each in self._node.get_subscriptions_info_by_topic(topic)
            if each.node_name != self._node.get_name()
        )

    def _take_report(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == f'{self._full_name}: pipeline':
                values = {pair.key: pair.value for pair in status.values}
                self._image = status.hardware_id
                level = int.from_bytes(status.level, 'little')
                self._reports.append(
                    {**values, 'level': level, 'message': status.message}
                )

    def _take_scale(self, message: DiagnosticStatus) -> None:
        if message.name == f'{self._full_name}: scale':
            self._scale = {pair.key: pair.value for pair in message.values}
            self._scales += 1
