# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The synthetic world as a robot that drives through it: its sensors, and the true depth."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
import itertools
import sys
import time
from typing import Any

from builtin_interfaces.msg import Time
import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, Range
from std_msgs.msg import Header
import torch

from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.poses import Matrix, matrix_to_pose
from depth_anything_ros.ros.messages import encode_image, ns_to_stamp
from depth_anything_ros.ros.running import running_node, wait_for_go
from depth_anything_ros.ros.sensor_publisher import CameraPublisher, PointsPublisher
from depth_anything_ros.world.cameras import BASELINE_M
from depth_anything_ros.world.drive import (
    CAMERA,
    CONE_RAD,
    CONE_RANGE_M,
    DEPTH_CAMERAS,
    Moment,
    SENSORS,
    T_CAMERA_LIDAR,
    T_CAMERA_RANGE,
    WorldDrive,
)
from depth_anything_ros.world.scene import KINDS

try:
    from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
    from tf2_msgs.msg import TFMessage
except ImportError:  # not among the wheels; the demo gives the lidar's pose as a parameter
    TFMessage = None

CAMERA_FRAME, RIGHT_FRAME = 'camera_optical_frame', 'right_camera_optical_frame'
LIDAR_FRAME, RANGE_FRAME = 'lidar', 'rangefinder'
BASE_FRAME, ODOM_FRAME = 'base_link', 'odom'
# Sensor -> what it publishes, topic -> message class.
TOPICS: dict[str, dict[str, Any]] = {
    'lidar': {'points': PointCloud2},
    'depth': {'sensor_depth/image': Image, 'sensor_depth/camera_info': CameraInfo},
    'stereo': {'right/image': Image, 'right/camera_info': CameraInfo},
    'motion': {'tf': TFMessage},
    'camera_height': {},
    'range': {'range': Range},
}
DEMO_SEED = 10_001_008  # a street that the bundled checkpoint has not seen


def sensors_of(source: str) -> list[str]:
    """Return the robot's sensors for a scale.method; auto has all of them, odometry where TF is.

    Raises:
        DepthAnythingError: odometry is asked for, which comes on TF, and there is none.
    """
    if source == 'auto':
        return [name for name in SENSORS if name != 'motion' or TFMessage is not None]
    names = source.split(',')
    if 'motion' in names and TFMessage is None:
        raise DepthAnythingError(
            'motion needs odometry, which comes on TF, and tf2 is not among the wheels of ROS: run '
            'this on a ROS machine (ros2 run depth_anything_ros demo), or leave motion out'
        )
    return names


def static_transforms(drive: WorldDrive) -> list[tuple[str, str, Matrix]]:
    """Return what is fixed: parent frame, child frame and the 4x4 pose of the one in the other."""
    return [
        (BASE_FRAME, CAMERA_FRAME, np.linalg.inv(drive.T_camera_base)),
        (CAMERA_FRAME, LIDAR_FRAME, T_CAMERA_LIDAR),
        (CAMERA_FRAME, RANGE_FRAME, T_CAMERA_RANGE),
    ]


