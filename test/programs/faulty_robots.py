# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Robots for the doctor, each in a namespace that is called as what is wrong with it.

faulty_robots.py NAME...: NAME is one fault, or several with _and_ between. A name that is
none is a robot without a fault. clock_paused and clock_running publish /clock.
"""

from pathlib import Path
import sys
import time

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from builtin_interfaces.msg import Time  # noqa: E402
import cv2  # noqa: E402
from geometry_msgs.msg import TransformStamped  # noqa: E402
import numpy as np  # noqa: E402
import rclpy  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import (  # noqa: E402
    CameraInfo,
    CompressedImage,
    Image,
    LaserScan,
    PointCloud2,
    PointField,
)
from std_msgs.msg import Header  # noqa: E402

from depth_anything_ros.metric_depth.anchors import SensorPoints  # noqa: E402
from depth_anything_ros.poses import matrix_to_pose  # noqa: E402
from depth_anything_ros.ros.messages import (  # noqa: E402
    encode_camera,
    encode_image,
    encode_jpeg,
    encode_points,
    ns_to_stamp,
)
from depth_anything_ros.ros.running import running_node  # noqa: E402
from depth_anything_ros.tools.world_robot import DEMO_SEED  # noqa: E402
from depth_anything_ros.world.drive import CAMERA, T_CAMERA_LIDAR, WorldDrive  # noqa: E402
import fake_tf2  # noqa: E402

SECOND = 1_000_000_000
TICK_S = 0.2
LARGE = (1280, 931)  # 3.6 MB, the shape of the small ones
SLOW_TICKS = 3  # from image to image of a slow camera
OFF_S = {'late_stamps': -5, 'future_stamps': 5, 'clock_running': -1000}


def turn(axis, degrees):
    """Return a 4x4 rotation about an axis of the camera."""
    T = np.eye(4)
    vector = np.zeros(3)
    vector[axis] = np.radians(degrees)
    T[:3, :3] = cv2.Rodrigues(vector)[0]
    return T


class Robot:
    """A camera and a lidar, and what is wrong with them."""

    def __init__(self, name):
        self.faults, self.tick = set(name.split('_and_')), 0
        self.node = node = rclpy.create_node('driver', namespace=name)
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        offered = ReliabilityPolicy.BEST_EFFORT if self.has('best_effort') else qos.reliability
        image_qos = QoSProfile(depth=5, reliability=offered)
        compressed = self.has('only_compressed', 'compressed')
        elsewhere = 'front/' * self.has('wrong_topic')
        image = f'{elsewhere}image' + '_raw' * self.has('wrong_topic') + '/compressed' * compressed
        kind = CompressedImage if compressed else Image
        kind = PointCloud2 if self.has('cloud_for_image') else kind
        self.images = node.create_publisher(kind, image, image_qos)
        self.infos = None
        if not self.has('no_info'):
            elsewhere = 'front/' * self.has('wrong_topic', 'info_elsewhere')
            self.infos = node.create_publisher(CameraInfo, f'{elsewhere}camera_info', qos)
        self.points = None
        if not self.has('no_points'):
            elsewhere = 'velodyne/' * self.has('points_elsewhere')
            self.points = (
                node.create_publisher(LaserScan, 'scan', qos)
                if self.has('scan')
                else node.create_publisher(PointCloud2, f'{elsewhere}points', qos)
            )
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.static = node.create_publisher(fake_tf2.ON_TF, '/tf_static', latched)
        self.moving = node.create_publisher(fake_tf2.ON_TF, '/tf', 10)
        self.T = T_CAMERA_LIDAR
        if self.has('blind_lidar'):
            self.T = turn(0, 90) @ self.T
        if self.has('rolled'):
            self.T = turn(2, 90) @ self.T
        self.camera_frame, self.lidar_frame = f'{name}_optical', f'{name}_lidar'
        if self.has('split_tf'):
            self.tell_static('base', self.camera_frame, np.eye(4))
            self.tell_static('mast', self.lidar_frame, np.eye(4))
        elif not self.has('no_tf', 'late_tf', 'stopped_tf', 'moving_tf'):
            self.tell_static(self.camera_frame, self.lidar_frame, self.T)

    def has(self, *faults):
        """Tell whether it has one of these."""
        return bool(self.faults & set(faults))

    def tell_static(self, parent, child, T):
        """Latch a transform."""
        self.static.publish(transform(parent, child, T, 0))

    def publish(self, moment, now_ns):
        """Publish what a moment shows."""
        self.tick += 1
        if self.has('slow') and self.tick % SLOW_TICKS:
            return
        stamp_ns = now_ns + sum(OFF_S.get(fault, 0) for fault in self.faults) * SECOND
        self.publish_transforms(stamp_ns)
        self.publish_points(moment, stamp_ns)
        if self.has('zero_stamps'):
            stamp_ns = 0
        if self.has('back_stamps'):
            stamp_ns += (self.tick % 2) * SECOND // 2
        header = self.header(self.camera_frame, stamp_ns)
        if self.infos is not None:
            self.infos.publish(self.info(header))
        lost = self.has('lossy') and self.tick % 4
        if lost or self.has('silent_camera', 'cloud_for_image'):
            return
        image = cv2.resize(moment.image_rgb, LARGE) if self.has('large') else moment.image_rgb
        if self.images.msg_type is CompressedImage:
            self.images.publish(CompressedImage(header=header, **encode_jpeg(image)))
        elif self.has('depth_for_image'):
            self.images.publish(Image(header=header, **encode_image(moment.depth_m, '32FC1')))
        else:
            self.images.publish(Image(header=header, **encode_image(image, 'rgb8')))

    def info(self, header):
        """Return the camera_info."""
        values = encode_camera(CAMERA.scaled(*LARGE) if self.has('large') else CAMERA)
        if self.has('zero_k'):
            values |= {'k': [0.0] * 9, 'p': [0.0] * 12}
        if self.has('wrong_size'):
            values |= {'width': 640, 'height': 480}
        if self.has('other_resolution'):
            values['k'] = [2000.0, 0.0, 960.0, 0.0, 2000.0, 540.0, 0.0, 0.0, 1.0]
        if self.has('strange_lens'):
            values |= {'distortion_model': 'omni', 'd': [0.1] * 4}
        return CameraInfo(header=header, **values)

    def publish_transforms(self, stamp_ns):
        """Publish what moves."""
        if not self.has('late_tf', 'moving_tf', 'stopped_tf'):
            return
        stamp_ns -= int(1.5 * SECOND) * self.has('late_tf')
        if self.has('stopped_tf'):
            stamp_ns = SECOND
        self.moving.publish(transform(self.camera_frame, self.lidar_frame, self.T, stamp_ns))

    def publish_points(self, moment, stamp_ns):
        """Publish the sweep."""
        if self.points is None or self.has('silent_points'):
            return
        stamp_ns -= 5 * SECOND * self.has('late_points')
        header = self.header(self.lidar_frame, stamp_ns)
        xyz_m, ring = moment.sweep.points_lidar, moment.sweep.ring.astype(np.int64)
        if self.has('scan'):
            self.points.publish(scan(header, xyz_m[ring == 7]))
            return
        numbers, fields = encode_points(SensorPoints(xyz_m, stamp_ns, self.lidar_frame, ring=ring))
        fields = [PointField(**field) for field in fields]
        if self.has('points_without_xyz'):
            fields[0].name = 'distance'
        self.points.publish(PointCloud2(header=header, fields=fields, **numbers))

    @staticmethod
    def header(frame_id, stamp_ns):
        """Return a header."""
        return Header(stamp=Time(**ns_to_stamp(stamp_ns)), frame_id=frame_id)


def scan(header, xyz_m):
    """Return a ring as a laser scan of half degrees."""
    angle, range_m = np.arctan2(xyz_m[:, 1], xyz_m[:, 0]), np.hypot(xyz_m[:, 0], xyz_m[:, 1])
    ranges = np.full(720, np.inf, np.float32)
    ranges[((angle + np.pi) / np.radians(0.5)).astype(int) % 720] = range_m
    return LaserScan(
        header=header,
        angle_min=-np.pi,
        angle_max=np.pi,
        angle_increment=float(np.radians(0.5)),
        range_min=0.1,
        range_max=80.0,
        ranges=ranges.tolist(),
    )


def transform(parent, child, T, stamp_ns):
    """Return what goes onto /tf."""
    message = TransformStamped(child_frame_id=child)
    message.header = Robot.header(parent, stamp_ns)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z, q.x, q.y, q.z, q.w = matrix_to_pose(T)
    return fake_tf2.on_tf(message)


def main(names):
    """Publish until interrupted."""
    drive = WorldDrive(DEMO_SEED, 'street')
    moments = [drive.moment(t) for t in (2.0, 2.2, 2.4, 2.6, 2.8)]
    with running_node('faulty_robots', None) as (node, stop):
        robots = [Robot(name) for name in names]
        clock = {fault for robot in robots for fault in robot.faults if fault.startswith('clock')}
        clocks = node.create_publisher(Clock, '/clock', 10) if clock else None
        print('driving', flush=True)
        next_s = time.monotonic()
        for i in range(1 << 30):
            now_ns = time.time_ns()
            for robot in robots:
                robot.publish(moments[i % len(moments)], now_ns)
            if 'clock_paused' in clock:
                clocks.publish(Clock(clock=Time(sec=1000)))
            if 'clock_running' in clock:
                sim_ns = now_ns + OFF_S['clock_running'] * SECOND
                clocks.publish(Clock(clock=Time(**ns_to_stamp(sim_ns))))
            next_s = max(next_s + TICK_S, time.monotonic())
            if stop.wait(max(0.0, next_s - time.monotonic())):
                break


if __name__ == '__main__':
    main(sys.argv[1:])
