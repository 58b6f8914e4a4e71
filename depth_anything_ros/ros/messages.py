# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages <-> arrays, and nothing else.

Decoders read attributes, so rclpy and rosbags messages take the same path; encoders return the
values of a message's fields. This is the one seam behind which cv_bridge and sensor_msgs_py work
where they are installed, and OpenCV and the pointcloud2 package elsewhere.
"""

from __future__ import annotations

import array
from importlib import import_module
import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.poses import pose_to_matrix

try:
    from cv_bridge import CvBridge

    import_module('cv_bridge.boost.cv_bridge_boost')  # its errors are swallowed by the line above
except (ImportError, AttributeError, SystemError):  # its compiled half breaks under NumPy 2
    CvBridge = None
try:
    from sensor_msgs_py.point_cloud2 import dtype_from_fields
except ImportError:
    from pointcloud2 import dtype_from_fields

NANOSECONDS = 1_000_000_000

# Encoding -> (channels as stored, sample type, OpenCV conversion to RGB or None when it is RGB).
_ENCODINGS: dict[str, tuple[int, str, int | None]] = {
    'rgb8': (3, 'u1', None),
    'bgr8': (3, 'u1', cv2.COLOR_BGR2RGB),
    'rgba8': (4, 'u1', cv2.COLOR_RGBA2RGB),
    'bgra8': (4, 'u1', cv2.COLOR_BGRA2RGB),
    'mono8': (1, 'u1', cv2.COLOR_GRAY2RGB),
    '8UC1': (1, 'u1', cv2.COLOR_GRAY2RGB),
    '8UC3': (3, 'u1', cv2.COLOR_BGR2RGB),
    '8UC4': (4, 'u1', cv2.COLOR_BGRA2RGB),
    'rgb16': (3, 'u2', None),
    'bgr16': (3, 'u2', cv2.COLOR_BGR2RGB),
    'rgba16': (4, 'u2', cv2.COLOR_RGBA2RGB),
    'bgra16': (4, 'u2', cv2.COLOR_BGRA2RGB),
    'mono16': (1, 'u2', cv2.COLOR_GRAY2RGB),
    # ROS names a Bayer pattern by its first row, OpenCV by its second.
    'bayer_rggb8': (1, 'u1', cv2.COLOR_BayerBG2RGB),
    'bayer_bggr8': (1, 'u1', cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg8': (1, 'u1', cv2.COLOR_BayerGR2RGB),
    'bayer_grbg8': (1, 'u1', cv2.COLOR_BayerGB2RGB),
    'bayer_rggb16': (1, 'u2', cv2.COLOR_BayerBG2RGB),
    'bayer_bggr16': (1, 'u2', cv2.COLOR_BayerRG2RGB),
    'bayer_gbrg16': (1, 'u2', cv2.COLOR_BayerGR2RGB),
    'bayer_grbg16': (1, 'u2', cv2.COLOR_BayerGB2RGB),
    'yuv422': (2, 'u1', cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': (2, 'u1', cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': (2, 'u1', cv2.COLOR_YUV2RGB_YUYV),
    'yuyv': (2, 'u1', cv2.COLOR_YUV2RGB_YUYV),
    'nv21': (1, 'u1', cv2.COLOR_YUV2RGB_NV21),
    'nv24': (1, 'u1', cv2.COLOR_YUV2RGB_NV12),
}
_CV_BRIDGE_LACKS = ('nv21', 'nv24', 'uyvy', 'yuyv')
# Semi-planar encodings: rows of samples stored per image row.
_PLANE_ROWS = {'nv21': 1.5, 'nv24': 3.0}

_TIME_FIELDS = {
    't': 1e-9,  # Ouster: ns since the start of the scan
    'offset_time': 1e-9,  # Livox: ns since the start of the scan
    'time': 1.0,  # Velodyne: s relative to the stamp
    'timestamp': 1.0,  # Hesai, RoboSense: absolute s
}
_RING_FIELDS = ('ring', 'channel', 'line')


def stamp_to_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time as nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def deserialize(data: bytes, kind: Any) -> Any:
    """Take a serialised message apart.

    Args:
        data: CDR, as it came from the middleware.
        kind: its message class.

    Raises:
        BadFrameError: the bytes are no such message.
    """
    from rclpy.serialization import deserialize_message

    try:
        return deserialize_message(data, kind)
    except Exception as error:  # of a base that rclpy does not hand out
        raise BadFrameError(
            'undecodable_message', f'bytes that are no {kind.__name__} arrived ({error}): drop'
        ) from error


def serialized_stamp_ns(data: bytes | memoryview) -> int:
    """Return the stamp in nanoseconds of a serialised message that begins with a header."""
    seconds, nanoseconds = struct.unpack_from(stamp_layout(data), data, 4)
    return int(seconds * NANOSECONDS + nanoseconds)


def stamp_layout(data: bytes | memoryview) -> str:
    """Return how the stamp after CDR's four bytes is packed; the second of them says the order."""
    return '<iI' if data[1] & 1 else '>iI'


