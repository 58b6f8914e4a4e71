# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of a recording against numbers by hand, and against what stands in for tf2 elsewhere."""

import math

from geometry_msgs.msg import TransformStamped
import numpy as np
import pytest
from rclpy.time import Time
from scipy.spatial.transform import Rotation

from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.ros.messages import transform_to_matrix
from depth_anything_ros.ros.transform_tree import TransformTree
from depth_anything_ros.ros.transforms import Transforms, TransformUnavailable
import fake_tf2

SECOND = 1_000_000_000


def link(parent, child, time_s, xyz=(0, 0, 0), yaw_deg=0.0, rotation=None):
    """Return a transform with a turn about z, or any rotation."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp = Time(nanoseconds=round(time_s * SECOND)).to_msg()
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, xyz)
    turn = rotation or Rotation.from_euler('z', yaw_deg, degrees=True)
    q.x, q.y, q.z, q.w = map(float, turn.as_quat())
    return message


def tree_of(moving=(), static=()):
    """Return a tree of links."""
    tree = TransformTree()
    tree.add(list(moving), static=False)
    tree.add(list(static), static=True)
    return tree


def at(time_s):
    """Return seconds as a stamp."""
    return round(time_s * SECOND)


# base drives 10 m along x from 1 to 2 s and turns from 350 to 10 degrees, the short way; the camera
# is 1 m ahead of it, and the lidar 2 m to its left.
DRIVE = [
    link('odom', 'base', 1, (0, 0, 0), 350),
    link('odom', 'base', 2, (10, 0, 0), 10),
]
MOUNTS = [link('base', 'camera', 0, (1, 0, 0)), link('base', 'lidar', 0, (0, 2, 0))]


def test_between_two_times_translation_is_linear_and_the_turn_the_short_way():
    tree = tree_of(DRIVE, MOUNTS)
    # At 1.25 s base is 2.5 m on, and has turned by a quarter of 20 degrees from -10: -5.
    T = tree.between('odom', 'camera', at(1.25))
    turn = math.radians(-5)
    np.testing.assert_allclose(T[:3, 3], [2.5 + math.cos(turn), math.sin(turn), 0], atol=1e-12)
    np.testing.assert_allclose(T[:2, 0], [math.cos(turn), math.sin(turn)], atol=1e-12)
    np.testing.assert_allclose(tree.between('odom', 'base', at(1.5))[:3, :3], np.eye(3), atol=1e-12)


def test_what_two_frames_share_drops_out_and_static_links_hold_at_all_times():
    tree = tree_of(DRIVE, MOUNTS)
    for time_s in (0, 1.3, 1e6):
        np.testing.assert_allclose(tree.between('camera', 'lidar', at(time_s))[:3, 3], [-1, 2, 0])
    np.testing.assert_array_equal(tree.between('camera', 'camera', at(99)), np.eye(4))


def test_a_frame_that_moves_between_two_times():
    tree = tree_of([link('odom', 'base', t, (10 * (t - 1), 0, 0)) for t in (1, 2)], MOUNTS)
    # Where the lidar was at 1.2 s, seen from the lidar at 1.5 s: 3 m behind.
    T = tree.through('lidar', 'odom', at(1.5), at(1.2))
    np.testing.assert_allclose(T[:3, 3], [-3, 0, 0], atol=1e-12)


@pytest.mark.parametrize(
    'target, source, time_s, why',
    [
        ('odom', 'base', 0.999, 'known from .0.001 s to .1.001 s .* nothing is extrapolated'),
        ('odom', 'camera', 2.001, 'nothing is extrapolated'),
        ('camera', 'sonar', 1.5, '"sonar" is in no transform'),
        ('', 'base', 1.5, '"" is in no transform'),
        ('odom', 'map', 1.5, 'nothing in the recording connects'),
        ('odom', 'once', 1.6, 'nothing is extrapolated'),
    ],
)
def test_what_is_not_known_is_said_and_never_made_up(target, source, time_s, why):
    tree = tree_of(
        [*DRIVE, link('odom', 'once', 1.5)], [*MOUNTS, link('earth', 'map', 0)]
    )
    with pytest.raises(TransformUnavailable, match=why) as raised:
        tree.between(target, source, at(time_s))
    assert '\n' not in str(raised.value)
    if source == 'once':
        np.testing.assert_array_equal(tree.between('odom', 'once', at(1.5)), np.eye(4))


def test_a_circle_is_no_tree():
    tree = tree_of([], [link('a', 'b', 0), link('b', 'a', 0), link('c', 'd', 0)])
    with pytest.raises(TransformUnavailable, match='its own ancestor'):
        tree.between('d', 'a', at(1))


def test_what_is_no_transform_is_refused_and_the_others_are_kept():
    turned = link('base', 'camera', 1, (9, 9, 9))
    turned.transform.rotation.w = 0.0
    for bad in (
        turned,
        link('base', 'camera', 1, (np.nan, 0, 0)),
        link('base', 'camera', 1, (np.inf, 0, 0)),
        link('base', '', 1),
        link('', 'base', 1),
        link('base', 'base', 1),
    ):
        tree = TransformTree()
        with pytest.raises(BadFrameError) as raised:
            tree.add([bad, *MOUNTS], static=True)
        assert raised.value.reason == 'bad_transform'
        np.testing.assert_allclose(tree.between('base', 'camera', at(1))[:3, 3], [1, 0, 0])


def test_order_of_arrival_does_not_matter_and_the_first_of_a_time_counts():
    tree = TransformTree()
    tree.add([link('odom', 'base', t, (t, 0, 0)) for t in (3, 1, 2)], static=False)
    tree.add([link('odom', 'base', 2, (50, 0, 0))], static=False)
    np.testing.assert_allclose(tree.between('odom', 'base', at(1.5))[:3, 3], [1.5, 0, 0])
    np.testing.assert_allclose(tree.between('odom', 'base', at(2))[:3, 3], [2, 0, 0])


def test_ten_seconds_are_kept_and_memory_is_bounded():
    tree = TransformTree()
    for i in range(10_000):
        tree.add([link('odom', 'base', i / 100, (i, 0, 0))], static=False)
    np.testing.assert_allclose(tree.between('odom', 'base', at(90))[:3, 3], [9000, 0, 0])
    assert len(tree._poses['base']) == len(tree._stamps_ns['base']) <= 2001
    tree.add([link('odom', 'base', 89, (-1, 0, 0))], static=False)  # too old, as for tf2
    with pytest.raises(TransformUnavailable, match='extrapolated'):
        tree.between('odom', 'base', at(50))
    tree.clear()
    with pytest.raises(TransformUnavailable):
        tree.between('odom', 'base', at(99))


def test_a_frame_that_is_handed_on_stays_where_it_was_until_then():
    # A box is carried by one robot until 1 s and by another from 2 s on: tf2 takes the former.
    tree = tree_of(
        [link('one', 'box', 1, (1, 0, 0)), link('two', 'box', 2, (5, 0, 0))],
        [link('room', 'one', 0), link('room', 'two', 0)],
    )
    np.testing.assert_allclose(tree.between('room', 'box', at(1.5))[:3, 3], [1, 0, 0])
    np.testing.assert_allclose(tree.between('room', 'box', at(2))[:3, 3], [5, 0, 0])


def test_it_says_what_the_stand_in_for_tf2_says():
    rng = np.random.default_rng(0)
    names = ['a', 'b', 'c', 'd', 'e', 'f']
    parents = {child: names[rng.integers(i)] for i, child in enumerate(names) if i}
    tree, other = TransformTree(), fake_tf2.BufferCore()
    for child, parent in parents.items():
        static = child in 'cf'
        for time_s in [0] if static else np.sort(rng.uniform(0, 9, 8)):
            one = link(parent, child, time_s, rng.normal(size=3), rotation=Rotation.random(rng=rng))
            tree.add([one], static)
            (other.set_transform_static if static else other.set_transform)(one, 'test')
    compared = 0
    for time_s in rng.uniform(0, 9, 40):
        for target in names:
            for source in names:
                time = Time(nanoseconds=at(time_s))
                try:
                    expected = other.lookup_transform_core(target, source, time).transform
                except fake_tf2.TransformException:
                    with pytest.raises(TransformUnavailable):
                        tree.between(target, source, at(time_s))
                    continue
                found = tree.between(target, source, at(time_s))
                np.testing.assert_allclose(found, transform_to_matrix(expected), atol=1e-9)
                compared += 1
    assert compared > 200


def test_points_are_carried_from_their_time_to_the_image_s():
    # As over ROS: 10 m/s along x; the second point was hit .1 s after the stamp, the image taken
    # .05 s after it. The first is .5 m nearer by then, the second was .5 m farther.
    drive = [link('odom', 'base', t, (10 * t, 0, 0)) for t in (1, 2)]
    transforms = Transforms(ScaleConfig(fixed_frame='odom'), tree_of(drive, MOUNTS))
    sweep = SensorPoints(
        np.array([[5, 0, 0], [5, 0, 0]], np.float32), at(1.2), 'lidar', np.array([0.0, 0.1])
    )
    points, T_camera_sensor = transforms.sensor(sweep, 'camera', at(1.25))
    np.testing.assert_allclose(points.xyz_m[:, 0], [4.5, 5.5], atol=1e-4)
    np.testing.assert_allclose(T_camera_sensor[:3, 3], [-1, 2, 0], atol=1e-6)
