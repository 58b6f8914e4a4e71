# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The synthetic world as a robot that drives through it: camera, lidar, and the true depth."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
import itertools
import math
import sys
import time
from typing import Any

from builtin_interfaces.msg import Time
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image
from std_msgs.msg import Header
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.messages import encode_image, ns_to_stamp
from depth_anything_ros.ros.running import running_node, wait_for_go
from depth_anything_ros.ros.sensor_publisher import SensorPublisher
from depth_anything_ros.world.lidar import spinning_lidar
from depth_anything_ros.world.render import render
from depth_anything_ros.world.scene import KINDS, random_scene
from depth_anything_ros.world.trajectory import camera_path

try:
    from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3
    from tf2_msgs.msg import TFMessage
except ImportError:  # not among the wheels; the demo gives the pose as a parameter
    TFMessage = None

CAMERA_FRAME, LIDAR_FRAME = 'camera_optical_frame', 'lidar'

# 75 degrees across. Both sides are multiples of 14, as the network wants them.
CAMERA = Camera(308, 224, np.array([[200.0, 0, 153.5], [0, 200.0, 111.5], [0, 0, 1]]))

# The lidar looks along the camera (x forward, y left, z up), 0.35 m above it, 0.1 m to the right
# and 0.2 m behind: near edges hide other things from it than from the camera.
T_CAMERA_LIDAR = np.array(
    [[0.0, -1.0, 0.0, 0.1], [0.0, 0.0, -1.0, -0.35], [1.0, 0.0, 0.0, -0.2], [0.0, 0.0, 0.0, 1.0]]
)
AZIMUTH_STEP_RAD = math.radians(0.4)
ELEVATION_RAD = (math.radians(-22.5), math.radians(22.5))
RANGE_NOISE_M, DROPOUT, MAX_RANGE_M = 0.02, 0.05, 80.0
DEMO_SEED = 10_001_008  # a street that the bundled checkpoint has not seen
SETTING_OFF_S = 4.0  # the path starts from rest


@dataclass(frozen=True, eq=False)
class Moment:
    """What camera and lidar see at one instant.

    Attributes:
        image_rgb: HxWx3 uint8.
        depth_m: HxW float32, the truth, NaN for sky.
        points: one sweep in the lidar's frame, all taken at that instant.
    """

    image_rgb: NDArray[np.uint8]
    depth_m: NDArray[np.float32]
    points: SensorPoints


class WorldDrive:
    """A drive through a random scene."""

    def __init__(self, seed: int, kind: str | None = None, rings: int = 16) -> None:
        """Draw the scene and the way through it.

        Args:
            seed: draws both; the same seed gives the same drive.
            kind: of the scene; None draws it.
            rings: of the lidar, evenly over its 45 degrees.
        """
        self._seed, self._rings = seed, rings
        self._scene = random_scene(seed, kind)
        self._path = camera_path(self._scene, seed)

    def moment(self, time_s: float) -> Moment:
        """Return what is seen after so long a drive; stamps are left to the caller (0)."""
        T_world_camera = self._path(SETTING_OFF_S + time_s)
        picture = render(self._scene, T_world_camera, CAMERA.K, CAMERA.width, CAMERA.height)
        sweep = spinning_lidar(
            self._scene,
            T_world_camera @ T_CAMERA_LIDAR,
            self._rings,
            AZIMUTH_STEP_RAD,
            ELEVATION_RAD,
            noise_m=RANGE_NOISE_M,
            dropout=DROPOUT,
            seed=self._seed + round(1000 * time_s),
            max_range_m=MAX_RANGE_M,
        )
        points = SensorPoints(sweep.points_lidar, 0, LIDAR_FRAME, ring=sweep.ring.astype(np.int64))
        depth_m = np.where(np.isfinite(picture.depth_m), picture.depth_m, np.nan)
        return Moment(picture.image_rgb, depth_m.astype(np.float32), points)


class Robot:
    """Publishes moments as a robot's drivers would, and the truth as none could.

    Attributes:
        publishers: of the sensors, without the truth.
    """

    def __init__(self, node: Node) -> None:
        """Create the publishers, and tell /tf_static where the lidar is."""
        self._sensors = SensorPublisher(node, CAMERA_FRAME)
        self.publishers = self._sensors.publishers
        reliable = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._truth = node.create_publisher(Image, 'truth/depth', reliable)
        if TFMessage is not None:
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._tf = node.create_publisher(TFMessage, '/tf_static', latched)
            self._tf.publish(TFMessage(transforms=[_lidar_transform()]))

    def publish(self, moment: Moment, stamp_ns: int) -> None:
        """Publish everything with one stamp, the image last, so that nobody waits for points."""
        header = Header(stamp=Time(**ns_to_stamp(stamp_ns)), frame_id=CAMERA_FRAME)
        self._truth.publish(Image(header=header, **encode_image(moment.depth_m, '32FC1')))
        points = moment.points
        self._sensors.publish_points(
            SensorPoints(points.xyz_m, stamp_ns, points.frame_id, ring=points.ring)
        )
        self._sensors.publish_image(moment.image_rgb, CAMERA, stamp_ns)


def _lidar_transform() -> Any:
    x, y, z, *quaternion = matrix_to_pose(T_CAMERA_LIDAR)
    return TransformStamped(
        header=Header(frame_id=CAMERA_FRAME),
        child_frame_id=LIDAR_FRAME,
        transform=Transform(
            translation=Vector3(x=x, y=y, z=z),
            rotation=Quaternion(**dict(zip('xyzw', quaternion))),
        ),
    )


def main(args: list[str] | None = None) -> int:
    """Drive until interrupted."""
    parser = argparse.ArgumentParser(prog='world_robot', description=__doc__)
    parser.add_argument('--seed', type=int, default=DEMO_SEED, help='draws scene and way')
    parser.add_argument('--kind', choices=KINDS, default='street')
    parser.add_argument('--rate', type=float, default=5.0, help='images per second')
    parser.add_argument('--rings', type=int, default=16, help='of the lidar')
    parser.add_argument('--wait', action='store_true', help='for a line on standard input')
    options = parser.parse_args(remove_ros_args(args or sys.argv)[1:])
    torch.set_num_threads(1)  # the other cores are the node's
    try:
        if options.rate <= 0 or options.rings < 1:
            raise DepthAnythingError('--rate and --rings must be positive')
        drive = WorldDrive(options.seed, options.kind, options.rings)
    except DepthAnythingError as error:
        print(f'world_robot: {error}', file=sys.stderr)
        return 2
    with running_node('world_robot', args) as (node, stop):
        robot = Robot(node)
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
