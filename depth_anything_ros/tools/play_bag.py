# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Publish a bag's camera and lidar on their own topics, with stamps moved to the present."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2

from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.ros.bags import find_sensors, open_bag, restamped, Sensors
from depth_anything_ros.ros.messages import NANOSECONDS, serialized_stamp_ns
from depth_anything_ros.ros.running import running_node, wait_for_go


def topic_types(sensors: Sensors) -> dict[str, Any]:
    """Return topic -> message class of what is played."""
    kinds = {
        sensors.image_topic: CompressedImage if sensors.compressed else Image,
        sensors.camera_info: CameraInfo,
    }
    if sensors.points:
        kinds[sensors.points] = LaserScan if sensors.is_scan else PointCloud2
    return kinds


def play(path: str, sensors: Sensors, node: Node, stop: threading.Event, wait: bool) -> None:
    """Publish the sensors' messages in recorded order; the images' stamps set the pace."""
    qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
    publishers: dict[str, Publisher] = {
        topic: node.create_publisher(kind, topic, qos)
        for topic, kind in topic_types(sensors).items()
    }
    if wait:
        wait_for_go(publishers.values(), stop)
    with open_bag(path) as bag:
        connections = [c for c in bag.connections if c.topic in publishers]
        images = [c for c in connections if c.topic == sensors.image_topic]
        _, _, data = next(bag.messages(images))
        shift_ns = time.time_ns() - serialized_stamp_ns(data)
        for connection, _, data in bag.messages(connections):
            stamp_ns = serialized_stamp_ns(data) + shift_ns
            early_s = (stamp_ns - time.time_ns()) / NANOSECONDS if connection in images else 0.0
            if stop.wait(max(0.0, early_s)):
                return
            publishers[connection.topic].publish(restamped(data, stamp_ns))


def main(args: list[str] | None = None) -> int:
    """Play a bag once."""
    parser = argparse.ArgumentParser(prog='play_bag', description=__doc__)
    parser.add_argument('bag', help='folder of a ROS 2 bag')
    parser.add_argument('--wait', action='store_true', help='for a line on standard input')
    options = parser.parse_args(remove_ros_args(args or sys.argv)[1:])
    try:
        sensors = find_sensors(options.bag)
        with running_node('play_bag', args) as (node, stop):
            play(options.bag, sensors, node, stop, options.wait)
    except DepthAnythingError as error:
        print(f'play_bag: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
