# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of one image: the messages of the contract, published or written to a file."""

from __future__ import annotations

import array
from collections.abc import Set
import math
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2, PointField
from std_msgs.msg import Header

from depth_anything_ros.cloud.scan import Scan
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.pipeline import DepthFrame, Outputs
from depth_anything_ros.ros.depth_messages import encode_compressed_depth
from depth_anything_ros.ros.messages import encode_camera, encode_cloud, encode_image

TOPICS: dict[str, Any] = {
    'depth/image': Image,
    'depth/camera_info': CameraInfo,
    'depth/points': PointCloud2,
    'depth/scan': LaserScan,
    'depth/stddev': Image,
    'depth/image_color': Image,
    'depth/relative': Image,
    'depth/image_rect': Image,
    'depth/scale': DiagnosticStatus,
}
COMPRESSED_DEPTH = 'depth/image/compressedDepth'  # of depth/image, as image_transport names it


def outputs_for(topics: Set[str]) -> Outputs:
    """Return what has to be computed for some of TOPICS."""
    return Outputs(
        depth=bool(topics & {'depth/image', 'depth/camera_info', COMPRESSED_DEPTH}),
        points='depth/points' in topics,
        scan='depth/scan' in topics,
        stddev='depth/stddev' in topics,
        picture='depth/image_color' in topics,
        relative='depth/relative' in topics,
        image_rect='depth/image_rect' in topics,
    )


def output_messages(frame: DepthFrame, header: Header, node_name: str) -> dict[str, Any]:
    """Return one frame's messages by topic, with stamp and frame of the image they come from.

    Args:
        frame: what was computed of the image.
        header: of the image.
        node_name: full name of who says it, on depth/scale.
    """
    depth_encoding = '32FC1' if frame.depth is None else _depth_encoding(frame)
    images = {
        'depth/image': (frame.depth, depth_encoding),
        'depth/stddev': (frame.stddev_m, '32FC1'),
        'depth/image_color': (frame.picture, 'bgr8'),
        'depth/relative': (frame.relative, '32FC1'),
        'depth/image_rect': (frame.image_rect, 'rgb8'),
    }
    messages: dict[str, Any] = {
        topic: Image(header=header, **encode_image(image, encoding))
        for topic, (image, encoding) in images.items()
        if image is not None
    }
    if messages and frame.depth_camera.is_calibrated:
        camera_info = CameraInfo(header=header, **encode_camera(frame.depth_camera))
        messages = {'depth/camera_info': camera_info, **messages}
    if frame.points is not None:
        messages['depth/points'] = _cloud(frame, header)
    if frame.scan is not None:
        messages['depth/scan'] = _scan(frame.scan, header)
    messages['depth/scale'] = scale_status(node_name, frame, header)
    return messages


def compressed_depth(frame: DepthFrame, header: Header) -> CompressedImage | None:
    """Return depth as a PNG of whole millimetres, farther than 65.535 m is nothing."""
    if frame.depth is None:
        return None
    unit_m = np.float32(1e-3 if frame.depth.dtype.kind == 'u' else 1)
    depth_m = frame.depth.astype(np.float32) * unit_m
    return CompressedImage(header=header, **encode_compressed_depth(depth_m, '16UC1', math.inf))


def _depth_encoding(frame: DepthFrame) -> str:
    return '16UC1' if frame.depth is not None and frame.depth.dtype.kind == 'u' else '32FC1'


def _cloud(frame: DepthFrame, header: Header) -> PointCloud2:
    assert frame.points is not None
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(frame.point_fields)
    ]
    return PointCloud2(
        header=_in_frame(header, frame.points_frame),
        fields=fields,
        is_dense=frame.points_dense,
        **encode_cloud(frame.points, frame.point_fields),
    )


def _scan(scan: Scan, header: Header) -> LaserScan:
    return LaserScan(
        header=_in_frame(header, scan.frame),
        angle_min=scan.angle_min,
        angle_max=scan.angle_min + scan.angle_increment * (len(scan.ranges_m) - 1),
        angle_increment=scan.angle_increment,
        range_min=scan.range_min,
        range_max=scan.range_max,
        ranges=array.array('f', scan.ranges_m.tobytes()),
    )


def _in_frame(header: Header, frame: str) -> Header:
    return Header(stamp=header.stamp, frame_id=frame or header.frame_id)


def scale_status(node_name: str, frame: DepthFrame, header: Header) -> DiagnosticStatus:
    """Describe how one frame's metres came about as a diagnostic_msgs/DiagnosticStatus."""
    fit = frame.fit
    level = DiagnosticStatus.WARN if fit.state is State.UNANCHORED else DiagnosticStatus.OK
    seconds, nanoseconds = divmod(fit.stamp_ns, 1_000_000_000)
    values = {
        'state': fit.state.value,
        'method': fit.method,
        'scale': f'{fit.scale:.9g}',
        'shift': f'{fit.shift:.9g}',
        'inliers': str(fit.inliers),
        'residual': f'{fit.residual:.6g}',
        'covariance': ' '.join(f'{fit.covariance[i, j]:.6g}' for i, j in ((0, 0), (0, 1), (1, 1))),
        'sigma': f'{frame.sigma:.6g}',
        'stamp': f'{seconds}.{nanoseconds:09d}',
        'image_stamp': f'{header.stamp.sec}.{header.stamp.nanosec:09d}',
        'extrinsic_score': f'{fit.extrinsic_score:.3g}',
        'assumed': str(fit.assumed).lower(),
        'reason': fit.reason,
    }
    return DiagnosticStatus(
        level=level,
        name=f'{node_name}: scale',
        message=fit.state.value,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
