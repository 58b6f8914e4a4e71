# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What arrives beside the image: cameras by stamp, points by time, transforms from TF."""

from types import SimpleNamespace

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo

from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.ros import inputs
from helpers import header, SCENE_CAMERA

SECOND = 1_000_000_000


def camera_info(stamp_ns, focal_px=500.0):
    """Return a real CameraInfo message of a pinhole camera."""
    message = CameraInfo(height=480, width=640, distortion_model='plumb_bob')
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    message.k = [focal_px, 0.0, 320.0, 0.0, focal_px, 240.0, 0.0, 0.0, 1.0]
    return message


def test_camera_of_the_same_stamp_else_the_latest():
    store = inputs.CameraStore(rectified=False)
    image = np.zeros((480, 640, 3), np.uint8)
    with pytest.raises(BadFrameError, match='no camera_info'):
        store.for_image(image, 1)
    store.add(camera_info(1, 500.0))
    store.add(camera_info(2, 600.0))
    assert store.for_image(image, 1).K[0, 0] == 500
    assert store.for_image(image, 7).K[0, 0] == 600
    with pytest.raises(BadFrameError, match='320x240 but camera_info describes 640x480'):
        store.for_image(np.zeros((240, 320, 3), np.uint8), 7)


def test_unchanged_camera_stays_the_same_object():
    # So that sampling grids are computed once, not with every message.
    store, image = inputs.CameraStore(rectified=False), np.zeros((480, 640, 3), np.uint8)
    store.add(camera_info(1))
    first = store.for_image(image, 1)
    store.add(camera_info(2))
    assert store.for_image(image, 2) is first
    store.add(camera_info(3, 501.0))
    assert store.for_image(image, 3) is not first


def points_message(stamp_ns):
    """Return the little of a message that the store looks at."""
    return SimpleNamespace(header=header(stamp_ns, 'lidar'))


def test_nearest_points_within_the_offset_decoded_once():
    calls = []

    def decode(message):
        calls.append(message)
        stamp_ns = message.header.stamp.sec * SECOND + message.header.stamp.nanosec
        return SensorPoints(np.zeros((1, 3), np.float32), stamp_ns, 'lidar')

    store = inputs.PointStore()
    assert store.nearest(0, 1.0) is None
    for stamp_ns in (1 * SECOND, 2 * SECOND, 3 * SECOND):
        store.add(stamp_ns, points_message(stamp_ns), decode)
    assert store.nearest(2 * SECOND + 90_000_000, 0.1).stamp_ns == 2 * SECOND
    assert store.nearest(1 * SECOND + 910_000_000, 0.1).stamp_ns == 2 * SECOND
    assert store.nearest(2 * SECOND + 110_000_000, 0.1) is None
    assert len(calls) == 1


def test_points_that_cannot_be_decoded_are_forgotten():
    def refuse(message):
        raise BadFrameError('truncated_points', 'lacks data')

    store = inputs.PointStore()
    store.add(SECOND, points_message(SECOND), refuse)
    with pytest.raises(BadFrameError):
        store.nearest(SECOND, 0.1)
    assert store.nearest(SECOND, 0.1) is None


class FakeTf2:
    """tf2_ros with a buffer whose frames are functions of time."""

    class TransformException(Exception):
        """The base of what lookups raise."""

    def __init__(self, poses):
        """Take poses: frame -> function of time in s -> position x y z in the world, unturned."""
        self.poses = poses

    def Buffer(self, node):  # noqa: N802
        """Return the buffer, which is this."""
        return self

    def TransformListener(self, buffer, node):  # noqa: N802
        """Return a listener that does nothing."""
        return SimpleNamespace(unregister=lambda: None)

    def lookup_transform_full(self, target, target_time, source, source_time, fixed, timeout):
        """Return the source frame at its time as seen from the target frame at its time."""
        for frame in (target, source, fixed):
            if frame not in self.poses:
                raise self.TransformException(f'"{frame}" does not exist')
        offset = self.poses[source](source_time.nanoseconds / SECOND) - self.poses[target](
            target_time.nanoseconds / SECOND
        )
        return SimpleNamespace(
            transform=SimpleNamespace(
                translation=SimpleNamespace(**dict(zip('xyz', offset))),
                rotation=SimpleNamespace(x=0.0, y=0.0, z=0.0, w=1.0),
            )
        )

    def lookup_transform(self, target, source, time, timeout):
        """Return the transform with both frames at one time."""
        return self.lookup_transform_full(target, time, source, time, source, timeout)


