# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where sensor and ground are, on the real tf2 where it is installed and on a fake everywhere."""

import gc
import threading
from types import SimpleNamespace
import weakref

from geometry_msgs.msg import TransformStamped
import numpy as np
import pytest
import rclpy
from rclpy.clock import ClockType
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time

from depth_anything_ros.config import CloudConfig, Config, ScaleConfig, ScanConfig
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.poses import pose_to_matrix
from depth_anything_ros.ros import live_transforms
from depth_anything_ros.ros.live_transforms import TransformListener
from depth_anything_ros.ros.transforms import Transforms, TransformUnavailable
from helpers import SCENE_CAMERA

SECOND = 1_000_000_000
NOW = 1_000_000_000 * SECOND


@pytest.fixture(scope='module')
def node():
    """Return a real node; its clock is driven by hand."""
    rclpy.init()
    made = rclpy.create_node(
        'transforms', parameter_overrides=[Parameter('use_sim_time', value=True)]
    )
    yield made
    made.destroy_node()
    rclpy.shutdown()


@pytest.fixture(params=['fake_tf2', 'tf2_py'])
def tf2(request, monkeypatch):
    """Install the fake tf2, or the real one."""
    module = pytest.importorskip(request.param)
    monkeypatch.setattr(live_transforms, 'tf2_py', module)
    if live_transforms.TFMessage is None:  # any type will do where no good message is to come
        monkeypatch.setattr(live_transforms, 'TFMessage', TransformStamped)
    return module


