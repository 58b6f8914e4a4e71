# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every kind of bad input over real DDS: it is counted and explained, and the node lives on."""

import copy
import re
import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
import pytest
import rclpy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField

from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.meeting import all_matched, NodeInputs
from depth_anything_ros.ros.messages import (
    encode_camera,
    encode_image,
    encode_points,
    ns_to_stamp,
)
from depth_anything_ros.ros.sensor_publisher import SensorPublisher
from helpers import (
    program,
    SCENE_CAMERA,
    scene_image,
    scene_lidar,
    SCENE_T_CAMERA_LIDAR,
    TEST,
)

PATIENCE_S = 30.0


class Robot:
    """Publishes to the node and listens to it."""

    def __init__(self):
        self.node = rclpy.create_node('robot')
        self.sensors = SensorPublisher(self.node, 'camera')
        self.image_pub, self.info_pub, self.points_pub = self.sensors.publishers
        self.inputs = NodeInputs(self.node)
        self.status, self.relative, self.drops = [], [], {}
        self.subscriptions = [
            self.node.create_subscription(kind, topic, callback, 10)
            for kind, topic, callback in (
                (DiagnosticStatus, 'depth/scale', self.status.append),
                (Image, 'depth/relative', self.relative.append),
                (Image, 'depth/image', lambda message: None),
                (DiagnosticArray, '/diagnostics', self._count),
            )
        ]
        self.stamp_ns = 1_000_000_000_000

    def _count(self, message):
        values = {pair.key: pair.value for pair in message.status[0].values}
        self.drops = {k[8:]: int(v) for k, v in values.items() if k.startswith('dropped_')}

    def header(self, message):
        """Give a message the stamp of the current frame."""
        message.header.frame_id = 'camera'
        stamp = ns_to_stamp(self.stamp_ns)
        message.header.stamp.sec, message.header.stamp.nanosec = stamp['sec'], stamp['nanosec']
        return message

    def image(self, picture=None):
        """Return a good image message."""
        picture = scene_image() if picture is None else picture
        return self.header(Image(**encode_image(picture, 'rgb8')))

    def camera_info(self, **changes):
        """Return a good CameraInfo, with some fields changed."""
        return self.header(CameraInfo(**(encode_camera(SCENE_CAMERA) | changes)))

    def cloud(self):
        """Return a good cloud message."""
        xyz_m, ring = scene_lidar()
        numbers, fields = encode_points(SensorPoints(xyz_m, self.stamp_ns, 'lidar', None, ring))
        message = PointCloud2(fields=[PointField(**field) for field in fields], **numbers)
        return self.header(message)

    def spin_until(self, condition, again=lambda: None):
        """Spin, repeating an action every half second, until something holds."""
        end = time.monotonic() + PATIENCE_S
        repeat = 0.0
        while time.monotonic() < end:
            if time.monotonic() >= repeat:
                again()
                repeat = time.monotonic() + 0.5
            rclpy.spin_once(self.node, timeout_sec=0.05)
            if condition():
                return
        raise AssertionError('nothing came within the time')

    def play(self, image=None, camera_info=None, cloud=None):
        """Publish one frame at a new stamp until the node has answered it; return the answer.

        Returns:
            The status of this very stamp.
        """
        self.stamp_ns += 50_000_000
        stamp = '{}.{:09d}'.format(*divmod(self.stamp_ns, 1_000_000_000))
        info = self.camera_info() if camera_info is None else self.header(camera_info)
        cloud = self.cloud() if cloud is None else self.header(cloud)
        image = self.image() if image is None else self.header(image)

        def publish():
            self.points_pub.publish(cloud)
            self.info_pub.publish(info)
            self.image_pub.publish(image)

        def answer():
            return [s for s in self.status if {v.key: v.value for v in s.values}['stamp'] == stamp]

        self.spin_until(answer, publish)
        return answer()[-1]

    def refused(self, reason, image):
        """Publish an image that must be dropped under a reason, and wait for the count."""
        before = self.drops.get(reason, 0)
        image = self.header(image)
        self.spin_until(
            lambda: self.drops.get(reason, 0) > before, lambda: self.image_pub.publish(image)
        )


