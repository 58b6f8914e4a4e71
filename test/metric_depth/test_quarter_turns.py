# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A sensor whose axes were confused is found by edges; one that is right is left alone."""

import numpy as np
import pytest

from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.evaluation.frames import load_frames
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.extrinsics import outline
from depth_anything_ros.metric_depth.quarter_turns import better_turn, seeing_turn, turned, TURNS
from depth_anything_ros.metric_depth.sources import Sweep
from depth_anything_ros.prediction import edge_view
from depth_anything_ros.tools.world_robot import DEMO_SEED
from depth_anything_ros.world.drive import CAMERA, T_CAMERA_LIDAR, WorldDrive
from helpers import needs_real_data, REAL_DATA

CONFIG = ScaleConfig()
# A quarter about z is (x, y, z) -> (-y, x, z).
ROLL = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
PITCH = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


@pytest.fixture(scope='module')
def views():
    drive = WorldDrive(DEMO_SEED, 'street')
    found = []
    for moment in (drive.moment(t) for t in (2.0, 2.4, 2.8)):
        ring = moment.sweep.ring.astype(np.int64)
        points = SensorPoints(moment.sweep.points_lidar, 0, 'lidar', ring=ring)
        found.append((outline(edge_view(CAMERA)(moment.image_rgb)), Sweep(points, T_CAMERA_LIDAR)))
    return found


def test_a_right_pose_is_left_alone(views):
    assert better_turn(views, CAMERA, CONFIG) is None


@pytest.mark.parametrize('wrong', [ROLL, ROLL.T, np.diag([-1.0, -1, 1])])
def test_a_confused_axis_is_found_and_the_pose_told(views, wrong):
    T = better_turn([(edges, turned(sweep, wrong)) for edges, sweep in views], CAMERA, CONFIG)
    np.testing.assert_allclose(T, T_CAMERA_LIDAR, atol=1e-12)


def test_a_lidar_that_sees_nothing_is_told_how_it_would(views):
    sweep = turned(views[0][1], PITCH)  # its up is now ahead: 22.5 degrees of a sphere's belt
    assert not len(sweep.anchors(CAMERA, CONFIG))
    T = seeing_turn(sweep, CAMERA, CONFIG)
    assert len(Sweep(sweep.points, T).anchors(CAMERA, CONFIG)) > 1500
    none = SensorPoints(sweep.points.xyz_m[:0], 0, 'lidar')
    assert seeing_turn(Sweep(none, T_CAMERA_LIDAR), CAMERA, CONFIG) is None


def test_the_24_turns_of_a_cube():
    assert len({tuple(R.ravel()) for R in TURNS}) == 24
    assert np.allclose(np.linalg.det(TURNS), 1) and np.array_equal(TURNS[0], np.eye(3))


@needs_real_data
@pytest.mark.parametrize('name', ['kitti', 'nuscenes'])
def test_right_poses_of_real_frames_are_left_alone(name):
    for frame in load_frames(REAL_DATA / name):
        edges = outline(edge_view(frame.camera)(frame.image_rgb))
        sweep = Sweep(frame.points, frame.T_camera_sensor)
        assert better_turn([(edges, sweep)], frame.camera, CONFIG) is None, frame.name
