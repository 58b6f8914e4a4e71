# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds and scans in a frame of the robot, over DDS with TF, against depth images beside them."""

from contextlib import ExitStack
import time

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters
import rclpy
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image, LaserScan, PointCloud2
from test_node import plane, pose_parameter

from helpers import program, TEST
from moving_camera import CAMERA, SECOND
from robot_on_rails import T_CAMERA_LIDAR, T_CAMERA_RANGE

PATIENCE_S = 90
VOXEL_M, NEAR_M = 0.1, 9.0

pytestmark = pytest.mark.timeout(4 * PATIENCE_S)


class Judge:
    """What the node publishes, by topic and stamp.

    Attributes:
        heard: topic -> stamp -> message.
        reasons: stamp -> reason on depth/scale.
    """

    KINDS = {
        'depth/image': Image, 'depth/stddev': Image, 'depth/points': PointCloud2,
        'depth/scan': LaserScan, 'depth/image/compressedDepth': CompressedImage,
    }

    def __init__(self):
        self._node = rclpy.create_node('judge')
        self.heard, self.reasons = {topic: {} for topic in self.KINDS}, {}
        self._subscriptions = [
            self._node.create_subscription(kind, topic, self._taker(topic), 20)
            for topic, kind in self.KINDS.items()
        ]
        self._subscriptions.append(
            self._node.create_subscription(DiagnosticStatus, 'depth/scale', self._take_reason, 20)
        )
        self._setter = self._node.create_client(SetParameters, 'depth_anything/set_parameters')

    def until(self, condition):
        """Spin until a condition holds and return what it says."""
        end = time.monotonic() + PATIENCE_S
        while not (said := condition()):
            assert time.monotonic() < end, {t: len(found) for t, found in self.heard.items()}
            rclpy.spin_once(self._node, timeout_sec=0.1)
        return said

    def together(self, *topics):
        """Return the messages of the first stamp from now on that all topics have."""
        since_ns = time.time_ns()

        def found():
            stamps = set.intersection(*(set(self.heard[topic]) for topic in topics))
            stamp_ns = min((s for s in stamps if s > since_ns), default=None)
            return stamp_ns and [self.heard[topic][stamp_ns] for topic in topics]

        return self.until(found)

    def set(self, **values):
        """Set parameters of the node; __ stands for the dot."""
        request = SetParameters.Request(
            parameters=[
                Parameter(name.replace('__', '.'), value=value).to_parameter_msg()
                for name, value in values.items()
            ]
        )
        self.until(lambda: self._setter.service_is_ready())
        future = self._setter.call_async(request)
        self.until(future.done)
        assert all(result.successful for result in future.result().results), future.result()

    def close(self):
        """Stop listening."""
        self._node.destroy_node()

    def _taker(self, topic):
        def take(message):
            stamp = message.header.stamp
            self.heard[topic][stamp.sec * SECOND + stamp.nanosec] = message

        return take

    def _take_reason(self, message):
        values = {pair.key: pair.value for pair in message.values}
        self.reasons[int(values['image_stamp'].replace('.', ''))] = values['reason']


@pytest.fixture(scope='module')
def judge():
    """Run the node, a camera, a lidar, and a rangefinder's driver that says where it is."""
    settings = {
        'cloud.frame': 'sonar', 'cloud.voxel': VOXEL_M, 'cloud.stddev': True,
        'cloud.edge_threshold': 0.0, 'cloud.max_range': NEAR_M, 'scan.frame': 'sonar',
        'scan.min_height': -0.3, 'scan.max_height': 0.3, 'scale.method': 'lidar',
    }
    arguments = [part for name, value in settings.items() for part in ('-p', f'{name}:={value}')]
    node = ('--ros-args', *arguments, *pose_parameter(T_CAMERA_LIDAR))
    rclpy.init()
    try:
        made = Judge()
        with ExitStack() as stack:
            stack.callback(made.close)
            stack.enter_context(
                program(TEST / 'programs' / 'tf_node.py', *node, ready='predicts')
            )
            for name in ('camera', 'lidar', 'range'):
                stack.enter_context(program(TEST / 'programs' / 'sensor.py', name))
            yield made
    finally:
        rclpy.shutdown()


def in_sonar(depth_m):
    """Return HxWx3 points as the rangefinder's frame has them, NaN where none is near enough."""
    points_m = CAMERA.rays() * depth_m.astype(float)[..., None]
    far = np.linalg.norm(points_m, axis=-1) > NEAR_M
    return np.where(far[..., None], np.nan, points_m @ T_CAMERA_RANGE[:3, :3])