class Robot:
    """Publishes moments as a robot's drivers would, and the truth as none could.

    Attributes:
        publishers: of the sensors, without the truth.
    """

    def __init__(self, node: Node, drive: WorldDrive) -> None:
        """Create the publishers of the drive's sensors, and tell /tf_static where they are."""
        self._camera = CameraPublisher(node, CAMERA_FRAME)
        self.publishers: list[Publisher] = [*self._camera.publishers]
        reliable = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._truth = node.create_publisher(Image, 'truth/depth', reliable)
        if 'lidar' in drive.sensors:
            self._points = PointsPublisher(node)
            self.publishers += self._points.publishers
        if 'depth' in drive.sensors:
            self._depth = CameraPublisher(node, CAMERA_FRAME, 'sensor_depth/image')
            self.publishers += self._depth.publishers
        if 'stereo' in drive.sensors:
            self._right = CameraPublisher(node, RIGHT_FRAME, 'right/image')
            self.publishers += self._right.publishers
        if 'range' in drive.sensors:
            self._range = node.create_publisher(Range, 'range', reliable)
            self.publishers.append(self._range)
        if TFMessage is not None:
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._tf_static = node.create_publisher(TFMessage, '/tf_static', latched)
            self._tf_static.publish(_transforms(static_transforms(drive), 0))
        if 'motion' in drive.sensors:
            self._tf = node.create_publisher(TFMessage, '/tf', reliable)
            self.publishers.append(self._tf)

    def publish(self, moment: Moment, stamp_ns: int) -> None:
        """Publish everything with one stamp, the image last, so that it waits for nothing."""
        header = Header(stamp=Time(**ns_to_stamp(stamp_ns)), frame_id=CAMERA_FRAME)
        self._truth.publish(Image(header=header, **encode_image(moment.depth_m, '32FC1')))
        if moment.T_odom_base is not None:
            odometry = (ODOM_FRAME, BASE_FRAME, moment.T_odom_base)
            self._tf.publish(_transforms([odometry], stamp_ns))
        if moment.range_m is not None:
            self._range.publish(
                Range(
                    header=Header(stamp=header.stamp, frame_id=RANGE_FRAME),
                    radiation_type=Range.ULTRASOUND,
                    field_of_view=CONE_RAD,
                    min_range=CONE_RANGE_M[0],
                    max_range=CONE_RANGE_M[1],
                    range=moment.range_m,
                )
            )
        if moment.sweep is not None:
            points, ring = moment.sweep.points_lidar, moment.sweep.ring.astype(np.int64)
            self._points.publish(SensorPoints(points, stamp_ns, LIDAR_FRAME, ring=ring))
        if moment.sensor_depth_m is not None:
            self._depth.publish(moment.sensor_depth_m, CAMERA, stamp_ns, '32FC1')
        if moment.right_rgb is not None:
            self._right.publish(moment.right_rgb, CAMERA, stamp_ns, baseline_m=BASELINE_M)
        self._camera.publish(moment.image_rgb, CAMERA, stamp_ns)


def _transforms(transforms: Iterable[tuple[str, str, Matrix]], stamp_ns: int) -> Any:
    stamped = []
    for parent, child, T_parent_child in transforms:
        x, y, z, *quaternion = matrix_to_pose(T_parent_child)
        transform = Transform(
            translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(**dict(zip('xyzw', quaternion)))
        )
        header = Header(stamp=Time(**ns_to_stamp(stamp_ns)), frame_id=parent)
        stamped.append(TransformStamped(header=header, child_frame_id=child, transform=transform))
    return TFMessage(transforms=stamped)


def main(args: list[str] | None = None) -> int:
    """Drive until interrupted."""
    parser = argparse.ArgumentParser(prog='world_robot', description=__doc__)
    parser.add_argument('--seed', type=int, default=DEMO_SEED, help='draws scene and way')
    parser.add_argument('--kind', choices=KINDS, default='street')
    parser.add_argument('--rate', type=float, default=5.0, help='images per second')
    parser.add_argument('--rings', type=int, default=16, help='of the lidar')
    parser.add_argument('--source', default='lidar', help='of metres, as in scale.method')
    parser.add_argument('--depth-camera', choices=DEPTH_CAMERAS, default='stereo')
    parser.add_argument('--traffic', action='store_true', help='people and vehicles move')
    parser.add_argument('--wait', action='store_true', help='for a line on standard input')
    options = parser.parse_args(remove_ros_args(args or sys.argv)[1:])
    torch.set_num_threads(1)  # the other cores are the node's
    try:
        if options.rate <= 0 or options.rings < 1:
            raise DepthAnythingError('--rate and --rings must be positive')
        drive = WorldDrive(
            options.seed,
            options.kind,
            options.rings,
            sensors_of(options.source),
            options.traffic,
            options.depth_camera,
        )
    except DepthAnythingError as error:
        print(f'world_robot: {error}', file=sys.stderr)
        return 2
    with running_node('world_robot', args) as (node, stop):
        robot = Robot(node, drive)
        if options.wait:
            wait_for_go(robot.publishers, stop)
        next_s = time.monotonic()
        for i in itertools.count():
            moment = drive.moment(i / options.rate)
            if stop.wait(max(0.0, next_s - time.monotonic())):
                break
            # The world stands still while it is drawn: its time is that of the publication.
            robot.publish(moment, time.time_ns())
            next_s = max(next_s + 1 / options.rate, time.monotonic())
    return 0


if __name__ == '__main__':
    sys.exit(main())
