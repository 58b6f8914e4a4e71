# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The topics that the node publishes, and which of them somebody listens to."""

from __future__ import annotations

from contextlib import ExitStack

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from depth_anything_ros.pipeline import DepthFrame, Outputs
from depth_anything_ros.ros.output_messages import output_messages, outputs_for, TOPICS
from depth_anything_ros.ros.parameters import qos_overridden, QOS_OVERRIDES

# Reliable, since a reliable subscriber (RViz, depth_image_proc) never connects to best effort.
_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


class OutputPublishers:
    """Publishers of all outputs of the contract, of one camera."""

    def __init__(self, node: LifecycleNode, name: str = '', prefix: str = '') -> None:
        """Create the publishers; they are silent until the node is active.

        Args:
            node: the node that publishes.
            name: who says what is said on depth/scale; empty is the node.
            prefix: of the topics, with its slash.

        Raises:
            ConfigError: a qos_overrides parameter is wrong.
        """
        self._node, self._name = node, name or node.get_fully_qualified_name()
        self._publishers: dict[str, LifecyclePublisher] = {}
        with ExitStack() as undo:
            undo.callback(self.destroy)
            for topic, kind in TOPICS.items():
                with qos_overridden(prefix + topic):
                    self._publishers[topic] = node.create_lifecycle_publisher(
                        kind,
                        prefix + topic,
                        QoSProfile(depth=_QOS.depth, reliability=_QOS.reliability),
                        qos_overriding_options=QOS_OVERRIDES,
                    )
            undo.pop_all()

    def destroy(self) -> None:
        """Remove all publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def wanted(self) -> Outputs | None:
        """Return what somebody listens to, or None when nobody listens to anything."""
        listened = {t for t, p in self._publishers.items() if p.get_subscription_count() > 0}
        return outputs_for(listened) if listened else None

    def publish(self, frame: DepthFrame, header: Header) -> None:
        """Publish one frame's results with the stamp and frame of the image they come from."""
        for topic, message in output_messages(frame, header, self._name).items():
            self._publishers[topic].publish(message)
