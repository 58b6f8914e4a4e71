# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras and a lidar on topics, as a robot's drivers publish them."""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Time
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


class CameraPublisher:
    """Publishes an image and its camera_info beside it, on a node's (remappable) topics.

    Attributes:
        publishers: of the two.
    """

    def __init__(
        self, node: Node, camera_frame: str, topic: str = 'image', transport: str = 'raw'
    ) -> None:
        """Create the publishers.

        Args:
            node: where they live.
            camera_frame: frame_id of the images, an optical frame.
            topic: of the images, which ends in image.
            transport: 'raw', or 'compressed' for JPEG on the topic + /compressed.
        """
        self._camera_frame = camera_frame
        self._raw = transport == 'raw'
        self._image = (
            node.create_publisher(Image, topic, _QOS)
            if self._raw
            else node.create_publisher(
                CompressedImage, f'{node.resolve_topic_name(topic)}/compressed', _QOS
            )
        )
        beside = f'{topic.removesuffix("image")}camera_info'
        self._camera_info = node.create_publisher(CameraInfo, beside, _QOS)
        self.publishers = (self._image, self._camera_info)

    def publish(
        self,
        image: NDArray[Any],
        camera: Camera,
        stamp_ns: int,
        encoding: str = 'rgb8',
        baseline_m: float = 0.0,
    ) -> None:
        """Publish an image, its camera first, so that none waits for its model.

        Args:
            image: HxWx3 uint8 RGB, or what the encoding says.
            camera: a pinhole.
            stamp_ns: time of the image in nanoseconds.
            encoding: as sensor_msgs/Image has it; JPEG is RGB.
            baseline_m: how far it stands to the right of the first camera of a stereo pair.
        """
        header = Header(stamp=Time(**ns_to_stamp(stamp_ns)), frame_id=self._camera_frame)
        info = CameraInfo(header=header, **encode_camera(camera))
        info.p[3] = -info.p[0] * baseline_m
        self._camera_info.publish(info)
        if self._raw:
            self._image.publish(Image(header=header, **encode_image(image, encoding)))
        else:
            self._image.publish(CompressedImage(header=header, **encode_jpeg(image)))


class PointsPublisher:
    """Publishes a sensor's points on `points`.

    Attributes:
        publishers: of them.
    """

    def __init__(self, node: Node) -> None:
        """Create the publisher."""
        self._points = node.create_publisher(PointCloud2, 'points', _QOS)
        self.publishers = (self._points,)

    def publish(self, points: SensorPoints) -> None:
        """Publish a sweep with its own stamp and frame."""
        numbers, fields = encode_points(points)
        header = Header(stamp=Time(**ns_to_stamp(points.stamp_ns)), frame_id=points.frame_id)
        self._points.publish(
            PointCloud2(header=header, fields=[PointField(**f) for f in fields], **numbers)
        )


class SensorPublisher:
    """Publishes `image`, `camera_info` and `points`.

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
        camera = CameraPublisher(node, camera_frame, transport=image_transport)
        points = PointsPublisher(node)
        self.publish_image, self.publish_points = camera.publish, points.publish
        self.publishers = (*camera.publishers, *points.publishers)
