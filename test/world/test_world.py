# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rays, pictures, lidars and paths of the synthetic world against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.world import raycast
from depth_anything_ros.world.lidar import laser_scan, spinning_lidar
from depth_anything_ros.world.primitives import Builder, Material, Semantic, Shape
from depth_anything_ros.world.render import pixel_rays, render
from depth_anything_ros.world.scene import KINDS, Light, random_scene, Scene, Sky
from depth_anything_ros.world.trajectory import camera_path, look, random_view

GREY = Material((0.5, 0.5, 0.5), noise=0.0)
LAMP = Light((0.0, 0.0, 500.0), 1.0, 0.3, math.inf, (1.0, 1.0, 1.0))
SKY = Sky((1.0, 1.0, 1.0), (0.5, 0.7, 1.0), 0.0, 0.0)


def scene_of(*shapes, light=LAMP):
    """Build a scene from (shape, centre, half size, semantic, yaw, taper) rows."""
    builder = Builder(np.random.default_rng(0))
    for shape, centre, half, semantic, yaw, taper in shapes:
        builder.add(shape, centre, half, GREY, semantic, yaw, taper)
    return Scene('street', 0, builder.build(), light, SKY, (-5, 5, -1, 1), (0, 1), 1.5, 3.0)


def shape_at(shape, centre, half, yaw=0.0, taper=(0.0, 0.0), semantic=Semantic.OBJECT):
    return (shape, centre, half, semantic, yaw, taper)


GROUND = shape_at(Shape.BOX, (0, 0, -1), (100, 100, 1), semantic=Semantic.GROUND)


def cast_one(scene, origin, direction):
    rays = torch.tensor(direction, dtype=torch.float32).reshape(1, 3, 1)
    t, index = raycast.cast(scene.primitives, torch.tensor(origin, dtype=torch.float32), rays)
    return float(t), int(index)


@pytest.mark.parametrize(
    ('shape', 'yaw', 'taper', 'origin', 'direction', 'expected'),
    [
        # A box of half sizes 1, 2, 3 about (10, 0, 0): its near face is at x = 9.
        (Shape.BOX, 0.0, (0, 0), (0, 0, 0), (1, 0, 0), 9.0),
        (Shape.BOX, 0.0, (0, 0), (0, 0, 0), (2, 0, 0), 4.5),  # t counts in lengths of the ray
        (Shape.BOX, 0.0, (0, 0), (0, 1.999, 0), (1, 0, 0), 9.0),  # just inside the edge
        (Shape.BOX, 0.0, (0, 0), (0, 2.001, 0), (1, 0, 0), math.inf),  # just outside it
        (Shape.BOX, math.pi / 2, (0, 0), (0, 0, 0), (1, 0, 0), 8.0),  # y is along x now
        (Shape.BOX, 0.0, (0, 0), (10, 0, 0), (1, 0, 0), math.inf),  # from the inside: no entry
        (Shape.BOX, 0.0, (0, 0), (20, 0, 0), (1, 0, 0), math.inf),  # behind
        # At half height a wedge of taper 0.5 in x is 1 - 0.5 / 2 = 0.75 half wide.
        (Shape.WEDGE, 0.0, (0.5, 0), (0, 0, 0), (1, 0, 0), 9.25),
        (Shape.WEDGE, 0.0, (0.5, 0), (0, 0, -3), (1, 0, 0), 9.0),
        (Shape.WEDGE, 0.0, (0, 1.0), (0, 1.01, 0), (1, 0, 0), math.inf),  # gable: y shrinks to 1
        (Shape.ELLIPSOID, 0.0, (0, 0), (0, 0, 0), (1, 0, 0), 9.0),
        # At y = 1.2 of 2 the ellipse has x = sqrt(1 - 0.36) = 0.8.
        (Shape.ELLIPSOID, 0.0, (0, 0), (0, 1.2, 0), (1, 0, 0), 9.2),
        (Shape.CYLINDER, 0.0, (0, 0), (0, 1.2, 2.9), (1, 0, 0), 9.2),
        (Shape.CYLINDER, 0.0, (0, 0), (0, 1.2, 3.1), (1, 0, 0), math.inf),
        (Shape.CYLINDER, 0.0, (0, 0), (10, 0, 10), (0, 0, -1), 7.0),  # on to its lid
    ],
)
def test_entry_into_one_shape(shape, yaw, taper, origin, direction, expected):
    scene = scene_of(shape_at(shape, (10, 0, 0), (1, 2, 3), yaw, taper))
    t, index = cast_one(scene, origin, direction)
    assert t == pytest.approx(expected, abs=1e-4)
    assert index == (0 if expected < math.inf else -1)


