# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Subscribe to topics, reliable and best effort, and save what arrives as serialised messages.

collect.py OUTPUT COUNT TIMEOUT TOPIC... ends when every topic has COUNT messages on both kinds of
subscription and then one more, so that a report on what came is in it, or after TIMEOUT seconds.
Topics after "--" are recorded but not waited for.
"""

from collections import defaultdict
import pickle
import sys
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

RELIABILITIES = (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT)
KINDS = {
    'depth/image': Image,
    'depth/camera_info': CameraInfo,
    'depth/points': PointCloud2,
    'depth/stddev': Image,
    'depth/image_color': Image,
    'depth/relative': Image,
    'depth/image_rect': Image,
    'depth/scale': DiagnosticStatus,
    '/diagnostics': DiagnosticArray,
}


def main():
    """Collect and save."""
    output, count, timeout_s, *topics = sys.argv[1:]
    split = topics.index('--') if '--' in topics else len(topics)
    waited, extra = topics[:split], topics[split + 1 :]
    rclpy.init()
    node = rclpy.create_node('collect')
    received, subscriptions = defaultdict(list), {}
    end = time.monotonic() + float(timeout_s)
    for topic in [*waited, *extra]:
        for reliability in RELIABILITIES:
            key = (topic, reliability.name)
            subscriptions[key] = node.create_subscription(
                KINDS[topic],
                topic,
                received[key].append,
                QoSProfile(depth=20, reliability=reliability),
                raw=True,
            )
    needed = [s for (topic, _), s in subscriptions.items() if topic in waited]
    while time.monotonic() < end and not all(s.get_publisher_count() for s in needed):
        rclpy.spin_once(node, timeout_sec=0.1)
    awaited = {key: int(count) for key in subscriptions if key[0] in waited}
    for _ in range(2):
        while time.monotonic() < end and any(len(received[k]) < n for k, n in awaited.items()):
            rclpy.spin_once(node, timeout_sec=0.1)
        awaited = {key: len(received[key]) + 1 for key in awaited}
    with open(output, 'wb') as file:
        pickle.dump(dict(received), file)
    node.destroy_node()
    rclpy.shutdown()


if __name__ == '__main__':
    main()
