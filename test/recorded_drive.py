# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A short drive through the world as a bag holds it: camera, lidar, odometry, and their frames."""

from functools import cache
import math
from pathlib import Path

import cv2
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField

from depth_anything_ros.camera import Camera
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.bags import BagWriter, TYPES
from depth_anything_ros.ros.messages import (
    encode_camera,
    encode_image,
    encode_points,
    ns_to_stamp,
)
from depth_anything_ros.world.lidar import spinning_lidar
from depth_anything_ros.world.render import render
from depth_anything_ros.world.scene import random_scene
from depth_anything_ros.world.trajectory import camera_path
from helpers import RowPredictor

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND
PERIOD_NS = SECOND // 10
CAMERA = Camera.from_calibration(140, 112, [[90.0, 0, 70], [0, 90.0, 56], [0, 0, 1]])
T_CAMERA_LIDAR = np.array(
    [[0.0, -1.0, 0.0, 0.1], [0.0, 0.0, -1.0, -0.35], [1.0, 0.0, 0.0, -0.2], [0.0, 0.0, 0.0, 1.0]]
)
LIDAR_LATE_NS = 30_000_000  # a sweep's stamp is so long after the image's
RECORDED_LATE_NS = 40_000_000  # and a message is recorded so long after its stamp

TYPES_OF = {
    '/front/image_raw': 'sensor_msgs/msg/Image',
    '/front/camera_info': 'sensor_msgs/msg/CameraInfo',
    '/lidar/points': 'sensor_msgs/msg/PointCloud2',
    '/tf': 'tf2_msgs/msg/TFMessage',
    '/tf_static': 'tf2_msgs/msg/TFMessage',
    '/note': 'std_msgs/msg/String',
}


def load(model, runtime):
    """Return a network of the tests, as load_predictor does."""
    return RowPredictor()


def stamped(message, stamp_ns, frame_id):
    """Return a serialised message with a header, always the same bytes for the same message."""
    stamp = ns_to_stamp(stamp_ns)
    message.header.stamp.sec, message.header.stamp.nanosec = stamp['sec'], stamp['nanosec']
    message.header.frame_id = frame_id
    kind = f'sensor_msgs/msg/{type(message).__name__}'
    # rclpy leaves between the fields what the memory held before; rosbags leaves 0.
    return bytes(TYPES.serialize_cdr(TYPES.deserialize_cdr(serialize_message(message), kind), kind))


def image_message(image_rgb, stamp_ns, frame_id='camera'):
    """Return a serialised Image."""
    return stamped(Image(**encode_image(image_rgb, 'rgb8')), stamp_ns, frame_id)


def compressed_message(image_rgb, stamp_ns, frame_id='camera'):
    """Return a serialised CompressedImage of the same pixels."""
    data = cv2.imencode('.png', image_rgb[..., ::-1])[1].tobytes()
    message = CompressedImage(format='rgb8; png compressed bgr8', data=data)
    return stamped(message, stamp_ns, frame_id)


def info_message(stamp_ns, camera=CAMERA, frame_id='camera'):
    """Return a serialised CameraInfo."""
    return stamped(CameraInfo(**encode_camera(camera)), stamp_ns, frame_id)


def cloud_message(points, stamp_ns):
    """Return a serialised PointCloud2."""
    numbers, fields = encode_points(points)
    return stamped(
        PointCloud2(fields=[PointField(**field) for field in fields], **numbers), stamp_ns, 'lidar'
    )


def transforms_message(*transforms):
    """Return a serialised TFMessage of (stamp in ns, parent, child, 4x4)."""
    kinds = TYPES.types
    made = []
    for stamp_ns, parent, child, T in transforms:
        pose = matrix_to_pose(T)
        made.append(
            kinds['geometry_msgs/msg/TransformStamped'](
                kinds['std_msgs/msg/Header'](
                    kinds['builtin_interfaces/msg/Time'](**ns_to_stamp(stamp_ns)), parent
                ),
                child,
                kinds['geometry_msgs/msg/Transform'](
                    kinds['geometry_msgs/msg/Vector3'](*pose[:3]),
                    kinds['geometry_msgs/msg/Quaternion'](*pose[3:]),
                ),
            )
        )
    kind = 'tf2_msgs/msg/TFMessage'
    return bytes(TYPES.serialize_cdr(kinds[kind](transforms=made), kind))


@cache
def _world():
    scene = random_scene(7, 'street')
    return scene, camera_path(scene, 7)


def pose_at(stamp_ns):
    """Return T_odom_camera, 4x4."""
    return _world()[1](4.0 + (stamp_ns - START_NS) / SECOND)


@cache
def picture_at(stamp_ns):
    """Return the image of a time, HxWx3 uint8 RGB."""
    return render(_world()[0], pose_at(stamp_ns), CAMERA.K, CAMERA.width, CAMERA.height).image_rgb


@cache
def sweep_at(stamp_ns):
    """Return the sweep of a time in the lidar's frame."""
    scan = spinning_lidar(
        _world()[0], pose_at(stamp_ns) @ T_CAMERA_LIDAR, 16, math.radians(1.0),
        (math.radians(-20), math.radians(15)),
    )
    return SensorPoints(scan.points_lidar, stamp_ns, 'lidar', ring=scan.ring.astype(np.int64))


def drive(count=6):
    """Return (topic, time of recording in ns, bytes), in the order of recording."""
    messages = [
        ('/tf_static', START_NS, transforms_message((0, 'camera', 'lidar', T_CAMERA_LIDAR)))
    ]
    kind = 'std_msgs/msg/String'  # which nobody reads
    note = bytes(TYPES.serialize_cdr(TYPES.types[kind]('left'), kind))
    for i in range(count):
        stamp_ns = START_NS + i * PERIOD_NS
        scan_ns = stamp_ns + LIDAR_LATE_NS
        messages += [
            ('/front/image_raw', stamp_ns, image_message(picture_at(stamp_ns), stamp_ns)),
            ('/front/camera_info', stamp_ns, info_message(stamp_ns)),
            ('/lidar/points', scan_ns, cloud_message(sweep_at(scan_ns), scan_ns)),
            ('/note', stamp_ns, note),
        ]
    for i in range(5 * count + 5):
        stamp_ns = START_NS + (i - 2) * PERIOD_NS // 5
        data = transforms_message((stamp_ns, 'odom', 'camera', pose_at(stamp_ns)))
        messages.append(('/tf', stamp_ns, data))
    late = [(topic, time_ns + RECORDED_LATE_NS, data) for topic, time_ns, data in messages]
    return sorted(late, key=lambda message: message[1])


def write_bag(path, messages, types=None):
    """Write a bag; return its path."""
    types = TYPES_OF | (types or {})
    with BagWriter(Path(path)) as bag:
        for topic in dict.fromkeys(topic for topic, _, _ in messages):
            bag.add_topic(topic, types[topic], latched=topic == '/tf_static')
        for topic, time_ns, data in messages:
            bag.write(topic, time_ns, data)
    return Path(path)