@pytest.fixture(scope='module')
def robot():
    """Start the node and a robot that it can see."""
    pose = ', '.join(f'{x:.9f}' for x in matrix_to_pose(SCENE_T_CAMERA_LIDAR))
    node = TEST / 'programs' / 'fake_network_node.py'
    arguments = ['exact', '--ros-args', '-p', f'scale.T_camera_sensor:=[{pose}]']
    arguments += ['-p', 'scale.max_hold:=0.0']
    rclpy.init()
    with program(node, *arguments, ready='predicts') as process:
        made = Robot()
        made.process = process
        inputs = ('image', 'camera_info', 'points')
        made.spin_until(
            lambda: made.inputs.matched(inputs) and all_matched(made.sensors.publishers)
        )
        yield made
        made.node.destroy_node()
    rclpy.shutdown()


def state(status):
    """Return a status's state and reason."""
    return status.message, {value.key: value.value for value in status.values}['reason']


def test_good_frame(robot):
    assert state(robot.play())[0] == 'FITTED'


def changed(message, **fields):
    """Return a message with some fields changed."""
    message = copy.copy(message)
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    'reason, fields',
    [
        ('truncated_image', {'data': []}),
        ('truncated_image', {'height': 481}),
        ('truncated_image', {'step': 100}),
        ('truncated_image', {'height': 0, 'width': 0, 'step': 0, 'data': []}),
        ('unsupported_encoding', {'encoding': 'rgb9'}),
        ('unsupported_encoding', {'encoding': '32FC1'}),
        ('odd_size', {'encoding': 'yuyv', 'width': 639, 'step': 1278}),
        ('image_too_long', {'height': 1, 'width': 20_000, 'step': 60_000}),
    ],
)
def test_bad_images_are_dropped_and_counted(robot, reason, fields):
    robot.refused(reason, changed(robot.image(), **fields))
    assert state(robot.play())[0] == 'FITTED'


@pytest.mark.parametrize(
    'cause, fields',
    [
        ('calibrate', {'k': np.zeros(9), 'p': np.zeros(12)}),
        ('calibrate', {'k': np.diag([-500.0, -500, 1]).ravel(), 'p': np.zeros(12)}),
        ('"mei"', {'distortion_model': 'mei', 'd': [0.1] * 5}),
        ('640x480 but camera_info describes 320x240', {'width': 320, 'height': 240}),
        ('calibrate', {'p': np.diag([500.0, 500, 0, 0])[:3].ravel(), 'd': [0.1] * 5}),
        ('roi and binning', {'binning_x': 2**32 - 1}),
    ],
)
def test_bad_cameras_withhold_metres_and_nothing_else(robot, cause, fields):
    relative = len(robot.relative)
    name, reason = state(robot.play(camera_info=robot.camera_info(**fields)))
    assert name == 'UNANCHORED' and cause in reason
    robot.spin_until(lambda: len(robot.relative) > relative)
    assert state(robot.play())[0] == 'FITTED'


@pytest.mark.parametrize(
    'cause, change',
    [
        ('no x, y, z', lambda cloud: changed(cloud, fields=cloud.fields[:2])),
        ('lacks data', lambda cloud: changed(cloud, data=cloud.data[:-16])),
        ('must be one float each', lambda cloud: changed(cloud, point_step=1)),
        ('limits.points', lambda cloud: changed(cloud, width=2**32 - 1)),
        ('0 usable anchors', lambda cloud: changed(cloud, width=0, row_step=0, data=[])),
    ],
)
def test_bad_clouds_withhold_metres_and_nothing_else(robot, cause, change):
    name, reason = state(robot.play(cloud=change(robot.cloud())))
    assert name == 'UNANCHORED' and cause in reason
    assert state(robot.play())[0] == 'FITTED'


