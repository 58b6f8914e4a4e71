# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sparse points to anchors: projection, screening, occlusion, de-skewing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.metric_depth.anchors import deskew, project_points, SensorPoints, visible
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


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('far', [1e-42, 3e38, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize('axes', [slice(0, 3), 0, 1, 2])
def test_no_coordinate_disturbs_the_others(far, axes):
    xyz_m = np.tile(np.array([10.0, 1.0, 0.5], np.float32), (3, 1))
    xyz_m[0, axes], xyz_m[2, axes] = far, -far
    anchors = project(SensorPoints(xyz_m, 0, 'lidar', ring=np.array([1, 2, 3])))
    columns = (anchors.u, anchors.v, anchors.z_m, anchors.ring)
    assert (26.5, 21.0, 10.0, 2) in zip(*(x.tolist() for x in columns))
    assert all(np.isfinite(x).all() for x in columns)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('offset_m', [1e308, math.nan])
def test_a_sensor_that_is_nowhere_gives_no_anchors(offset_m):
    T = T_CAMERA_SENSOR.copy()
    T[0, 3] = offset_m
    assert len(project_points(scan((10.0, 1.0, 0.5)), T, CAMERA, ScaleConfig())) == 0


@pytest.mark.parametrize('one_pixel', [True, False])
def test_five_million_points_are_thinned_before_anything_is_computed_of_them(
    monkeypatch, one_pixel
):
    # A camera with more pixels than there may be anchors, and a wall 5 m ahead of it.
    camera = Camera(640, 480, np.array([[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]]))
    u, v = np.random.default_rng(0).uniform(0, (639, 479), (5_000_000, 2)).T.astype(np.float32)
    y, z = -(u - 319.5) / 100, -(v - 239.5) / 100
    xyz_m = np.stack([np.full_like(y, 5.0), *((0 * y, 0 * z) if one_pixel else (y, z))], axis=1)
    points = SensorPoints(xyz_m, 0, 'lidar', ring=np.arange(len(y)) % 64)
    looked_at = []

    def counted(u, v, z_m, camera):
        looked_at.append(len(u))
        return visible(u, v, z_m, camera)

    monkeypatch.setattr('depth_anything_ros.metric_depth.anchors.visible', counted)
    anchors = project(points, camera)
    assert looked_at[0] <= 500_000
    if one_pixel:
        assert anchors.z_m.tolist() == [5.0]
    else:
        # As many as are allowed, of all rings and all over the image.
        assert len(anchors) == 40_000
        assert len(np.unique(anchors.ring)) == 64
        cells = (anchors.v // 48).astype(int) * 10 + (anchors.u // 64).astype(int)
        assert np.bincount(cells).min() > 300 and len(np.bincount(cells)) == 100


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
