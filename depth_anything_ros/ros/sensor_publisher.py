# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera and a lidar on topics, as a robot's drivers publish them."""

from __future__ import annotations

from builtin_interfaces.msg import Time
import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from depth_anything_ros.camera import Camera
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.ros.messages import (
    encode_camera,
    encode_image,
    encode_jpeg,
    encode_points,
    ns_to_stamp,
)

_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


class SensorPublisher:
    """Publishes `image`, `camera_info` and `points` on a node's (remappable) topics.

    Attributes:
        publishers: of the three.
    """

    def __init__(self, node: Node, camera_frame: str, image_transport: str = 'raw') -> None:
        """Create the publishers.

        Args:
            node: where they live.
            camera_frame: frame_id of the images, an optical frame.
            image_transport: 'raw', or 'compressed' for JPEG on `image` + /compressed.
        """
        self._camera_frame = camera_frame
        self._raw = image_transport == 'raw'
        image_topic = node.resolve_topic_name('image')
        self._image = (
            node.create_publisher(Image, 'image', _QOS)
            if self._raw
            else node.create_publisher(CompressedImage, f'{image_topic}/compressed', _QOS)
        )
        self._camera_info = node.create_publisher(CameraInfo, 'camera_info', _QOS)
        self._points = node.create_publisher(PointCloud2, 'points', _QOS)
        self.publishers = (self._image, self._camera_info, self._points)

    def publish_points(self, points: SensorPoints) -> None:
        """Publish a sweep with its own stamp and frame."""
        numbers, fields = encode_points(points)
        header = Header(stamp=Time(**ns_to_stamp(points.stamp_ns)), frame_id=points.frame_id)
        self._points.publish(
            PointCloud2(header=header, fields=[PointField(**f) for f in fields], **numbers)
        )

    def publish_image(self, image_rgb: NDArray[np.uint8], camera: Camera, stamp_ns: int) -> None:
        """Publish a pinhole image, its camera first, so that none waits for its model."""
        header = Header(stamp=Time(**ns_to_stamp(stamp_ns)), frame_id=self._camera_frame)
        self._camera_info.publish(CameraInfo(header=header, **encode_camera(camera)))
        if self._raw:
            self._image.publish(Image(header=header, **encode_image(image_rgb, 'rgb8')))
        else:
            self._image.publish(CompressedImage(header=header, **encode_jpeg(image_rgb)))
