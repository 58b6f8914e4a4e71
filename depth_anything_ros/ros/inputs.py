# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node subscribes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo

from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros.parameters import qos_overridden, QOS_OVERRIDES
from depth_anything_ros.ros.sensors import Input

LOOK_S = 0.5  # between two looks for a camera_info that is latched


class Inputs:
    """The subscriptions of the active node to some inputs: those of a camera, or the sensors."""

    def __init__(
        self,
        node: Node,
        inputs: Mapping[str, Input],
        refuse: Callable[[BadFrameError], Any],
        prefix: str = '',
    ) -> None:
        """Subscribe.

        What arrives stays serialised: only what is used is taken apart, off the executor.

        Args:
            node: the node that subscribes.
            inputs: name -> what takes the messages.
            refuse: called with what is wrong with a message that cannot be taken.
            prefix: of their topics, with its slash.

        Raises:
            ConfigError: a qos_overrides parameter is wrong.
        """
        self._node, self._inputs, self._refuse = node, dict(inputs), refuse
        self._prefix = prefix
        self._subscriptions: list[Subscription] = []
        self._named: dict[str, Subscription] = {}
        self._unlatched = [name for name, each in inputs.items() if each.kind is CameraInfo]
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._look = node.create_timer(LOOK_S, self._look_for_latched, clock=steady)
        with ExitStack() as undo:
            undo.callback(self.close)
            for name in inputs:
                self._subscribe(name)
            undo.pop_all()

    def close(self) -> None:
        """Stop listening; what has arrived is still there."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._node.destroy_timer(self._look)
        self._subscriptions = []
        self._named = {}

    def matched(self) -> dict[str, int]:
        """Return the number of publishers that each input is connected to, by prefix and name."""
        return {
            self._prefix + name: (
                subscription.get_publisher_count()
                if hasattr(subscription, 'get_publisher_count')  # from Jazzy on
                else self._node.count_publishers(subscription.topic_name)
            )
            for name, subscription in self._named.items()
        }

    def _look_for_latched(self) -> None:
        """Subscribe once more where a camera_info was published before this node came.

        Best effort gets nothing of that, and only a publisher that is transient local keeps it;
        any other would warn of a subscription that asks for it.
        """
        for name in list(self._unlatched):
            publishers = self._node.get_publishers_info_by_topic(self._named[name].topic_name)
            kinds = {publisher.qos_profile.durability for publisher in publishers}
            if DurabilityPolicy.TRANSIENT_LOCAL in kinds:
                self._unlatched.remove(name)
                self._create(
                    CameraInfo,
                    name,
                    QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL),
                    self._kept(name),
                    event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                )

    def _kept(self, name: str) -> Callable[[bytes], None]:
        store = self._inputs[name].store

        def keep(data: bytes) -> None:
            try:
                store.add(data)
            except BadFrameError as error:
                self._refuse(error)

        return keep

    def _subscribe(self, name: str) -> None:
        each, topic = self._inputs[name], self._prefix + name
        if each.transport != 'raw':
            topic = f'{self._node.resolve_topic_name(topic)}/{each.transport}'
        qos = QoSProfile(depth=each.depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        with qos_overridden(topic):
            self._named[name] = self._create(
                each.kind, topic, qos, self._kept(name), qos_overriding_options=QOS_OVERRIDES
            )

    def _create(
        self,
        kind: Any,
        topic: str,
        qos: QoSProfile,
        callback: Callable[[bytes], None],
        **options: Any,
    ) -> Subscription:
        subscription = self._node.create_subscription(
            kind, topic, callback, qos, raw=True, **options
        )
        self._subscriptions.append(subscription)
        return subscription