@pytest.mark.parametrize('size', [1, 4, 11, 12, 100])
def test_parts_of_messages_are_dropped_and_counted(robot, size):
    """Nothing that is cut short in serialisation reaches a decoder."""
    cut = serialize_message(robot.image())[:size]
    before = robot.drops.get('undecodable_message', 0)
    robot.spin_until(
        lambda: robot.drops.get('undecodable_message', 0) > before,
        lambda: robot.image_pub.publish(cut),
    )
    cloud = serialize_message(robot.cloud())[:size]
    for _ in range(20):
        robot.points_pub.publish(cloud)
    assert state(robot.play())[0] == 'FITTED'


def test_clouds_too_far_in_time_say_so_and_what_to_do(robot, monkeypatch):
    robot.stamp_ns += 100_000_000_000
    header = robot.header

    def stamped(message):
        message = header(message)
        message.header.stamp.sec -= 3 * isinstance(message, PointCloud2)
        return message

    with monkeypatch.context() as patch:
        patch.setattr(robot, 'header', stamped)
        name, reason = state(robot.play())
    assert name == 'UNANCHORED'
    says = r'no anchors.* are [23]\.\d\d s older than the image: raise scale.max_time_offset'
    assert re.search(says, reason)
    assert state(robot.play())[0] == 'FITTED'


def test_cloud_with_nan_and_infinity(robot):
    cloud = robot.cloud()
    values = np.frombuffer(cloud.data, np.uint8).reshape(-1, 16).copy()
    points = values[:, :12].copy().view('<f4')
    points[::7] = np.nan
    points[1::7] = np.inf
    values[:, :12] = points.view(np.uint8)
    assert state(robot.play(cloud=changed(cloud, data=values.tobytes())))[0] == 'FITTED'


def test_size_change_in_mid_stream(robot):
    small = scene_image()[::2, ::2]
    K = SCENE_CAMERA.strided(2)
    assert state(robot.play(robot.image(np.ascontiguousarray(small)),
                            CameraInfo(**encode_camera(K))))[0] == 'FITTED'
    assert state(robot.play())[0] == 'FITTED'


def test_stamps_going_backwards(robot):
    robot.stamp_ns -= 500_000_000_000
    name, reason = state(robot.play())
    assert name == 'FITTED'
    robot.stamp_ns += 500_000_000_000
    assert state(robot.play())[0] == 'FITTED'


@pytest.mark.parametrize(
    'cause, late_ns, fields, level',
    [
        ('right/image is 5.0 ms older than the image', -5_000_000, {}, 128),
        ('right/camera_info describes 320x240', 0, {'width': 320, 'height': 240}, 128),
        ('fourth column of P', 0, {'Tx': 0.0}, 128),
        ('cameras of the stereo pair are 20 m apart', 0, {'Tx': -500.0 * 20}, 128),
        ('match hardly anywhere', 0, {}, 0),
    ],
)
def test_bad_second_camera_sits_out_and_the_lidar_goes_on(robot, cause, late_ns, fields, level):
    infos = robot.node.create_publisher(CameraInfo, 'right/camera_info', 5)
    images = robot.node.create_publisher(Image, 'right/image', 5)
    robot.spin_until(lambda: robot.inputs.matched(['right/camera_info', 'right/image']))
    P = np.hstack([SCENE_CAMERA.K, [[fields.get('Tx', -60.0)], [0.0], [0.0]]])
    size = {name: fields[name] for name in fields if name != 'Tx'}
    picture = np.full((480, 640), level, np.uint8)

    def told():
        robot.stamp_ns += 50_000_000 + late_ns  # of the frame that is played next
        for publisher, message in (
            (infos, robot.camera_info(p=P.ravel(), **size)),
            (images, robot.header(Image(**encode_image(picture, 'mono8')))),
        ):
            publisher.publish(message)
        robot.stamp_ns -= 50_000_000 + late_ns
        name, reason = state(robot.play())
        assert name == 'FITTED' and 'inliers from lidar' in reason
        return reason

    robot.spin_until(lambda: cause in told())
    robot.node.destroy_publisher(infos)
    robot.node.destroy_publisher(images)


def test_the_node_never_died(robot):
    assert robot.process.poll() is None