def moved(parent, child, stamp_s, *xyz):
    """Return a transform without rotation, stamped in seconds after NOW."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp = Time(nanoseconds=NOW + round(stamp_s * SECOND)).to_msg()
    t = message.transform.translation
    t.x, t.y, t.z = map(float, xyz)
    return message


@pytest.fixture
def robot(node, tf2):
    """Return what makes Transforms of a robot that drives along x at 10 m/s.

    Its camera is 2 m above odom's plane and its lidar 1 m ahead of and 0.5 m above that; the drive
    is known from 0 to 2 s.
    """
    made = []

    def make(refuse=None, **config):
        listener = TransformListener(node, [Config(scale=ScaleConfig(**config))], refuse)
        made.append(listener)
        one = Transforms(ScaleConfig(**config), listener.buffer)
        one.listener = listener
        drive = [moved('odom', 'base', t / 10, t, 0, 0) for t in range(21)]
        one._tree.add(drive, static=False)
        fixed = [moved('base', 'camera', 0, 0, 0, 2), moved('base', 'lidar', 0, 1, 0, 2.5)]
        one._tree.add(fixed, static=True)
        return one

    yield make
    for one in made:
        one.close()


@pytest.fixture
def no_wait(monkeypatch):
    """Fail where something is waited for."""

    def wait(self, timeout=None):
        raise AssertionError('waited')

    monkeypatch.setattr('threading.Condition.wait', wait)


def at(time_s):
    """Return seconds after NOW as a stamp."""
    return NOW + round(time_s * SECOND)


def sweep(stamp_s=1.0, time_s=None, frame_id='lidar'):
    """Return two points 5 m ahead of the lidar."""
    xyz_m = np.array([[5, 0, 0], [5, 0, 0]], np.float32)
    return SensorPoints(xyz_m, at(stamp_s), frame_id, time_s)


def test_sensor_pose(robot, no_wait):
    points, T_camera_sensor = robot().sensor(sweep(), 'camera', at(1))
    np.testing.assert_allclose(T_camera_sensor[:3, 3], [1, 0, 0.5], atol=1e-6)
    np.testing.assert_array_equal(points.xyz_m, sweep().xyz_m)


def test_points_are_carried_from_their_time_to_the_image_s(robot, no_wait):
    # The image is 0.05 s after the scan's stamp; the second point was hit 0.1 s after the stamp.
    # The world stood still: the first point is 0.5 m nearer by the image's time, the second was
    # 0.5 m farther.
    scan = sweep(time_s=np.array([0.0, 0.1]))
    points, T_camera_sensor = robot(fixed_frame='odom').sensor(scan, 'camera', at(1.05))
    np.testing.assert_allclose(points.xyz_m[:, 0], [4.5, 5.5], atol=1e-4)
    np.testing.assert_allclose(T_camera_sensor[:3, 3], [1, 0, 0.5], atol=1e-6)


def test_points_of_the_image_s_own_time_stand_where_they_are_without_odometry(robot, no_wait):
    one = robot(fixed_frame='odom2', T_camera_sensor=(0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 1.0))
    for scan in (sweep(), sweep(time_s=np.zeros(2)), sweep(0.9, time_s=np.full(2, 0.1))):
        np.testing.assert_array_equal(one.sensor(scan, 'camera', at(1))[0].xyz_m, scan.xyz_m)
    for scan in (sweep(0.9), sweep(time_s=np.array([0.0, 0.01]))):
        with pytest.raises(TransformUnavailable, match='odom2'):
            one.sensor(scan, 'camera', at(1))


def test_parameter_beats_tf(robot, no_wait):
    pose = (0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 1.0)
    one = robot(T_camera_sensor=pose, ground_frame='odom')
    np.testing.assert_allclose(one.sensor(sweep(), 'camera', at(1))[1][2, 3], 3.0)


def test_ground(robot, no_wait):
    # A camera 2 m above odom's plane z = 0, its axes those of odom: down is -z.
    ground = robot(ground_frame='odom').ground(SCENE_CAMERA, 'camera', at(1))
    assert ground.height_m == pytest.approx(2.0)
    np.testing.assert_allclose(ground.normal_down, [0, 0, -1])
    assert robot().ground(SCENE_CAMERA, 'camera', at(1)) is None


def test_the_camera_s_way_is_told_where_it_is_a_source(robot, no_wait):
    T_fixed_camera = robot(fixed_frame='odom').camera('camera', at(0.55))
    np.testing.assert_allclose(T_fixed_camera, pose_to_matrix([5.5, 0, 2, 0, 0, 0, 1]), atol=1e-6)
    assert robot().camera('camera', at(1)) is None
    assert robot(fixed_frame='odom', method='lidar').camera('camera', at(1)) is None
    with pytest.raises(TransformUnavailable, match='TF from camera to odom'):
        robot(fixed_frame='odom', method='lidar,motion').camera('camera', at(30))


@pytest.mark.parametrize(
    'camera, lidar, time_s',
    [
        ('nowhere', 'lidar', 1),  # not known
        ('camera', 'nowhere', 1),
        ('', 'lidar', 1),
        ('/camera', 'lidar', 1),
        ('map', 'lidar', 1),  # known, in another tree
        ('odom', 'lidar', -0.1),  # never known any more
        ('odom', 'lidar', 2.6),  # the drive has stopped
        ('odom', 'lidar', 3600),
        ('odom', 'lidar', -NOW / SECOND - 1),  # before 1970
    ],
)
def test_what_is_not_about_to_come_is_not_waited_for(robot, no_wait, camera, lidar, time_s):
    one = robot()
    one._tree.add([moved('earth', 'map', 1, 0, 0, 0)], static=True)
    with pytest.raises(TransformUnavailable) as raised:
        one.sensor(sweep(frame_id=lidar), camera, at(time_s))
    assert raised.value.reason == 'no_transform' and '\n' not in str(raised.value)


def test_a_frame_that_was_unknown_is_found_when_it_has_come(robot, no_wait):
    one = robot()
    with pytest.raises(TransformUnavailable, match='TF from lidar2 to camera: "lidar2"'):
        one.sensor(sweep(frame_id='lidar2'), 'camera', at(1))
    one._tree.add([moved('base', 'lidar2', 0, 3, 0, 2)], static=True)
    T_camera_sensor = one.sensor(sweep(frame_id='lidar2'), 'camera', at(1))[1]
    np.testing.assert_allclose(T_camera_sensor[:3, 3], [3, 0, 0], atol=1e-6)


def test_what_is_about_to_come_is_waited_for(robot, monkeypatch):
    one = robot(ground_frame='odom')

    def wait(self, timeout=None):  # the lock is let go of; the executor's thread comes
        one._tree.add([moved('odom', 'base', 2.2, 22, 0, 1)], static=False)

    monkeypatch.setattr('threading.Condition.wait', wait)
    assert one.ground(SCENE_CAMERA, 'camera', at(2.1)).height_m == pytest.approx(2.5)


def test_a_transform_that_comes_ends_the_wait(robot, monkeypatch):
    monkeypatch.setattr(live_transforms, 'WAIT_S', 60.0)
    one, found = robot(ground_frame='odom'), []
    image = threading.Thread(
        target=lambda: found.append(one.ground(SCENE_CAMERA, 'camera', at(2.1))), daemon=True
    )
    image.start()
    one._tree.add([moved('odom', 'base', 2.2, 22, 0, 1)], static=False)
    image.join(10)
    assert found[0].height_m == pytest.approx(2.5)


def test_all_lookups_of_a_frame_wait_50_ms_together(robot, monkeypatch):
    clock_s, waits_s = [100.0], []

    def wait(self, timeout=None):
        waits_s.append(timeout)
        clock_s[0] += min(timeout, 0.03) + 1e-6  # something else has come

    monkeypatch.setattr('threading.Condition.wait', wait)
    monkeypatch.setattr(live_transforms, 'time', SimpleNamespace(monotonic=lambda: clock_s[0]))
    one = robot(ground_frame='odom', fixed_frame='odom')
    for stamp_s in (2.1, 2.2):
        waits_s.clear()
        for _ in range(2):
            with pytest.raises(TransformUnavailable, match='xtrapolation'):
                one.ground(SCENE_CAMERA, 'camera', at(stamp_s))
            with pytest.raises(TransformUnavailable, match='xtrapolation'):
                one.sensor(sweep(), 'camera', at(stamp_s))
        np.testing.assert_allclose(waits_s, [0.05, 0.02], atol=1e-5)


def test_the_fixed_frame_is_named(robot, no_wait):
    message = r'TF from lidar to odom2 \(scale.fixed_frame\): "odom2"'
    with pytest.raises(TransformUnavailable, match=message):
        robot(fixed_frame='odom2').sensor(sweep(), 'camera', at(1.05))


def test_impossible_transforms_and_other_bytes_change_nothing(robot, no_wait):
    refused = []
    one = robot(refuse=refused.append)
    unturned = moved('base', 'lidar', 0, 1, 0, 9)
    unturned.transform.rotation.w = 0.0
    before_1970 = moved('odom', 'base', 1, 99, 0, 0)
    before_1970.header.stamp.sec = -5
    one._tree.add([unturned, moved('base', 'lidar', 0, np.nan, 0, 9)], static=True)
    one._tree.add([before_1970, moved('odom', '', 1, 99, 0, 0)], static=False)
    for data in (b'', b'\x00\x01\x00', b'\x00\x01\x00\x00' + b'\xff' * 40):
        one.listener._on_transforms(one._tree, False, data)
    assert [error.reason for error in refused] == ['undecodable_message'] * 3
    T_camera_sensor = one.sensor(sweep(), 'camera', at(1))[1]
    np.testing.assert_allclose(T_camera_sensor[:3, 3], [1, 0, 0.5], atol=1e-6)


def test_an_infinite_transform_is_none(robot, no_wait):
    one = robot(ground_frame='odom')
    one._tree.add([moved('base', 'camera', 0, 0, 0, np.inf)], static=True)
    with pytest.raises(TransformUnavailable, match='TF from camera to odom: .*finite'):
        one.ground(SCENE_CAMERA, 'camera', at(1))


def test_time_that_jumps_back_forgets_what_moves(robot, node, no_wait):
    # A bag that starts again: its transforms would be too old for the buffer otherwise.
    one, clock = robot(ground_frame='odom'), node.get_clock()
    clock.set_ros_time_override(Time(nanoseconds=at(2), clock_type=ClockType.ROS_TIME))
    clock.set_ros_time_override(Time(nanoseconds=at(-100), clock_type=ClockType.ROS_TIME))
    with pytest.raises(TransformUnavailable):
        one.ground(SCENE_CAMERA, 'camera', at(1))
    for stamp_s in (-101, -100):
        one._tree.add([moved('odom', 'base', stamp_s, 0, 0, 1)], static=False)
    assert one.ground(SCENE_CAMERA, 'camera', at(-100.5)).height_m == pytest.approx(3)


def test_nothing_is_left_behind(node, tf2):
    def listening():
        return len(list(node.subscriptions)), len(list(node.services)), len(list(node.clients))

    before = listening()
    for _ in range(3):
        one = TransformListener(node, [Config(scale=ScaleConfig())], None)
        assert listening() == (before[0] + 2, *before[1:])
        buffer = weakref.ref(one.buffer)
        one.close()
        one.close()
        del one
        gc.collect()
        assert listening() == before
        assert buffer() is None  # nor does the clock hold it


def test_nothing_is_listened_to_where_nothing_is_to_come_from_tf(node, tf2):
    before = len(list(node.subscriptions))
    pose = (0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 1.0)
    TransformListener(node, [Config(scale=ScaleConfig(T_camera_sensor=pose, method='lidar'))], None)
    assert len(list(node.subscriptions)) == before
    # Where a cloud is to be published, and where the second camera of a stereo pair is, as well.
    known = ScaleConfig(T_camera_sensor=pose, method='lidar')
    for own in ({'cloud': CloudConfig(frame='base')}, {'scan': ScanConfig(frame='base')}):
        one = TransformListener(node, [Config(scale=known, **own)], None)
        assert len(list(node.subscriptions)) == before + 2
        one.close()
    stereo = Config(scale=ScaleConfig(method='stereo', T_camera_sensor=pose))
    TransformListener(node, [stereo], None).close()
    one = TransformListener(node, [stereo], None)
    assert len(list(node.subscriptions)) == before + 2
    one.close()


@pytest.mark.parametrize(
    'config, cure',
    [
        ({}, 'set scale.T_camera_sensor'),
        ({'fixed_frame': 'odom'}, 'leave scale.fixed_frame empty'),
        ({'ground_frame': 'odom'}, 'set scale.camera_height and scale.camera_pitch'),
    ],
)
def test_without_tf2_the_cure_is_named(node, monkeypatch, config, cure):
    monkeypatch.setattr(live_transforms, 'tf2_py', None)
    listener = TransformListener(node, [Config(scale=ScaleConfig(**config))], None)
    one = Transforms(ScaleConfig(**config), listener.buffer)
    with pytest.raises(TransformUnavailable, match=cure):
        one.ground(SCENE_CAMERA, 'camera', at(1))
        one.sensor(sweep(), 'camera', at(1.05))


def test_transforms_come_over_dds(node):
    pytest.importorskip('tf2_py')
    kind = pytest.importorskip('tf2_msgs.msg').TFMessage
    robot = rclpy.create_node('broadcaster')
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    robot.create_publisher(kind, '/tf_static', latched).publish(
        kind(transforms=[moved('base', 'camera', 0, 0, 0, 2)])
    )
    tf = robot.create_publisher(kind, '/tf', 10)
    listener = TransformListener(node, [Config(scale=ScaleConfig(ground_frame='odom'))], None)
    one = Transforms(ScaleConfig(ground_frame='odom'), listener.buffer)
    for _ in range(300):
        tf.publish(kind(transforms=[moved('odom', 'base', t, t, 0, 1) for t in (0, 1)]))
        rclpy.spin_once(node, timeout_sec=0.1)
        try:
            ground = one.ground(SCENE_CAMERA, 'camera', at(0.5))
            break
        except TransformUnavailable:
            pass
    assert ground.height_m == pytest.approx(3)
    listener.close()
    robot.destroy_node()
