# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The level scan: a post before a wall, worked out by hand."""

import math

import numpy as np
import pytest

from depth_anything_ros.camera import Camera
from depth_anything_ros.cloud.scan import level_scan
from depth_anything_ros.cloud.viewpoint import Viewpoint
from depth_anything_ros.config import ScanConfig
from depth_anything_ros.poses import pose_to_matrix

CAMERA = Camera.from_calibration(101, 81, [[100.0, 0, 50], [0, 100.0, 40], [0, 0, 1]])
# The optical axis looks along base_link's x, from 30 cm before its origin, 60 cm up.
FORWARD = [0.3, 0, 0.6, -0.5, 0.5, -0.5, 0.5]
BACKWARD = [-0.3, 0, 0.6, 0.5, 0.5, -0.5, -0.5]


def scanned(z_m, pose=FORWARD, **values):
    config = ScanConfig(frame='base_link', **values)
    view = Viewpoint.of(CAMERA, 1, 'base_link', pose_to_matrix(pose))
    return level_scan(z_m, view, config)


def at(scan, angle):
    step = round((angle - scan.angle_min) / scan.angle_increment)
    return scan.ranges_m[step % len(scan.ranges_m)]


def wall(depth_m=4.0):
    return np.full(CAMERA.size, depth_m, np.float32)


def test_a_wall_ahead():
    scan = scanned(wall())
    assert len(scan.ranges_m) == 720
    assert at(scan, 0.0) == pytest.approx(4.3)
    # Column 100 is at y = -.5 * 4 = -2: atan2(-2, 4.3), and as far as that.
    assert at(scan, math.atan2(-2, 4.3)) == pytest.approx(math.hypot(2, 4.3), rel=5e-3)
    assert np.isnan(at(scan, math.pi / 2)) and np.isnan(at(scan, math.pi))
    seen = np.flatnonzero(np.isfinite(scan.ranges_m)) * scan.angle_increment + scan.angle_min
    assert max(abs(seen)) == pytest.approx(math.atan2(2, 4.3), abs=scan.angle_increment)


def test_behind_the_robot_the_turn_closes():
    scan = scanned(wall(), BACKWARD)
    for angle in (math.pi, -math.pi, math.pi - 0.2, 0.2 - math.pi):
        assert at(scan, angle) == pytest.approx(4.3 / abs(math.cos(angle)), rel=5e-3)
    assert np.isnan(at(scan, 0.0))


def test_only_what_is_between_the_heights_counts():
    z_m = wall()
    z_m[60:] = 1.0  # 20 px below the axis: .6 - .2 = .4 m and lower
    assert at(scanned(z_m, min_height=0.1), 0.0) == pytest.approx(1.3)
    assert at(scanned(z_m, min_height=0.41), 0.0) == pytest.approx(4.3)
    assert np.isnan(at(scanned(z_m, min_height=3.0, max_height=4.0), 0.0))


def test_ranges_and_holes():
    assert np.isnan(at(scanned(wall(), max_range=4.2), 0.0))
    assert np.isnan(at(scanned(wall(), min_range=4.4), 0.0))
    assert np.isnan(scanned(wall(np.nan)).ranges_m).all()


@pytest.mark.parametrize('increment', [1e-4, 0.1, 1.0])
def test_a_turn_is_divided_evenly(increment):
    scan = scanned(wall(), angle_increment=increment)
    assert len(scan.ranges_m) * scan.angle_increment == pytest.approx(2 * math.pi)
    assert scan.angle_increment == pytest.approx(increment, rel=0.1)
