# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse points to anchors: projection, screening, occlusion, de-skewing."""

from __future__ import annotations

import math

import numpy as np

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.metric_depth.anchors import deskew, project_points, SensorPoints
from depth_anything_ros.poses import interpolate

CAMERA = Camera(64, 48, np.array([[50.0, 0, 31.5], [0, 50.0, 23.5], [0, 0, 1]]))
# Sensor x forward, y left, z up; the camera looks along x.
T_CAMERA_SENSOR = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


def scan(*xyz_m: tuple[float, float, float], ring: list[int] | None = None) -> SensorPoints:
    rings = None if ring is None else np.array(ring)
    return SensorPoints(np.array(xyz_m, dtype=np.float32).reshape(-1, 3), 0, 'lidar', ring=rings)


def project(points: SensorPoints, camera: Camera = CAMERA):
    return project_points(points, T_CAMERA_SENSOR, camera, ScaleConfig())


def test_a_point_lands_where_the_pinhole_says():
    # 10 m ahead, 1 m left, 0.5 m up: u = 31.5 - 50 / 10, v = 23.5 - 0.5 * 50 / 10.
    anchors = project(scan((10.0, 1.0, 0.5), ring=[7]))
    assert anchors.u.tolist() == [26.5]
    assert anchors.v.tolist() == [21.0]
    assert anchors.z_m.tolist() == [10.0]
    assert anchors.ring.tolist() == [7]


def test_rings_are_minus_one_where_the_cloud_has_none():
    assert project(scan((10.0, 0.0, 0.0))).ring.tolist() == [-1]


def test_what_cannot_be_an_anchor_is_left_out():
    nan = math.nan
    points = scan(
        (-10.0, 0, 0),  # behind
        (0.3, 0, 0),  # nearer than min_range
        (90.0, 0, 0),  # beyond max_range
        (10.0, 20.0, 0),  # outside the image
        (nan, 0, 0),
        (10.0, math.inf, 0),
    )
    assert len(project(points)) == 0
    assert len(project(scan())) == 0


def test_the_rectifying_rotation_is_applied():
    # R turns the optical frame by 0.1 rad about y: a point straight ahead moves to u = f tan 0.1.
    c, s = math.cos(0.1), math.sin(0.1)
    R = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    anchors = project(scan((10.0, 0.0, 0.0)), Camera(64, 48, CAMERA.K, R=R))
    np.testing.assert_allclose(anchors.u, 31.5 + 50 * math.tan(0.1), rtol=1e-5)
    np.testing.assert_allclose(anchors.z_m, 10 * math.cos(0.1), rtol=1e-5)


def test_of_two_points_in_one_pixel_the_nearer_stays():
    anchors = project(scan((20.0, 0.0, 0.0), (5.0, 0.0, 0.0)))
    assert anchors.z_m.tolist() == [5.0]


def test_a_point_behind_an_object_is_hidden_though_no_point_covers_its_pixel():
    # A wall of points at 4 m, two pixels apart, and a point at 30 m between them.
    wall = [(4.0, y * 0.16, z * 0.16) for y in range(-5, 6) for z in range(-5, 6)]
    behind = (30.0, 0.3, 0.3)  # pixel (31, 23); the wall has even columns and rows only
    anchors = project(scan(*wall, behind))
    assert len(anchors) == len(wall)
    assert anchors.z_m.max() == 4.0


def test_flat_ground_does_not_hide_itself():
    # Camera 1.5 m above ground; rows of points from 4 m to 40 m, each in pixels of its own.
    ground = [(x, y, -1.5) for x in np.geomspace(4, 40, 30) for y in np.linspace(-2, 2, 9)]
    camera = Camera(640, 480, np.array([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]]))
    assert len(project(scan(*ground), camera)) == len(ground)


def test_deskewing_straightens_a_wall_seen_while_driving():
    # The sensor drives at 10 m/s towards a wall 20 m ahead of where it is at the image's time.
    time_s = np.array([-0.1, -0.05, 0.0])
    seen = SensorPoints(
        np.array([[21.0, 1, 0], [20.5, 0, 0], [20.0, -1, 0]], np.float32), 0, 'lidar', time_s
    )
    before = np.eye(4)
    before[0, 3] = -1.0  # where the sensor was 0.1 s earlier, in the sensor frame of the image
    T_image_sensor = interpolate(before, np.eye(4), (time_s + 0.1) / 0.1)
    straight = deskew(seen, T_image_sensor)
    np.testing.assert_allclose(straight.xyz_m, [[20, 1, 0], [20, 0, 0], [20, -1, 0]], atol=1e-5)
    assert straight.time_s is None
