# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Publish a bag's camera and lidar on their own topics, with stamps moved to the present."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import sys
import time
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2

from depth_anything_ros.errors import DatasetError, DepthAnythingError
from depth_anything_ros.ros.bags import find_sensors, open_bag, read_serialized, Sensors
from depth_anything_ros.ros.cdr import NANOSECONDS, restamped, stamp_of
from depth_anything_ros.ros.running import running_node, SignalEvent, wait_for_go

LONGEST_LEAP_S = 10.0  # of a stamp against the time of recording, from one message to the next


def topic_types(sensors: Sensors) -> dict[str, Any]:
    """Return topic -> message class of what is played."""
    kinds = {
        sensors.image_topic: CompressedImage if sensors.compressed else Image,
        sensors.camera_info: CameraInfo,
    }
    if sensors.points:
        kinds[sensors.points] = LaserScan if sensors.is_scan else PointCloud2
    return kinds


def play(path: str, sensors: Sensors, node: Node, stop: SignalEvent, wait: bool) -> None:
    """Publish the sensors' messages in recorded order; the images' stamps set the pace."""
    qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
    publishers: dict[str, Publisher] = {
        topic: node.create_publisher(kind, topic, qos)
        for topic, kind in topic_types(sensors).items()
    }
    if wait:
        wait_for_go(publishers.values(), stop)
    images = (stamp_ns for topic, stamp_ns, _ in recorded(path, sensors)
              if topic == sensors.image_topic)
    shift_ns = time.time_ns() - next(images)
    for topic, stamp_ns, data in recorded(path, sensors):
        moved_ns = stamp_ns + shift_ns
        is_image = topic == sensors.image_topic
        early_s = (moved_ns - time.time_ns()) / NANOSECONDS if is_image else 0.0
        if stop.wait(max(0.0, early_s)):
            return
        publishers[topic].publish(restamped(data, moved_ns))


def recorded(path: str, sensors: Sensors) -> Iterator[tuple[str, int, bytes]]:
    """Read the sensors' messages in recorded order.

    Yields:
        Topic, stamp in nanoseconds, and the message in CDR.

    Raises:
        DatasetError: the bag is corrupt, or a stamp runs away from the time of recording: nobody
            would wait for its turn.
    """
    last: dict[str, tuple[int, int]] = {}
    with open_bag(path) as bag:
        connections = [c for c in bag.connections if c.topic in topic_types(sensors)]
        for connection, recorded_ns, data in read_serialized(bag, connections):
            topic, stamp_ns = connection.topic, stamp_of(data)
            before = last.get(topic, (stamp_ns, recorded_ns))
            last[topic] = stamp_ns, recorded_ns
            leap_s = ((stamp_ns - before[0]) - (recorded_ns - before[1])) / NANOSECONDS
            if leap_s > LONGEST_LEAP_S:
                raise DatasetError(
                    f'{path} is corrupt at {topic}: a stamp leaps {leap_s:.0f} s ahead of the '
                    'recording: cut that part out, or record it again'
                )
            yield topic, stamp_ns, data


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