def decode_image(message: Any) -> NDArray[np.uint8]:
    """Decode a sensor_msgs/Image or CompressedImage.

    Args:
        message: Image in any encoding of the table above, or CompressedImage (JPEG, PNG, ...).

    Returns:
        HxWx3 uint8 RGB.

    Raises:
        BadFrameError: the encoding is no colour or gray image, or the data do not fit the header.
    """
    if not hasattr(message, 'encoding'):
        return _decode_compressed(message)
    if CvBridge is not None and message.encoding not in _CV_BRIDGE_LACKS:
        return decode_with_cv_bridge(message)
    return decode_with_opencv(message)


def decode_with_cv_bridge(message: Any) -> NDArray[np.uint8]:
    """Decode an Image on a ROS machine; see decode_image()."""
    _check_size(message)
    if message.encoding == '8UC1':
        message.encoding = 'mono8'  # cv_bridge has no conversion from untyped encodings
    elif message.encoding in ('8UC3', '8UC4'):
        message.encoding = 'bgr8' if message.encoding == '8UC3' else 'bgra8'
    return np.ascontiguousarray(CvBridge().imgmsg_to_cv2(message, desired_encoding='rgb8'))


def decode_with_opencv(message: Any) -> NDArray[np.uint8]:
    """Decode an Image anywhere; see decode_image()."""
    channels, sample, conversion = _check_size(message)
    height, width = int(message.height), int(message.width)
    dtype = np.dtype(sample).newbyteorder('>' if message.is_bigendian else '<')
    rows = int(height * _PLANE_ROWS.get(message.encoding, 1.0))
    step = int(message.step)
    if message.encoding == 'nv24':
        return _decode_nv24(message, height, width)
    pixels = np.ndarray(
        (rows, width, channels),
        dtype,
        buffer=memoryview(message.data),
        strides=(step, channels * dtype.itemsize, dtype.itemsize),
    )
    pixels = np.ascontiguousarray(pixels, dtype=np.dtype(sample))
    image: Any = pixels if conversion is None else cv2.cvtColor(pixels, conversion)
    if sample == 'u2':
        image = cv2.convertScaleAbs(image, alpha=255 / 65535)  # as cv_bridge does
    rgb: NDArray[np.uint8] = image.reshape(height, width, 3)
    return rgb


def _check_size(message: Any) -> tuple[int, str, int | None]:
    if message.encoding not in _ENCODINGS:
        raise BadFrameError(
            'unsupported_encoding',
            f'image encoding "{message.encoding}" is not a colour or gray image; supported are '
            f'{", ".join(_ENCODINGS)}',
        )
    channels, sample, _ = _ENCODINGS[message.encoding]
    row = int(message.width) * channels * np.dtype(sample).itemsize
    rows = int(int(message.height) * _PLANE_ROWS.get(message.encoding, 1.0))
    if not (0 < row <= message.step and 0 < rows and len(message.data) >= rows * message.step):
        raise BadFrameError(
            'truncated_image',
            f'image of {message.width}x{message.height} {message.encoding} with step '
            f'{message.step} has only {len(message.data)} bytes of data',
        )
    return _ENCODINGS[message.encoding]


def _decode_nv24(message: Any, height: int, width: int) -> NDArray[np.uint8]:
    """Decode full-resolution chroma by the 4:2:0 conversion, so that all YUV agree in range."""
    data = np.frombuffer(memoryview(message.data), np.uint8, height * width * 3)
    luma = data[: height * width].reshape(height, width)
    chroma = data[height * width :].reshape(height, width, 2)[::2, ::2]
    rgb = cv2.cvtColorTwoPlane(luma, np.ascontiguousarray(chroma), cv2.COLOR_YUV2RGB_NV12)
    return np.asarray(rgb, np.uint8)


