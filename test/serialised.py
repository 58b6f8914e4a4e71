# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One good message of each kind that the node reads, as the real middleware writes it."""

import array

from builtin_interfaces.msg import Time
import cv2
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2, PointField
from std_msgs.msg import Header

from depth_anything_ros.ros.messages import (
    decode_camera,
    decode_image,
    decode_points,
    decode_scan,
    deserialize,
)

STAMP_NS = 1_700_000_000_025_000_000
HEADER = Header(stamp=Time(sec=1_700_000_000, nanosec=25_000_000), frame_id='eye')

_PIXELS = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
_CLOUD = np.zeros(5, [('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('time', '<f4'), ('ring', '<u2'),
                      ('', '<u2')])
for _axis in ('x', 'y', 'z', 'time', 'ring'):
    _CLOUD[_axis] = np.arange(5)
_CLOUD['time'] *= 0.02
_FIELDS = [('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('time', 12, 7), ('ring', 16, 4)]

MESSAGES = {
    'Image': Image(
        header=HEADER, height=4, width=6, encoding='rgb8', step=18,
        data=array.array('B', _PIXELS.tobytes()),
    ),
    'CompressedImage': CompressedImage(
        header=HEADER, format='png', data=array.array('B', cv2.imencode('.png', _PIXELS)[1]),
    ),
    'PointCloud2': PointCloud2(
        header=HEADER, height=1, width=5, point_step=20, row_step=100, is_dense=True,
        fields=[PointField(name=n, offset=o, datatype=k, count=1) for n, o, k in _FIELDS],
        data=array.array('B', _CLOUD.tobytes()),
    ),
    'LaserScan': LaserScan(
        header=HEADER, angle_min=-1.0, angle_max=1.0, angle_increment=0.5, time_increment=0.01,
        scan_time=0.1, range_min=0.1, range_max=30.0, ranges=[1.0, 2.0, 3.0, 4.0, 5.0],
    ),
    'CameraInfo': CameraInfo(
        header=HEADER, height=4, width=6, distortion_model='plumb_bob', d=[0.1, 0, 0, 0, 0],
        k=[5.0, 0, 3, 0, 5, 2, 0, 0, 1], r=[1.0, 0, 0, 0, 1, 0, 0, 0, 1],
        p=[5.0, 0, 3, 0, 0, 5, 2, 0, 0, 0, 1, 0],
    ),
}
GOOD = {name: serialize_message(message) for name, message in MESSAGES.items()}
DECODERS = {
    'Image': decode_image,
    'CompressedImage': decode_image,
    'PointCloud2': decode_points,
    'LaserScan': decode_scan,
    'CameraInfo': lambda message: decode_camera(message, rectified=False),
}


def kind_of(name):
    """Return the message class."""
    return type(MESSAGES[name])


def decoded(data, name):
    """Take a serialised message all the way apart."""
    return DECODERS[name](deserialize(bytes(data), kind_of(name)))
