# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Publish a bag's camera and lidar, an image when the last one is answered; keep the answers.

publish_bag.py BAG OUTPUT TIMEOUT saves topic -> serialised answers, each with its image's stamp.
"""

from pathlib import Path
import pickle
import sys
import time

from diagnostic_msgs.msg import DiagnosticStatus
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_anything_ros.ros.bags import open_bag, read_recorded
from depth_anything_ros.ros.meeting import all_matched, NodeInputs

INPUTS = {
    '/front/image_raw': ('image', Image),
    '/front/camera_info': ('camera_info', CameraInfo),
    '/lidar/points': ('points', PointCloud2),
}
OUTPUTS = {
    'depth/image': Image,
    'depth/stddev': Image,
    'depth/camera_info': CameraInfo,
    'depth/points': PointCloud2,
    'depth/scale': DiagnosticStatus,
}


def main():
    """Publish and keep."""
    bag_path, output, timeout_s = sys.argv[1:]
    end = time.monotonic() + float(timeout_s)
    rclpy.init()
    node = rclpy.create_node('publish_bag')
    reliable = QoSProfile(depth=10)
    publishers = {
        topic: node.create_publisher(kind, name, reliable) for topic, (name, kind) in INPUTS.items()
    }
    answers = {topic: [] for topic in OUTPUTS}
    for topic, kind in OUTPUTS.items():
        node.create_subscription(kind, topic, answers[topic].append, reliable, raw=True)
    inputs = NodeInputs(node)

    def until(condition):
        while not condition():
            assert time.monotonic() < end, 'the node did not answer within the time'
            rclpy.spin_once(node, timeout_sec=0.1)

    until(
        lambda: all_matched(publishers.values())
        and inputs.matched(name for name, _ in INPUTS.values())
        and all(node.count_publishers(topic) for topic in OUTPUTS)
    )
    with open_bag(bag_path) as bag:
        connections = [c for c in bag.connections if c.topic in INPUTS]
        messages = [(c.topic, data) for c, _, data in read_recorded(bag, connections)]
    # What belongs to an image goes first, so that it has come when the image is measured: its own
    # camera_info, and the sweep of its number.
    by_topic = {topic: [data for t, data in messages if t == topic] for topic in INPUTS}
    for i in range(len(by_topic['/front/image_raw'])):
        for topic in ('/front/camera_info', '/lidar/points', '/front/image_raw'):
            publishers[topic].publish(by_topic[topic][i])
        until(lambda: all(len(group) == i + 1 for group in answers.values()))  # noqa: B023
    Path(output).write_bytes(pickle.dumps(answers))
    node.destroy_node()
    rclpy.shutdown()


if __name__ == '__main__':
    main()
