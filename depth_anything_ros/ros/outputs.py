# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The topics that the node publishes, and which of them somebody listens to."""

from __future__ import annotations

from collections.abc import Set
from contextlib import ExitStack

from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from depth_anything_ros.config import Config
from depth_anything_ros.pipeline import DepthFrame
from depth_anything_ros.ros.output_messages import (
    COMPRESSED_DEPTH,
    compressed_depth,
    output_messages,
    TOPICS,
)
from depth_anything_ros.ros.parameters import qos_overridden, QOS_OVERRIDES
from depth_anything_ros.ros.rates import RateCap

# Reliable, since a reliable subscriber (RViz, depth_image_proc) never connects to best effort.
_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
_CLOUDS = frozenset({'depth/points', 'depth/scan'})
_STATES = frozenset({'depth/scale'})


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
        self._images_cap, self._clouds_cap = RateCap(), RateCap()
        with ExitStack() as undo:
            undo.callback(self.destroy)
            for topic, kind in (*TOPICS.items(), (COMPRESSED_DEPTH, CompressedImage)):
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

    def listened(self) -> Set[str]:
        """Return the topics that somebody listens to."""
        return {t for t, p in self._publishers.items() if p.get_subscription_count() > 0}

    def due(self, listened: Set[str], stamp_ns: int, config: Config) -> Set[str]:
        """Return those of the topics that an image is to give, by depth.rate and cloud.rate.

        Args:
            listened: what somebody listens to.
            stamp_ns: of the image in nanoseconds.
            config: the parameters.
        """
        clouds, images = listened & _CLOUDS, listened - _CLOUDS - _STATES
        due = listened & _STATES
        if clouds and self._clouds_cap.due(stamp_ns, config.cloud.rate):
            due |= clouds
        if images and self._images_cap.due(stamp_ns, config.depth.rate):
            due |= images
        return due

    def publish(self, frame: DepthFrame, header: Header) -> None:
        """Publish one frame's results with the stamp and frame of the image they come from."""
        messages = output_messages(frame, header, self._name)
        if self._publishers[COMPRESSED_DEPTH].get_subscription_count() > 0:
            compressed = compressed_depth(frame, header)
            messages |= {} if compressed is None else {COMPRESSED_DEPTH: compressed}
        for topic, message in messages.items():
            self._publishers[topic].publish(message)