def test_a_voxel_cloud_in_another_frame(judge):
    image, stddev, cloud = judge.together('depth/image', 'depth/stddev', 'depth/points')
    assert cloud.header.frame_id == 'sonar' and image.header.frame_id == 'camera'
    assert (cloud.height, cloud.is_dense) == (1, True)
    assert [f.name for f in cloud.fields] == ['x', 'y', 'z', 'rgb', 'stddev']
    given = np.frombuffer(cloud.data, '<f4').reshape(-1, 5)

    points_m, sigma_m = in_sonar(plane(image)).reshape(-1, 3), plane(stddev).ravel()
    known = np.isfinite(points_m[:, 0])
    points_m, weight = points_m[known], 1 / sigma_m[known].astype(float) ** 2
    voxel, index = np.unique(np.floor(points_m / VOXEL_M), axis=0, return_inverse=True)
    total = np.bincount(index.ravel(), weight)
    means_m = [np.bincount(index.ravel(), weight * axis) / total for axis in points_m.T]
    # Points within a rounding of a border may be in either of two voxels.
    assert len(given) == pytest.approx(len(voxel), rel=0.01)
    of_given = {tuple(v): p for v, p in zip(np.floor(given[:, :3] / VOXEL_M), given[:, :3])}
    both = [(of_given[tuple(v)], p) for v, p in zip(voxel, np.stack(means_m, 1))
            if tuple(v) in of_given]
    assert len(both) > 0.98 * len(voxel)
    off_m = np.linalg.norm(np.subtract(*np.array(both).transpose(1, 0, 2)), axis=1)
    assert np.quantile(off_m, 0.98) < 1e-3 and np.median(off_m) < 1e-5


def test_a_scan_of_what_is_level(judge):
    image, scan = judge.together('depth/image', 'depth/scan')
    assert scan.header.frame_id == 'sonar' and len(scan.ranges) == 720
    assert scan.angle_max + scan.angle_increment == pytest.approx(np.pi)
    x, y, z = in_sonar(plane(image)).reshape(-1, 3).T
    level = np.abs(z) <= 0.3
    angle, range_m = np.arctan2(y[level], x[level]), np.hypot(x[level], y[level])
    ranges_m = np.array(scan.ranges)
    heard = 0
    for i in np.flatnonzero(np.isfinite(ranges_m)):
        here = np.abs(angle - (scan.angle_min + i * scan.angle_increment))
        nearest_m = range_m[here <= 0.501 * scan.angle_increment].min()
        heard += ranges_m[i] == pytest.approx(nearest_m, rel=0.01)
    assert heard > 0.95 * np.isfinite(ranges_m).sum() > 20
    behind = np.abs(np.arange(720) * scan.angle_increment + scan.angle_min) > np.pi / 2
    assert np.isnan(ranges_m[behind]).all()


def test_clouds_at_a_rate_of_their_own(judge):
    judge.set(cloud__rate=1.0)
    since_ns = time.time_ns()
    judge.until(lambda: sum(s > since_ns for s in judge.heard['depth/points']) >= 4)
    stamps = sorted(s for s in judge.heard['depth/points'] if s > since_ns)
    assert np.diff(stamps).min() >= 0.6 * SECOND  # turns are a second apart, images a fifth
    images = [s for s in judge.heard['depth/image'] if stamps[0] <= s <= stamps[-1]]
    assert len(images) > 2 * len(stamps)
    assert set(stamps[1:-1]) <= set(judge.heard['depth/scan'])
    judge.set(cloud__rate=0.0)


def test_depth_as_a_png(judge):
    image, compressed = judge.together('depth/image', 'depth/image/compressedDepth')
    assert compressed.format == '16UC1; compressedDepth png'
    png = np.frombuffer(compressed.data[12:], np.uint8)
    stored = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
    depth_m = plane(image)
    np.testing.assert_array_equal(stored, np.rint(1000 * np.nan_to_num(depth_m)).astype(np.uint16))


def test_images_at_a_rate_of_their_own(judge):
    judge.set(depth__rate=1.0)
    since_ns = time.time_ns()
    judge.until(lambda: sum(s > since_ns for s in judge.heard['depth/image']) >= 3)
    stamps = sorted(s for s in judge.heard['depth/image'] if s > since_ns)
    assert np.diff(stamps).min() >= 0.6 * SECOND
    clouds = [s for s in judge.heard['depth/points'] if stamps[0] <= s <= stamps[-1]]
    assert len(clouds) > 2 * len(stamps)
    judge.set(depth__rate=0.0)