def _decode_compressed(message: Any) -> NDArray[np.uint8]:
    data = np.frombuffer(memoryview(message.data), np.uint8)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(data, flags) if len(data) else None
    if image is None:
        raise BadFrameError(
            'undecodable_image', f'compressed image of format "{message.format}" cannot be decoded'
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def decode_camera(message: Any, rectified: bool) -> Camera:
    """Decode a sensor_msgs/CameraInfo.

    Args:
        message: the camera info of an image.
        rectified: whether that image has been rectified already.

    Raises:
        BadFrameError: the camera is uncalibrated or of an unknown distortion model.
    """
    roi = message.roi
    # Upper case in ROS 1 bags.
    K, D, R, P = (getattr(message, n if hasattr(message, n) else n.upper()) for n in 'kdrp')
    return Camera.from_calibration(
        int(message.width),
        int(message.height),
        K,
        D,
        message.distortion_model,
        R,
        P,
        (int(message.binning_x), int(message.binning_y)),
        (int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)),
        rectified,
    )


def decode_points(message: Any) -> SensorPoints:
    """Decode a sensor_msgs/PointCloud2 of any field layout that has x, y and z.

    Returns:
        The finite points in metres in the sensor frame, with ring and per-point time (seconds
        after the stamp) where the cloud has them.

    Raises:
        BadFrameError: x, y or z is missing, or the data do not fit the header.
    """
    dtype = dtype_from_fields(message.fields, point_step=int(message.point_step))
    height, width = int(message.height), int(message.width)
    names = dtype.names or ()
    if not {'x', 'y', 'z'} <= set(names):
        raise BadFrameError('points_without_xyz', f'point cloud has no x, y, z but {names}')
    needed = (height - 1) * int(message.row_step) + width * dtype.itemsize
    if height * width and len(message.data) < needed:
        raise BadFrameError(
            'truncated_points', f'point cloud of {height}x{width} lacks data: {len(message.data)}'
        )
    if message.is_bigendian:
        dtype = dtype.newbyteorder('>')
    cloud = np.ndarray(
        (height, width),
        dtype,
        buffer=memoryview(message.data) if height * width else None,
        strides=(int(message.row_step), dtype.itemsize),
    ).ravel()
    xyz_m = np.stack([cloud[axis] for axis in 'xyz'], axis=-1).astype(np.float32)
    finite = np.isfinite(xyz_m).all(axis=1)
    stamp_ns = stamp_to_ns(message.header.stamp)
    ring = next((cloud[name] for name in _RING_FIELDS if name in names), None)
    time_s = next(
        (cloud[name] * unit for name, unit in _TIME_FIELDS.items() if name in names), None
    )
    if time_s is not None:
        time_s = time_s.astype(np.float64)
        if 'timestamp' in names and len(time_s) and np.nanmin(time_s) > 1e6:  # absolute
            time_s = time_s - stamp_ns / NANOSECONDS
    return SensorPoints(
        xyz_m[finite],
        stamp_ns,
        message.header.frame_id,
        None if time_s is None else time_s[finite],
        None if ring is None else ring[finite].astype(np.int64),
    )


def decode_scan(message: Any) -> SensorPoints:
    """Decode a sensor_msgs/LaserScan into the points of one ring at z = 0 of its frame."""
    ranges_m = np.asarray(message.ranges, dtype=np.float64)
    angles = message.angle_min + message.angle_increment * np.arange(len(ranges_m))
    hit = (ranges_m >= message.range_min) & (ranges_m <= message.range_max)
    xyz_m = np.stack(
        [ranges_m * np.cos(angles), ranges_m * np.sin(angles), np.zeros_like(angles)], axis=-1
    )
    return SensorPoints(
        xyz_m[hit].astype(np.float32),
        stamp_to_ns(message.header.stamp),
        message.header.frame_id,
        (np.arange(len(ranges_m)) * float(message.time_increment))[hit],
        np.zeros(int(hit.sum()), dtype=np.int64),
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
    """Return a geometry_msgs/Transform as a 4x4 matrix."""
    t, q = transform.translation, transform.rotation
    return pose_to_matrix((t.x, t.y, t.z, q.x, q.y, q.z, q.w))
