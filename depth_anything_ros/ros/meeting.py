# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Has everybody met? Matching has two sides, and each sees its own only.

A publisher that has matched a subscription sends to it, yet what arrives before the subscription
has matched the publisher is lost, where best effort is all that was asked for. The node tells its
side on /diagnostics.
"""

from __future__ import annotations

from collections.abc import Iterable

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.publisher import Publisher

PREFIX = 'publishers_'  # of the keys on /diagnostics


class NodeInputs:
    """Which publishers the depth node has matched on its inputs, as it says on /diagnostics.

    Attributes:
        publishers: input (image, camera_info, points, front/image of one of several cameras) ->
            how many; empty before it has said.
    """

    def __init__(self, node: Node) -> None:
        """Listen; the node must be spun."""
        self.publishers: dict[str, int] = {}
        node.create_subscription(DiagnosticArray, '/diagnostics', self._take, 10)

    def _take(self, message: DiagnosticArray) -> None:
        rows = [status for status in message.status if status.name.endswith('pipeline')]
        if rows:
            self.publishers = {
                pair.key.removeprefix(PREFIX): int(pair.value)
                for status in rows
                for pair in status.values
                if pair.key.startswith(PREFIX)
            }

    def forget(self) -> None:
        """Believe only what is said from now on: the node has been started anew."""
        self.publishers = {}

    def matched(self, inputs: Iterable[str]) -> bool:
        """Return whether each of these inputs has matched a publisher."""
        return all(self.publishers.get(name, 0) > 0 for name in inputs)


def all_matched(publishers: Iterable[Publisher], count: int = 1) -> bool:
    """Return whether each publisher has matched so many subscriptions."""
    return all(publisher.get_subscription_count() >= count for publisher in publishers)
