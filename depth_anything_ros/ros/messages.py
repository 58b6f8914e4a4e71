# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages <-> arrays, and nothing else: the boundary of everything that comes from outside.

What is decoded here, by the modules that it hands on, is either valid or refused with a
BadFrameError that names cause and cure, whatever bytes came, in bounded time and memory. Decoders
read attributes, so rclpy and rosbags messages take the same path; encoders return the values of a
message's fields.
"""

from __future__ import annotations

import array
import math
import re
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.poses import pose_to_matrix
from depth_anything_ros.ros.bridge import decode_image
from depth_anything_ros.ros.cdr import check_cdr, checked_stamp, NANOSECONDS, stamp_of
from depth_anything_ros.ros.points import decode_points, decode_scan

__all__ = [
    'decode_camera',
    'decode_image',
    'decode_points',
    'decode_scan',
    'deserialize',
    'encode_camera',
    'encode_cloud',
    'encode_image',
    'encode_jpeg',
    'encode_points',
    'is_rectified',
    'NANOSECONDS',
    'ns_to_stamp',
    'serialized_stamp_ns',
    'stamp_to_ns',
    'transform_to_matrix',
]


def stamp_to_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time as nanoseconds.

    Raises:
        BadFrameError: it is no time: before 1970, or with a second or more of nanoseconds.
    """
    return checked_stamp(int(stamp.sec), int(stamp.nanosec))


def serialized_stamp_ns(data: bytes | memoryview) -> int:
    """Return the stamp in nanoseconds of a serialised message that begins with a header.

    Raises:
        BadFrameError: the data are too short, or the stamp is no time.
    """
    return stamp_of(data)


def deserialize(data: bytes, kind: Any) -> Any:
    """Take a serialised message apart.

    Args:
        data: CDR, as it came from the middleware.
        kind: its message class.

    Raises:
        BadFrameError: the bytes are no such message.
    """
    from rclpy._rclpy_pybind11 import RMWError
    from rclpy.serialization import deserialize_message

    check_cdr(data, kind.__name__)
    try:
        return deserialize_message(data, kind)
    except RMWError as error:
        raise BadFrameError(
            'undecodable_message',
            f'{len(data)} bytes arrived as {kind.__name__} that are none ({error}): see what '
            'publishes there',
        ) from error


def is_rectified(setting: str, topic: str) -> bool:
    """Tell whether images have been rectified; auto goes by the resolved name of their topic."""
    named = re.search(r'(^|[/_])rect([/_]|$)', topic) is not None
    return setting == 'true' or (setting == 'auto' and named)


def decode_camera(message: Any, rectified: bool) -> Camera:
    """Decode a sensor_msgs/CameraInfo.

    Args:
        message: the camera info of an image.
        rectified: whether that image has been rectified already.

    Raises:
        BadFrameError: the numbers describe no camera, or one of an unknown distortion model.
    """
    roi = message.roi
    # Upper case in ROS 1 bags.
    K, D, R, P = (getattr(message, n if hasattr(message, n) else n.upper()) for n in 'kdrp')
    return Camera.from_calibration(
        int(message.width),
        int(message.height),
        K,
        D,
        str(message.distortion_model),
        R,
        P,
        (int(message.binning_x), int(message.binning_y)),
        (int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)),
        rectified,
    )


def encode_image(image: NDArray[Any], encoding: str) -> dict[str, Any]:
    """Return the fields of a sensor_msgs/Image, header apart.

    Args:
        image: HxW or HxWxC array, contiguous.
        encoding: the ROS name of what it holds.
    """
    return {
        'height': image.shape[0],
        'width': image.shape[1],
        'encoding': encoding,
        'is_bigendian': 0,
        'step': image.nbytes // image.shape[0],
        'data': _bytes(image),
    }


def encode_jpeg(image_rgb: NDArray[np.uint8]) -> dict[str, Any]:
    """Return the fields of a sensor_msgs/CompressedImage, header apart, of a HxWx3 RGB image."""
    data = cv2.imencode('.jpg', cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))[1]
    return {'format': 'rgb8; jpeg compressed bgr8', 'data': _bytes(data)}


def encode_camera(camera: Camera) -> dict[str, Any]:
    """Return the fields of a sensor_msgs/CameraInfo for a pinhole camera, header apart."""
    return {
        'height': camera.height,
        'width': camera.width,
        'distortion_model': 'plumb_bob',
        'd': [0.0] * 5,
        'k': camera.K.ravel().tolist(),
        'r': np.eye(3).ravel().tolist(),
        'p': np.hstack([camera.K, np.zeros((3, 1))]).ravel().tolist(),
    }


def encode_cloud(points: NDArray[np.float32], fields: tuple[str, ...]) -> dict[str, Any]:
    """Return the numbers of a sensor_msgs/PointCloud2; header, fields and is_dense apart.

    Args:
        points: rows x columns x F float32.
        fields: names of the F float32 fields.
    """
    rows, columns, _ = points.shape
    return {
        'height': rows,
        'width': columns,
        'is_bigendian': False,
        'point_step': 4 * len(fields),
        'row_step': 4 * len(fields) * columns,
        'data': _bytes(points),
    }


def encode_points(points: SensorPoints) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the numbers of a PointCloud2 with a sensor's points and ring, and its PointFields."""
    dtype = np.dtype([('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('ring', '<u2'), ('', '<u2')])
    cloud = np.zeros(len(points), dtype)
    cloud['x'], cloud['y'], cloud['z'] = points.xyz_m.T
    cloud['ring'] = 0 if points.ring is None else points.ring
    float32, uint16 = 7, 4  # PointField.FLOAT32, PointField.UINT16
    kinds = {'x': float32, 'y': float32, 'z': float32, 'ring': uint16}
    fields = [
        {'name': name, 'offset': 4 * i, 'datatype': kind, 'count': 1}
        for i, (name, kind) in enumerate(kinds.items())
    ]
    numbers = {
        'height': 1,
        'width': len(points),
        'is_bigendian': False,
        'point_step': dtype.itemsize,
        'row_step': dtype.itemsize * len(points),
        'is_dense': True,
        'data': _bytes(cloud.view(np.uint8)),
    }
    return numbers, fields


def ns_to_stamp(stamp_ns: int) -> dict[str, int]:
    """Return the fields of a builtin_interfaces/Time."""
    sec, nanosec = divmod(stamp_ns, NANOSECONDS)
    return {'sec': sec, 'nanosec': nanosec}


def _bytes(values: NDArray[Any]) -> array.array[int]:
    """Copy an array to the only type that rclpy takes for uint8[] without checking each element."""
    data = array.array('B')
    data.frombytes(np.ascontiguousarray(values).data.cast('B') if values.size else b'')
    return data


def transform_to_matrix(transform: Any) -> NDArray[np.float64]:
    """Return a geometry_msgs/Transform as a 4x4 matrix.

    Raises:
        BadFrameError: its numbers are not finite, or the quaternion is no rotation.
    """
    t, q = transform.translation, transform.rotation
    pose = (t.x, t.y, t.z, q.x, q.y, q.z, q.w)
    if not (np.isfinite(pose).all() and 0.9 < math.hypot(*pose[3:]) < 1.1):
        raise BadFrameError(
            'bad_transform',
            f'transform {pose} is none: its publisher must send finite numbers and a unit '
            'quaternion',
        )
    return pose_to_matrix(pose)
