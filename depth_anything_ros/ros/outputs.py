# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The topics that the node publishes, and which of them somebody listens to."""

from __future__ import annotations

from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.pipeline import DepthFrame, Outputs
from depth_anything_ros.ros.messages import encode_camera, encode_cloud, encode_image
from depth_anything_ros.ros.parameters import qos_overridden, QOS_OVERRIDES

_TOPICS: dict[str, Any] = {
    'depth/image': Image,
    'depth/camera_info': CameraInfo,
    'depth/points': PointCloud2,
    'depth/stddev': Image,
    'depth/image_color': Image,
    'depth/relative': Image,
    'depth/image_rect': Image,
    'depth/scale': DiagnosticStatus,
}
# Reliable, since a reliable subscriber (RViz, depth_image_proc) never connects to best effort.
_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)


class OutputPublishers:
    """Publishers of all outputs of the contract."""

    def __init__(self, node: LifecycleNode) -> None:
        """Create the publishers; they are silent until the node is active.

        Raises:
            ConfigError: a qos_overrides parameter is wrong.
        """
        self._node = node
        self._publishers: dict[str, LifecyclePublisher] = {}
        for topic, kind in _TOPICS.items():
            with qos_overridden(topic):
                self._publishers[topic] = node.create_lifecycle_publisher(
                    kind,
                    topic,
                    QoSProfile(depth=_QOS.depth, reliability=_QOS.reliability),
                    qos_overriding_options=QOS_OVERRIDES,
                )

    def destroy(self) -> None:
        """Remove all publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()

    def wanted(self) -> Outputs | None:
        """Return what somebody listens to, or None when nobody listens to anything."""
        listened = {t for t, p in self._publishers.items() if p.get_subscription_count() > 0}
        if not listened:
            return None
        return Outputs(
            depth=bool(listened & {'depth/image', 'depth/camera_info'}),
            points='depth/points' in listened,
            stddev='depth/stddev' in listened,
            picture='depth/image_color' in listened,
            relative='depth/relative' in listened,
            image_rect='depth/image_rect' in listened,
        )

    def publish(self, frame: DepthFrame, header: Header) -> None:
        """Publish one frame's results with the stamp and frame of the image they come from."""
        depth_encoding = '32FC1' if frame.depth is None else _depth_encoding(frame)
        images = {
            'depth/image': (frame.depth, depth_encoding),
            'depth/stddev': (frame.stddev_m, '32FC1'),
            'depth/image_color': (frame.picture, 'bgr8'),
            'depth/relative': (frame.relative, '32FC1'),
            'depth/image_rect': (frame.image_rect, 'rgb8'),
        }
        depth_camera = frame.depth_camera
        if depth_camera.is_calibrated and any(image is not None for image, _ in images.values()):
            camera_info = CameraInfo(header=header, **encode_camera(depth_camera))
            self._publishers['depth/camera_info'].publish(camera_info)
        for topic, (image, encoding) in images.items():
            if image is not None:
                self._publishers[topic].publish(
                    Image(header=header, **encode_image(image, encoding))
                )
        if frame.points is not None:
            self._publishers['depth/points'].publish(_cloud(frame, header))
        self._publishers['depth/scale'].publish(
            scale_status(self._node.get_fully_qualified_name(), frame, header)
        )


def _depth_encoding(frame: DepthFrame) -> str:
    return '16UC1' if frame.depth is not None and frame.depth.dtype.kind == 'u' else '32FC1'


def _cloud(frame: DepthFrame, header: Header) -> PointCloud2:
    assert frame.points is not None
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(frame.point_fields)
    ]
    return PointCloud2(
        header=header,
        fields=fields,
        is_dense=frame.points_dense,
        **encode_cloud(frame.points, frame.point_fields),
    )


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