@pytest.fixture
def tf(monkeypatch):
    """Install a fake tf2_ros: a robot that drives along x at 10 m/s, a lidar 1 m ahead on it."""
    fake = FakeTf2(
        {
            'odom': lambda t: np.zeros(3),
            'camera': lambda t: np.array([10 * t, 0, 2.0]),
            'lidar': lambda t: np.array([10 * t + 1, 0, 2.5]),
        }
    )
    monkeypatch.setattr(inputs, 'tf2_ros', fake)
    return fake


def sweep(stamp_s=1.0, time_s=None):
    """Return two points 5 m ahead of the lidar."""
    xyz_m = np.array([[5, 0, 0], [5, 0, 0]], np.float32)
    return SensorPoints(xyz_m, int(stamp_s * SECOND), 'lidar', time_s)


def test_sensor_pose_from_tf(tf):
    transforms = inputs.Transforms(None, ScaleConfig())
    points, T_camera_sensor = transforms.sensor(sweep(), 'camera', SECOND)
    np.testing.assert_allclose(T_camera_sensor[:3, 3], [1, 0, 0.5])
    np.testing.assert_array_equal(points.xyz_m, sweep().xyz_m)


def test_points_are_carried_from_their_time_to_the_image_s(tf):
    # The image is 0.05 s after the scan's stamp; the second point was hit 0.1 s after the stamp.
    # The world stood still: the first point is 0.5 m nearer by the image's time, the second was
    # 0.5 m farther.
    transforms = inputs.Transforms(None, ScaleConfig(fixed_frame='odom'))
    scan = sweep(time_s=np.array([0.0, 0.1]))
    points, T_camera_sensor = transforms.sensor(scan, 'camera', SECOND + 50_000_000)
    np.testing.assert_allclose(points.xyz_m[:, 0], [4.5, 5.5], atol=1e-5)
    np.testing.assert_allclose(T_camera_sensor[:3, 3], [1, 0, 0.5])


def test_parameter_beats_tf_and_unknown_frames_say_which(tf):
    pose = (0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 1.0)
    transforms = inputs.Transforms(None, ScaleConfig(T_camera_sensor=pose))
    np.testing.assert_allclose(transforms.sensor(sweep(), 'camera', SECOND)[1][2, 3], 3.0)
    with pytest.raises(inputs.TransformUnavailable, match='"nowhere" does not exist'):
        inputs.Transforms(None, ScaleConfig()).sensor(sweep(), 'nowhere', SECOND)


def test_ground_from_tf(tf):
    # A camera 2 m above odom's plane z = 0, its axes those of odom: down is -z.
    transforms = inputs.Transforms(None, ScaleConfig(ground_frame='odom'))
    ground = transforms.ground(SCENE_CAMERA, 'camera', SECOND)
    assert ground.height_m == pytest.approx(2.0)
    np.testing.assert_allclose(ground.normal_down, [0, 0, -1])
    assert inputs.Transforms(None, ScaleConfig()).ground(SCENE_CAMERA, 'camera', SECOND) is None


def test_without_tf2_the_cure_is_named(monkeypatch):
    monkeypatch.setattr(inputs, 'tf2_ros', None)
    with pytest.raises(inputs.TransformUnavailable, match='set scale.T_camera_sensor'):
        inputs.Transforms(None, ScaleConfig()).sensor(sweep(), 'camera', SECOND)
