# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One sensor of a robot that goes to and fro in the place of moving_camera.py, as its driver.

sensor.py camera|lidar|depth|stereo|motion|range. All are released by one clock, five times a
second, so that what belongs together has one stamp though no driver knows of another.
"""

from pathlib import Path
import signal
import sys
import time

# Before all that takes long to import; any thread may get the signal.
asked: list[int] = []
signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from builtin_interfaces.msg import Time  # noqa: E402
from geometry_msgs.msg import TransformStamped  # noqa: E402
import numpy as np  # noqa: E402
import rclpy  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from rclpy.signals import SignalHandlerOptions  # noqa: E402
from sensor_msgs.msg import Range  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from depth_anything_ros.metric_depth.anchors import SensorPoints  # noqa: E402
from depth_anything_ros.poses import matrix_to_pose  # noqa: E402
from depth_anything_ros.ros.messages import ns_to_stamp  # noqa: E402
from depth_anything_ros.ros.sensor_publisher import CameraPublisher, PointsPublisher  # noqa: E402
import fake_tf2  # noqa: E402
from moving_camera import CAMERA  # noqa: E402
from robot_on_rails import (  # noqa: E402
    BASELINE_M,
    CONE_RAD,
    place,
    T_CAMERA_LIDAR,
    T_CAMERA_RANGE,
    TICK_NS,
    view,
)

LATENCY_S = 0.12  # of the camera, whose images are the largest: what belongs to one is there before


def camera(node):
    """Publish images."""
    publisher = CameraPublisher(node, 'camera')

    def publish(stamp_ns):
        image = view(stamp_ns)[0]
        time.sleep(LATENCY_S)
        publisher.publish(image, CAMERA, stamp_ns)

    return publish


def stereo(node):
    """Publish images of the second camera of a pair."""
    publisher = CameraPublisher(node, 'right', 'right/image')

    def publish(stamp_ns):
        image = view(stamp_ns, BASELINE_M)[0]
        publisher.publish(image, CAMERA, stamp_ns, baseline_m=BASELINE_M)

    return publish


def depth(node):
    """Publish depth images."""
    publisher = CameraPublisher(node, 'camera', 'sensor_depth/image')

    def publish(stamp_ns):
        publisher.publish(view(stamp_ns)[1].astype(np.float32), CAMERA, stamp_ns, '32FC1')

    return publish


def lidar(node):
    """Publish sweeps of 30 rings, of what the camera sees."""
    publisher = PointsPublisher(node)

    def publish(stamp_ns):
        at = (slice(4, None, 8), slice(2, None, 4))
        xyz_m = (CAMERA.rays() * view(stamp_ns)[1][..., None])[at]
        ring = np.repeat(np.arange(xyz_m.shape[0]), xyz_m.shape[1])
        xyz_m = xyz_m.reshape(-1, 3) @ T_CAMERA_LIDAR[:3, :3]  # the inverse of a turn
        publisher.publish(SensorPoints(xyz_m.astype(np.float32), stamp_ns, 'lidar', ring=ring))

    return publish


def motion(node):
    """Publish where odometry takes the camera to be."""
    publisher = node.create_publisher(fake_tf2.ON_TF, '/tf', 10)
    return lambda stamp_ns: publisher.publish(
        transform('odom', 'camera', place(stamp_ns), stamp_ns)
    )


def rangefinder(node):
    """Publish the distance to the nearest in a cone, and where the rangefinder is."""
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = node.create_publisher(fake_tf2.ON_TF, '/tf_static', latched)
    static.publish(transform('camera', 'sonar', T_CAMERA_RANGE, 0))
    publisher = node.create_publisher(Range, 'range', 10)

    def publish(stamp_ns):
        points = CAMERA.rays() * view(stamp_ns)[1][..., None]
        distance_m = np.linalg.norm(points, axis=2)
        within = points @ T_CAMERA_RANGE[:3, 0] > distance_m * np.cos(CONE_RAD / 2)
        header = Header(stamp=Time(**ns_to_stamp(stamp_ns)), frame_id='sonar')
        range_m = float(distance_m[within].min())
        publisher.publish(
            Range(header=header, field_of_view=CONE_RAD, max_range=50.0, range=range_m)
        )

    publish.kept = static
    return publish


def transform(parent, child, T, stamp_ns):
    """Return what goes onto /tf."""
    message = TransformStamped(child_frame_id=child)
    message.header = Header(stamp=Time(**ns_to_stamp(stamp_ns)), frame_id=parent)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z, q.x, q.y, q.z, q.w = matrix_to_pose(T)
    return fake_tf2.on_tf(message)


def main(name):
    """Publish until SIGINT."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(f'{name}_driver')
    publish = {
        'camera': camera, 'stereo': stereo, 'depth': depth, 'lidar': lidar, 'motion': motion,
        'range': rangefinder,
    }[name](node)
    while not asked:
        now_ns = time.time_ns()
        stamp_ns = (now_ns // TICK_NS + 1) * TICK_NS
        time.sleep(1e-9 * (stamp_ns - now_ns))  # the clock of all drivers, no wait for anything
        publish(stamp_ns)
    node.destroy_node()
    rclpy.shutdown()


if __name__ == '__main__':
    main(sys.argv[1])