def test_nearest_of_several_shapes_wins():
    scene = scene_of(shape_at(Shape.BOX, (10, 0, 0), (1, 1, 1)),
                     shape_at(Shape.ELLIPSOID, (6, 0, 0), (1, 1, 1)),
                     shape_at(Shape.CYLINDER, (20, 0, 0), (1, 1, 1)))
    assert cast_one(scene, (0, 0, 0), (1, 0, 0)) == (pytest.approx(5.0), 1)


def test_small_and_far_sphere_keeps_its_digits():
    # A ball of 5 cm radius at 80 m, hit 3 cm beside its centre: 80 - sqrt(25 - 9) cm = 79.96 m.
    scene = scene_of(shape_at(Shape.ELLIPSOID, (80, 0, 0), (0.05, 0.05, 0.05)))
    assert cast_one(scene, (0, 0.03, 0), (1, 0, 0))[0] == pytest.approx(79.96, abs=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_culling_loses_nothing(kind):
    scene = random_scene(11, kind)
    view = random_view(scene, 2, 96, 64)
    picture = render(scene, view.T_world_camera, view.K, 96, 64, view.D)
    rays = pixel_rays(view.K, 96, 64, view.D).reshape(-1, 3) @ view.T_world_camera[:3, :3].T
    # One ray a tile, and as many as there are pixels in one tile: too wide to cull at all.
    one_tile = torch.from_numpy(rays.T[None].astype(np.float32)).contiguous()
    origin = torch.from_numpy(view.T_world_camera[:3, 3].astype(np.float32))
    whole, _ = raycast.cast(scene.primitives, origin, torch.cat([one_tile, -one_tile], dim=2))
    expected = whole[0, :96 * 64].reshape(64, 96).numpy()
    np.testing.assert_allclose(picture.depth_m, expected, rtol=1e-5)


def test_camera_over_a_plane():
    # Level, 1.5 m above the ground: Z = f h / (v - cy) below the horizon, sky above.
    K = np.array([[100.0, 0, 49.5], [0, 100.0, 49.5], [0, 0, 1]])
    picture = render(scene_of(GROUND), look((0, 0, 1.5), 0.3), K, 100, 100)
    row = np.arange(52, 100)
    expected = np.broadcast_to((100 * 1.5 / (row - 49.5))[:, None], (48, 100))
    np.testing.assert_allclose(picture.depth_m[52:], expected, rtol=1e-5)
    assert np.isposinf(picture.depth_m[:49]).all()
    assert (picture.semantic[52:] == Semantic.GROUND).all()
    assert (picture.semantic[:49] == Semantic.SKY).all()
    assert picture.depth_m.dtype == np.float32 and picture.image_rgb.shape == (100, 100, 3)


def test_box_edge_stands_where_projection_puts_it():
    # The box's near face, at x = 4, reaches from y = -1 to 1: u = 50 -+ 100 / 4 = 25 and 75.
    K = np.array([[100.0, 0, 50], [0, 100.0, 50], [0, 0, 1]])
    scene = scene_of(shape_at(Shape.BOX, (5, 0, 0), (1, 1, 1)))
    row = render(scene, look((0, 0, 0), 0.0), K, 101, 101).depth_m[50]
    assert np.flatnonzero(np.isfinite(row))[[0, -1]].tolist() in ([25, 75], [26, 74])
    np.testing.assert_allclose(row[26:75], 4.0, rtol=1e-6)


def test_pose_turns_and_pitches_the_right_way():
    left = look((0, 0, 0), math.pi / 2)  # optical axis along y
    np.testing.assert_allclose(left[:3, :3] @ [0, 0, 1], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(left[:3, :3] @ [1, 0, 0], [1, 0, 0], atol=1e-12)  # right: along x
    down = look((0, 0, 0), 0.0, 0.1)
    assert (down[:3, :3] @ [0, 0, 1])[2] == pytest.approx(-math.sin(0.1))
    np.testing.assert_allclose(down[:3, :3] @ down[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(look((0, 0, 0), 1.0, 0.2, 0.3)[:3, :3]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ('D', 'model'),
    [((-0.12, 0.01, 0.001, -0.001), 'plumb_bob'), ((0.02, -0.01, 0.003, 0.0), 'equidistant')],
)
def test_distorted_rays_project_back_to_their_pixels(D, model):
    K = np.array([[200.0, 0, 111], [0, 210.0, 80], [0, 0, 1]])
    rays = pixel_rays(K, 224, 168, D, model)
    uv = Camera(224, 168, K, D, model).distort(rays[..., :2]).reshape(168, 224, 2)
    u, v = np.meshgrid(np.arange(224), np.arange(168))
    np.testing.assert_allclose(uv, np.stack([u, v], axis=-1), atol=1e-3)


def test_light_falls_off_into_shadow():
    # The sun stands in the zenith; a slab at 2 m height shades the ground below it.
    slab = shape_at(Shape.BOX, (6, 0, 2), (1, 1, 0.1))
    K = np.array([[60.0, 0, 49.5], [0, 60.0, 49.5], [0, 0, 1]])
    pose = look((0, 0, 1), 0.0)
    lit, shaded = (render(scene_of(*shapes), pose, K, 100, 100).image_rgb[59, 49].astype(float)
                   for shapes in ((GROUND,), (GROUND, slab)))
    # Row 59 sees the ground 60 / 9.5 = 6.3 m ahead; light is 0.3 + 1.0 there, or 0.3; gamma 2.
    np.testing.assert_allclose(lit, 255 * math.sqrt(0.5 * 1.3), atol=1.0)
    np.testing.assert_allclose(shaded, 255 * math.sqrt(0.5 * 0.3), atol=1.0)


def test_spinning_lidar_on_a_plane():
    scene = scene_of(GROUND)
    T_world_lidar = np.eye(4)
    T_world_lidar[2, 3] = 2.0
    scan = spinning_lidar(scene, T_world_lidar, rings=3, azimuth_step_rad=math.radians(1),
                          elevation_rad=(-math.pi / 6, math.pi / 6))
    # Only the lowest beam, 30 degrees down, meets the ground: 2 / sin 30 = 4 m away.
    assert len(scan.ring) == 360 and (scan.ring == 0).all()
    np.testing.assert_allclose(np.linalg.norm(scan.points_lidar, axis=1), 4.0, atol=1e-4)
    np.testing.assert_allclose(scan.points_lidar[:, 2], -2.0, atol=1e-4)
    np.testing.assert_allclose(scan.time_s, 0.1 * np.arange(360) / 360, atol=1e-7)
    np.testing.assert_allclose(scan.points_lidar[0, 0], -4 * math.cos(math.pi / 6), atol=1e-4)


def test_lidar_noise_dropout_and_range():
    scene = scene_of(shape_at(Shape.BOX, (0, 0, -51), (300, 300, 50)))
    pose = np.eye(4)
    low = {'rings': 8, 'elevation_rad': (-0.6, -0.3)}
    clean = spinning_lidar(scene, pose, **low)
    noisy = spinning_lidar(scene, pose, noise_m=0.02, seed=5, **low)
    error = np.linalg.norm(noisy.points_lidar, axis=1) - np.linalg.norm(clean.points_lidar, axis=1)
    assert error.std() == pytest.approx(0.02, rel=0.05) and abs(error.mean()) < 0.001
    thinned = spinning_lidar(scene, pose, dropout=0.25, seed=5, **low)
    assert len(thinned.ring) / len(clean.ring) == pytest.approx(0.75, abs=0.02)
    # 1 / sin 0.3 = 3.38 m is beyond 3 m, 1 / sin 0.6 = 1.77 m is not.
    near = spinning_lidar(scene, pose, max_range_m=3.0, **low)
    assert near.ring.min() == 0 and near.ring.max() < 7
    again = spinning_lidar(scene, pose, noise_m=0.02, seed=5, **low)
    assert np.array_equal(noisy.points_lidar, again.points_lidar)


def test_laser_scan_sees_a_wall():
    scene = scene_of(shape_at(Shape.BOX, (3.5, 0, 0), (0.5, 50, 1)))
    ranges, first, step = laser_scan(scene, np.eye(4), -math.pi / 2, math.pi / 2, math.pi / 180,
                                     max_range_m=20.0)
    angle = first + step * np.arange(len(ranges))
    distance = 3 / np.cos(np.clip(angle, -1.5, 1.5))
    seen = distance <= 20
    np.testing.assert_allclose(ranges[seen], distance[seen], rtol=1e-4)
    assert len(ranges) == 181 and np.isposinf(ranges[~seen]).all()


def test_lidar_and_depth_image_agree():
    scene = random_scene(3, 'street')
    T_world_camera = camera_path(scene, 0)(4.0)
    T_world_lidar = np.eye(4)
    T_world_lidar[:3, 3] = T_world_camera[:3, 3] + [-0.2, 0.1, 0.3]
    scan = spinning_lidar(scene, T_world_lidar, azimuth_step_rad=math.radians(0.7))
    T_camera_lidar = np.linalg.inv(T_world_camera) @ T_world_lidar
    points = scan.points_lidar @ T_camera_lidar[:3, :3].T + T_camera_lidar[:3, 3]
    points = points[points[:, 2] > 1]
    # A camera of one pixel, looking exactly through each lidar point: depth is the point's Z or,
    # where something hides it from the camera, less.
    agree = 0
    for point in points[:: len(points) // 150]:
        K = np.array([[300.0, 0, -300 * point[0] / point[2]],
                      [0, 300.0, -300 * point[1] / point[2]], [0, 0, 1]])
        depth_m = float(render(scene, T_world_camera, K, 1, 1).depth_m[0, 0])
        assert depth_m < point[2] + 0.002
        agree += abs(depth_m - point[2]) < 0.002
    assert agree > 100


@pytest.mark.parametrize('kind', KINDS)
def test_same_seed_same_scene(kind):
    first, second, other = (random_scene(seed, kind).primitives for seed in (5, 5, 6))
    assert all(torch.equal(a, b) for a, b in zip(vars(first).values(), vars(second).values()))
    assert len(first) != len(other) or not torch.equal(first.centre_m, other.centre_m)


def test_unknown_kind_is_named():
    with pytest.raises(DepthAnythingError, match="unknown scene kind 'forest'"):
        random_scene(0, 'forest')


@pytest.mark.parametrize('kind', KINDS)
def test_camera_path_is_smooth_and_free(kind):
    for seed in range(4):
        scene = random_scene(seed, kind)
        pose = camera_path(scene, seed)
        track = [pose(0.1 * i) for i in range(300)]
        positions = np.array([T[:3, 3] for T in track])
        steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        assert steps.max() < 0.1 * scene.speed_m_s * 1.2
        turns = [np.arccos(np.clip((np.trace(a[:3, :3].T @ b[:3, :3]) - 1) / 2, -1, 1))
                 for a, b in zip(track, track[1:])]
        assert max(turns) < 0.02
        assert min(scene.clearance_m(torch.from_numpy(p)) for p in positions[::5]) > 0.05, seed


def test_clearance_from_a_turned_box():
    # Turned by 90 degrees the half size of 2 lies along x: 10 - 2 = 8 m away.
    scene = scene_of(shape_at(Shape.BOX, (10, 0, 0), (1, 2, 3), math.pi / 2))
    assert scene.clearance_m(torch.zeros(3)) == pytest.approx(8.0, abs=1e-5)
    # 3 m beyond the face in x and 4 m beyond it in z: 5 m.
    assert scene.clearance_m(torch.tensor([5.0, 0.0, 7.0])) == pytest.approx(5.0, abs=1e-5)
